//! What a picture may claim before any memory is set aside for it.

use image::{ImageDecoder, ImageFormat};
use mobilenet_common::numbers::thousands;

/// The largest picture file that is read: 256 MiB, more than the largest camera's.
pub const MAX_PICTURE_BYTES: u64 = 256 << 20;

/// Most pixels of a picture: where PIL gives up, too (twice its `MAX_IMAGE_PIXELS`).
pub(crate) const MAX_PIXELS: u64 = 178_956_970;

/// Most bytes that a picture is decoded to, at the depth of its file: 1 GiB.
pub(crate) const MAX_DECODED_BYTES: u64 = 1 << 30;

/// Most bytes of a pixel: four numbers of 32 bits.
const MAX_PIXEL_BYTES: u64 = 16;

/// What a decoder may take beside the pixels: tables, and a part of the file.
const ASIDE_BYTES: u64 = 32 << 20;

/// What the decoders themselves may take for a file of so many bytes: a frame may claim more than its picture does.
pub(super) fn of_decoders(format: ImageFormat, file_bytes: usize) -> image::Limits {
    let mut limits = image::Limits::default();
    let pixels = most_pixels(format, file_bytes);
    limits.max_alloc = Some(MAX_DECODED_BYTES.min(pixels * MAX_PIXEL_BYTES + ASIDE_BYTES));
    limits
}

/// Refuses a picture that is too large, or larger than a file of so many bytes can be.
pub(super) fn check(decoder: &impl ImageDecoder, format: ImageFormat, file_bytes: usize) -> Result<(), String> {
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    let claims = format!("claims {width}x{height} pixels");
    if pixels == 0 {
        return Err(format!("{claims}, expected at least one"));
    }
    if pixels > MAX_PIXELS {
        return Err(format!("{claims}, expected at most {}", thousands(MAX_PIXELS)));
    }
    if decoder.total_bytes() > MAX_DECODED_BYTES {
        let bytes = thousands(decoder.total_bytes());
        return Err(format!("{claims} of {bytes} bytes, expected at most {}", thousands(MAX_DECODED_BYTES)));
    }
    match pixels > most_pixels(format, file_bytes) {
        true => Err(format!("{claims}, more than its {} bytes can hold", thousands(file_bytes as u64))),
        false => Ok(()),
    }
}

/// Most pixels that so many bytes can hold.
fn most_pixels(format: ImageFormat, file_bytes: usize) -> u64 {
    let a_byte = match format {
        // A block of 8x8 pixels takes a bit at least.
        ImageFormat::Jpeg => 512,
        // Deflate makes a byte of at most 1032, and those may have a pixel in each bit.
        ImageFormat::Png => 8 * 1032,
        // LZW's longest words stand for 4096 pixels and take twelve bits.
        ImageFormat::Gif => 4_096,
        // Two bytes make a run of at most 255; what a picture leaves out at its end is little.
        ImageFormat::Bmp => 256,
        // A pixel is a bit at least.
        ImageFormat::Pnm => 8,
        // One color takes next to nothing in WebP, and a white line of a fax a bit: no limit of the formats, but far
        // beyond what pictures of something have.
        _ => 65_536,
    };
    a_byte * file_bytes as u64
}
