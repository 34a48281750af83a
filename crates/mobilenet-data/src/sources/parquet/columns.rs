//! Which columns of a parquet file hold the pictures and their classes: what the Hugging Face `datasets` library wrote
//! of them, or their names and types.

use std::fs::File;
use std::path::Path;

use parquet::basic::{ConvertedType, LogicalType, Type};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::{ColumnDescPtr, ColumnDescriptor};
use serde_json::{Map, Value};

use super::super::names;
use crate::{Error, ReadOptions};

/// Names of columns, best first; case does not count.
const IMAGE: [&str; 12] = [
    "img",
    "image",
    "images",
    "pixel_values",
    "picture",
    "photo",
    "jpg",
    "jpeg",
    "png",
    "webp",
    "image_bytes",
    "bytes",
];
const LABEL: [&str; 12] = [
    "fine_label",
    "label",
    "labels",
    "class",
    "class_label",
    "category",
    "target",
    "coarse_label",
    "species",
    "breed",
    "cls",
    "y",
];

/// The columns of a file, and what is known about its classes.
pub(super) struct Columns {
    pub image: usize,
    pub label: usize,
    /// Name of the column with the pictures, and of the one with the labels.
    pub image_name: String,
    pub label_name: String,
    /// The classes' names by label.
    pub names: Option<Vec<String>>,
}

impl Columns {
    /// # Errors
    ///
    /// [`Error::ParquetSchema`] if there is no telling.
    pub fn of(reader: &SerializedFileReader<File>, path: &Path, options: &ReadOptions) -> Result<Self, Error> {
        let columns = reader.metadata().file_metadata().schema_descr().columns();
        let features = features(reader).unwrap_or_default();
        let wrong = |expected: &str| schema(path, columns, expected);
        let is_image = |c: &ColumnDescriptor| is_flat(c, &[Type::BYTE_ARRAY]) && !is_text(c);
        let is_label = |c: &ColumnDescriptor| {
            is_flat(c, &[Type::INT32, Type::INT64, Type::BOOLEAN]) || (is_flat(c, &[Type::BYTE_ARRAY]) && is_text(c))
        };
        // A column of its own, or the bytes of a struct of bytes and path.
        let find = |name: &str, is: &dyn Fn(&ColumnDescriptor) -> bool, exact: bool| {
            let known = [name.to_owned(), format!("{name}.bytes")];
            columns.iter().position(|c| {
                let path = c.path().string();
                is(c)
                    && known.iter().any(|known| if exact { *known == path } else { known.eq_ignore_ascii_case(&path) })
            })
        };
        let featured = |kind: &str| -> Vec<&String> {
            features.iter().filter(|(_, feature)| feature["_type"] == kind).map(|(name, _)| name).collect()
        };
        let best = |known: &[&str], featured: Vec<&String>, is: &dyn Fn(&ColumnDescriptor) -> bool| {
            let among = known.iter().find_map(|name| {
                let featured = featured.iter().find(|featured| featured.eq_ignore_ascii_case(name))?;
                find(featured, is, true)
            });
            let alone = || if let [one] = featured[..] { find(one, is, true) } else { None };
            among.or_else(alone).or_else(|| known.iter().find_map(|name| find(name, is, false)))
        };
        let only = |is: &dyn Fn(&ColumnDescriptor) -> bool| {
            let mut found = columns.iter().enumerate().filter(|(_, c)| is(c)).map(|(at, _)| at);
            found.next().filter(|_| found.next().is_none())
        };
        let image = match &options.image_column {
            Some(name) => {
                let is_bytes = |c: &ColumnDescriptor| is_flat(c, &[Type::BYTE_ARRAY]);
                find(name, &is_bytes, true).ok_or_else(|| wrong(&format!("{name}, a column of encoded pictures")))?
            }
            None => best(&IMAGE, featured("Image"), &is_image).or_else(|| only(&is_image)).ok_or_else(|| {
                wrong("a column of encoded pictures (image: struct<bytes, path>, or binary), which --image-column can name")
            })?,
        };
        let label = match &options.label_column {
            Some(name) => find(name, &is_label, true)
                .ok_or_else(|| wrong(&format!("{name}, a column of labels: integers, strings or truth values")))?,
            None => best(&LABEL, featured("ClassLabel"), &is_label).ok_or_else(|| {
                wrong("a column of labels (label: integers or strings), which --label-column can name")
            })?,
        };
        let name = |at: usize| columns[at].path().parts().first().cloned().unwrap_or_default();
        let names = class_names(&features, &name(label));
        Ok(Self { image, label, image_name: name(image), label_name: name(label), names })
    }
}

/// What the `datasets` library says about the columns.
fn features(reader: &SerializedFileReader<File>) -> Option<Map<String, Value>> {
    let metadata = reader.metadata().file_metadata().key_value_metadata()?;
    let entry = metadata.iter().find(|entry| entry.key == "huggingface")?;
    let json: Value = serde_json::from_str(entry.value.as_ref()?).ok()?;
    json.pointer("/info/features")?.as_object().cloned()
}

fn class_names(features: &Map<String, Value>, label: &str) -> Option<Vec<String>> {
    let names = features.get(label)?.get("names")?.as_array()?;
    let names: Option<Vec<String>> = names.iter().map(|n| n.as_str().map(|n| names::text(n.as_bytes()))).collect();
    names.filter(|names| !names.is_empty())
}

/// One value or none per row, of one of these types.
fn is_flat(column: &ColumnDescriptor, types: &[Type]) -> bool {
    column.max_rep_level() == 0 && types.contains(&column.physical_type())
}

fn is_text(column: &ColumnDescriptor) -> bool {
    matches!(column.logical_type_ref(), Some(LogicalType::String | LogicalType::Enum | LogicalType::Json))
        || matches!(column.converted_type(), ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON)
}

pub(super) fn schema(path: &Path, columns: &[ColumnDescPtr], expected: &str) -> Error {
    const SHOWN: usize = 12;
    let column = |c: &ColumnDescPtr| format!("{}: {}", names::text(c.path().string().as_bytes()), c.physical_type());
    let mut found = columns.iter().take(SHOWN).map(column).collect::<Vec<_>>().join(", ");
    if columns.len() > SHOWN {
        found += &format!(" and {} more", columns.len() - SHOWN);
    }
    Error::ParquetSchema { path: path.into(), expected: expected.into(), found }
}
