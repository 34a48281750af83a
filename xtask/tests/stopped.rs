//! A comparison that is ended ends the process that it runs.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

fn kill(signal: &str, process: &str) -> bool {
    Command::new("kill").args([signal, process]).stderr(Stdio::null()).status().expect("the command kill").success()
}

#[test]
fn a_signal_is_passed_on_and_ends_both() {
    for (signal, status, word) in [("-TERM", 143, "terminated"), ("-INT", 130, "interrupted")] {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("stopped{signal}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        // In place of cargo, which would build for minutes: a process that says who it is and waits.
        let (cargo, pid) = (folder.join("cargo"), folder.join("pid"));
        fs::write(&cargo, format!("#!/bin/sh\necho $$ > '{}'\nexec sleep 300\n", pid.display())).unwrap();
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(["compare", "--profile", "smoke", "--data", "shapes10", "--out"])
            .arg(folder.join("out"))
            .env("CARGO", &cargo)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        let grandchild = loop {
            let said = fs::read_to_string(&pid).unwrap_or_default();
            if said.ends_with('\n') {
                break said.trim().to_owned();
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "nothing was built");
            sleep(Duration::from_millis(10));
        };
        assert!(kill("-0", &grandchild) && kill(signal, &child.id().to_string()));
        let ended = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(status), "{stderr}");
        let last = stderr.lines().last().unwrap();
        assert_eq!(last, format!("{word}; what is finished is kept; the same command goes on from there"));
        assert!(!kill("-0", &grandchild), "the process that it ran goes on");
    }
}
