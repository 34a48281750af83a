//! `shapes10`: ten classes of 32x32 color pictures drawn by code from a seed.
//!
//! It stands in for CIFAR-10 where that cannot be had: a small network learns it, but has to look
//! at form, since colors, place, size, slant, background, clutter and noise are drawn at random.
//! Accuracies on it say nothing about CIFAR. Every class looks the same in a mirror.

use super::drawn::{Drawing, Drawn};
use mobilenet_common::random::SplitMix64;

const CLASSES: [&str; 10] = [
    "circle",
    "square",
    "triangle",
    "ring",
    "cross",
    "diamond",
    "frame",
    "horizontal_stripes",
    "vertical_stripes",
    "checkerboard",
];

const SIDE: usize = 32;

/// Sub-samples per pixel and direction, for smooth edges.
const SAMPLES: usize = 3;

/// First words of the keys of the random streams.
const ORDER: u64 = u64::from_le_bytes(*b"shapes.o");
const PICTURE: u64 = u64::from_le_bytes(*b"shapes.p");

/// The set.
pub(crate) fn drawing() -> Drawing {
    let usual = Drawn { train: 10_000, test: 2_000, seed: 0 };
    Drawing { name: "shapes10", classes: &CLASSES, order: ORDER, picture: PICTURE, usual, side: SIDE, draw }
}

/// Draws one picture `[32, 32, 3]`.
fn draw(class: u32, rng: &mut SplitMix64, _side: usize, image: &mut [u8]) {
    let (front, back, back2) = colors(rng);
    let shape = Placed::draw(rng, class, (5.5, 12.0), 4.0);
    let clutter: Vec<(Placed, [f32; 3])> = (0..rng.below(4)).map(|_| (speck(rng), color(rng))).collect();
    let slope = (rng.between(-1.0, 1.0), rng.between(-1.0, 1.0));
    let noise = rng.between(4.0, 22.0);
    for (at, pixel) in image.chunks_exact_mut(3).enumerate() {
        let (x, y) = ((at % SIDE) as f32, (at / SIDE) as f32);
        // The background goes from one color to the other across the picture.
        let across = (0.5 + (slope.0 * (x - 15.5) + slope.1 * (y - 15.5)) / 64.0).clamp(0.0, 1.0);
        let mut value = mix(back, back2, across);
        for (speck, color) in &clutter {
            value = mix(value, *color, speck.coverage(x, y));
        }
        value = mix(value, front, shape.coverage(x, y));
        for (out, value) in pixel.iter_mut().zip(value) {
            // Three uniform numbers are near enough to a normal one.
            let bell = (0..3).map(|_| rng.between(-1.0, 1.0)).sum::<f32>();
            *out = (value + noise * bell).clamp(0.0, 255.0) as u8;
        }
    }
}

/// A front color that stands out from both of the background's, two of which are akin.
fn colors(rng: &mut SplitMix64) -> ([f32; 3], [f32; 3], [f32; 3]) {
    let distance = |a: [f32; 3], b: [f32; 3]| (0..3).map(|c| (a[c] - b[c]).abs()).sum::<f32>();
    let back = color(rng);
    let back2 = back.map(|v| (v + rng.between(-70.0, 70.0)).clamp(0.0, 255.0));
    let mut front = color(rng);
    // Far corner of the color cube, for the draw that never comes.
    let opposite = back.map(|v| if v < 128.0 { 255.0 } else { 0.0 });
    for _ in 0..32 {
        if distance(front, back).min(distance(front, back2)) > 150.0 {
            return (front, back, back2);
        }
        front = color(rng);
    }
    (opposite, back, back2)
}

fn color(rng: &mut SplitMix64) -> [f32; 3] {
    [0; 3].map(|_| rng.between(0.0, 255.0))
}

fn mix(a: [f32; 3], b: [f32; 3], part: f32) -> [f32; 3] {
    std::array::from_fn(|c| a[c] + (b[c] - a[c]) * part)
}

/// A small circle or square that has nothing to do with the class.
fn speck(rng: &mut SplitMix64) -> Placed {
    let class = rng.below(2) as u32;
    Placed::draw(rng, class, (1.0, 2.2), 15.0)
}

