//! Parquet as the Hugging Face hub serves picture sets: columns `img` or `image`, a
//! `struct<bytes, path>`, and `label`, or `fine_label` and `coarse_label` for CIFAR-100.

use std::fs::File;
use std::path::{Path, PathBuf};

use image::{ImageFormat, RgbImage};
use parquet::basic::{Compression, Type};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::{ColumnDescPtr, ColumnDescriptor};
use rayon::prelude::*;

use super::parquet_file::{call, column_reader, corrupt, open};
use super::{classes, files};
use crate::decode::decode_rgb;
use crate::{Dataset, Error, Place, Progress, Source, Split};

const EXPECTED: &str = "img or image: struct<bytes: binary, path: string>, and label or \
                        fine_label: int64";

/// Pictures decoded between two reports of progress.
const CHUNK: usize = 2000;

/// Side of the pictures of CIFAR.
const CIFAR_SIZE: (usize, usize) = (32, 32);

/// Loads both parts. Labels without names are those of CIFAR; with other names, the set is called
/// `folder`.
pub(crate) fn load(
    dir: &Path,
    wanted: Source,
    train: &[PathBuf],
    test: &[PathBuf],
    progress: &mut dyn FnMut(Progress),
) -> Result<Dataset, Error> {
    let kind = Kind::of(&open(&train[0])?, &train[0], files::name(dir))?;
    if wanted != Source::Auto && wanted.name() != kind.name {
        let (expected, found) = (wanted.to_string(), kind.name);
        return Err(Error::WrongSet { path: dir.into(), expected, found });
    }
    let (train, train_sums) = read(&kind, train, kind.size, progress)?;
    let size = Some((train.split.height(), train.split.width()));
    let (test, test_sums) = read(&kind, test, size, progress)?;
    let codec = match (train.png + test.png, train.jpeg + test.jpeg) {
        (_, 0) => "PNG (lossless)",
        (0, _) => "JPEG (lossy)",
        _ => "PNG and JPEG (partly lossy)",
    };
    let copy = format!(
        "parquet of {codec}: {}; {}",
        [train_sums, test_sums].concat().join(", "),
        files::counts(train.split.len(), test.split.len())
    );
    Ok(Dataset::new(kind.name, copy, kind.classes, train.split, test.split))
}

/// The set that has this label column.
struct Kind {
    name: String,
    classes: Vec<String>,
    label: &'static str,
    size: Option<(usize, usize)>,
}

impl Kind {
    fn of(reader: &SerializedFileReader<File>, path: &Path, folder: String) -> Result<Self, Error> {
        let columns = reader.metadata().file_metadata().schema_descr().columns();
        let has = |name: &str| columns.iter().any(|c| c.path().string() == name);
        let (label, name, built_in) = if has("fine_label") {
            ("fine_label", "cifar100", &classes::CIFAR100[..])
        } else if has("label") {
            ("label", "cifar10", &classes::CIFAR10[..])
        } else {
            return Err(schema(path, columns));
        };
        let cifar = |classes| Kind { name: name.into(), classes, label, size: Some(CIFAR_SIZE) };
        Ok(match class_names(reader, label) {
            Some(names) if names != built_in => Self { name: folder, classes: names, label, size: None },
            _ => cifar(classes::owned(built_in)),
        })
    }
}

/// The class names that the hub's `datasets` library writes into a file.
fn class_names(reader: &SerializedFileReader<File>, label: &str) -> Option<Vec<String>> {
    let metadata = reader.metadata().file_metadata().key_value_metadata()?;
    let entry = metadata.iter().find(|entry| entry.key == "huggingface")?;
    let json: serde_json::Value = serde_json::from_str(entry.value.as_ref()?).ok()?;
    let names = json.pointer(&format!("/info/features/{label}/names"))?.as_array()?;
    let names: Option<Vec<String>> = names.iter().map(|n| n.as_str().map(Into::into)).collect();
    names.filter(|names| !names.is_empty())
}

/// A part, and how many of its pictures have which format.
#[derive(Default)]
struct Rows {
    pixels: Vec<u8>,
    labels: Vec<u32>,
    size: Option<(usize, usize)>,
    png: usize,
    jpeg: usize,
}

struct Part {
    split: Split,
    png: usize,
    jpeg: usize,
}

fn read(
    kind: &Kind,
    paths: &[PathBuf],
    size: Option<(usize, usize)>,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Part, Vec<String>), Error> {
    let mut rows = Rows { size, ..Rows::default() };
    let mut sums = Vec::new();
    for path in paths {
        read_file(kind, path, &mut rows, progress)?;
        sums.push(files::with_sum(path, &files::sha256(path)?));
    }
    let (Some((height, width)), false) = (rows.size, rows.labels.is_empty()) else {
        return Err(Error::NoImages { path: paths[0].clone() });
    };
    let split = Split::new(rows.pixels, rows.labels, height, width)?;
    Ok((Part { split, png: rows.png, jpeg: rows.jpeg }, sums))
}

