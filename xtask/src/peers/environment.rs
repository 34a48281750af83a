//! The peers' Python: an environment of its own under `target/peers`, or an interpreter that is there already.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use mobilenet_common::files::FolderLock;
use mobilenet_report::lock;

use crate::compare::build;
use crate::files;

/// What the worker needs for the training part, as `pip` and `import` both spell it.
pub const PACKAGES: [&str; 6] = ["torch", "torchvision", "timm", "onnxruntime", "onnx", "numpy"];

/// What it needs for the runtime's part; PyTorch is one of the peers if it is there.
pub const RUNTIME_PACKAGES: [&str; 3] = ["onnxruntime", "openvino", "numpy"];

const WORKER: &str = include_str!("worker.py");

/// An interpreter with all packages, and the script it is to run.
pub struct Environment {
    pub python: PathBuf,
    pub worker: PathBuf,
    /// For exported networks and the processes' output
    pub folder: PathBuf,
    /// Held as long as this lives
    _lock: FolderLock,
}

/// Writes the worker and finds or makes its interpreter.
pub fn prepare(python: Option<&Path>, packages: &[&str]) -> Result<Environment> {
    let folder = target_folder().join("peers");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let lock =
        lock(&folder, "another measurement is running, and two would disturb each other,", std::time::Duration::ZERO)?;
    let worker = folder.join("worker.py");
    files::write(&worker, WORKER.as_bytes())?;
    let python = match python {
        Some(python) => {
            check(python, packages)
                .with_context(|| format!("--python must be an interpreter that can import {}", packages.join(", ")))?;
            python.to_owned()
        }
        None => installed(&folder.join("venv"))?,
    };
    Ok(Environment { python, worker, folder, _lock: lock })
}

/// Where cargo builds.
fn target_folder() -> PathBuf {
    let root = build::workspace_root();
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |target| root.join(target))
}

/// The interpreter of the environment `venv`, which is made if it is not there, and completed if it is not complete.
fn installed(venv: &Path) -> Result<PathBuf> {
    let python = if cfg!(windows) { venv.join("Scripts").join("python.exe") } else { venv.join("bin").join("python") };
    let packages = [&PACKAGES[..], &RUNTIME_PACKAGES].concat();
    if check(&python, &packages).is_ok() {
        return Ok(python);
    }
    if !python.exists() {
        eprintln!("making a Python environment in {} …", venv.display());
        run(Command::new("python3").args(["-m", "venv"]).arg(venv)).context(
            "cannot make a Python environment; install python3 with its venv module, or give an interpreter that has \
             the packages with --python",
        )?;
    }
    eprintln!("installing {} (a large download, once) …", packages.join(", "));
    run(Command::new(&python).args(["-m", "pip", "install", "--disable-pip-version-check"]).args(&packages)).context(
        "cannot install the packages; is there a network? The same call tries again, --python takes an interpreter \
         that has them already",
    )?;
    check(&python, &packages).with_context(|| {
        format!("the packages are installed but do not work; remove {} to start afresh", venv.display())
    })?;
    Ok(python)
}

/// Fails unless every package can be imported.
fn check(python: &Path, packages: &[&str]) -> Result<()> {
    let output = Command::new(python)
        .args(["-c", &format!("import {}", packages.join(", "))])
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", python.display()))?;
    if !output.status.success() {
        bail!("{}: {}", python.display(), last_line(&String::from_utf8_lossy(&output.stderr)));
    }
    Ok(())
}

/// Runs a step of the installation; what it says goes to the terminal, past our own output.
fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("cannot start {program}"))?;
    if !output.success() {
        bail!("{program} failed ({output}); its messages are above");
    }
    Ok(())
}

/// The line in which Python says what was wrong.
pub fn last_line(text: &str) -> &str {
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_a_traceback_says_what_was_wrong() {
        let traceback =
            "Traceback (most recent call last):\n  File \"x\"\nModuleNotFoundError: No module named 'torch'\n\n";
        assert_eq!(last_line(traceback), "ModuleNotFoundError: No module named 'torch'");
        assert_eq!(last_line(" \n"), "no message");
    }

    #[test]
    fn an_interpreter_that_is_not_there_is_named() {
        let error = check(Path::new("no-such-python"), &PACKAGES).unwrap_err();
        assert!(format!("{error:#}").contains("no-such-python"));
    }
}
