//! `flaws`: sound metal and six kinds of flaws on it, drawn by code from a seed at any size.
//!
//! A counterpart to the inspection of surfaces, whose pictures are rarely public. The kinds are those that hot-rolled
//! steel is sorted by (Song and Yan, "A noise robust method based on completed local binary patterns for hot-rolled
//! steel strip surface defects", 2013): crazing, inclusion, patches, pitted surface, rolled-in scale, scratches. The
//! metal is gray and brushed in a direction of its own, lit from one side, and grainy.
//!
//! What makes it hard is stated in [`CONTRAST`]: a flaw lies four to ten standard deviations of the metal's texture away
//! from the metal around it, at a place, size and slant of its own. All lengths are parts of the picture's side, so that a
//! seed gives the same scenes at every size. Accuracies on it say nothing about photographs.

use super::drawn::{Drawing, Drawn};
use mobilenet_common::random::SplitMix64;

const CLASSES: [&str; 7] =
    ["sound", "crazing", "inclusion", "patches", "pitted_surface", "rolled_in_scale", "scratches"];

/// First words of the keys of the random streams.
const ORDER: u64 = u64::from_le_bytes(*b"flaws..o");
const PICTURE: u64 = u64::from_le_bytes(*b"flaws..p");

/// How far a flaw lies from the metal, in standard deviations of the brushed texture: drawn between the two.
const CONTRAST: (f32, f32) = (4.0, 10.0);

/// Standard deviation of the texture, in gray levels: drawn between the two.
const TEXTURE: (f32, f32) = (4.0, 8.0);

/// Largest grain of a pixel, in gray levels.
const GRAIN: f32 = 6.0;

/// The set, of pictures with so many pixels in height and width.
pub(crate) fn drawing(side: usize) -> Drawing {
    let usual = Drawn { train: 4_200, test: 1_400, seed: 0 };
    Drawing { name: "flaws", classes: &CLASSES, order: ORDER, picture: PICTURE, usual, side, draw }
}

/// Draws one picture `[side, side, 3]`.
fn draw(class: u32, rng: &mut SplitMix64, side: usize, image: &mut [u8]) {
    let metal = Metal::draw(rng);
    let sigma = rng.between(TEXTURE.0, TEXTURE.1);
    let contrast = rng.between(CONTRAST.0, CONTRAST.1) * sigma;
    let flaw = Flaw::draw(class, rng, &metal);
    let pixel_size = 1.0 / side as f32;
    for (at, pixel) in image.chunks_exact_mut(3).enumerate() {
        let x = ((at % side) as f32 + 0.5) * pixel_size;
        let y = ((at / side) as f32 + 0.5) * pixel_size;
        let value = metal.shade(x, y) + sigma * metal.texture(x, y) + contrast * flaw.amount(x, y, pixel_size);
        let grain = GRAIN * 0.5 * (rng.between(-1.0, 1.0) + rng.between(-1.0, 1.0));
        for (out, tint) in pixel.iter_mut().zip(metal.tint) {
            *out = (value * tint + grain).clamp(0.0, 255.0) as u8;
        }
    }
}

/// A surface without a flaw.
struct Metal {
    base: f32,
    slope: (f32, f32),
    tint: [f32; 3],
    /// Cosine and sine of the direction of brushing.
    turn: (f32, f32),
    coarse: Noise,
    fine: Noise,
}

impl Metal {
    fn draw(rng: &mut SplitMix64) -> Self {
        let base = rng.between(95.0, 165.0);
        let slope = (rng.between(-30.0, 30.0), rng.between(-30.0, 30.0));
        let tint = [0; 3].map(|_| rng.between(0.96, 1.04));
        Self { base, slope, tint, turn: turn(rng), coarse: Noise::draw(rng), fine: Noise::draw(rng) }
    }

    fn shade(&self, x: f32, y: f32) -> f32 {
        self.base + self.slope.0 * (x - 0.5) + self.slope.1 * (y - 0.5)
    }

    /// Lines along the direction of brushing, of standard deviation 1.
    fn texture(&self, x: f32, y: f32) -> f32 {
        let (along, across) = turned(self.turn, x, y);
        1.7 * self.coarse.at(3.0 * along, 45.0 * across) + 1.7 * self.fine.at(8.0 * along, 110.0 * across)
    }
}

