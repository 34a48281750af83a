//! Pictures of every format, against PIL's pixels, and what is refused.

mod common;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::{encoded, picture, png_head};
use image::{ImageFormat, RgbImage, RgbaImage};
use mobilenet_data::{Error, decode_image, load_image};
use serde::Deserialize;

#[derive(Deserialize)]
struct Fixture {
    pictures: Vec<Picture>,
    scaled: Vec<Scaled>,
}

#[derive(Deserialize)]
struct Picture {
    name: String,
    size: (usize, usize),
    pixels: String,
}

#[derive(Deserialize)]
struct Scaled {
    size: (usize, usize),
    short: usize,
    crop: usize,
    pixels: String,
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("fixtures/pictures.json")).unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes().chunks(2).map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pictures"))
}

/// The middle square of `[height, width, 3]`.
fn middle(pixels: &[u8], (height, width): (usize, usize)) -> Vec<u8> {
    let side = height.min(width);
    let from = |size: usize| ((size - side) as f64 / 2.0).round_ties_even() as usize;
    let rows = pixels.chunks_exact(width * 3).skip(from(height)).take(side);
    rows.flat_map(|row| row[from(width) * 3..(from(width) + side) * 3].to_vec()).collect()
}

#[test]
fn every_format_is_read_as_pil_reads_it() {
    let fixture = fixture();
    assert!(fixture.pictures.len() >= 29);
    for Picture { name, size, pixels } in fixture.pictures {
        let expected = middle(&bytes(&pixels), size);
        // The shorter side stays as it is, so that nothing is scaled.
        let found = load_image(folder().join(&name), size.0.min(size.1)).unwrap_or_else(|e| panic!("{name}: {e}"));
        // What decoders of lossy formats may differ by; where colors are subsampled they fill in differently.
        let most = match name.as_str() {
            "subsampled.jpg" | "cmyk.jpg" | "ycck.jpg" | "lossy.webp" => 6,
            name if name.ends_with(".jpg") => 3,
            // Alpha's division, once with rounding and once without.
            name if name.contains("alpha") => 1,
            _ => 0,
        };
        let differs = found.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(found.len() == expected.len() && differs <= most, "{name}: differs by {differs}");
    }
}

#[test]
fn scaled_and_cut_as_torchvision_does() {
    for Scaled { size: (height, width), short, crop, pixels } in
        fixture().scaled.into_iter().filter(|s| s.short == s.crop)
    {
        let value = |x: usize, y: usize, c: usize| (y * 37 + x * 61 + c * 29 + (y * x) % 7 * 23) as u8;
        let pixel = |x: u32, y: u32| image::Rgb([0, 1, 2].map(|c| value(x as usize, y as usize, c)));
        let image = RgbImage::from_fn(width as u32, height as u32, pixel);
        let found = decode_image(&encoded(&image, ImageFormat::Png), crop).unwrap();
        assert!(found == bytes(&pixels), "{height}x{width} to {short}, {crop}");
    }
}

#[test]
fn the_name_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["lossless.webp", "rgb.bmp", "palette.gif", "raw.tif", "rgb.png"] {
        let as_jpg = dir.path().join("x.jpg");
        fs::copy(folder().join(name), &as_jpg).unwrap();
        assert_eq!(load_image(&as_jpg, 11).unwrap(), load_image(folder().join(name), 11).unwrap(), "{name}");
    }
}

#[test]
fn whatever_is_cut_short_is_broken() {
    let image = picture(3, 61, 47);
    for format in [
        ImageFormat::Jpeg,
        ImageFormat::Png,
        ImageFormat::WebP,
        ImageFormat::Bmp,
        ImageFormat::Gif,
        ImageFormat::Tiff,
        ImageFormat::Pnm,
    ] {
        let whole = match format {
            // Written from pictures with alpha only.
            ImageFormat::Gif => {
                let mut bytes = std::io::Cursor::new(Vec::new());
                let alpha: RgbaImage = image::DynamicImage::from(image.clone()).into_rgba8();
                alpha.write_to(&mut bytes, format).unwrap();
                bytes.into_inner()
            }
            _ => encoded(&image, format),
        };
        decode_image(&whole, 16).unwrap_or_else(|e| panic!("{format:?}: {e}"));
        for percent in [0, 1, 5, 20, 50, 80, 95] {
            let cut = &whole[..whole.len() * percent / 100];
            let result = decode_image(cut, 16);
            assert!(matches!(result, Err(Error::NotAPicture { .. })), "{format:?}: {percent} % are read as a picture");
        }
    }
    let files =
        ["plain.jpg", "subsampled.jpg", "progressive.jpg", "restarts.jpg", "gray.jpg", "cmyk.jpg", "lossy.webp"];
    for name in files {
        let whole = fs::read(folder().join(name)).unwrap();
        for percent in [20, 50, 80, 95] {
            assert!(decode_image(&whole[..whole.len() * percent / 100], 8).is_err(), "{name}: {percent} %");
        }
    }
}

