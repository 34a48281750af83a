//! Files: written whole or not at all, read only where they are regular files of a sensible size, and a lock that
//! keeps a second process out of a folder.

use std::ffi::OsString;
use std::fs::{File, FileType, Metadata, OpenOptions, TryLockError};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::path::{Path, PathBuf};

/// Name of the file that [`lock`] makes.
pub const LOCK_FILE: &str = ".lock";

/// Writes a file so that it is there whole or not at all, and durably: into `.NAME.part` in the same folder, fsync,
/// rename, fsync of the folder. After an error or a kill `path` holds what it held before.
///
/// A kill can leave the `.part` file; the next write of the same file takes it over, so that there is never more than
/// one. Two writers of one file take turns. A symbolic link is followed: the file that it points to is replaced.
///
/// # Errors
/// A folder that is missing or not writable, a full disk; something at `path` that is not a regular file.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let path = destination(path)?;
    let part = part_of(&path)?;
    let mut file = open_part(&part)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(&part, &path));
    if let Err(error) = written {
        let _ = std::fs::remove_file(&part);
        return Err(error);
    }
    // Makes the rename itself durable. Not every file system can do this; the contents are safe already.
    if let Ok(folder) = File::open(folder_of(&path)) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// Fails now if [`write()`] would fail whatever it writes: for use before long work whose result is to be written.
///
/// # Errors
/// A folder that is missing or not writable; something at `path` that is not a regular file.
pub fn check_writable(path: &Path) -> Result<()> {
    let part = part_of(&destination(path)?)?;
    // Removed while it is locked: no other writer loses its file.
    let _file = open_part(&part)?;
    std::fs::remove_file(&part)
}

/// Reads a regular file of at most `max_bytes`.
///
/// # Errors
/// A file that cannot be read or is larger; a folder, a pipe, a socket or a device.
pub fn read(path: &Path, max_bytes: u64) -> Result<Vec<u8>> {
    let file = open(path, max_bytes)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(file.metadata()?.len()).map_err(|_| ErrorKind::OutOfMemory)?)?;
    // Files of the kernel have a length of 0 and contents all the same, and any file may have grown since.
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(too_large(bytes.len() as u64, max_bytes));
    }
    Ok(bytes)
}

/// Reads a regular file of at most `max_bytes` that holds text.
///
/// # Errors
/// Those of [`read`]; bytes that are not UTF-8.
pub fn read_text(path: &Path, max_bytes: u64) -> Result<String> {
    String::from_utf8(read(path, max_bytes)?)
        .map_err(|error| Error::new(ErrorKind::InvalidData, format!("expected text in UTF-8: {}", error.utf8_error())))
}

/// Opens a regular file of at most `max_bytes` for reading.
///
/// # Errors
/// A file that cannot be read or is larger; a folder, a pipe, a socket or a device.
pub fn open(path: &Path, max_bytes: u64) -> Result<File> {
    // Before opening: that of a pipe waits for a writer.
    check_regular(&path.metadata()?)?;
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    check_regular(&metadata)?;
    match metadata.len() {
        bytes if bytes > max_bytes => Err(too_large(bytes, max_bytes)),
        _ => Ok(file),
    }
}

/// Keeps other processes out of a folder; dropped, it lets them in again.
#[derive(Debug)]
pub struct FolderLock {
    file: File,
}

impl FolderLock {
    /// Another handle of the same lock, for a child process (as its standard input, say): the folder stays locked until
    /// the last one is closed. It reads as an empty file.
    ///
    /// # Errors
    /// The system's, where a process has no handles left.
    pub fn share(&self) -> Result<File> {
        self.file.try_clone()
    }
}

