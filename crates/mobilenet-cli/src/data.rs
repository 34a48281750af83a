//! `mobilenet data`

use anyhow::{Context, Result, anyhow};
use image::{ExtendedColorType, ImageEncoder};
use mobilenet_data::{Dataset, Error, LoadOptions, Source, Split};
use mobilenet_schema::{DataInfo, Picture};

use crate::args::DataArgs;
use crate::output::{note, print, print_json};
use crate::progress::Progress;

pub fn run(args: &DataArgs) -> Result<()> {
    let mut options = LoadOptions {
        source: args.source.data.unwrap_or(Source::Auto),
        data_dir: args.source.data_dir.clone(),
        ..LoadOptions::default()
    };
    options.picture_cache = args.source.picture_cache.unwrap_or(options.picture_cache);
    options.image_size = args.source.image_size.unwrap_or(options.image_size);
    args.source.apply(&mut options.read);
    let dataset = load(&options)?;

    let Dataset { name, copy, classes, train, test, mean, std, fallback, notes, left_out } = &dataset;
    if args.json {
        let images = args.images.iter().map(|&index| picture(test, index)).collect::<Result<_>>()?;
        return print_json(&DataInfo {
            name: name.clone(),
            copy: copy.clone(),
            classes: classes.clone(),
            train_images: train.len() as u64,
            test_images: test.len() as u64,
            image: [test.height(), test.width()],
            fallback: *fallback,
            notes: notes.clone(),
            left_out: *left_out as u64,
            mean: *mean,
            std: *std,
            images,
        });
    }
    print(&format!(
        "{name}: {copy}\n{} training and {} test images of {}x{} pixels\n{} classes: {}\nmean {mean:.4?}, std {std:.4?}\n",
        train.len(),
        test.len(),
        test.height(),
        test.width(),
        classes.len(),
        classes.join(", ")
    ))
}

/// Loads a set, showing how far that is, and says what there is to know of it. Broken pictures are listed, all of them.
pub fn load(options: &LoadOptions) -> Result<Dataset> {
    let mut progress = Progress::new();
    let loaded = mobilenet_data::load(options, &mut |p| progress.loading(p));
    progress.finish();
    match loaded {
        Ok(dataset) => {
            dataset.notes.iter().for_each(|line| note(&format!("data: {line}")));
            Ok(dataset)
        }
        Err(error @ Error::BrokenPictures { .. }) => {
            if let Error::BrokenPictures { broken, .. } = &error {
                broken.iter().for_each(|broken| note(&broken.to_string()));
            }
            Err(anyhow!("{error}; --skip-broken goes on without them"))
        }
        Err(error) => Err(error.into()),
    }
}

fn picture(test: &Split, index: usize) -> Result<Picture> {
    let Some(&label) = test.labels().get(index) else {
        anyhow::bail!("--images: there is no test image {index}: expected 0 to {}", test.len().saturating_sub(1));
    };
    let pixels = test.picture(index)?;
    Ok(Picture { index, label, png_base64: png_base64(&pixels, test.height(), test.width())? })
}

/// Pixels `[height, width, 3]` as a PNG in base64.
pub fn png_base64(pixels: &[u8], height: usize, width: usize) -> Result<String> {
    let mut png = Vec::new();
    image::codecs::png::PngEncoder::new(&mut png)
        .write_image(pixels, u32::try_from(width)?, u32::try_from(height)?, ExtendedColorType::Rgb8)
        .context("a picture cannot be written as PNG")?;
    Ok(base64(&png))
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * i)) as usize % 64];
            text.push(if i <= chunk.len() { digit as char } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_the_rfcs() {
        // RFC 4648, section 10
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }
}
