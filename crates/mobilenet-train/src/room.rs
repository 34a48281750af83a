//! Whether a folder has room for what a run will leave in it.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

/// Fails now if a folder has no room for files of these sizes beside each other: a full disk, or a limit on the size of
/// files, shows before long work and not after it. Writes and removes files `.room-N.part`; those that a kill leaves are
/// taken over by the next call.
pub(crate) fn check(folder: &Path, sizes: &[u64]) -> io::Result<()> {
    let parts: Vec<PathBuf> = (0..sizes.len()).map(|i| folder.join(format!(".room-{i}.part"))).collect();
    let written = parts.iter().zip(sizes).try_for_each(|(part, &size)| {
        let zeros = io::repeat(0).take(size);
        io::copy(&mut BufReader::with_capacity(1 << 20, zeros), &mut File::create(part)?).map(drop)
    });
    for part in &parts {
        let _ = fs::remove_file(part);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_looked_for_and_left() {
        let folder = tempfile::tempdir().unwrap();
        check(folder.path(), &[10, 0, 3_000_000]).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(check(&folder.path().join("missing"), &[1]).is_err());
    }
}