/// Locks a folder for as long as the result lives, by a lock on its file [`LOCK_FILE`], which stays. The system lifts
/// the lock when the process ends, however it ends.
///
/// # Errors
/// [`ErrorKind::ResourceBusy`] if the folder is locked already, by another process or this one; a folder that is
/// missing or not writable. Where a file system has no locks the folder counts as free.
pub fn lock(folder: &Path) -> Result<FolderLock> {
    let path = folder.join(LOCK_FILE);
    refuse_irregular(&path)?;
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(Error::new(ErrorKind::ResourceBusy, "another process is at work there")),
        // Some network file systems have no locks; better to run without than not at all.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(FolderLock { file }),
    }
}

/// Where a file written to `path` goes: to the end of its symbolic links.
fn destination(path: &Path) -> Result<PathBuf> {
    match path.metadata() {
        Ok(found) => check_regular(&found).and_then(|()| path.canonicalize()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(path.to_owned()),
        Err(error) => Err(error),
    }
}

/// The file that becomes the one at `path`.
fn part_of(path: &Path) -> Result<PathBuf> {
    let Some(name) = path.file_name() else {
        return Err(Error::new(ErrorKind::InvalidInput, "the path names no file"));
    };
    let mut part = OsString::from(".");
    part.push(name);
    part.push(".part");
    Ok(path.with_file_name(part))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// An empty file at `part` that is this writer's alone until it is renamed or removed.
fn open_part(part: &Path) -> Result<File> {
    loop {
        refuse_irregular(part)?;
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(part)?;
        match file.lock() {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // Without locks two writers of one file at a time are not told apart.
            Ok(()) | Err(_) => {}
        }
        // While this one waited, the holder may have renamed or removed the file.
        if is_at(&file, part)? {
            file.set_len(0)?;
            return Ok(file);
        }
    }
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
    match path.symlink_metadata() {
        Ok(found) => Ok(identity(found) == identity(file.metadata()?)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> Result<bool> {
    path.try_exists()
}

/// Fails if there is something at `path` that is not a regular file; a symbolic link is none.
fn refuse_irregular(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Ok(found) if found.is_file() => Ok(()),
        Ok(found) => Err(irregular(&format!("{} is {}", path.display(), kind(found.file_type())))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn check_regular(metadata: &Metadata) -> Result<()> {
    match metadata.is_file() {
        true => Ok(()),
        false => Err(irregular(kind(metadata.file_type()))),
    }
}

fn irregular(found: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("{found}, expected a regular file"))
}

fn too_large(found: u64, max_bytes: u64) -> Error {
    Error::new(ErrorKind::FileTooLarge, format!("{found} bytes, expected at most {max_bytes}"))
}

/// What a file that is not regular is.
fn kind(file_type: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if file_type.is_fifo() {
            return "a named pipe";
        }
        if file_type.is_socket() {
            return "a socket";
        }
        if file_type.is_char_device() || file_type.is_block_device() {
            return "a device";
        }
    }
    match (file_type.is_dir(), file_type.is_symlink()) {
        (true, _) => "a folder",
        (_, true) => "a symbolic link",
        _ => "no regular file",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn replaces_the_file_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write(&path, b"the first contents").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn takes_over_what_a_killed_writer_left() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".a.part"), "longer than what is written now").unwrap();
        write(&folder.path().join("a"), b"new").unwrap();
        assert_eq!(fs::read(folder.path().join("a")).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn writers_of_one_file_take_turns() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::thread::scope(|scope| {
            for writer in 0..8u8 {
                let path = &path;
                scope.spawn(move || (0..20).for_each(|_| write(path, &[writer; 10_000]).unwrap()));
            }
        });
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes, [bytes[0]; 10_000]);
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn a_write_that_fails_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let missing = write(&folder.path().join("missing").join("a"), b"one").unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        assert_eq!(write(&inner, b"one").unwrap_err().to_string(), "a folder, expected a regular file");
        assert_eq!(names(folder.path()), ["inner"]);
        assert!(check_writable(&inner).is_err() && check_writable(&folder.path().join("missing").join("a")).is_err());
        check_writable(&folder.path().join("a")).unwrap();
        assert_eq!(names(folder.path()), ["inner"], "checking leaves nothing behind");
        assert!(write(Path::new(".."), b"").is_err());
        assert_eq!(write(Path::new(""), b"").unwrap_err().to_string(), "the path names no file");
    }

    #[test]
    fn reads_up_to_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert_eq!(read_text(&path, u64::MAX).unwrap(), "12345");
        let error = read(&path, 4).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::FileTooLarge, "5 bytes, expected at most 4")
        );
        fs::write(&path, [b'a', 0xff]).unwrap();
        assert!(read_text(&path, 5).unwrap_err().to_string().starts_with("expected text in UTF-8: "));
        assert_eq!(read(&folder.path().join("b"), 5).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(read(folder.path(), 5).unwrap_err().to_string(), "a folder, expected a regular file");
    }

    #[test]
    fn a_locked_folder_is_kept_to_one() {
        let folder = tempfile::tempdir().unwrap();
        let first = lock(folder.path()).unwrap();
        assert_eq!(lock(folder.path()).unwrap_err().kind(), ErrorKind::ResourceBusy);
        let shared = first.share().unwrap();
        drop(first);
        assert!(lock(folder.path()).is_err(), "a child still holds it");
        drop(shared);
        lock(folder.path()).unwrap();
        assert_eq!(lock(&folder.path().join("missing")).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[cfg(unix)]
    mod unix {
        use std::os::unix::fs::{PermissionsExt, symlink};
        use std::os::unix::net::UnixListener;
        use std::process::Command;

        use super::*;

        #[test]
        fn pipes_devices_and_sockets_are_refused_at_once() {
            let folder = tempfile::tempdir().unwrap();
            let (pipe, socket) = (folder.path().join("pipe"), folder.path().join("socket"));
            assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
            let _listener = UnixListener::bind(&socket).unwrap();
            for (path, found) in
                [(pipe.as_path(), "a named pipe"), (&socket, "a socket"), (Path::new("/dev/zero"), "a device")]
            {
                let expected = format!("{found}, expected a regular file");
                assert_eq!(read(path, 100).unwrap_err().to_string(), expected);
                assert_eq!(open(path, 100).unwrap_err().to_string(), expected);
                assert_eq!(write(path, b"x").unwrap_err().to_string(), expected);
            }
            assert_eq!(names(folder.path()), ["pipe", "socket"]);
            fs::rename(&pipe, folder.path().join(".a.part")).unwrap();
            let error = write(&folder.path().join("a"), b"x").unwrap_err().to_string();
            assert!(error.ends_with(".a.part is a named pipe, expected a regular file"), "{error}");
        }

        #[test]
        fn links_are_followed_and_permissions_are_those_of_any_new_file() {
            let folder = tempfile::tempdir().unwrap();
            let (target, link) = (folder.path().join("target"), folder.path().join("link"));
            fs::write(&target, "old").unwrap();
            symlink("target", &link).unwrap();
            write(&link, b"new").unwrap();
            assert_eq!(fs::read(&target).unwrap(), b"new");
            assert!(link.symlink_metadata().unwrap().is_symlink());
            let mode = |path: &Path| path.metadata().unwrap().permissions().mode();
            fs::write(folder.path().join("plain"), "").unwrap();
            assert_eq!(mode(&target), mode(&folder.path().join("plain")));

            symlink("nowhere", folder.path().join("dangling")).unwrap();
            write(&folder.path().join("dangling"), b"here").unwrap();
            assert_eq!(fs::read(folder.path().join("dangling")).unwrap(), b"here");
            // Nobody makes a write go elsewhere by a link in place of the temporary file.
            symlink("target", folder.path().join(".b.part")).unwrap();
            assert!(write(&folder.path().join("b"), b"x").is_err());
            assert_eq!(fs::read(&target).unwrap(), b"new");
        }

        #[test]
        fn a_file_of_the_kernel_is_read_although_its_length_is_zero() {
            if Path::new("/proc/self/status").exists() {
                assert!(!read(Path::new("/proc/self/status"), 1 << 20).unwrap().is_empty());
            }
        }
    }
}
