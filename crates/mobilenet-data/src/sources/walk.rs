//! The pictures below a folder, however deep they lie.

use std::io::Read;
use std::path::{Path, PathBuf};

use mobilenet_common::files;

use super::files::list;
use crate::Error;
use crate::decode::kind;

/// What is below a folder, sorted; hidden names and what a Mac's archives leave (`__MACOSX`) are left out.
#[derive(Debug, Default)]
pub struct FoundPictures {
    /// Files whose name, or whose first bytes if the name has another ending, are a picture's.
    pub pictures: Vec<PathBuf>,
    /// All other files.
    pub strays: Vec<PathBuf>,
}

/// Everything below a folder, however deep it lies.
///
/// # Errors
/// [`Error::Io`] for what cannot be read.
pub fn find_pictures(dir: &Path) -> Result<FoundPictures, Error> {
    let mut found = FoundPictures::default();
    visit(dir, &mut Vec::new(), &mut |path| {
        let to = if is_picture(&path) { &mut found.pictures } else { &mut found.strays };
        to.push(path);
        true
    })?;
    Ok(found)
}

/// Whether there is a picture below `dir`.
pub(crate) fn has_picture(dir: &Path) -> Result<bool, Error> {
    let mut found = false;
    visit(dir, &mut Vec::new(), &mut |path| {
        found = is_picture(&path);
        !found
    })?;
    Ok(found)
}

/// The folders in `dir` that have a picture below them.
pub(crate) fn picture_folders(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut folders = Vec::new();
    for path in list(dir)?.into_iter().filter(|path| path.is_dir()) {
        if has_picture(&path)? {
            folders.push(path);
        }
    }
    Ok(folders)
}

/// Gives each file to `take` until that is false. A link to a folder that is being visited already is left out.
fn visit(dir: &Path, within: &mut Vec<PathBuf>, take: &mut dyn FnMut(PathBuf) -> bool) -> Result<bool, Error> {
    let real = dir.canonicalize().map_err(Error::io(dir))?;
    if within.contains(&real) {
        return Ok(true);
    }
    within.push(real);
    for path in list(dir)? {
        let go_on = if path.is_dir() { visit(&path, within, take)? } else { take(path) };
        if !go_on {
            return Ok(false);
        }
    }
    within.pop();
    Ok(true)
}

/// By its name, or else by its first bytes if those of few other files are like them.
fn is_picture(path: &Path) -> bool {
    use image::ImageFormat::{Gif, Jpeg, Png, Tiff, WebP};
    if kind::is_picture_name(path) {
        return true;
    }
    let mut start = Vec::new();
    let read = files::open(path, u64::MAX).and_then(|file| file.take(16).read_to_end(&mut start));
    read.is_ok() && matches!(kind::format(&start), Some(Gif | Jpeg | Png | Tiff | WebP))
}
