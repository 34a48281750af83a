//! The parquet reader, called with care: a damaged file must end in an error.
//!
//! The reader of the `parquet` crate has assertions about what a file says of itself. Those known
//! are checked for here beforehand; should there be more, [`call`] ends them.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use mobilenet_common::files;
use parquet::basic::{Encoding, Type};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::{ColumnReader, get_column_reader};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::schema::types::ColumnDescPtr;

use crate::Error;

/// Calls the reader, and makes its errors and panics ours.
pub(crate) fn call<T>(path: &Path, reader: impl FnOnce() -> ParquetResult<T>) -> Result<T, Error> {
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
pub(crate) fn open(path: &Path) -> Result<SerializedFileReader<File>, Error> {
    let file = files::open(path, u64::MAX).map_err(Error::io(path))?;
    let length = file.metadata().map_err(Error::io(path))?.len();
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

/// The reader of column `i` of a row group.
pub(crate) fn column_reader(path: &Path, group: &dyn RowGroupReader, i: usize) -> Result<ColumnReader, Error> {
    let pages = call(path, || group.get_column_page_reader(i))?;
    let column = group.metadata().column(i).column_descr_ptr();
    let checked = CheckedPages { pages, column: column.clone(), has_dictionary: false };
    Ok(get_column_reader(column, Box::new(checked)))
}

pub(crate) fn corrupt(path: &Path, reason: &str) -> Error {
    Error::Parquet { path: path.into(), reason: reason.replace(['\n', '\r'], " ") }
}

/// Pages of a column without repetition that hold what they say they hold.
struct CheckedPages {
    pages: Box<dyn PageReader>,
    column: ColumnDescPtr,
    has_dictionary: bool,
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
        let page = self.pages.get_next_page()?;
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
