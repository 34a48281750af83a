//! The transforms against torchvision's, whose results `tests/fixtures/make_torchvision_json.py`, `make_transforms.py` and
//! `make_pictures.py` wrote down.

use serde::Deserialize;

use crate::augment::{Area, Crop, Mixing, Op, Shade, draw};
use crate::resize::Resizer;
use crate::scale::{resize_and_crop, scale, whole};
use crate::{Augment, Padding, Policy};

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
        let pixels = |i| draw(&augment, 1, 1, i, size, size).erase.map_or(0, |area| area.pixels());
        let mean = (0..20_000).map(pixels).sum::<usize>() as f64 / 20_000.0 / (size.0 * size.1) as f64;
        // The standard deviation of the two means' difference is 0.0008.
        assert!((mean - mean_share).abs() < 0.004, "{size:?}: {mean}, expected {mean_share}");
    }
}

/// Results of torchvision on PIL's pictures.
#[derive(Deserialize)]
struct Transforms {
    policies: Vec<PolicyCase>,
    shades: Vec<ShadeCase>,
    parts: Vec<PartCase>,
}

#[derive(Deserialize)]
struct PolicyCase {
    policy: String,
    op: usize,
    bin: usize,
    negative: bool,
    pixels: String,
}

#[derive(Deserialize)]
struct ShadeCase {
    name: String,
    factor: f64,
    pixels: String,
}

#[derive(Deserialize)]
struct PartCase {
    size: (usize, usize),
    part: [usize; 4],
    to: usize,
    pixels: String,
}

#[derive(Deserialize)]
struct Scaled {
    scaled: Vec<ScaledCase>,
}

#[derive(Deserialize)]
struct ScaledCase {
    size: (usize, usize),
    short: usize,
    crop: usize,
    pixels: String,
}

fn transforms() -> Transforms {
    serde_json::from_str(include_str!("../tests/fixtures/transforms.json")).unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes().chunks(2).map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}

const SIZE: (usize, usize) = (9, 13);

#[test]
fn every_change_of_the_policies() {
    let cases = transforms().policies;
    assert!(cases.len() > 80);
    for PolicyCase { policy, op, bin, negative, pixels } in cases {
        let policy = match policy.as_str() {
            "trivial" => Policy::TrivialAugmentWide,
            _ => Policy::RandAugment { ops: 1, magnitude: bin },
        };
        let op = Op::new(policy, op, bin, negative, SIZE);
        let mut found: Vec<u8> = picture(SIZE).into_iter().map(|value| value / 2 + 30).collect();
        op.apply(&mut found, SIZE);
        assert!(found == bytes(&pixels), "{policy:?}, {op:?}");
    }
}

#[test]
fn shades() {
    for ShadeCase { name, factor, pixels } in transforms().shades {
        let shade = match name.as_str() {
            "brightness" => Shade::Brightness(factor),
            "contrast" => Shade::Contrast(factor),
            "saturation" => Shade::Saturation(factor),
            _ => Shade::Hue(factor),
        };
        let mut found = picture(SIZE);
        shade.apply(&mut found);
        assert!(found == bytes(&pixels), "{shade:?}");
    }
}

#[test]
fn parts_are_scaled_to_the_last_bit() {
    for PartCase { size, part: [top, left, height, width], to, pixels } in transforms().parts {
        let part = Area { top, left, height, width };
        let found = scale(&picture(size), size.1, part, (to, to), whole((to, to)));
        assert!(found == bytes(&pixels), "{part:?} to {to}");
    }
}

#[test]
fn resize_and_center_crop_to_the_last_bit() {
    let Scaled { scaled } = serde_json::from_str(include_str!("../tests/fixtures/pictures.json")).unwrap();
    for ScaledCase { size, short, crop, pixels } in scaled {
        assert!(resize_and_crop(&picture(size), size, short, crop) == bytes(&pixels), "{size:?} to {short}, {crop}");
    }
}
