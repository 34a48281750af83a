//! Compiles the emulation, where it is asked for: every program of `kernels/programs` as a file of its own.

fn main() {
    println!("cargo:rerun-if-changed=kernels");
    println!("cargo:rerun-if-changed=emulation");
    #[cfg(feature = "emulate")]
    emulation::compile();
}

#[cfg(feature = "emulate")]
mod emulation {
    use std::fmt::Write;
    use std::path::PathBuf;

    pub fn compile() {
        let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
        let programs = std::fs::read_to_string("kernels/programs").expect("kernels/programs is beside this file");
        let mut build = cc::Build::new();
        // For GCC and Clang: fibers are switched by inline assembly.
        build.cpp(true).std("c++17").opt_level(2).warnings(false).link_lib_modifier("+whole-archive");
        build.include("emulation").include("kernels").flag("-fno-strict-aliasing").file("emulation/emulator.cpp");
        if cfg!(feature = "sanitize") {
            build.opt_level(1).flag("-fsanitize=address,undefined").flag("-fno-sanitize-recover=all").flag("-g1");
        }
        for (i, program) in programs.lines().enumerate() {
            let mut words = program.split_whitespace();
            let file = words.next().expect("a program has a file");
            let mut text = String::from("#include \"emulator.h\"\n");
            for define in words {
                writeln!(text, "#define {}", define.replacen('=', " ", 1)).expect("a String takes all");
            }
            writeln!(
                text,
                "#define PROGRAM \"{program}\"\nnamespace {{\n#include \"common.cu\"\n#include \"{file}.cu\"\n}}"
            )
            .expect("a String takes all");
            let path = out.join(format!("program{i}.cpp"));
            if std::fs::read_to_string(&path).ok().as_ref() != Some(&text) {
                std::fs::write(&path, text).expect("OUT_DIR takes files");
            }
            build.file(path);
        }
        build.compile("mobilenet_cuda_emulation");
        if cfg!(feature = "sanitize") {
            link_sanitizers();
        }
    }

    /// Their runtimes as static libraries: a shared one would have to be the first that the program loads.
    fn link_sanitizers() {
        let compiler = cc::Build::new().cpp(true).get_compiler();
        let mut folder = None;
        for (library, modifiers) in [("asan", "-bundle,+whole-archive"), ("ubsan", "-bundle")] {
            let asked = compiler.to_command().arg(format!("-print-file-name=lib{library}.a")).output();
            let path = asked.ok().and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
            folder = PathBuf::from(path.trim()).parent().map(PathBuf::from).or(folder);
            println!("cargo:rustc-link-lib=static:{modifiers}={library}");
        }
        if let Some(folder) = folder {
            println!("cargo:rustc-link-search=native={}", folder.display());
        }
        for library in ["dl", "pthread", "m", "rt"] {
            println!("cargo:rustc-link-lib={library}");
        }
    }
}
