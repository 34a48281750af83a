//! Writing files so that a reader never sees half of one.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::Error;

/// Writes `bytes` to `path`: a temporary file in the same folder, fsync, rename, fsync of the folder.
/// After an error or a kill `path` holds what it held before.
///
/// # Errors
/// The folder is missing or not writable, or the disk is full: [`Error::Io`], which names `path`.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let write = || -> std::io::Result<()> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".writing-");
        // Temporary files are private by default; these become ordinary files (the umask applies).
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let mut file = builder.tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)?;
        // Makes the rename itself durable. Not every file system can do this; the contents are safe already.
        if let Ok(folder) = File::open(folder) {
            let _ = folder.sync_all();
        }
        Ok(())
    };
    write().map_err(|source| Error::Io { action: "write", path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_the_file_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn names_the_path_that_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("a");
        let error = write_atomically(&path, b"one").unwrap_err().to_string();
        assert!(error.contains("cannot write") && error.contains("missing"), "{error}");
    }
}
