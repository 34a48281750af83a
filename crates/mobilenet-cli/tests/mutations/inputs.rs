//! Small valid files of each kind.

use std::io::{Cursor, Write};
use std::sync::Arc;

use candle_core::{Device, Tensor};
use flate2::Compression;
use flate2::write::GzEncoder;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use parquet::basic::Compression as Codec;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// A picture that no codec makes very small.
pub fn picture(side: u32) -> RgbImage {
    RgbImage::from_fn(side, side + 1, |x, y| Rgb([(x * 37) as u8, (y * 91) as u8, (x * y * 13) as u8]))
}

pub fn encoded(image: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(image.clone()).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Four rows of PNG pictures of two classes.
pub fn parquet(codec: Codec) -> Vec<u8> {
    let schema = "message schema { optional group image { optional binary bytes; } optional int64 label; }";
    let properties = WriterProperties::builder().set_compression(codec).set_dictionary_enabled(false).build();
    let mut bytes = Vec::new();
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let png = ByteArray::from(encoded(&picture(5), ImageFormat::Png));
    while let Some(mut column) = group.next_column().unwrap() {
        match column.untyped() {
            ColumnWriter::ByteArrayColumnWriter(writer) => {
                writer.write_batch(&vec![png.clone(); 4], Some(&[2; 4]), None).unwrap()
            }
            ColumnWriter::Int64ColumnWriter(writer) => writer.write_batch(&[0, 1, 0, 1], Some(&[1; 4]), None).unwrap(),
            _ => panic!("unexpected column"),
        };
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    bytes
}

/// `n` records of CIFAR-10's binary version.
pub fn cifar_records(n: usize) -> Vec<u8> {
    (0..n).flat_map(|i| std::iter::once(i as u8 % 10).chain((0..3072).map(move |p| (p * 7 + i) as u8))).collect()
}

/// A batch of CIFAR-10's Python version with two pictures, as Python 2 writes it.
pub fn cifar_pickle() -> Vec<u8> {
    let s = |bytes: &[u8]| [b"T", &(bytes.len() as u32).to_le_bytes()[..], bytes].concat();
    let planes: Vec<u8> = (0..2 * 3072).map(|p| (p % 251) as u8).collect();
    let array = [
        &b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85"[..],
        &s(b"b"),
        b"\x87R(K\x01(J\x02\0\0\0M\x00\x0ct",
        b"cnumpy\ndtype\nX\x02\0\0\0u1K\x00K\x01\x87R(K\x03X\x01\0\0\0|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89",
        &s(&planes),
        b"tb",
    ]
    .concat();
    let entries = [s(b"labels"), b"](K\x03K\x09e".to_vec(), s(b"data"), array];
    [b"\x80\x02}q\x00(", &entries.concat()[..], b"u."].concat()
}

/// A whole set of CIFAR-10's binary version as a compressed archive.
pub fn cifar_archive() -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for name in ["data_batch_1.bin", "test_batch.bin"] {
        let records = cifar_records(2);
        let mut header = tar::Header::new_gnu();
        header.set_size(records.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, format!("cifar-10-batches-bin/{name}"), records.as_slice()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// Two tensors.
pub fn safetensors() -> Vec<u8> {
    let tensors = [("features.0.0.weight", 27), ("classifier.1.bias", 10)];
    let tensors = tensors.map(|(name, n)| (name, Tensor::arange(0f32, n as f32, &Device::Cpu).unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    candle_core::safetensors::save(&tensors.into_iter().collect(), &path).unwrap();
    std::fs::read(path).unwrap()
}

/// The index of a model in two files that are not there, and in one that is.
pub fn index() -> Vec<u8> {
    br#"{"metadata": {"total_size": 148}, "weight_map": {"features.0.0.weight": "part.safetensors", "classifier.1.bias": "part.safetensors"}}"#.to_vec()
}

/// `OrderedDict(weight=…, nested={"bias": …})` with two storages, of protocol 2.
fn state_dict() -> Vec<u8> {
    let text = |text: &str| [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
    let tensor = |key: &str, n: u8, memo: u8| {
        [
            &b"ctorch._utils\n_rebuild_tensor_v2\n(("[..],
            &text("storage"),
            b"ctorch\nFloatStorage\n",
            &text(key),
            &text("cpu"),
            &[b'K', n, b't', b'Q', b'K', 0, b'K', n, 0x85, b'q', memo, b'K', 1, 0x85, 0x89],
            b"ccollections\nOrderedDict\n)RtR",
        ]
        .concat()
    };
    [
        &b"\x80\x02ccollections\nOrderedDict\n)R("[..],
        &text("features.0.0.weight"),
        &tensor("0", 27, 1),
        &text("nested"),
        b"}(",
        &text("bias"),
        &tensor("1", 10, 2),
        b"uu.",
    ]
    .concat()
}

fn floats(n: usize) -> Vec<u8> {
    (0..n).flat_map(|i| (i as f32).to_le_bytes()).collect()
}

/// What `torch.save` writes since PyTorch 1.6.
pub fn torch_zip() -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in [
        ("archive/data.pkl", state_dict()),
        ("archive/byteorder", b"little".to_vec()),
        ("archive/data/0", floats(27)),
        ("archive/data/1", floats(10)),
        ("archive/version", b"3\n".to_vec()),
    ] {
        zip.start_file(name, options).unwrap();
        zip.write_all(&bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// What it wrote before.
pub fn torch_legacy() -> Vec<u8> {
    let magic = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.";
    let storage = |n: usize| [&(n as u64).to_le_bytes()[..], &floats(n)].concat();
    let keys = b"\x80\x02](X\x01\0\0\x000X\x01\0\0\x001e.";
    [&magic[..], b"\x80\x02M\xe9\x03.", b"\x80\x02}.", &state_dict(), keys, &storage(27), &storage(10)].concat()
}
