//! PNG and JPEG bytes to RGB pictures.

use std::io::Cursor;
use std::path::Path;

use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};
use mobilenet_common::files;

use crate::resize::MAX_SIDE;
use crate::{Error, Place};

/// The largest picture file that is read: 256 MiB, more than the largest camera's.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// Decodes a PNG or JPEG, recognized by its content, to `[size, size, 3]`: the middle square, scaled
/// (bilinear, antialiased). That is `Resize(size)` and `CenterCrop(size)` of torchvision.
/// Transparency is dropped, gray becomes RGB, and the orientation a camera noted is applied.
///
/// # Errors
///
/// [`Error::NotAPicture`] for anything else, [`Error::Config`] if `size` is not 1 to 16,384.
pub fn decode_image(bytes: &[u8], size: usize) -> Result<Vec<u8>, Error> {
    decode_square(bytes, size, || Place { path: None, row: None })
}

/// Reads a picture file; see [`decode_image`].
///
/// # Errors
///
/// Those of [`decode_image`], and [`Error::Io`] if the file cannot be read, is not a regular file or has more than 256
/// MiB.
pub fn load_image(path: impl AsRef<Path>, size: usize) -> Result<Vec<u8>, Error> {
    let path = path.as_ref();
    let bytes = files::read(path, MAX_FILE_BYTES).map_err(Error::io(path))?;
    decode_square(&bytes, size, || Place::file(path))
}

fn decode_square(bytes: &[u8], size: usize, place: impl Fn() -> Place) -> Result<Vec<u8>, Error> {
    let target = check_size(size)?;
    let image = decode_rgb(bytes).map_err(|reason| Error::NotAPicture { place: place(), reason })?;
    let (width, height) = image.dimensions();
    if (width, height) == (target, target) {
        return Ok(image.into_raw());
    }
    // Cutting first gives the same picture, and a ribbon of a million pixels stays small.
    let side = width.min(height);
    let (left, top) = ((width - side) / 2, (height - side) / 2);
    let square = imageops::crop_imm(&image, left, top, side, side);
    Ok(imageops::resize(&*square, target, target, FilterType::Triangle).into_raw())
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

/// Decodes at the picture's own size. The error is the decoder's reason.
pub(crate) fn decode_rgb(bytes: &[u8]) -> Result<RgbImage, String> {
    let reader = ImageReader::new(Cursor::new(bytes));
    let reader = reader.with_guessed_format().map_err(|e| one_line(&e))?;
    if !matches!(reader.format(), Some(ImageFormat::Png | ImageFormat::Jpeg)) {
        return Err(match (bytes.len(), reader.format()) {
            (0, _) => "no bytes".into(),
            (n, Some(format)) => format!("{n} bytes of {format:?}"),
            (n, None) => format!("{n} bytes of another kind"),
        });
    }
    let mut decoder = reader.into_decoder().map_err(|e| one_line(&e))?;
    let orientation = decoder.orientation().map_err(|e| one_line(&e))?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(|e| one_line(&e))?;
    image.apply_orientation(orientation);
    Ok(image.into_rgb8())
}

fn one_line(error: &dyn std::fmt::Display) -> String {
    error.to_string().replace(['\n', '\r'], " ")
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
        assert_eq!(small, [9, 99, 199].repeat(100));
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
