//! The parquet reader, called with care: a damaged file must end in an error.
//!
//! The reader of the `parquet` crate has assertions about what a file says of itself. Those known
//! are checked for here beforehand; should there be more, [`call`] ends them.

use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use mobilenet_common::files;
use parquet::basic::{Compression, Encoding, Type};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::schema::types::ColumnDescPtr;

use super::codec;
use super::columns::schema;
use super::labels::{FileLabels, Label};
use crate::Error;
use crate::decode::kind;

/// Rows that are read at a time.
const CHUNK: usize = 256;

/// Most bytes of a page once it is unpacked: 1 GiB.
const MAX_PAGE_BYTES: usize = 1 << 30;

/// Calls the reader, and makes its errors and panics ours.
fn call<T>(path: &Path, reader: impl FnOnce() -> ParquetResult<T>) -> Result<T, Error> {
    let reason = match catch_unwind(AssertUnwindSafe(reader)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
            (Some(text), _) => text.clone(),
            (None, Some(text)) => text.to_string(),
            (None, None) => "the reader gave up".into(),
        },
    };
    Err(corrupt(path, &reason))
}

/// Opens a file and checks that its columns lie inside of it.
pub(super) fn open(path: &Path) -> Result<SerializedFileReader<File>, Error> {
    let file = files::open(path, u64::MAX).map_err(Error::io(path))?;
    let length = file.metadata().map_err(Error::io(path))?.len();
    let mut start = Vec::new();
    (&file).take(64).read_to_end(&mut start).map_err(Error::io(path))?;
    if kind::is_lfs_pointer(&start) {
        return Err(Error::Placeholder { path: path.into(), found: kind::LFS_POINTER });
    }
    let reader = call(path, || SerializedFileReader::new(file))?;
    for group in reader.metadata().row_groups() {
        for column in group.columns() {
            let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
            let end = start.checked_add(column.compressed_size()).and_then(|end| u64::try_from(end).ok());
            if start < 0 || column.compressed_size() < 0 || end.is_none_or(|end| end > length) {
                let name = column.column_path();
                return Err(corrupt(path, &format!("column {name} lies outside of the file")));
            }
        }
    }
    Ok(reader)
}

/// Every label of a file.
pub(super) fn read_labels(
    path: &Path,
    reader: &SerializedFileReader<File>,
    column: usize,
) -> Result<FileLabels, Error> {
    let mut labels = FileLabels::new(path.into());
    each_chunk(path, reader, column, &mut |reader, descriptor| {
        let found: Vec<Option<Label>> = match reader {
            ColumnReader::Int64ColumnReader(reader) => mapped(values(path, descriptor, reader)?, Label::Int),
            ColumnReader::Int32ColumnReader(reader) => {
                mapped(values(path, descriptor, reader)?, |value| Label::Int(value.into()))
            }
            ColumnReader::BoolColumnReader(reader) => {
                mapped(values(path, descriptor, reader)?, |value| Label::Int(value.into()))
            }
            ColumnReader::ByteArrayColumnReader(reader) => {
                mapped(values(path, descriptor, reader)?, |value: ByteArray| Label::Text(value.data().into()))
            }
            _ => return Err(schema(path, std::slice::from_ref(descriptor), "labels: integers or strings")),
        };
        let count = found.len();
        for label in found {
            let null = || corrupt(path, &format!("row {}: {} is null", labels.rows.len(), descriptor.path()));
            labels.push(label.ok_or_else(null)?);
        }
        Ok((count, true))
    })?;
    Ok(labels)
}

/// Every picture of a file, some rows at a time, `None` for those without one, until `take` says that it has enough.
pub(super) fn read_pictures(
    path: &Path,
    reader: &SerializedFileReader<File>,
    column: usize,
    take: &mut dyn FnMut(Vec<Option<ByteArray>>) -> bool,
) -> Result<(), Error> {
    each_chunk(path, reader, column, &mut |reader, descriptor| {
        let ColumnReader::ByteArrayColumnReader(reader) = reader else {
            return Err(schema(path, std::slice::from_ref(descriptor), "encoded pictures"));
        };
        let pictures = values(path, descriptor, reader)?;
        let count = pictures.len();
        Ok((count, count == 0 || take(pictures)))
    })
}

