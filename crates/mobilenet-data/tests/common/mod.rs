//! Small data sets on disk, made by the tests themselves.

#![allow(dead_code, reason = "each test file uses a part of these")]

use std::fs::{self, File};
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use image::{ImageFormat, Rgb, RgbImage};
use mobilenet_data::{Dataset, Error, LoadOptions, Source, load};
use parquet::basic::Compression;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// Loads a folder, saying nothing.
pub fn load_dir(source: Source, dir: &Path) -> Result<Dataset, Error> {
    let data_dir = Some(dir.to_path_buf());
    load(&LoadOptions { source, data_dir, ..LoadOptions::default() }, &mut |_| {})
}

/// Picture `i` of any size: `[x * 5, y * 7, i]` at `(y, x)`, so that a flip, a turn or another
/// order of channels shows.
pub fn picture(i: usize, width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x * 5) as u8, (y * 7) as u8, i as u8]))
}

/// Its bytes as a file.
pub fn encoded(image: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// The beginning of a PNG, valid as far as it goes, that claims a size: 8 bits of gray, and a few compressed bytes.
pub fn png_head(height: u32, width: u32) -> Vec<u8> {
    let chunk = |name: &[u8], data: &[u8]| {
        let body = [name, data].concat();
        let mut crc = flate2::Crc::new();
        crc.update(&body);
        [&(data.len() as u32).to_be_bytes()[..], &body, &crc.sum().to_be_bytes()].concat()
    };
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 0, 0, 0, 0]].concat();
    let pixels = [0x78, 0x9c, 0x63, 0x60, 0x00, 0x00];
    [b"\x89PNG\r\n\x1a\n", &chunk(b"IHDR", &header)[..], &chunk(b"IDAT", &pixels)].concat()
}

/// `n` PNG pictures of CIFAR's size.
pub fn pngs(n: usize) -> Vec<Vec<u8>> {
    (0..n).map(|i| encoded(&picture(i, 32, 32), ImageFormat::Png)).collect()
}

/// A parquet file to be written.
pub struct Table {
    /// Name of the picture column.
    pub image: &'static str,
    /// Name of the label column.
    pub label: &'static str,
    /// Rows; `None` is a null picture.
    pub rows: Vec<(Option<Vec<u8>>, i64)>,
    /// Rows per row group.
    pub group: usize,
    /// How pages are compressed.
    pub codec: Compression,
    /// Whether repeated values are written once.
    pub dictionary: bool,
    /// Class names written as the hub does.
    pub names: Option<&'static [&'static str]>,
    /// Labels as text instead of the rows' numbers.
    pub texts: Option<fn(i64) -> &'static str>,
}

impl Table {
    /// CIFAR-10 rows with the labels 0, 1, 2 …
    pub fn cifar10(pictures: Vec<Vec<u8>>) -> Self {
        let rows = pictures.into_iter().enumerate().map(|(i, p)| (Some(p), i as i64 % 10));
        Self {
            image: "img",
            label: "label",
            rows: rows.collect(),
            group: 7,
            codec: Compression::SNAPPY,
            dictionary: false,
            names: None,
            texts: None,
        }
    }

    /// Writes the file.
    pub fn write(&self, path: &Path) {
        let fine = self.label == "fine_label";
        let coarse = if fine { "optional int64 coarse_label;" } else { "" };
        let (kind, text) = if self.texts.is_some() { ("binary", "(UTF8)") } else { ("int64", "") };
        let schema = format!(
            "message schema {{ optional group {} {{ optional binary bytes; optional binary path \
             (UTF8); }} optional {kind} {} {text}; {coarse} }}",
            self.image, self.label
        );
        let names = self.names.map(|names| {
            let json = serde_json::json!({"info": {"features": {self.label: {"names": names}}}});
            vec![KeyValue::new("huggingface".into(), json.to_string())]
        });
        let properties = WriterProperties::builder()
            .set_compression(self.codec)
            .set_dictionary_enabled(self.dictionary)
            .set_key_value_metadata(names)
            .build();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut writer = SerializedFileWriter::new(
            File::create(path).unwrap(),
            Arc::new(parse_message_type(&schema).unwrap()),
            Arc::new(properties),
        )
        .unwrap();
        for rows in self.rows.chunks(self.group) {
            let mut group = writer.next_row_group().unwrap();
            let bytes: Vec<ByteArray> = rows.iter().filter_map(|(p, _)| p.clone()).map(ByteArray::from).collect();
            let levels: Vec<i16> = rows.iter().map(|(p, _)| if p.is_some() { 2 } else { 1 }).collect();
            let labels: Vec<i64> = rows.iter().map(|(_, label)| *label).collect();
            let mut columns = 0;
            while let Some(mut column) = group.next_column().unwrap() {
                match (columns, column.untyped()) {
                    (0, ColumnWriter::ByteArrayColumnWriter(writer)) => {
                        writer.write_batch(&bytes, Some(&levels), None).unwrap()
                    }
                    (1, ColumnWriter::ByteArrayColumnWriter(writer)) => {
                        writer.write_batch(&[], Some(&vec![1; rows.len()]), None).unwrap()
                    }
                    (_, ColumnWriter::ByteArrayColumnWriter(writer)) => {
                        let text = self.texts.unwrap();
                        let texts: Vec<ByteArray> = labels.iter().map(|&label| text(label).into()).collect();
                        writer.write_batch(&texts, Some(&vec![1; rows.len()]), None).unwrap()
                    }
                    (_, ColumnWriter::Int64ColumnWriter(writer)) => {
                        writer.write_batch(&labels, Some(&vec![1; rows.len()]), None).unwrap()
                    }
                    _ => panic!("unexpected column"),
                };
                column.close().unwrap();
                columns += 1;
            }
            group.close().unwrap();
        }
        writer.close().unwrap();
    }
}

/// A record of the binary version with the same pixels as [`picture`].
pub fn record(labels: &[u8], i: usize) -> Vec<u8> {
    let image = picture(i, 32, 32);
    let planes = (0..3).flat_map(|c| image.pixels().map(move |p| p.0[c]).collect::<Vec<_>>());
    labels.iter().copied().chain(planes).collect()
}

/// Records with the labels 0, 1, 2 …
pub fn records(numbers: std::ops::Range<usize>) -> Vec<u8> {
    numbers.flat_map(|i| record(&[i as u8 % 10], i)).collect()
}

/// Writes a file and the folders above it.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}
