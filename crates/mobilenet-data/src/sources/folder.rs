//! Image folders: `train/<class>/*` and `test/<class>/*`, or `<class>/*` without parts.

use std::path::{Path, PathBuf};

use super::pictures::{Item, Listed};
use super::walk::{find_pictures, picture_folders};
use super::{files, names, parts};
use crate::{Error, ReadOptions};

/// What a folder of pictures consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Folders {
    /// Has a folder for each class.
    pub train: PathBuf,
    /// The same; `None` if test images have to be held out.
    pub test: Option<PathBuf>,
    /// Parts that are not used, because there is a better one.
    pub unused: Vec<PathBuf>,
    /// Parts without folders of classes: pictures without labels.
    pub unlabeled: Vec<PathBuf>,
    /// Whether each folder in `train` is that of a class; else those without pictures are something else.
    pub strict: bool,
}

/// The parts in `dir`, if it has folders named as parts with folders of classes in them.
pub(crate) fn find_parts(dir: &Path, entries: &[PathBuf], options: &ReadOptions) -> Result<Option<Folders>, Error> {
    let mut ranked: Vec<(usize, PathBuf)> = Vec::new();
    // A part that is asked for may lie deeper.
    for (rank, part) in [(parts::TRAIN_RANK, &options.train_part), (parts::TRAIN_RANK + 1, &options.test_part)] {
        if let Some(part) = part.as_ref().map(|part| dir.join(part)).filter(|part| part.is_dir()) {
            ranked.push((rank, part));
        }
    }
    for entry in entries.iter().filter(|entry| entry.is_dir()) {
        if let Some(rank) = parts::rank(&files::name(entry), options)
            && !ranked.iter().any(|(_, known)| known == entry)
        {
            ranked.push((rank, entry.clone()));
        }
    }
    ranked.sort();
    let (mut found, mut unlabeled) = (Vec::new(), Vec::new());
    for (rank, path) in ranked {
        match picture_folders(&path)?.is_empty() {
            true => unlabeled.push(path),
            false => found.push((rank, path)),
        }
    }
    let Some(at) = found.iter().position(|(rank, _)| *rank == parts::TRAIN_RANK) else { return Ok(None) };
    let train = found.remove(at).1;
    let mut rest: Vec<PathBuf> = found.into_iter().map(|(_, path)| path).collect();
    let test = if rest.is_empty() { None } else { Some(rest.remove(0)) };
    if let (Some(part), None) = (&options.test_part, &test) {
        return Err(Error::Missing {
            path: dir.join(part),
            needed: "folders of classes in the part that was asked for",
        });
    }
    Ok(Some(Folders { train, test, unused: rest, unlabeled, strict: true }))
}

/// A folder of classes without parts: two or more folders with pictures. Folders around it, in each of which there is
/// nothing else, do not count.
pub(crate) fn find_classes(dir: &Path) -> Result<Option<Folders>, Error> {
    let mut dir = dir.to_owned();
    // No deeper than archives within archives make it.
    for _ in 0..4 {
        let mut folders = picture_folders(&dir)?;
        match folders.len() {
            0 => return Ok(None),
            1 => dir = folders.remove(0),
            _ => {
                return Ok(Some(Folders {
                    train: dir,
                    test: None,
                    unused: Vec::new(),
                    unlabeled: Vec::new(),
                    strict: false,
                }));
            }
        }
    }
    Ok(None)
}

/// The pictures with their labels. Classes are the folders of `train`, sorted by name.
pub(crate) fn list(folders: &Folders) -> Result<Listed, Error> {
    let class_folders = match folders.strict {
        true => files::list(&folders.train)?.into_iter().filter(|path| path.is_dir()).collect(),
        false => picture_folders(&folders.train)?,
    };
    let mut listed = Listed::default();
    for folder in &class_folders {
        let class = class_name(folder);
        if listed.classes.contains(&class) {
            return Err(Error::ImageFolder {
                path: folder.clone(),
                expected: "the folders of classes to have names of their own",
            });
        }
        let label = listed.classes.len() as u32;
        listed.classes.push(class);
        let found = find_pictures(folder)?;
        if found.pictures.is_empty() {
            return Err(Error::EmptyFolder { path: folder.clone(), expected: "pictures" });
        }
        listed.train.extend(found.pictures.into_iter().map(|path| Item { path, label }));
        listed.strays.extend(found.strays);
    }
    for part in &folders.unlabeled {
        listed.notes.push(format!("{} has no folders of classes and is not used", files::name(part)));
    }
    if let Some(part) = &folders.test {
        let mut test = Vec::new();
        let mut seen = vec![false; listed.classes.len()];
        for folder in picture_folders(part)? {
            let class = class_name(&folder);
            let Some(label) = listed.classes.iter().position(|known| *known == class) else {
                let expected = "the folder of a class that train has, too";
                return Err(Error::ImageFolder { path: folder, expected });
            };
            seen[label] = true;
            let found = find_pictures(&folder)?;
            test.extend(found.pictures.into_iter().map(|path| Item { path, label: label as u32 }));
            listed.strays.extend(found.strays);
        }
        let lacking: Vec<&str> =
            listed.classes.iter().zip(&seen).filter(|(_, seen)| !**seen).map(|(class, _)| class.as_str()).collect();
        if !lacking.is_empty() {
            let what = if lacking.len() == 1 { "a class" } else { "classes" };
            listed.notes.push(format!("{} has no images of {what} of train: {}", files::name(part), few(&lacking)));
        }
        listed.test = Some(test);
        if !folders.unused.is_empty() {
            let unused: Vec<String> = folders.unused.iter().map(|part| files::name(part)).collect();
            listed.notes.push(format!(
                "test images are those of {}; not used: {}",
                files::name(part),
                unused.join(", ")
            ));
        }
    }
    Ok(listed)
}

fn class_name(folder: &Path) -> String {
    folder.file_name().map(names::of).unwrap_or_default()
}

/// The first few of many names.
pub(super) fn few(names: &[&str]) -> String {
    const SHOWN: usize = 5;
    let mut text = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text += &format!(" and {} more", names.len() - SHOWN);
    }
    text
}
