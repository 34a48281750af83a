//! The pictures of parquet files, decoded row by row.

use std::collections::BTreeSet;

use parquet::data_type::ByteArray;
use rayon::prelude::*;

use super::file::{corrupt, read_pictures};
use super::labels::FileLabels;
use super::part::{Part, open_with_columns};
use crate::decode::{decode_rgb, kind, square};
use crate::originals::Keeper;
use crate::place::Broken;
use crate::sources::files;
use crate::sources::pictures::CHUNK_BYTES;
use crate::sources::scanned::{Gathered, How, Scanned};
use crate::{Error, Place, Progress};

/// What is read into, and what was found on the way.
pub(super) struct Reading<'a> {
    pub(super) how: &'a How<'a>,
    /// Whether pictures must be of their size already.
    pub(super) exact: bool,
    /// The formats of the pictures, by name.
    pub(super) formats: BTreeSet<&'static str>,
    pub(super) broken: Vec<Broken>,
    pub(super) train: Gathered,
    pub(super) test: Gathered,
    /// Takes the encoded pictures of all rows.
    pub(super) originals: Option<Keeper<'a>>,
    /// Rows that were read.
    pub(super) rows: usize,
    pub(super) progress: &'a mut dyn FnMut(Progress),
}

impl Reading<'_> {
    /// Reads the rows of a part, of which some are to test with.
    pub(super) fn part(&mut self, part: &Part, is_test: &dyn Fn(usize) -> bool) -> Result<(), Error> {
        let mut before = 0;
        for FileLabels { path, rows: labels, .. } in &part.labels {
            let (reader, columns) = open_with_columns(path, part.options)?;
            let (mut done, mut failed) = (0, None);
            read_pictures(path, &reader, columns.image, &mut |pictures| {
                let taken = self.take(&pictures, |i| {
                    let row = before + done + i;
                    // A file with more pictures than labels is refused below.
                    (Place::row(path, done + i), part.classes.get(row).copied().unwrap_or(0), is_test(row))
                });
                failed = taken.err();
                done += pictures.len();
                let total = labels.len() as u64;
                (self.progress)(Progress::Reading { file: files::name(path), done: done as u64, total });
                failed.is_none() && done <= labels.len()
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
            if done != labels.len() {
                return Err(corrupt(path, &format!("{done} pictures, {} labels", labels.len())));
            }
            before += done;
        }
        Ok(())
    }

    /// Takes some rows, of which `row` tells the place, the class and whether they are to test with.
    fn take(&mut self, pictures: &[Option<ByteArray>], row: impl Fn(usize) -> (Place, u32, bool)) -> Result<(), Error> {
        let chunk = self.how.within(CHUNK_BYTES, pictures.len().max(1));
        let mut at = 0;
        for pictures in pictures.chunks(chunk) {
            for (bytes, picture) in pictures.iter().zip(self.decoded(pictures)) {
                let (place, label, is_test) = row(at);
                match picture {
                    Ok(picture) => {
                        let part = if is_test { &mut self.test } else { &mut self.train };
                        part.push(picture, label, self.rows);
                    }
                    Err(reason) => self.broken.push(Broken { place, reason }),
                }
                if let Some(originals) = &mut self.originals {
                    originals.push(bytes.as_ref().map_or(&[], ByteArray::data))?;
                }
                (at, self.rows) = (at + 1, self.rows + 1);
            }
        }
        Ok(())
    }

    /// Decodes pictures, in parallel.
    fn decoded(&mut self, pictures: &[Option<ByteArray>]) -> Vec<Result<Scanned, String>> {
        let (short, size, exact) = (self.how.short(), self.how.size, self.exact);
        let decode = |bytes: &Option<ByteArray>| {
            let bytes = bytes.as_ref().ok_or("the picture is null")?;
            let image = decode_rgb(bytes.data())?;
            let found = (image.height() as usize, image.width() as usize);
            match exact {
                false => Ok(Scanned::new(square(image, short, size))),
                true if found == (size, size) => Ok(Scanned::new(image.into_raw())),
                true => {
                    Err(format!("expected a picture of {size}x{size}, found {}x{} (height x width)", found.0, found.1))
                }
            }
        };
        for bytes in pictures.iter().flatten() {
            self.formats.extend(kind::format(bytes.data()).map(kind::name));
        }
        pictures.par_iter().map(decode).collect()
    }
}

/// `PNG (lossless)`.
pub(super) fn described(formats: &BTreeSet<&'static str>) -> String {
    let lossy = formats.iter().filter(|format| matches!(**format, "JPEG" | "WebP")).count();
    let loss = match lossy {
        0 => "lossless",
        n if n == formats.len() => "lossy",
        _ => "partly lossy",
    };
    // The lossless ones first.
    let mut names: Vec<&str> = formats.iter().copied().collect();
    names.sort_by_key(|format| matches!(*format, "JPEG" | "WebP"));
    format!("{} ({loss})", names.join(" and "))
}
