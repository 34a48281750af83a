//! A part of the set, training or test: its files, and the labels of their rows.

use std::fs::File;
use std::path::{Path, PathBuf};

use parquet::file::reader::{FileReader, SerializedFileReader};

use super::columns::Columns;
use super::file::{open, read_labels, read_pictures};
use super::labels::{Classes, FileLabels};
use crate::decode::decode_rgb;
use crate::sources::files;
use crate::{Error, ReadOptions};

/// The labels of the files of a part.
pub(super) struct Part<'a> {
    pub(super) labels: Vec<FileLabels>,
    /// The class of each row of all files, once it is known.
    pub(super) classes: Vec<u32>,
    /// Bytes of the encoded pictures, as the files say.
    pub(super) encoded: u64,
    pub(super) options: &'a ReadOptions,
}

impl<'a> Part<'a> {
    pub(super) fn read_labels(paths: &[PathBuf], first: &Columns, options: &'a ReadOptions) -> Result<Self, Error> {
        let (mut labels, mut encoded) = (Vec::new(), 0u64);
        for path in paths {
            let (reader, columns) = open_with_columns(path, options)?;
            check_names(path, first.names.as_deref(), columns.names.as_deref())?;
            for group in reader.metadata().row_groups() {
                let bytes = group.column(columns.image).uncompressed_size();
                encoded = encoded.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
            }
            labels.push(read_labels(path, &reader, columns.label)?);
        }
        match labels.iter().all(|file| file.rows.is_empty()) {
            true => Err(Error::NoImages { path: paths[0].clone() }),
            false => Ok(Self { labels, classes: Vec::new(), encoded, options }),
        }
    }

    pub(super) fn set_classes(&mut self, classes: &Classes) -> Result<(), Error> {
        self.classes = self.labels.iter().map(|file| classes.of_rows(file)).collect::<Result<Vec<_>, _>>()?.concat();
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether the first picture that can be read is a square of this side.
    pub(super) fn first_picture_is_of(&self, side: usize) -> Result<bool, Error> {
        let mut found = None;
        let path = &self.labels[0].path;
        let (reader, columns) = open_with_columns(path, self.options)?;
        read_pictures(path, &reader, columns.image, &mut |pictures| {
            let image = pictures.iter().flatten().find_map(|bytes| decode_rgb(bytes.data()).ok());
            found = found.or(image.map(|image| (image.height() as usize, image.width() as usize)));
            found.is_none()
        })?;
        Ok(found.is_none_or(|found| found == (side, side)))
    }

    pub(super) fn sums(&self) -> Result<Vec<String>, Error> {
        self.labels.iter().map(|file| Ok(files::with_sum(&file.path, &files::sha256(&file.path)?))).collect()
    }
}

/// A file, and its columns of pictures and labels.
pub(super) fn open_with_columns(
    path: &Path,
    options: &ReadOptions,
) -> Result<(SerializedFileReader<File>, Columns), Error> {
    let reader = open(path)?;
    let columns = Columns::of(&reader, path, options)?;
    Ok((reader, columns))
}

/// Two files of a set must name the same classes in the same order, or a label would mean two things.
fn check_names(path: &Path, expected: Option<&[String]>, found: Option<&[String]>) -> Result<(), Error> {
    let (Some(expected), Some(found)) = (expected, found) else { return Ok(()) };
    let Some(at) = (0..expected.len().max(found.len())).find(|&at| expected.get(at) != found.get(at)) else {
        return Ok(());
    };
    let name = |names: &[String]| names.get(at).map_or("none", |name| name.as_str()).to_owned();
    Err(Error::ClassOrder { path: path.into(), label: at, expected: name(expected), found: name(found) })
}
