//! The pictures that are named: files, those in folders, one on standard input.

use std::fs;
use std::io::{Read, stdin};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use image::ImageFormat;
use mobilenet_data::{Error, decode_image_cropped, load_image_cropped};

use crate::output::note;

/// What stands for standard input.
const STDIN: &str = "-";
/// The most bytes of a picture on standard input, as of a file's.
const MAX_BYTES: u64 = 256 << 20;
/// How deep folders lie in folders.
const MAX_DEPTH: usize = 64;
/// Bytes by which a picture is told.
const HEAD_BYTES: u64 = 64;
/// Names of pictures in lower case, which are none by content if they are broken.
const ENDINGS: [&str; 8] = ["jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff"];

/// Files as they are named, and all pictures in folders, sorted by name. Other files in folders are counted.
pub fn list(named: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in named {
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let (before, mut others) = (found.len(), 0);
        walk(path, &mut found, &mut others, 0)?;
        ensure!(found.len() > before, "{}: holds no pictures", path.display());
        if others > 0 {
            note(&format!("{}: {others} files that are no pictures left out", path.display()));
        }
    }
    let times = found.iter().filter(|path| path.as_os_str() == STDIN).count();
    ensure!(times <= 1, "-: standard input is one picture, expected it once, found it {times} times");
    Ok(found)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>, others: &mut usize, depth: usize) -> Result<()> {
    ensure!(depth < MAX_DEPTH, "{}: lies {depth} folders deep, expected at most {MAX_DEPTH}", folder.display());
    let cannot = || format!("cannot read {}", folder.display());
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        // What programs hide is not meant.
        if !entry.file_name().to_string_lossy().starts_with('.') {
            entries.push(entry);
        }
    }
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        // Links to folders are not followed: they may lead back.
        if entry.file_type().with_context(cannot)?.is_dir() {
            walk(&path, found, others, depth + 1)?;
        } else if path.is_file() && is_picture(&path) {
            found.push(path);
        } else if !path.is_dir() {
            *others += 1;
        }
    }
    Ok(())
}

/// Whether a file is meant to be a picture: by its content, or else by its name.
fn is_picture(path: &Path) -> bool {
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Pnm, Tiff, WebP};
    let mut head = Vec::new();
    let file = fs::File::open(path);
    let read = file.and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head));
    let by_content = || image::guess_format(&head).ok();
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    let by_name = || ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()));
    read.is_ok() && by_content().is_some_and(|f| matches!(f, Bmp | Gif | Jpeg | Png | Pnm | Tiff | WebP)) || by_name()
}

/// A picture as `[size, size, 3]`; the error is a line that names it.
pub fn load(path: &Path, short: usize, size: usize) -> Result<Vec<u8>, String> {
    if path.as_os_str() != STDIN {
        return load_image_cropped(path, short, size).map_err(|error| error.to_string());
    }
    let mut bytes = Vec::new();
    let read = stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("standard input: {error}"))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("standard input: expected at most {MAX_BYTES} bytes"));
    }
    decode_image_cropped(&bytes, short, size).map_err(|error| match error {
        Error::NotAPicture { reason, .. } => format!("standard input: {reason}"),
        other => format!("standard input: {other}"),
    })
}
