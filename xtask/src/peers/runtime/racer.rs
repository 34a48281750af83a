//! A process that is kept, and does passes when it is told to.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::peers::environment::last_line;

/// What a process says when it is ready.
#[derive(Debug, Deserialize)]
pub struct Ready {
    pub level: String,
    /// Of the first image; nothing of a network that is not ours.
    pub logits: Option<Vec<f64>>,
    pub versions: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Turn {
    milliseconds: Vec<f64>,
}

/// A process that waits for its turn.
pub struct Racer {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<std::io::Result<String>>,
    stderr: PathBuf,
    pub ready: Ready,
}

impl Racer {
    /// Starts a process and waits until it is ready; what it complains of goes to the file `stderr`.
    pub fn start(command: &mut Command, stderr: &Path, patience: Duration) -> Result<Self> {
        let complaints = File::create(stderr).with_context(|| format!("cannot write {}", stderr.display()))?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(complaints)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let stdin = child.stdin.take();
        let lines = lines(child.stdout.take().context("the process has no output")?);
        let ready = Ready { level: String::new(), logits: None, versions: BTreeMap::new() };
        let mut racer = Self { child, stdin, lines, stderr: stderr.to_owned(), ready };
        racer.ready = racer.read(patience)?;
        Ok(racer)
    }

    /// Lets it do so many passes; their milliseconds.
    pub fn passes(&mut self, count: u64, patience: Duration) -> Result<Vec<f64>> {
        let stdin = self.stdin.as_mut().context("the process takes no input")?;
        writeln!(stdin, "{count}").and_then(|()| stdin.flush()).context("the process is gone")?;
        let Turn { milliseconds } = self.read(patience)?;
        if milliseconds.is_empty() || milliseconds.iter().any(|ms| !(ms.is_finite() && *ms > 0.0)) {
            bail!("{milliseconds:?} are no times");
        }
        Ok(milliseconds)
    }

    fn read<T: DeserializeOwned>(&mut self, patience: Duration) -> Result<T> {
        match self.lines.recv_timeout(patience) {
            Ok(line) => {
                let line = line.context("the process's output cannot be read")?;
                serde_json::from_str(&line).context("the process does not print what was expected")
            }
            Err(RecvTimeoutError::Timeout) => bail!("it did not answer within {} s", patience.as_secs()),
            Err(RecvTimeoutError::Disconnected) => {
                let complaint = std::fs::read_to_string(&self.stderr).unwrap_or_default();
                bail!("{}", last_line(&complaint))
            }
        }
    }
}

impl Drop for Racer {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // A process whose input ends ends by itself; one that does not answer may not.
        let ended = self.lines.recv_timeout(Duration::from_secs(2));
        if !matches!(ended, Err(RecvTimeoutError::Disconnected)) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// Lines as they come, read by a thread so that one can wait for them with patience.
fn lines(stdout: ChildStdout) -> Receiver<std::io::Result<String>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn a_process_takes_its_turns_or_says_why_not() {
        let folder = std::env::temp_dir().join(format!("xtask-racer-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let start = |script: &str| {
            let stderr = folder.join("stderr.txt");
            Racer::start(Command::new("sh").args(["-c", script]), &stderr, Duration::from_secs(60))
        };
        let ready = r#"echo '{"level":"x","logits":[1.5],"versions":{"a":"1"}}'"#;
        let answers = format!("{ready}; while read n; do echo \"{{\\\"milliseconds\\\":[$n, 0.5]}}\"; done");
        let mut racer = start(&answers).unwrap();
        assert_eq!((&*racer.ready.level, racer.ready.logits.as_deref()), ("x", Some(&[1.5][..])));
        assert_eq!(racer.passes(3, Duration::from_secs(60)).unwrap(), [3.0, 0.5]);
        assert!(racer.passes(0, Duration::from_secs(60)).is_err());
        drop(racer);
        let error = start("echo detail >&2; echo the reason >&2; exit 1").err().unwrap();
        assert_eq!(error.to_string(), "the reason");
        let mut racer = start(&format!("{ready}; exec sleep 60")).unwrap();
        assert!(racer.passes(1, Duration::from_millis(50)).unwrap_err().to_string().contains("did not answer"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
