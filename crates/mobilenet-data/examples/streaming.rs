//! How fast pictures of a folder are decoded and augmented at 224x224 when they are not kept, and in how much memory.
//!
//! ```text
//! cargo run --release -p mobilenet-data --example streaming -- make DIR PICTURES
//! cargo run --release -p mobilenet-data --example streaming -- DIR [BATCHES]
//! python crates/mobilenet-data/examples/streaming_torchvision.py DIR WORKERS [BATCHES]
//! ```
//!
//! `make` fills a folder with JPEGs of 500x375 pixels, as large as photographs of that size: 500 different ones, and
//! links to them. `RAYON_NUM_THREADS` sets the number of threads. The Python does the same with torchvision's ImageFolder
//! and DataLoader. Both print pictures per second, and pictures per second of the processor: the speed of one core, which
//! depends less on what else the machine does.

#![expect(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::Device;
use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage};
use mobilenet_common::random::SplitMix64;
use mobilenet_data::{Augment, BatchConfig, LoadOptions, Policy, ResizedCrop, batches, load};

const SIZE: usize = 224;
const BATCH: usize = 64;
/// Pictures that differ.
const DIFFERENT: usize = 500;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["make", dir, pictures] => make(Path::new(dir), pictures.parse()?),
        [dir] => measure(dir, 20),
        [dir, batches] => measure(dir, batches.parse()?),
        _ => Err("expected make DIR PICTURES, or DIR [BATCHES]".into()),
    }
}

fn measure(dir: &str, count: usize) -> Result<(), Box<dyn Error>> {
    let read = mobilenet_data::ReadOptions { crop_share: Some(0.875), ..Default::default() };
    let options =
        LoadOptions { data_dir: Some(dir.into()), image_size: SIZE, picture_cache: 0, read, ..LoadOptions::default() };
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let set = load(&options, &mut |_| {})?;
    let pictures = set.train.len() + set.test.len();
    println!("{}, {} threads", set.copy, rayon::current_num_threads());
    report("first reading", pictures, start, cpu);

    let resized_crop = Some(ResizedCrop::default());
    let train = Augment { resized_crop, crop_padding: 0, ..Augment::default() };
    let trivial = Augment { policy: Policy::TrivialAugmentWide, ..train };
    let (norm, split) = (set.normalization(), Arc::new(set.train));
    for (name, cfg) in [
        ("RandomResizedCrop, flip", BatchConfig { augment: train, ..BatchConfig::train(BATCH, 1, 1) }),
        ("the same, TrivialAugmentWide", BatchConfig { augment: trivial, ..BatchConfig::train(BATCH, 1, 1) }),
        ("Resize(256), CenterCrop(224)", BatchConfig { shuffle: true, ..BatchConfig::eval(BATCH) }),
    ] {
        let (start, cpu, mut pictures) = (Instant::now(), cpu_seconds(), 0);
        for batch in batches(Arc::clone(&split), norm, &cfg, &Device::Cpu).take(count) {
            pictures += batch?.labels.dim(0)?;
        }
        report(name, pictures, start, cpu);
    }
    // Whoever is slow finds as many batches as may be ahead.
    let mut ahead =
        batches(split, norm, &BatchConfig { augment: train, ..BatchConfig::train(BATCH, 1, 1) }, &Device::Cpu);
    let first = ahead.next().transpose()?;
    std::thread::sleep(Duration::from_secs(10));
    println!("with all batches ahead that may be: peak memory {:.0} MB", peak_memory() / 1e6);
    drop((first, ahead));
    Ok(())
}

fn report(what: &str, pictures: usize, start: Instant, cpu: f64) {
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    println!(
        "{what:30} {:7.1} pictures/s, {:7.1} pictures per core and second, peak memory {:.0} MB",
        pictures as f64 / seconds,
        pictures as f64 / cpu,
        peak_memory() / 1e6
    );
}

/// Seconds of the processor that this process has used; Linux alone tells.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // User and system time are the 12th and 13th field behind the name, in hundredths of a second.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Most memory that was resident, in bytes; Linux alone tells.
fn peak_memory() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(f64::NAN) * 1024.0
}

/// Ten classes with a tenth of the pictures each, and some to test with.
fn make(dir: &Path, pictures: usize) -> Result<(), Box<dyn Error>> {
    for (part, count) in [("train", pictures), ("test", pictures.min(100))] {
        for i in 0..count {
            let folder = dir.join(part).join(format!("class{}", i % 10));
            fs::create_dir_all(&folder)?;
            let (path, first) = (folder.join(format!("{i:06}.jpg")), dir.join(format!("train/class{}", i % 10)));
            if part == "train" && i < DIFFERENT {
                photograph(i as u64).write_with_encoder(JpegEncoder::new_with_quality(fs::File::create(path)?, 85))?;
            } else {
                fs::hard_link(first.join(format!("{:06}.jpg", i % DIFFERENT)), path)?;
            }
        }
    }
    Ok(())
}

/// Noise at every scale, the finer the weaker, as photographs have it.
fn photograph(seed: u64) -> RgbImage {
    let (width, height) = (500usize, 375usize);
    let mut rng = SplitMix64::keyed(&[seed]);
    let mut sum = vec![[128f32; 3]; width * height];
    for step in [128usize, 64, 32, 16, 8, 4, 2, 1] {
        let (columns, rows) = (width / step + 2, height / step + 2);
        let strength = 8.0 * (step as f32).powf(0.45);
        let mut drawn = || {
            // Mostly brightness, and a little color.
            let gray = rng.between(-1.0, 1.0);
            [0, 1, 2].map(|_| strength * (gray + 0.3 * rng.between(-1.0, 1.0)))
        };
        let grid: Vec<[f32; 3]> = (0..columns * rows).map(|_| drawn()).collect();
        for (at, pixel) in sum.iter_mut().enumerate() {
            let (x, y) = (at % width, at / width);
            let (left, top) = (x / step, y / step);
            let (u, v) = ((x % step) as f32 / step as f32, (y % step) as f32 / step as f32);
            let corner = |dy: usize, dx: usize| grid[(top + dy) * columns + left + dx];
            let (a, b, c, d) = (corner(0, 0), corner(0, 1), corner(1, 0), corner(1, 1));
            for k in 0..3 {
                pixel[k] += (1.0 - v) * ((1.0 - u) * a[k] + u * b[k]) + v * ((1.0 - u) * c[k] + u * d[k]);
            }
        }
    }
    RgbImage::from_fn(width as u32, height as u32, |x, y| Rgb(sum[y as usize * width + x as usize].map(|v| v as u8)))
}
