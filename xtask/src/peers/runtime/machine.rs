//! The machine and the build, as the system and the tools tell them.

use std::fs;
use std::process::Command;

use crate::compare::build::workspace_root;

/// What is known of the machine and the build.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    pub processor: Option<String>,
    pub cores: Option<u64>,
    pub commit: Option<String>,
    pub rustc: Option<String>,
}

impl Machine {
    /// This one.
    pub fn found() -> Self {
        let cores = std::thread::available_parallelism().ok().map(|cores| cores.get() as u64);
        let commit = said(Command::new("git").arg("-C").arg(workspace_root()).args(["rev-parse", "HEAD"]));
        Self {
            processor: fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| processor(&text)),
            cores,
            commit,
            rustc: said(Command::new("rustc").arg("--version")),
        }
    }
}

/// The first line that a program prints.
fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned)
}

/// Name and, since names may say little, family and model: `AMD EPYC (family 25, model 17)`.
fn processor(cpuinfo: &str) -> Option<String> {
    let of = |wanted: &str| {
        cpuinfo.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == wanted).then(|| value.trim().to_owned())
        })
    };
    let name = of("model name")?;
    Some(match (of("cpu family"), of("model")) {
        (Some(family), Some(model)) => format!("{name} (family {family}, model {model})"),
        _ => name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_have_names() {
        let text = "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n";
        assert_eq!(processor(text).as_deref(), Some("AMD EPYC (family 25, model 17)"));
        assert_eq!(processor("model name : X\n").as_deref(), Some("X"));
        assert_eq!(processor("flags: fpu"), None);
    }
}