#[test]
fn a_jpeg_without_its_end_mark_is_whole_if_no_pixel_is_missing() {
    for name in ["plain.jpg", "gray.jpg", "restarts.jpg"] {
        let whole = fs::read(folder().join(name)).unwrap();
        let expected = decode_image(&whole, 11).unwrap();
        assert_eq!(decode_image(&whole[..whole.len() - 2], 11).unwrap(), expected, "{name}");
        // What a camera puts behind it is none of the picture's.
        assert_eq!(decode_image(&[&whole[..], &[7; 300]].concat(), 11).unwrap(), expected, "{name}");
    }
}

/// The beginning of a JPEG of one component that claims a size.
fn jpeg_head(height: u16, width: u16) -> Vec<u8> {
    let whole = fs::read(folder().join("gray.jpg")).unwrap();
    let at = whole.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    let mut bytes = whole;
    bytes[at + 5..at + 7].copy_from_slice(&height.to_be_bytes());
    bytes[at + 7..at + 9].copy_from_slice(&width.to_be_bytes());
    bytes
}

/// A frame may be larger than the picture that it is a part of.
#[test]
fn a_giant_frame_is_refused_at_once() {
    let mut bytes = fs::read(folder().join("palette.gif")).unwrap();
    let at = bytes.windows(5).rposition(|w| w == [b',', 0, 0, 0, 0]).unwrap();
    bytes[at + 5..at + 9].copy_from_slice(&[0x40, 0x9c, 0x88, 0x13]); // 40,000 by 5,000
    let error = decode_image(&bytes, 32).unwrap_err().to_string();
    assert!(error.contains("a damaged GIF: Memory limit exceeded"), "{error}");
}

#[test]
fn giant_claims_are_refused_at_once() {
    let bmp = |height: u32, width: u32| {
        let mut bytes = fs::read(folder().join("rgb.bmp")).unwrap();
        bytes[18..22].copy_from_slice(&width.to_le_bytes());
        bytes[22..26].copy_from_slice(&height.to_le_bytes());
        bytes
    };
    let gif = |height: u16, width: u16| {
        let mut bytes = fs::read(folder().join("palette.gif")).unwrap();
        bytes[6..8].copy_from_slice(&width.to_le_bytes());
        bytes[8..10].copy_from_slice(&height.to_le_bytes());
        bytes
    };
    let begun = Instant::now();
    for (what, bytes, claim) in [
        ("png", png_head(2_130_706_482, 1), "1x2130706482"),
        ("png", png_head(65_535, 65_535), "65535x65535"),
        ("png", png_head(13_000, 13_000), "13000x13000"),
        ("jpeg", jpeg_head(65_535, 65_535), "65535x65535"),
        ("jpeg", jpeg_head(30_000, 30_000), "30000x30000"),
        ("jpeg", jpeg_head(12_000, 12_000), "12000x12000"),
        ("bmp", bmp(60_000, 60_000), "60000x60000"),
        ("bmp", bmp(9_000, 9_000), "9000x9000"),
        ("gif", gif(65_535, 65_535), "65535x65535"),
        ("gif", gif(8_000, 8_000), "8000x8000"),
        ("ppm", b"P6 100000 100000 255\nxxx".to_vec(), "100000x100000"),
        ("ppm", b"P6 10000 10000 255\nxxx".to_vec(), "10000x10000"),
    ] {
        let error = decode_image(&bytes, 32).unwrap_err().to_string();
        assert!(error.contains(&format!("claims {claim} pixels")), "{what}: {error}");
        assert!(error.len() < 160 && !error.contains('\n'), "{what}: {error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
