//! Folders and checksums.

use std::io::Read;
use std::path::{Path, PathBuf};

use mobilenet_common::files;
use mobilenet_common::numbers::thousands;
use sha2::{Digest, Sha256};

use super::names;
use crate::Error;

/// What `dir` holds, sorted by name. Hidden names and what a Mac's archives leave are left out.
pub(crate) fn list(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(Error::io(dir))? {
        let path = entry.map_err(Error::io(dir))?.path();
        if !name(&path).starts_with('.') && name(&path) != "__MACOSX" {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The last part of a path; `data` if it has none, as in `..`.
pub(crate) fn name(path: &Path) -> String {
    let name = match path.file_name() {
        Some(name) => Some(name.to_os_string()),
        None => path.canonicalize().ok().and_then(|p| p.file_name().map(Into::into)),
    };
    name.map_or_else(|| "data".into(), |name| name.to_string_lossy().into_owned())
}

/// The first few names, for an error.
pub(crate) fn names(paths: &[PathBuf]) -> String {
    const SHOWN: usize = 5;
    let mut names: Vec<String> = paths.iter().take(SHOWN).map(|p| name(p)).collect();
    if paths.len() > SHOWN {
        names.push(format!("and {} more", paths.len() - SHOWN));
    }
    names.join(", ")
}

/// SHA-256 of a file, in hexadecimal.
pub(crate) fn sha256(path: &Path) -> Result<String, Error> {
    let mut file = files::open(path, u64::MAX).map_err(Error::io(path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer).map_err(Error::io(path))? {
            0 => return Ok(hex(&hasher.finalize())),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// SHA-256 of bytes, in hexadecimal.
pub(crate) fn sha256_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// `train.parquet (sha256 eb8ac7f385dc)`.
pub(crate) fn with_sum(path: &Path, sha256: &str) -> String {
    format!("{} (sha256 {})", names::text(name(path).as_bytes()), sha256.get(..12).unwrap_or(sha256))
}

/// ` of 256`, if pictures are cut out of that size.
pub(crate) fn cut(short: usize, size: usize) -> String {
    if short == size { String::new() } else { format!(" of {short}") }
}

/// `50,000 training and 10,000 test images`.
pub(crate) fn counts(train: usize, test: usize) -> String {
    format!("{} training and {} test images", thousands(train as u64), thousands(test as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_checksums_for_people() {
        assert_eq!(counts(50_000, 10_000), "50,000 training and 10,000 test images");
        let empty = sha256_of(b"");
        assert_eq!(with_sum(Path::new("a/b.bin"), &empty), "b.bin (sha256 e3b0c44298fc)");
    }
}