fn mapped<T>(values: Vec<Option<T>>, label: impl Fn(T) -> Label) -> Vec<Option<Label>> {
    values.into_iter().map(|value| value.map(&label)).collect()
}

/// What is done with the next rows of a column: how many there were, and whether to go on.
type Chunk<'a> = dyn FnMut(&mut ColumnReader, &ColumnDescPtr) -> Result<(usize, bool), Error> + 'a;

/// Goes through a column, and sees that it has as many rows as the file says.
fn each_chunk(
    path: &Path,
    reader: &SerializedFileReader<File>,
    column: usize,
    chunk: &mut Chunk<'_>,
) -> Result<(), Error> {
    let descriptor = reader.metadata().file_metadata().schema_descr().column(column);
    for (at, group) in reader.metadata().row_groups().iter().enumerate() {
        let mut columns = column_reader(path, reader, at, column)?;
        let mut rows = 0;
        loop {
            let (count, go_on) = chunk(&mut columns, &descriptor)?;
            rows += count;
            match (count, go_on) {
                (_, false) => return Ok(()),
                (0, _) => break,
                _ => {}
            }
        }
        let expected = group.num_rows();
        if i64::try_from(rows) != Ok(expected) {
            return Err(corrupt(path, &format!("expected {expected} rows of {}, found {rows}", descriptor.path())));
        }
    }
    Ok(())
}

/// The next values of a column, of `CHUNK` rows or as many as are left.
fn values<D: DataType>(
    path: &Path,
    column: &ColumnDescPtr,
    reader: &mut ColumnReaderImpl<D>,
) -> Result<Vec<Option<D::T>>, Error> {
    let (mut values, mut levels, mut rows) = (Vec::new(), Vec::new(), 0);
    while rows < CHUNK {
        let left = CHUNK - rows;
        match call(path, || reader.read_records(left, Some(&mut levels), None, &mut values))? {
            (0, _, _) => break,
            (read, _, _) => rows += read,
        }
    }
    if values.len() == rows {
        return Ok(values.into_iter().map(Some).collect());
    }
    let mut values = values.into_iter();
    let present = |level: &i16| *level >= column.max_def_level();
    Ok(levels.iter().map(|level| if present(level) { values.next() } else { None }).collect())
}

/// The reader of a column of a row group.
fn column_reader(
    path: &Path,
    reader: &SerializedFileReader<File>,
    group: usize,
    column: usize,
) -> Result<ColumnReader, Error> {
    let metadata = reader.metadata().row_group(group);
    let chunk = metadata.column(column);
    let descriptor = chunk.column_descr_ptr();
    let (pages, unzstd): (Box<dyn PageReader>, _) = match chunk.compression() {
        Compression::ZSTD(_) => {
            let max = usize::try_from(chunk.uncompressed_size()).unwrap_or(0).min(MAX_PAGE_BYTES);
            (packed_pages(path, chunk, metadata.num_rows())?, Some(max))
        }
        Compression::UNCOMPRESSED
        | Compression::SNAPPY
        | Compression::GZIP(_)
        | Compression::BROTLI(_)
        | Compression::LZ4
        | Compression::LZ4_RAW => {
            let group = call(path, || reader.get_row_group(group))?;
            (call(path, || group.get_column_page_reader(column))?, None)
        }
        other => return Err(Error::ParquetCodec { path: path.into(), found: other.to_string() }),
    };
    let checked = CheckedPages { pages, column: descriptor.clone(), has_dictionary: false, unzstd };
    Ok(get_column_reader(descriptor, Box::new(checked)))
}

