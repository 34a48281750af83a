//! One writer in a folder at a time.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often a lock is asked for while another holds it.
const PAUSE: Duration = Duration::from_millis(50);

/// Takes the folder's lock, the file `.lock` in it, which holds until the returned file and all its copies are closed. Where
/// another process holds it, waits for as long as `patience`, then fails; `busy` says what is running there.
pub fn lock(folder: &Path, busy: &str, patience: Duration) -> Result<File> {
    let path = folder.join(".lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if begun.elapsed() < patience => std::thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => bail!("{busy} in {}", folder.display()),
            // Some network file systems have no locks; better to run without than not at all.
            Err(TryLockError::Error(_)) => return Ok(file),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_writer_is_kept_out_or_waits() {
        let folder = std::env::temp_dir().join(format!("mobilenet-report-lock-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let first = lock(&folder, "another is running", Duration::ZERO).unwrap();
        let error = lock(&folder, "another is running", Duration::ZERO).unwrap_err().to_string();
        assert!(error.starts_with("another is running in "), "{error}");
        std::thread::scope(|scope| {
            let second = scope.spawn(|| lock(&folder, "another is running", Duration::from_secs(60)));
            std::thread::sleep(2 * PAUSE);
            drop(first);
            assert!(second.join().unwrap().is_ok());
        });
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