/// What is wrong with the surface, if anything.
enum Flaw {
    None,
    /// Fine dark cracks, like a net
    Crazing(Region, Noise, f32),
    /// Slag that was rolled in: short strokes along the brushing
    Inclusion(Vec<Stroke>, f32),
    /// Large stains with ragged edges
    Patches(Region, f32),
    /// Many small dark pits
    Pitted(Vec<Stroke>),
    /// Flakes of scale, drawn out along the brushing
    Scale(Region, Noise, (f32, f32)),
    /// Long thin lines in a direction of their own
    Scratches(Vec<Stroke>, f32),
}

impl Flaw {
    fn draw(class: u32, rng: &mut SplitMix64, metal: &Metal) -> Self {
        let sign = if rng.below(3) == 0 { 1.0 } else { -1.0 };
        match class {
            0 => Self::None,
            1 => Self::Crazing(Region::draw(rng, (0.22, 0.4)), Noise::draw(rng), rng.between(11.0, 17.0)),
            2 => {
                let strokes = (0..1 + rng.below(3))
                    .map(|_| Stroke::draw(rng, metal.turn, (0.03, 0.10), (0.012, 0.028), 0.32))
                    .collect();
                Self::Inclusion(strokes, sign)
            }
            3 => Self::Patches(Region::draw(rng, (0.14, 0.32)), 0.8 * sign),
            4 => {
                let center = center(rng, 0.2);
                let pits = (0..18 + rng.below(30)).map(|_| Stroke::pit(rng, center)).collect();
                Self::Pitted(pits)
            }
            5 => Self::Scale(Region::draw(rng, (0.22, 0.4)), Noise::draw(rng), metal.turn),
            _ => {
                let direction = turn(rng);
                let lines = (0..1 + rng.below(3))
                    .map(|_| Stroke::draw(rng, direction, (0.15, 0.4), (0.003, 0.007), 0.25))
                    .collect();
                Self::Scratches(lines, -sign)
            }
        }
    }

    /// How much the picture differs here, from -1 (darker) to 1 (brighter).
    fn amount(&self, x: f32, y: f32, pixel: f32) -> f32 {
        match self {
            Self::None => 0.0,
            Self::Crazing(region, net, cells) => {
                let crack = 1.0 - smooth(net.at(cells * x, cells * y).abs() / 0.14);
                -1.2 * crack * region.inside(x, y, 0.3)
            }
            Self::Inclusion(strokes, sign) => sign * most(strokes, x, y, pixel),
            Self::Patches(region, sign) => sign * region.inside(x, y, 0.08),
            Self::Pitted(pits) => -1.2 * most(pits, x, y, pixel),
            Self::Scale(region, flakes, turn) => {
                let (along, across) = turned(*turn, x, y);
                -smooth((flakes.at(9.0 * along, 24.0 * across) - 0.05) / 0.25) * region.inside(x, y, 0.25)
            }
            Self::Scratches(lines, sign) => 1.3 * sign * most(lines, x, y, pixel),
        }
    }
}

fn most(strokes: &[Stroke], x: f32, y: f32, pixel: f32) -> f32 {
    strokes.iter().fold(0.0, |most, stroke| stroke.coverage(x, y, pixel).max(most))
}

/// A round part of the picture with a ragged edge.
struct Region {
    center: (f32, f32),
    radius: f32,
    edge: Noise,
}

impl Region {
    fn draw(rng: &mut SplitMix64, radius: (f32, f32)) -> Self {
        Self { center: center(rng, 0.22), radius: rng.between(radius.0, radius.1), edge: Noise::draw(rng) }
    }

    /// 1 inside, 0 outside, and between them over a part `soft` of the radius.
    fn inside(&self, x: f32, y: f32, soft: f32) -> f32 {
        let (dx, dy) = (x - self.center.0, y - self.center.1);
        let distance = (dx * dx + dy * dy).sqrt() / self.radius;
        smooth((1.0 - distance + 0.6 * self.edge.at(7.0 * x, 7.0 * y)) / soft)
    }
}

/// A straight line with round ends; a short one is a pit.
struct Stroke {
    center: (f32, f32),
    turn: (f32, f32),
    /// Half of its length and of its width.
    half: (f32, f32),
}

impl Stroke {
    fn draw(rng: &mut SplitMix64, turn: (f32, f32), length: (f32, f32), width: (f32, f32), away: f32) -> Self {
        let center = center(rng, away);
        Self { center, turn, half: (rng.between(length.0, length.1), rng.between(width.0, width.1)) }
    }

    fn pit(rng: &mut SplitMix64, around: (f32, f32)) -> Self {
        let center = (around.0 + rng.between(-0.28, 0.28), around.1 + rng.between(-0.28, 0.28));
        Self { center, turn: (1.0, 0.0), half: (rng.between(0.0, 0.006), rng.between(0.006, 0.015)) }
    }

