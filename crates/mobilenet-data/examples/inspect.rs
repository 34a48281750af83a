//! Loads a data set, prints what it is, and draws some of its pictures.
//!
//! `cargo run --release -p mobilenet-data --example inspect -- [DIR|shapes10|cifar10|…] [SHEET.png]`

#![expect(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use candle_core::Device;
use image::RgbImage;
use mobilenet_data::{BatchConfig, Dataset, LoadOptions, Source, Split, batches, load};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let what = args.next().unwrap_or_else(|| "shapes10".into());
    let options = match what.parse::<Source>() {
        Ok(source) => LoadOptions { source, ..LoadOptions::default() },
        Err(_) => LoadOptions { data_dir: Some(what.into()), ..LoadOptions::default() },
    };

    let start = Instant::now();
    let set = load(&options, &mut |_| {})?;
    println!("{} ({:.2} s): {}", set.name, start.elapsed().as_secs_f64(), set.copy);
    println!("mean {:?}, std {:?}", set.mean, set.std);
    for (class, name) in set.classes.iter().enumerate() {
        let count = |split: &Split| split.labels().iter().filter(|&&l| l as usize == class).count();
        println!("{class:4} {name:20} {:6} {:6}", count(&set.train), count(&set.test));
    }
    if let Some(path) = args.next() {
        sheet(&set).save(path)?;
    }

    let norm = set.normalization();
    let train = Arc::new(set.train);
    let (start, mut images) = (Instant::now(), 0);
    for batch in batches(train, norm, &BatchConfig::train(128, 0, 0), &Device::Cpu) {
        images += batch?.labels.dim(0)?;
    }
    println!("{images} images in batches, {:.2} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// A row of training pictures for each of the first ten classes.
fn sheet(set: &Dataset) -> RgbImage {
    const COLUMNS: usize = 16;
    let (h, w) = (set.train.height(), set.train.width());
    let rows = set.classes.len().min(10);
    let mut sheet = RgbImage::new((COLUMNS * (w + 2)) as u32, (rows * (h + 2)) as u32);
    for row in 0..rows {
        let of_class = |&i: &usize| set.train.labels()[i] as usize == row;
        let found = (0..set.train.len()).filter(of_class).take(COLUMNS);
        for (column, pixels) in found.filter_map(|i| set.train.image(i)).enumerate() {
            for (at, pixel) in pixels.chunks_exact(3).enumerate() {
                let (x, y) = (column * (w + 2) + at % w, row * (h + 2) + at / w);
                sheet.put_pixel(x as u32, y as u32, image::Rgb([pixel[0], pixel[1], pixel[2]]));
            }
        }
    }
    sheet
}
