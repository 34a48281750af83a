//! Each library as one finds it outside this workspace: a package that depends on it alone, and whose programs are what
//! its README prints. Candle is the one other dependency a program may name.
//!
//! The packages are checked together, so that Candle is compiled once. The first run takes minutes, later ones seconds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What a package may depend on besides the library: on what its code names, and at the workspace's version.
const CANDLE: [&str; 2] = ["candle-core", "candle-nn"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Leaves a file alone that is as it should be, so that nothing is compiled again for its date.
fn write(path: &Path, content: &str) {
    if fs::read_to_string(path).ok().as_deref() != Some(content) {
        fs::create_dir_all(path.parent().expect("a file in a folder")).expect("a writable folder");
        fs::write(path, content).expect("a writable folder");
    }
}

/// The code blocks of a Markdown file in a language.
fn blocks(markdown: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut current: Option<(bool, String)> = None;
    for line in markdown.lines() {
        match (&mut current, line.strip_prefix("```")) {
            (None, Some(info)) => current = Some((info.split(',').next() == Some(language), String::new())),
            (Some((wanted, code)), Some(_)) => {
                if *wanted {
                    blocks.push(std::mem::take(code));
                }
                current = None;
            }
            (Some((_, code)), None) => {
                code.push_str(line);
                code.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

/// A README's code as a program: as it is printed, in a function if it has no `main`, as rustdoc does it.
fn program(code: &str) -> String {
    let shown: Vec<&str> = code.lines().map(|line| line.strip_prefix("# ").unwrap_or(line)).collect();
    let code = shown.join("\n");
    if code.contains("fn main()") {
        return code + "\n";
    }
    let (result, end) = if code.contains("Ok::<") {
        ("core::result::Result<(), impl core::fmt::Debug>", "")
    } else {
        ("core::result::Result<(), core::convert::Infallible>", "\nOk(())")
    };
    format!("fn main() {{\nfn code() -> {result} {{\n{code}{end}\n}}\ncode().unwrap()\n}}\n")
}

/// The libraries of the workspace that may be published, by name, with their folders.
fn libraries() -> Vec<(String, PathBuf)> {
    let crates = fs::read_dir(root().join("crates")).expect("the crates");
    let folders = crates.map(|entry| entry.expect("a readable folder").path());
    let mut libraries: Vec<_> = folders
        .filter(|path| path.join("src/lib.rs").is_file())
        .filter(|path| !read(&path.join("Cargo.toml")).contains("publish = false"))
        .map(|path| (path.file_name().expect("a folder").to_string_lossy().into_owned(), path))
        .collect();
    libraries.sort();
    assert!(libraries.len() >= 10, "{libraries:?}");
    libraries
}

/// The line of the workspace's manifest that says which version of a dependency it takes.
fn workspace_version(name: &str) -> String {
    let manifest = read(&root().join("Cargo.toml"));
    let line = manifest.lines().find(|line| line.starts_with(&format!("{name} = ")));
    line.unwrap_or_else(|| panic!("no {name} in the workspace's manifest")).to_owned()
}

/// `name = "version"` of one of the libraries, with where it lies.
fn with_path(line: &str) -> String {
    let Some((name, version)) = line.split_once(" = ") else { return line.to_owned() };
    match libraries().into_iter().find(|(library, _)| library == name) {
        Some((_, path)) => format!("{name} = {{ version = {version}, path = {path:?} }}"),
        None => line.to_owned(),
    }
}

/// Writes a package; `dependencies` are lines of its manifest.
fn write_package(folder: &Path, name: &str, dependencies: &[String], programs: &[String]) {
    let dependencies = dependencies.join("\n");
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\n{dependencies}\n"
    );
    write(&folder.join(name).join("Cargo.toml"), &manifest);
    let bin = folder.join(name).join("src/bin");
    for (i, program) in programs.iter().enumerate() {
        write(&bin.join(format!("{name}-{i}.rs")), program);
    }
    for i in programs.len()..programs.len() + 20 {
        let _ = fs::remove_file(bin.join(format!("{name}-{i}.rs"))); // of a longer README
    }
}

fn cargo_check(folder: &Path, selection: &[&str]) -> Output {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(folder).args(["check", "--offline", "--quiet", "--target-dir", "target"]).args(selection);
    command.output().expect("cargo")
}

#[test]
fn what_the_readmes_print_compiles_against_each_library_alone() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("downstream");
    let mut members = Vec::new();
    for (library, path) in libraries() {
        let readme = read(&path.join("README.md"));
        let code = blocks(&readme, "rust");
        // What is for C shows C.
        if code.is_empty() && read(&path.join("Cargo.toml")).contains("\"cdylib\"") {
            continue;
        }
        assert!(!code.is_empty(), "{library}: expected code in its README");
        let mut dependencies = vec![format!("{library} = {{ path = {path:?} }}")];
        let names = |crate_name: &&&str| code.iter().any(|code| code.contains(&crate_name.replace('-', "_")));
        dependencies.extend(CANDLE.iter().filter(names).map(|name| workspace_version(name)));
        let programs: Vec<String> = code.iter().map(|code| program(code)).collect();
        let name = format!("readme-{library}");
        write_package(&folder, &name, &dependencies, &programs);
        members.push(name);
    }

    // The workspace's own README: its lines for a manifest, with its code and the example it points to.
    let readme = read(&root().join("README.md"));
    let manifests = blocks(&readme, "toml");
    let lines = manifests.iter().find_map(|toml| toml.strip_prefix("[dependencies]\n")).expect("lines for a manifest");
    let dependencies: Vec<String> = lines.lines().map(with_path).collect();
    let mut programs: Vec<String> = blocks(&readme, "rust").iter().map(|code| program(code)).collect();
    programs.push(read(&root().join("crates/mobilenet-blocks/examples/own_model.rs")));
    programs.extend(blocks(&read(&root().join("crates/mobilenet-blocks/README.md")), "rust"));
    write_package(&folder, "readme", &dependencies, &programs);
    members.push("readme".into());

    // And one that cannot compile, to know that a failure is seen.
    let layers = root().join("crates/mobilenet-layers");
    let wrong = "use mobilenet_kernels::Activation;\nfn main() {\nlet _ = Activation::Relu;\n}\n";
    write_package(&folder, "wrong", &[format!("mobilenet-layers = {{ path = {layers:?} }}")], &[wrong.into()]);
    members.push("wrong".into());

    write(&folder.join("Cargo.toml"), &format!("[workspace]\nresolver = \"3\"\nmembers = {members:?}\n"));
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).expect("the workspace's lock file");

    let checked = cargo_check(&folder, &["--workspace", "--exclude", "wrong"]);
    let errors = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{errors}");
    let checked = cargo_check(&folder, &["-p", "wrong"]);
    let errors = String::from_utf8_lossy(&checked.stderr);
    assert!(!checked.status.success() && errors.contains("mobilenet_kernels"), "{errors}");
}

#[test]
fn code_without_a_main_gets_one() {
    let markdown = "```rust\nuse a::b;\n# hidden();\nb()?;\n# Ok::<(), \
        E>(())\n```\ntext\n```sh\nls\n```\n```rust,no_run\nfn main() {}\n```\n";
    let code = blocks(markdown, "rust");
    assert_eq!(code.len(), 2);
    assert!(
        program(&code[0]).contains("\nhidden();\nb()?;\nOk::<(), E>(())\n}\ncode().unwrap()"),
        "{}",
        program(&code[0])
    );
    assert_eq!(program(&code[1]), "fn main() {}\n");
    assert_eq!(blocks(markdown, "sh"), ["ls\n"]);
}
