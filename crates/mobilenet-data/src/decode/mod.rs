//! Picture files to RGB pictures: JPEG, PNG, WebP, BMP, GIF, TIFF and PNM, told by content.

mod jpeg;
pub(crate) mod kind;
mod limits;

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, RgbImage};
use mobilenet_common::files;

use crate::resize::MAX_SIDE;
use crate::scale::resize_and_crop;
use crate::{Error, Place};

pub use self::limits::MAX_PICTURE_BYTES;

/// Decodes a picture, recognized by its content, to `[size, size, 3]`: `Resize(size)` and `CenterCrop(size)` of
/// torchvision, bilinear and antialiased.
///
/// JPEG, PNG, WebP, BMP, GIF, TIFF and PNM are read, the first picture where there are several. Alpha is put on white,
/// gray and CMYK become RGB, 16 bits 8, and the orientation a camera noted is applied.
///
/// # Errors
///
/// [`Error::NotAPicture`] for anything else, for a picture that is cut short, and for one that claims more than
/// 178,956,970 pixels or a gibibyte, or more pixels than its bytes can hold; [`Error::Config`] if `size` is not 1 to
/// 16,384.
pub fn decode_image(bytes: &[u8], size: usize) -> Result<Vec<u8>, Error> {
    decode_image_cropped(bytes, size, size)
}

/// The same by `Resize(short)` and `CenterCrop(size)`.
///
/// # Errors
///
/// Those of [`decode_image`], and [`Error::Config`] if `short` is less than `size` or more than 163,840.
pub fn decode_image_cropped(bytes: &[u8], short: usize, size: usize) -> Result<Vec<u8>, Error> {
    check_sides(short, size)?;
    let square = decode_square(bytes, short, size);
    square.map_err(|reason| Error::NotAPicture { place: Place { path: None, row: None }, reason })
}

/// Reads a picture file; see [`decode_image`].
///
/// # Errors
///
/// Those of [`decode_image`], and [`Error::Io`] if the file cannot be read, is not a regular file or has more than 256
/// MiB.
pub fn load_image(path: impl AsRef<Path>, size: usize) -> Result<Vec<u8>, Error> {
    load_image_cropped(path, size, size)
}

/// The same by `Resize(short)` and `CenterCrop(size)`: 256 and 224 are what ImageNet's networks are evaluated with.
///
/// # Errors
///
/// Those of [`load_image`], and [`Error::Config`] if `short` is less than `size` or more than 163,840.
pub fn load_image_cropped(path: impl AsRef<Path>, short: usize, size: usize) -> Result<Vec<u8>, Error> {
    let path = path.as_ref();
    check_sides(short, size)?;
    let bytes = files::read(path, MAX_PICTURE_BYTES).map_err(Error::io(path))?;
    decode_square(&bytes, short, size).map_err(|reason| Error::NotAPicture { place: Place::file(path), reason })
}

fn check_sides(short: usize, size: usize) -> Result<(), Error> {
    check_size(size)?;
    match (size..=10 * MAX_SIDE as usize).contains(&short) {
        true => Ok(()),
        false => Err(Error::Config {
            name: "side before the crop".into(),
            expected: format!("{size} to {}", 10 * MAX_SIDE),
            found: short.to_string(),
        }),
    }
}

/// Decodes, scales the shorter side to `short`, and cuts to `[size, size, 3]`. The error is a reason.
pub(crate) fn decode_square(bytes: &[u8], short: usize, size: usize) -> Result<Vec<u8>, String> {
    Ok(square(decode_rgb(bytes)?, short, size))
}

/// The middle of a picture as `[size, size, 3]`.
pub(crate) fn square(image: RgbImage, short: usize, size: usize) -> Vec<u8> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    match (height, width) == (size, size) && short == size {
        true => image.into_raw(),
        false => resize_and_crop(image.as_raw(), (height, width), short, size),
    }
}

/// A side length in pixels that pictures can be scaled to.
pub(crate) fn check_size(size: usize) -> Result<u32, Error> {
    match u32::try_from(size) {
        Ok(size @ 1..=MAX_SIDE) => Ok(size),
        _ => Err(Error::Config {
            name: "image size".into(),
            expected: format!("1 to {MAX_SIDE}"),
            found: size.to_string(),
        }),
    }
}

