//! Runs one process to its end, with patience.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mobilenet_report::text;

use super::environment::last_line;
use crate::stop;

/// Runs `command` and returns what it printed; an error has the last line of its complaint.
///
/// Output goes to files in `folder`: pipes that nobody reads while the process is waited for could fill.
pub fn run_to_end(command: &mut Command, folder: &Path, patience: Duration) -> Result<Vec<u8>> {
    let (stdout, stderr) = (folder.join("stdout.txt"), folder.join("stderr.txt"));
    let create = |path: &Path| File::create(path).with_context(|| format!("cannot write {}", path.display()));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(create(&stdout)?)
        .stderr(create(&stderr)?)
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    let begun = Instant::now();
    let _running = stop::passed_on(&child);
    let status = loop {
        if let Some(status) = child.try_wait().context("cannot wait for the process")? {
            break status;
        }
        if begun.elapsed() > patience {
            let _ = child.kill();
            let _ = child.wait();
            bail!("it did not end within {}", text::duration(patience.as_secs_f64()));
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    stop::check()?;
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    if !status.success() {
        bail!("{} ({status})", last_line(&String::from_utf8_lossy(&read(&stderr)?)));
    }
    read(&stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn a_process_that_fails_or_hangs_is_told_from_one_that_works() {
        let folder = std::env::temp_dir().join(format!("xtask-peers-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let shell = |script: &str, patience| {
            let found = run_to_end(Command::new("sh").args(["-c", script]), &folder, patience);
            found.map(|out| String::from_utf8(out).unwrap()).map_err(|error| error.to_string())
        };
        let long = Duration::from_secs(60);
        assert_eq!(shell("echo fine; echo noise >&2", long), Ok("fine\n".to_owned()));
        let error = shell("echo detail >&2; echo the reason >&2; exit 3", long).unwrap_err();
        assert!(error.starts_with("the reason (") && error.contains('3'), "{error}");
        let error = shell("exec sleep 60", Duration::from_millis(100)).unwrap_err();
        assert!(error.contains("did not end"), "{error}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
