//! Records what the program cannot know at run time: commit, compiler and Candle version.
//!
//! Works without git and outside a repository: what is unknown is left out.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if let Some(commit) = commit() {
        println!("cargo::rustc-env=MOBILENET_COMMIT={commit}");
    }
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    if let Some(version) = run(&rustc, &["--version"]) {
        println!("cargo::rustc-env=MOBILENET_RUSTC={version}");
    }
    if let Some(version) = candle_version() {
        println!("cargo::rustc-env=MOBILENET_CANDLE={version}");
    }
}

/// The commit, with `-dirty` after it where the tracked sources differ from it.
fn commit() -> Option<String> {
    for name in ["HEAD", "logs/HEAD"] {
        let path = run("git", &["rev-parse", "--git-path", name])?;
        // Cargo runs the script every time where a watched file does not exist.
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    // A package unpacked inside somebody else's repository must not take that one's commit.
    run("git", &["ls-files", "--error-unmatch", "Cargo.toml"])?;
    println!("cargo::rerun-if-changed=../../crates");
    let commit = run("git", &["rev-parse", "HEAD"])?;
    let changed = run("git", &["--no-optional-locks", "status", "--porcelain", "--untracked-files=no", "../.."]);
    Some(if changed.is_some() { format!("{commit}-dirty") } else { commit })
}

/// The version in the nearest `Cargo.lock`.
fn candle_version() -> Option<String> {
    let path = ["Cargo.lock", "../../Cargo.lock"].into_iter().find(|path| Path::new(path).exists())?;
    println!("cargo::rerun-if-changed={path}");
    let lock = std::fs::read_to_string(path).ok()?;
    let (_, entry) = lock.split_once("name = \"candle-core\"\nversion = \"")?;
    Some(entry.split_once('"')?.0.to_owned())
}

/// What a program prints on its first line; `None` where it fails or prints nothing.
fn run(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok().filter(|o| o.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned)
}