/// A shape somewhere in the picture.
struct Placed {
    class: u32,
    center: (f32, f32),
    radius: f32,
    /// Cosine and sine of the slant.
    turn: (f32, f32),
    /// Width of ring, frame and arms, or of a stripe, as a part of the radius.
    weight: f32,
    /// Where stripes and squares begin.
    phase: (f32, f32),
}

impl Placed {
    fn draw(rng: &mut SplitMix64, class: u32, radius: (f32, f32), away: f32) -> Self {
        let radius = rng.between(radius.0, radius.1);
        let center = (15.5 + rng.between(-away, away), 15.5 + rng.between(-away, away));
        // Up to 12 degrees: the tangent of half the angle gives cosine and sine without either.
        let t = rng.between(-0.105, 0.105);
        let turn = ((1.0 - t * t) / (1.0 + t * t), 2.0 * t / (1.0 + t * t));
        let weight = rng.between(0.28, 0.42);
        let phase = (rng.between(0.0, 1.0), rng.between(0.0, 1.0));
        Self { class, center, radius, turn, weight, phase }
    }

    /// How much of the pixel at `(x, y)` is covered, 0 to 1.
    fn coverage(&self, x: f32, y: f32) -> f32 {
        let step = 1.0 / SAMPLES as f32;
        let offset = |i: usize| (i as f32 + 0.5) * step - 0.5;
        let reach = self.radius * 1.5 + 1.0;
        if (x - self.center.0).abs() > reach || (y - self.center.1).abs() > reach {
            return 0.0;
        }
        let hits =
            (0..SAMPLES * SAMPLES).filter(|i| self.covers(x + offset(i % SAMPLES), y + offset(i / SAMPLES))).count();
        hits as f32 * step * step
    }

    fn covers(&self, x: f32, y: f32) -> bool {
        let (dx, dy) = (x - self.center.0, y - self.center.1);
        let (cos, sin) = self.turn;
        // In units of the radius, slant undone; y points down.
        let u = (cos * dx + sin * dy) / self.radius;
        let v = (cos * dy - sin * dx) / self.radius;
        let (a, b, w) = (u.abs(), v.abs(), self.weight);
        let square = a.max(b) <= 0.9;
        // Two stripes to three per radius.
        let odd = |at: f32, phase: f32| ((at / w + phase).floor() as i32) & 1 == 1;
        match self.class {
            0 => u * u + v * v <= 1.0,
            1 => square,
            2 => v <= 0.75 && 1.5 * a <= (v + 1.0),
            3 => (1.0 - 1.3 * w..=1.0).contains(&(u * u + v * v).sqrt()),
            4 => a.min(b) <= 0.8 * w && a.max(b) <= 1.0,
            5 => a + b <= 1.2,
            6 => square && a.max(b) >= 0.9 - w,
            7 => square && odd(v, self.phase.1),
            8 => square && odd(u, self.phase.0),
            _ => square && (odd(u, self.phase.0) != odd(v, self.phase.1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::files;
    use super::*;

    #[test]
    fn drawing_never_changes() {
        // A changed sum means that figures measured on shapes10 no longer compare.
        let set = drawing().load(Some(Drawn { train: 100, test: 10, seed: 0 })).unwrap();
        assert_eq!(
            files::sha256_of(set.train.pixels().unwrap()),
            "af59dab9925c416dd0e9bd3879a78dbf9f43347b3a1d3ca60d290dd8ead0dc2a"
        );
    }

    #[test]
    fn every_class_covers_enough_to_be_seen() {
        for class in 0..10 {
            for i in 0..200 {
                let shape = Placed::draw(&mut SplitMix64::keyed(&[i]), class, (5.5, 12.0), 4.0);
                let area: f32 = (0..SIDE * SIDE).map(|at| shape.coverage((at % SIDE) as f32, (at / SIDE) as f32)).sum();
                assert!((25.0..600.0).contains(&area), "class {class}, draw {i}: {area} pixels");
            }
        }
    }
}
