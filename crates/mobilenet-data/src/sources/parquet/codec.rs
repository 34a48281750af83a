//! Zstandard in Rust alone: pages come compressed as they are in the file, and are unpacked here.

use std::io::Read;

use parquet::column::page::Page;
use parquet::errors::{ParquetError, Result};
use ruzstd::decoding::StreamingDecoder;

/// A page of a column that is compressed with zstd, of at most `max` bytes.
pub(super) fn unpacked(page: Page, max: usize) -> Result<Page> {
    Ok(match page {
        Page::DictionaryPage { buf, num_values, encoding, is_sorted } => {
            Page::DictionaryPage { buf: unzstd(&buf, max)?.into(), num_values, encoding, is_sorted }
        }
        Page::DataPage { buf, num_values, encoding, def_level_encoding, rep_level_encoding, statistics } => {
            let buf = unzstd(&buf, max)?.into();
            Page::DataPage { buf, num_values, encoding, def_level_encoding, rep_level_encoding, statistics }
        }
        Page::DataPageV2 {
            buf,
            num_values,
            encoding,
            num_nulls,
            num_rows,
            def_levels_byte_len,
            rep_levels_byte_len,
            is_compressed,
            statistics,
        } => {
            // Levels come first, as they are.
            let levels = (def_levels_byte_len as usize).saturating_add(rep_levels_byte_len as usize);
            let (levels, values) =
                buf.split_at_checked(levels).ok_or_else(|| wrong("a page shorter than its levels"))?;
            let buf = match is_compressed && !values.is_empty() {
                true => [levels, &unzstd(values, max)?].concat().into(),
                false => buf,
            };
            Page::DataPageV2 {
                buf,
                num_values,
                encoding,
                num_nulls,
                num_rows,
                def_levels_byte_len,
                rep_levels_byte_len,
                is_compressed: false,
                statistics,
            }
        }
    })
}

/// All frames of `bytes`, which are `max` bytes at most.
fn unzstd(mut bytes: &[u8], max: usize) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let decoder = StreamingDecoder::new(&mut bytes).map_err(|error| wrong(&error.to_string()))?;
        let left = (max - out.len()) as u64 + 1;
        decoder.take(left).read_to_end(&mut out).map_err(|error| wrong(&error.to_string()))?;
        if out.len() > max {
            return Err(wrong("a page larger than its column"));
        }
    }
    Ok(out)
}

fn wrong(reason: &str) -> ParquetError {
    ParquetError::General(format!("zstd: {reason}"))
}
