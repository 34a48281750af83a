//! Image folders: `train/<class>/*` and `test/<class>/*`, any size, PNG or JPEG.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::files;
use crate::decode::{check_size, load_image};
use crate::{Dataset, Error, Progress, Split};
use mobilenet_common::random::SplitMix64;

/// First word of the key of the order of the pictures.
const MIX: u64 = u64::from_le_bytes(*b"folder..");

/// Pictures decoded between two reports of progress.
const CHUNK: usize = 512;

/// Loads both parts, each picture cut and scaled to `image_size`. Classes are the subfolders of
/// `train`, sorted by name.
pub(crate) fn load(
    name: String,
    train: &Path,
    test: &Path,
    image_size: usize,
    progress: &mut dyn FnMut(Progress),
) -> Result<Dataset, Error> {
    check_size(image_size)?;
    let folders = files::list(train)?;
    let classes: Vec<String> = folders.iter().filter(|f| f.is_dir()).map(|f| files::name(f)).collect();
    let train_files = pictures(train, &classes)?;
    let test_files = pictures(test, &classes)?;
    let mut digest = Sha256::new();
    let train_split = read(train, &train_files, image_size, &mut digest, progress)?;
    let test_split = read(test, &test_files, image_size, &mut digest, progress)?;
    let copy = format!(
        "image folder, {} classes, scaled to {image_size}x{image_size} (sha256 {} of the scaled \
         pixels); {}",
        classes.len(),
        &files::hex(&digest.finalize())[..12],
        files::counts(train_split.len(), test_split.len())
    );
    Ok(Dataset::new(name, copy, classes, train_split, test_split))
}

/// Every picture of a part with its label, in a fixed random order: what comes first is then a
/// fair part of the whole.
fn pictures(part: &Path, classes: &[String]) -> Result<Vec<(PathBuf, u32)>, Error> {
    let folders = files::list(part)?;
    if folders.is_empty() {
        return Err(Error::EmptyFolder { path: part.into(), expected: "one folder per class" });
    }
    let mut pictures = Vec::new();
    for folder in folders {
        let label = classes.iter().position(|class| *class == files::name(&folder));
        let label = label.filter(|_| folder.is_dir()).ok_or_else(|| Error::ImageFolder {
            path: folder.clone(),
            expected: "the folder of a class that train has, too",
        })?;
        let found = files::list(&folder)?;
        if found.is_empty() {
            return Err(Error::EmptyFolder { path: folder, expected: "pictures" });
        }
        if let Some(path) = found.iter().find(|path| path.is_dir()) {
            return Err(Error::ImageFolder { path: path.clone(), expected: "a picture" });
        }
        pictures.extend(found.into_iter().map(|path| (path, label as u32)));
    }
    SplitMix64::keyed(&[MIX]).shuffle(&mut pictures);
    Ok(pictures)
}

fn read(
    part: &Path,
    pictures: &[(PathBuf, u32)],
    size: usize,
    digest: &mut Sha256,
    progress: &mut dyn FnMut(Progress),
) -> Result<Split, Error> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for chunk in pictures.chunks(CHUNK) {
        // Collected whole, so that of several errors the first in order is reported.
        let decoded: Vec<Result<Vec<u8>, Error>> = chunk.par_iter().map(|(path, _)| load_image(path, size)).collect();
        for (image, (_, label)) in decoded.into_iter().zip(chunk) {
            let image = image?;
            digest.update(&image);
            pixels.extend_from_slice(&image);
            labels.push(*label);
        }
        progress(Progress::Reading {
            file: files::name(part),
            done: labels.len() as u64,
            total: pictures.len() as u64,
        });
    }
    Split::new(pixels, labels, size, size)
}