fn read_file(kind: &Kind, path: &Path, rows: &mut Rows, progress: &mut dyn FnMut(Progress)) -> Result<(), Error> {
    let reader = open(path)?;
    let columns = reader.metadata().file_metadata().schema_descr().columns();
    let find = |names: &[&str], types: &[Type]| {
        columns
            .iter()
            .position(|c| names.contains(&c.path().string().as_str()) && is_flat(c, types))
            .ok_or_else(|| schema(path, columns))
    };
    let image_column = find(&["img.bytes", "image.bytes"], &[Type::BYTE_ARRAY])?;
    let label_column = find(&[kind.label], &[Type::INT64, Type::INT32])?;
    let total = u64::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or(0);
    let mut done = 0;
    for group in 0..reader.num_row_groups() {
        let group = call(path, || reader.get_row_group(group))?;
        for column in [image_column, label_column] {
            let codec = group.metadata().column(column).compression();
            if !matches!(codec, Compression::UNCOMPRESSED | Compression::SNAPPY) {
                return Err(Error::ParquetCodec { path: path.into(), found: codec.to_string() });
            }
        }
        let column = |i| column_reader(path, group.as_ref(), i);
        let ColumnReader::ByteArrayColumnReader(mut images) = column(image_column)? else {
            return Err(schema(path, columns));
        };
        let mut labels = column(label_column)?;
        let first = done;
        loop {
            let pictures = values(path, done, &columns[image_column], &mut images)?;
            let numbers = label_values(path, done, &columns[label_column], &mut labels)?;
            if pictures.len() != numbers.len() {
                let reason = format!("row {done}: {} pictures, {} labels", pictures.len(), numbers.len());
                return Err(corrupt(path, &reason));
            }
            if pictures.is_empty() {
                break;
            }
            rows.append(path, done, &pictures, &numbers, kind.classes.len())?;
            done += pictures.len();
            progress(Progress::Reading { file: files::name(path), done: done as u64, total });
        }
        let expected = group.metadata().num_rows();
        if i64::try_from(done - first) != Ok(expected) {
            let reason = format!("expected {expected} rows, found {}", done - first);
            return Err(corrupt(path, &reason));
        }
    }
    Ok(())
}

/// One value or none per row, of one of these types.
fn is_flat(column: &ColumnDescriptor, types: &[Type]) -> bool {
    column.max_rep_level() == 0 && types.contains(&column.physical_type())
}

/// The next values of a column, of `CHUNK` rows or as many as are left. `row` is the first one.
fn values<D: DataType>(
    path: &Path,
    row: usize,
    column: &ColumnDescriptor,
    reader: &mut ColumnReaderImpl<D>,
) -> Result<Vec<D::T>, Error> {
    let (mut values, mut levels, mut rows) = (Vec::new(), Vec::new(), 0);
    while rows < CHUNK {
        let left = CHUNK - rows;
        match call(path, || reader.read_records(left, Some(&mut levels), None, &mut values))? {
            (0, _, _) => break,
            (read, _, _) => rows += read,
        }
    }
    if values.len() != rows {
        let null = levels.iter().position(|&level| level < column.max_def_level()).unwrap_or(0);
        let reason = format!("row {}: {} is null", row + null, column.path());
        return Err(corrupt(path, &reason));
    }
    Ok(values)
}

/// The same for labels of either width.
fn label_values(path: &Path, row: usize, column: &ColumnDescPtr, reader: &mut ColumnReader) -> Result<Vec<i64>, Error> {
    match reader {
        ColumnReader::Int64ColumnReader(reader) => values(path, row, column, reader),
        ColumnReader::Int32ColumnReader(reader) => {
            Ok(values(path, row, column, reader)?.into_iter().map(i64::from).collect())
        }
        _ => Err(schema(path, std::slice::from_ref(column))),
    }
}

impl Rows {
    /// Decodes pictures, in parallel, and appends them with their labels. `row` is the first one.
    fn append(
        &mut self,
        path: &Path,
        row: usize,
        pictures: &[ByteArray],
        labels: &[i64],
        classes: usize,
    ) -> Result<(), Error> {
        // Collected whole, so that of several errors the first in order is reported.
        let decoded: Vec<Result<RgbImage, String>> =
            pictures.par_iter().map(|bytes| decode_rgb(bytes.data())).collect();
        for (i, (image, (&label, bytes))) in decoded.into_iter().zip(labels.iter().zip(pictures)).enumerate() {
            let place = || Place::row(path, row + i);
            let image = image.map_err(|reason| Error::NotAPicture { place: place(), reason })?;
            let found = (image.height() as usize, image.width() as usize);
            let expected = *self.size.get_or_insert(found);
            if found != expected {
                return Err(Error::PictureSize { place: place(), expected, found });
            }
            match u32::try_from(label) {
                Ok(label) if (label as usize) < classes => self.labels.push(label),
                _ => return Err(Error::LabelRange { place: place(), found: label, classes }),
            }
            match image::guess_format(bytes.data()) {
                Ok(ImageFormat::Png) => self.png += 1,
                _ => self.jpeg += 1,
            }
            self.pixels.extend_from_slice(&image);
        }
        Ok(())
    }
}

fn schema(path: &Path, columns: &[ColumnDescPtr]) -> Error {
    let column = |c: &ColumnDescPtr| format!("{}: {}", c.path().string(), c.physical_type());
    let found = columns.iter().map(column).collect::<Vec<_>>().join(", ");
    Error::ParquetSchema { path: path.into(), expected: EXPECTED, found }
}
