//! The transforms against torchvision's, whose results `tests/fixtures/make_torchvision_json.py` wrote down.

use serde::Deserialize;

use crate::augment::{Crop, Mixing, draw};
use crate::resize::Resizer;
use crate::{Augment, Padding};

#[derive(Deserialize)]
struct Fixture {
    batch: Batch,
    mixes: Vec<MixCase>,
    crops: Vec<CropCase>,
    resizes: Vec<ResizeCase>,
    erasing: Vec<ErasingCase>,
}

#[derive(Deserialize)]
struct Batch {
    size: (usize, usize, usize),
    labels: Vec<usize>,
    images: Vec<f32>,
}

#[derive(Deserialize)]
struct MixCase {
    name: String,
    drawn: f64,
    center: (usize, usize),
    lambda: f64,
    images: Vec<f32>,
    targets: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct CropCase {
    reflect: bool,
    dy: isize,
    dx: isize,
    mirror: bool,
    image: Vec<f32>,
}

#[derive(Deserialize)]
struct ResizeCase {
    from: (usize, usize),
    to: (usize, usize),
    image: Vec<f32>,
}

#[derive(Deserialize)]
struct ErasingCase {
    size: (usize, usize),
    mean_share: f64,
}

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("../tests/fixtures/torchvision.json")).unwrap()
}

/// The fixture's picture of a size.
fn picture((height, width): (usize, usize)) -> Vec<u8> {
    let places = (0..height).flat_map(|y| (0..width).flat_map(move |x| (0..3).map(move |c| (y, x, c))));
    places.map(|(y, x, c)| (y * 37 + x * 61 + c * 29 + (y * x) % 7 * 23) as u8).collect()
}

#[test]
fn mixes() {
    let Fixture { batch, mixes, .. } = fixture();
    let (n, height, width) = batch.size;
    for case in mixes {
        let what = format!("{} {} {:?}", case.name, case.drawn, case.center);
        let mixing = match case.name.as_str() {
            "mixup" => Mixing::Blend { lambda: case.drawn },
            _ => Mixing::cut(case.drawn, case.center, (height, width)),
        };
        let mut images = batch.images.clone();
        mixing.apply(&mut images, height * width * 3, width);
        let close = |a: f32, b: f32| (a - b).abs() < 1e-6;
        assert!((mixing.lambda() - case.lambda).abs() < 1e-9, "{what}: {mixing:?}");
        assert!(images.iter().zip(&case.images).all(|(&a, &b)| close(a, b)), "{what}: {images:?}, {:?}", case.images);
        for (i, target) in case.targets.iter().enumerate() {
            let mut expected = vec![0.0; 3];
            expected[batch.labels[i]] += mixing.lambda() as f32;
            expected[batch.labels[(i + n - 1) % n]] += 1.0 - mixing.lambda() as f32;
            assert!(target.iter().zip(&expected).all(|(&a, &b)| close(a, b)), "{what}: {target:?}, {expected:?}");
        }
    }
}

#[test]
fn crops() {
    let size = (5, 6);
    for case in fixture().crops {
        let padding = if case.reflect { Padding::Reflect } else { Padding::Black };
        let crop = Crop { dy: case.dy, dx: case.dx, mirror: case.mirror, padding };
        let mut out = vec![0; 90];
        crop.apply(&picture(size), size, &mut out);
        let out: Vec<f32> = out.into_iter().map(f32::from).collect();
        assert_eq!(out, case.image, "{crop:?}");
    }
}

#[test]
fn resizes() {
    for case in fixture().resizes {
        let mut scaled = vec![0; case.image.len()];
        Resizer::new(case.from, case.to).apply(&picture(case.from), &mut scaled);
        for (&found, &expected) in scaled.iter().zip(&case.image) {
            // Rounded to a whole number.
            assert!((f32::from(found) - expected).abs() < 0.51, "{:?}: {scaled:?}, {:?}", case.to, case.image);
        }
    }
}

#[test]
fn erased_areas_on_average() {
    let augment = Augment { random_erasing: 1.0, ..Augment::default() };
    for ErasingCase { size, mean_share } in fixture().erasing {
        let pixels = |i| draw(&augment, 1, 1, i, size).erase.map_or(0, |area| area.pixels());
        let mean = (0..20_000).map(pixels).sum::<usize>() as f64 / 20_000.0 / (size.0 * size.1) as f64;
        // The standard deviation of the two means' difference is 0.0008.
        assert!((mean - mean_share).abs() < 0.004, "{size:?}: {mean}, expected {mean_share}");
    }
}
