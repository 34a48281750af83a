//! `ColorJitter` of torchvision: brightness, contrast, saturation and hue, each by a factor of its own, in an order that
//! is drawn.

use mobilenet_common::random::SplitMix64;
use mobilenet_schema::ColorJitter;

use super::color;

/// One change of colors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Shade {
    Brightness(f64),
    Contrast(f64),
    Saturation(f64),
    Hue(f64),
}

impl Shade {
    pub fn apply(self, pixels: &mut [u8]) {
        match self {
            Self::Brightness(factor) => color::brightness(pixels, factor as f32),
            Self::Contrast(factor) => color::contrast(pixels, factor as f32),
            Self::Saturation(factor) => color::saturation(pixels, factor as f32),
            Self::Hue(share) => color::hue(pixels, share),
        }
    }
}

/// What is done to one picture, in this order. A change of strength 0 is left out.
pub(super) fn draw(jitter: &ColorJitter, rng: &mut SplitMix64) -> Vec<Shade> {
    let ColorJitter { brightness, contrast, saturation, hue } = *jitter;
    let mut factor = |strength: f64| rng.uniform((1.0 - strength).max(0.0), 1.0 + strength);
    let factors = [brightness, contrast, saturation].map(&mut factor);
    let mut shades = vec![
        (brightness, Shade::Brightness(factors[0])),
        (contrast, Shade::Contrast(factors[1])),
        (saturation, Shade::Saturation(factors[2])),
        (hue, Shade::Hue(rng.uniform(-hue, hue))),
    ];
    rng.shuffle(&mut shades);
    shades.into_iter().filter(|(strength, _)| *strength > 0.0).map(|(_, shade)| shade).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_lie_around_one_and_every_order_is_drawn() {
        let jitter = ColorJitter { brightness: 0.4, contrast: 1.5, saturation: 0.0, hue: 0.1 };
        let mut orders = std::collections::HashSet::new();
        for i in 0..500 {
            let shades = draw(&jitter, &mut SplitMix64::keyed(&[i]));
            assert_eq!(shades.len(), 3);
            orders.insert(shades.iter().map(std::mem::discriminant).collect::<Vec<_>>());
            for shade in shades {
                let ok = match shade {
                    Shade::Brightness(factor) => (0.6..=1.4).contains(&factor),
                    Shade::Contrast(factor) => (0.0..=2.5).contains(&factor),
                    Shade::Hue(share) => (-0.1..=0.1).contains(&share),
                    Shade::Saturation(_) => false,
                };
                assert!(ok, "{shade:?}");
            }
        }
        assert_eq!(orders.len(), 6);
    }
}