/// Decodes at the picture's own size. The error is a reason.
pub(crate) fn decode_rgb(bytes: &[u8]) -> Result<RgbImage, String> {
    let Some(format) = kind::format(bytes) else {
        return Err(format!("not a picture: expected {}, found {}", kind::EXPECTED, kind::found(bytes)));
    };
    let image = decode(bytes, format)?;
    if format == ImageFormat::Jpeg && !is_whole(bytes, &image) {
        return Err(format!("a JPEG that is cut short after {} bytes", bytes.len()));
    }
    Ok(image)
}

/// Decodes, with an error in the place of a decoder's panic.
fn decode(bytes: &[u8], format: ImageFormat) -> Result<RgbImage, String> {
    let decoded = catch_unwind(AssertUnwindSafe(|| decode_unguarded(bytes, format)));
    decoded.unwrap_or_else(|_| Err(format!("a damaged {}: its decoder gave up", kind::name(format))))
}

fn decode_unguarded(bytes: &[u8], format: ImageFormat) -> Result<RgbImage, String> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits::of_decoders(format, bytes.len()));
    let damaged = |error: ImageError| {
        format!("a damaged {}: {}", kind::name(format), error.to_string().replace(['\n', '\r'], " "))
    };
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    limits::check(&decoder, format, bytes.len())?;
    let orientation = decoder.orientation().map_err(damaged)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    image.apply_orientation(orientation);
    Ok(match image.color().has_alpha() {
        true => on_white(&image),
        false => image.into_rgb8(),
    })
}

/// Whether no part of a JPEG, decoded to `image`, is missing. One without a mark at its end is whole if what is put
/// behind it changes nothing, as PIL has it.
fn is_whole(bytes: &[u8], image: &RgbImage) -> bool {
    match jpeg::end(bytes) {
        jpeg::End::Marked => true,
        jpeg::End::Cut => false,
        jpeg::End::Open => {
            let longer = [bytes, &[0x6b; 4096], &[0xff, 0xd9]].concat();
            decode(&longer, ImageFormat::Jpeg).is_ok_and(|longer| longer == *image)
        }
    }
}

/// A picture as it looks on white paper.
fn on_white(image: &DynamicImage) -> RgbImage {
    let image = image.to_rgba8();
    let mut out = RgbImage::new(image.width(), image.height());
    for (to, from) in out.pixels_mut().zip(image.pixels()) {
        let [r, g, b, alpha] = from.0.map(u32::from);
        to.0 = [r, g, b].map(|value| ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(image: &RgbImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn rows_are_rows_and_red_is_red() {
        // Red above blue, 6 wide and 4 high.
        let color = |y| if y < 2 { [255, 0, 0] } else { [0, 0, 255] };
        let image = RgbImage::from_fn(6, 4, |_, y| image::Rgb(color(y)));
        let png = encode(&image, ImageFormat::Png);
        let expected: Vec<u8> = (0..4).flat_map(|y| color(y).repeat(4)).collect();
        assert_eq!(decode_image(&png, 4).unwrap(), expected);
        assert_eq!(decode_rgb(&png).unwrap().into_raw(), image.clone().into_raw());
        let jpeg = decode_image(&encode(&image, ImageFormat::Jpeg), 4).unwrap();
        for (found, expected) in jpeg.iter().zip(&expected) {
            assert!(found.abs_diff(*expected) < 100, "{jpeg:?}");
        }
    }

    #[test]
    fn keeps_the_middle_of_a_wide_picture() {
        let image = RgbImage::from_fn(300, 100, |x, _| {
            image::Rgb(if (100..200).contains(&x) { [9, 99, 199] } else { [255, 255, 255] })
        });
        let small = decode_image(&encode(&image, ImageFormat::Png), 10).unwrap();
        // The outermost columns have a little of what is beside them: scaling comes first.
        for row in small.chunks(30) {
            assert_eq!((&row[3..27], row[0] > 9), (&[9, 99, 199].repeat(8)[..], true));
        }
    }

    #[test]
    fn bad_bytes_and_sizes_are_errors() {
        let png = encode(&RgbImage::new(8, 8), ImageFormat::Png);
        for bytes in [&b""[..], b"no picture", b"GIF89a......", b"\x89PNG\r\n\x1a\n", &png[..40]] {
            let error = decode_image(bytes, 8).unwrap_err();
            assert!(matches!(error, Error::NotAPicture { .. }), "{error}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
        for size in [0, 16_385, usize::MAX] {
            assert!(matches!(decode_image(&png, size), Err(Error::Config { .. })), "{size}");
        }
        let missing = load_image("no/such/file.png", 8).unwrap_err().to_string();
        assert!(missing.starts_with("no/such/file.png: "), "{missing}");
    }
}
