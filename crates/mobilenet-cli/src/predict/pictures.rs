//! The pictures that are named: files, those in folders, one on standard input.

use std::io::{Read, stdin};
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use mobilenet_data::{Error, MAX_PICTURE_BYTES, decode_image_cropped, find_pictures, load_image_cropped};

use crate::output::note;

/// What stands for standard input.
const STDIN: &str = "-";

/// Files as they are named, and all pictures in folders, sorted by name. Other files in folders are counted.
pub fn list(named: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in named {
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let below = find_pictures(path)?;
        ensure!(!below.pictures.is_empty(), "{}: holds no pictures", path.display());
        if !below.strays.is_empty() {
            note(&format!("{}: {} files that are no pictures left out", path.display(), below.strays.len()));
        }
        found.extend(below.pictures);
    }
    let times = found.iter().filter(|path| path.as_os_str() == STDIN).count();
    ensure!(times <= 1, "-: standard input is one picture, expected it once, found it {times} times");
    Ok(found)
}

/// A picture as `[size, size, 3]`; the error is a line that names it.
pub fn load(path: &Path, short: usize, size: usize) -> Result<Vec<u8>, String> {
    if path.as_os_str() != STDIN {
        return load_image_cropped(path, short, size).map_err(|error| error.to_string());
    }
    let mut bytes = Vec::new();
    let read = stdin().lock().take(MAX_PICTURE_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("standard input: {error}"))?;
    if bytes.len() as u64 > MAX_PICTURE_BYTES {
        return Err(format!("standard input: expected at most {MAX_PICTURE_BYTES} bytes"));
    }
    decode_image_cropped(&bytes, short, size).map_err(|error| match error {
        Error::NotAPicture { reason, .. } => format!("standard input: {reason}"),
        other => format!("standard input: {other}"),
    })
}
