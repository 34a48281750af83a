//! Pictures scaled to another size: bilinear, and antialiased when they become smaller.

use image::imageops::{self, FilterType};
use image::{ImageBuffer, Rgb};

/// Most pixels of a side that pictures are scaled to.
pub(crate) const MAX_SIDE: u32 = 16_384;

/// `[h, w, 3]` -> `[height, width, 3]`, sides of 1 to [`MAX_SIDE`].
pub(crate) fn resize(image: &[u8], (h, w): (usize, usize), (height, width): (usize, usize)) -> Vec<u8> {
    match ImageBuffer::<Rgb<u8>, _>::from_raw(w as u32, h as u32, image) {
        Some(image) => imageops::resize(&image, width as u32, height as u32, FilterType::Triangle).into_raw(),
        // Fewer pixels than h and w say: a split never holds such a picture.
        None => vec![0; height * width * 3],
    }
}
