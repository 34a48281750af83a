//! One writer in a folder at a time.

use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use mobilenet_common::files::{self, FolderLock, LOCK_FILE};

use crate::error::{Error, Result};

/// How often a lock is asked for while another holds it.
const PAUSE: Duration = Duration::from_millis(50);

/// Takes the folder's lock, the file `.lock` in it, which holds until the returned lock and all that share it are
/// dropped. Where another process holds it, waits for as long as `patience`, then fails; `busy` says what is running
/// there.
///
/// # Errors
/// [`Error::Busy`] where another process holds the lock, [`Error::Write`] where the folder is missing or not writable.
pub fn lock(folder: &Path, busy: &str, patience: Duration) -> Result<FolderLock> {
    let begun = Instant::now();
    loop {
        match files::lock(folder) {
            Ok(lock) => return Ok(lock),
            Err(error) if error.kind() == ErrorKind::ResourceBusy && begun.elapsed() < patience => {
                std::thread::sleep(PAUSE);
            }
            Err(error) if error.kind() == ErrorKind::ResourceBusy => {
                return Err(Error::Busy { busy: busy.to_owned(), folder: folder.to_owned() });
            }
            Err(error) => return Err(Error::Write { path: folder.join(LOCK_FILE), error }),
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