/// The pages of a column as they are in the file.
fn packed_pages(path: &Path, chunk: &ColumnChunkMetaData, rows: i64) -> Result<Box<dyn PageReader>, Error> {
    let file = Arc::new(files::open(path, u64::MAX).map_err(Error::io(path))?);
    call(path, || {
        let plain = chunk.clone().into_builder().set_compression(Compression::UNCOMPRESSED).build()?;
        let rows = usize::try_from(rows).unwrap_or(0);
        Ok(Box::new(SerializedPageReader::new(file, &plain, rows, None)?) as Box<dyn PageReader>)
    })
}

pub(super) fn corrupt(path: &Path, reason: &str) -> Error {
    Error::Parquet { path: path.into(), reason: reason.replace(['\n', '\r'], " ") }
}

/// Pages of a column without repetition that hold what they say they hold.
struct CheckedPages {
    pages: Box<dyn PageReader>,
    column: ColumnDescPtr,
    has_dictionary: bool,
    /// If they are compressed with zstd: how many bytes a page may have.
    unzstd: Option<usize>,
}

impl CheckedPages {
    fn check(&mut self, page: &Page) -> Result<(), &'static str> {
        use Encoding::{
            DELTA_BINARY_PACKED, DELTA_BYTE_ARRAY, DELTA_LENGTH_BYTE_ARRAY, PLAIN, PLAIN_DICTIONARY, RLE_DICTIONARY,
        };
        let is_dictionary = matches!(page, Page::DictionaryPage { .. });
        match page.encoding() {
            _ if is_dictionary => self.has_dictionary = true,
            RLE_DICTIONARY | PLAIN_DICTIONARY if !self.has_dictionary => return Err("a page without its dictionary"),
            RLE_DICTIONARY | PLAIN_DICTIONARY => return Ok(()),
            DELTA_BINARY_PACKED | DELTA_BYTE_ARRAY | DELTA_LENGTH_BYTE_ARRAY => return Ok(()),
            PLAIN => {}
            _ => return Err("a page of an encoding that its column cannot have"),
        }
        if self.column.physical_type() == Type::BYTE_ARRAY {
            let values = self.values(page).ok_or("a page shorter than its levels")?;
            let nullable = !is_dictionary && self.column.max_def_level() > 0;
            check_lengths(values, page.num_values(), nullable)?;
        }
        Ok(())
    }

    /// The bytes of a page behind its definition levels.
    fn values<'a>(&self, page: &'a Page) -> Option<&'a [u8]> {
        let levels = match page {
            Page::DictionaryPage { .. } => 0,
            Page::DataPage { .. } if self.column.max_def_level() == 0 => 0,
            Page::DataPage { buf, .. } => 4 + u32::from_le_bytes(buf.get(..4)?.try_into().ok()?) as usize,
            Page::DataPageV2 { def_levels_byte_len, rep_levels_byte_len, .. } => {
                (*def_levels_byte_len as usize).checked_add(*rep_levels_byte_len as usize)?
            }
        };
        page.buffer().get(levels..)
    }
}

/// `n` byte arrays, or fewer if some may be null, each behind its length in four bytes.
fn check_lengths(mut bytes: &[u8], n: u32, nullable: bool) -> Result<(), &'static str> {
    for _ in 0..n {
        if nullable && bytes.is_empty() {
            break;
        }
        let (length, rest) = bytes.split_first_chunk().ok_or("a value cut short")?;
        bytes = rest.get(u32::from_le_bytes(*length) as usize..).ok_or("a value cut short")?;
    }
    Ok(())
}

impl PageReader for CheckedPages {
    fn get_next_page(&mut self) -> ParquetResult<Option<Page>> {
        let mut page = self.pages.get_next_page()?;
        if let Some(max) = self.unzstd {
            page = page.map(|page| codec::unpacked(page, max)).transpose()?;
        }
        if let Some(page) = &page {
            self.check(page).map_err(|reason| ParquetError::General(reason.into()))?;
        }
        Ok(page)
    }

    fn peek_next_page(&mut self) -> ParquetResult<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> ParquetResult<()> {
        self.pages.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> ParquetResult<bool> {
        self.pages.at_record_boundary()
    }
}

impl Iterator for CheckedPages {
    type Item = ParquetResult<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}