    fn coverage(&self, x: f32, y: f32, pixel: f32) -> f32 {
        let (along, across) = turned(self.turn, x - self.center.0, y - self.center.1);
        let beyond = (along.abs() - self.half.0).max(0.0);
        let distance = (beyond * beyond + across * across).sqrt();
        ((self.half.1 - distance) / pixel + 0.5).clamp(0.0, 1.0)
    }
}

/// Smooth random values from -1 to 1: a lattice that repeats, and what lies between its points.
struct Noise(Vec<f32>);

impl Noise {
    const CELLS: usize = 32;

    fn draw(rng: &mut SplitMix64) -> Self {
        Self((0..Self::CELLS * Self::CELLS).map(|_| rng.between(-1.0, 1.0)).collect())
    }

    /// The value at a place, in cells.
    fn at(&self, x: f32, y: f32) -> f32 {
        let (left, top) = (x.floor(), y.floor());
        let (u, v) = (smooth(x - left), smooth(y - top));
        let value = |dx: i64, dy: i64| {
            let wrap = |at: f32, by: i64| (at as i64 + by).rem_euclid(Self::CELLS as i64) as usize;
            self.0[wrap(top, dy) * Self::CELLS + wrap(left, dx)]
        };
        let upper = value(0, 0) + (value(1, 0) - value(0, 0)) * u;
        let lower = value(0, 1) + (value(1, 1) - value(0, 1)) * u;
        upper + (lower - upper) * v
    }
}

fn center(rng: &mut SplitMix64, away: f32) -> (f32, f32) {
    (0.5 + rng.between(-away, away), 0.5 + rng.between(-away, away))
}

/// Cosine and sine of an angle between −90 and 90 degrees: the tangent of half of it gives both without a sine.
fn turn(rng: &mut SplitMix64) -> (f32, f32) {
    let t = rng.between(-1.0, 1.0);
    ((1.0 - t * t) / (1.0 + t * t), 2.0 * t / (1.0 + t * t))
}

/// Coordinates along a direction and across it.
fn turned((cos, sin): (f32, f32), x: f32, y: f32) -> (f32, f32) {
    (cos * x + sin * y, cos * y - sin * x)
}

/// From 0 to 1 with slopes of 0 at both ends.
fn smooth(at: f32) -> f32 {
    let at = at.clamp(0.0, 1.0);
    at * at * (3.0 - 2.0 * at)
}

#[cfg(test)]
mod tests {
    use super::super::files;
    use super::*;

    #[test]
    fn drawing_never_changes() {
        // A changed sum means that figures measured on flaws no longer compare.
        let set = drawing(32).load(Some(Drawn { train: 70, test: 7, seed: 0 })).unwrap();
        assert_eq!(
            files::sha256_of(set.train.pixels().unwrap()),
            "6752fc8628a732c940db7886a0c97feafeff27a7fb6aea1fb6019a4f175f8749"
        );
    }

    #[test]
    fn texture_has_the_stated_deviation() {
        let (mut sum, mut squares, n) = (0.0, 0.0, 100 * 400);
        for picture in 0..100 {
            let metal = Metal::draw(&mut SplitMix64::keyed(&[picture]));
            for at in 0..400 {
                let value = metal.texture((at % 20) as f32 / 20.0, (at / 20) as f32 / 20.0);
                (sum, squares) = (sum + value, squares + value * value);
            }
        }
        let mean = sum / n as f32;
        let deviation = (squares / n as f32 - mean * mean).sqrt();
        assert!(mean.abs() < 0.05 && (0.9..1.1).contains(&deviation), "{mean} {deviation}");
    }

    #[test]
    fn every_flaw_covers_enough_to_be_seen_and_not_the_whole_picture() {
        const SIDE: usize = 64;
        let pixel = 1.0 / SIDE as f32;
        for class in 0..CLASSES.len() as u32 {
            for i in 0..100 {
                let rng = &mut SplitMix64::keyed(&[i]);
                let metal = Metal::draw(rng);
                let flaw = Flaw::draw(class, rng, &metal);
                let amounts = (0..SIDE * SIDE)
                    .map(|at| flaw.amount((at % SIDE) as f32 * pixel, (at / SIDE) as f32 * pixel, pixel).abs());
                let area = amounts.sum::<f32>() / (SIDE * SIDE) as f32;
                let seen = if class == 0 { area == 0.0 } else { (0.001..0.6).contains(&area) };
                assert!(seen, "{}, draw {i}: {area}", CLASSES[class as usize]);
            }
        }
    }
}
