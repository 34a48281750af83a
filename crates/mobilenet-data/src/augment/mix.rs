//! MixUp and CutMix of a batch with itself, rolled by one, as torchvision's `v2.MixUp` and `v2.CutMix` do it:
//!
//! ```text
//! lambda ~ Beta(alpha, alpha), once for the batch
//! MixUp:  x[i] = lambda * x[i] + (1 - lambda) * x[i - 1]
//! CutMix: a box of the share 1 - lambda of x[i] is that of x[i - 1]; lambda becomes the share that is left after
//!         clipping
//! ```

use super::Area;
use mobilenet_common::random::SplitMix64;
use mobilenet_schema::Mix;

/// One batch's draw, for pictures of `size`.
pub(super) fn draw(mix: Mix, rng: &mut SplitMix64, (height, width): (usize, usize)) -> Option<Mixing> {
    match mix {
        Mix::None => None,
        Mix::MixUp { alpha } => Some(Mixing::Blend { lambda: rng.beta(alpha) }),
        Mix::CutMix { alpha } => {
            let lambda = rng.beta(alpha);
            let center = (rng.below(height), rng.below(width));
            Some(Mixing::cut(lambda, center, (height, width)))
        }
    }
}

/// What is drawn for one batch. `lambda`, 0 to 1, is the share of the picture itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mixing {
    Blend { lambda: f64 },
    Paste { area: Area, lambda: f64 },
}

impl Mixing {
    /// CutMix with a box of the share `1 - lambda` around `center`, as far as it lies in pictures of `size`.
    pub fn cut(lambda: f64, center: (usize, usize), size: (usize, usize)) -> Self {
        let half = 0.5 * (1.0 - lambda).sqrt();
        let range = |center: usize, size: usize| {
            let reach = (half * size as f64) as usize;
            (center.saturating_sub(reach), (center + reach).min(size))
        };
        let ((top, bottom), (left, right)) = (range(center.0, size.0), range(center.1, size.1));
        let area = Area { top, left, height: bottom - top, width: right - left };
        Self::Paste { area, lambda: 1.0 - area.pixels() as f64 / (size.0 * size.1) as f64 }
    }

    pub fn lambda(self) -> f64 {
        match self {
            Self::Blend { lambda } | Self::Paste { lambda, .. } => lambda,
        }
    }

    /// Mixes the pictures of a batch, each of `width` and `image_size` values, each with the one before it.
    pub fn apply(self, images: &mut [f32], image_size: usize, width: usize) {
        let Some(last) = images.chunks_exact(image_size).next_back() else { return };
        // The picture before, as it was. In an area the pictures' pixels are exchanged with it; it is not read
        // elsewhere.
        let mut before = last.to_vec();
        for image in images.chunks_exact_mut(image_size) {
            match self {
                Self::Blend { lambda } => {
                    let (share, rest) = (lambda as f32, (1.0 - lambda) as f32);
                    for (x, before) in image.iter_mut().zip(&mut before) {
                        let own = *x;
                        *x = share * own + rest * *before;
                        *before = own;
                    }
                }
                Self::Paste { area, .. } => {
                    area.rows(width).for_each(|row| image[row.clone()].swap_with_slice(&mut before[row]));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_a_paste_is_its_pixels() {
        let size = (7, 10);
        let mut lambdas = Vec::new();
        for i in 0..2000 {
            let mixing = draw(Mix::CutMix { alpha: 1.0 }, &mut SplitMix64::keyed(&[i]), size).unwrap();
            // A black and a white picture: what is white in the black one came from the other.
            let mut images = [vec![0f32; 210], vec![1f32; 210]].concat();
            mixing.apply(&mut images, 210, size.1);
            let white = images[..210].iter().sum::<f32>() / 210.0;
            let black = 1.0 - images[210..].iter().sum::<f32>() / 210.0;
            assert!((f64::from(1.0 - white) - mixing.lambda()).abs() < 1e-6, "{mixing:?}: {white}");
            assert!((white - black).abs() < 1e-6, "{mixing:?}: {white} {black}");
            lambdas.push(mixing.lambda());
        }
        assert!(lambdas.iter().all(|lambda| (0.0..=1.0).contains(lambda)));
        // Clipping and whole pixels leave more of the picture than the half that is drawn.
        let mean = lambdas.iter().sum::<f64>() / 2000.0;
        assert!((0.55..0.85).contains(&mean), "{mean}");
    }

    #[test]
    fn a_blend_keeps_sums_and_is_with_the_one_before() {
        for n in [1, 2, 5] {
            let before: Vec<f32> = (0..n * 12).map(|i| (i * i % 31) as f32).collect();
            let mut images = before.clone();
            Mixing::Blend { lambda: 0.75 }.apply(&mut images, 12, 2);
            for i in 0..n {
                let partner = (i + n - 1) % n;
                for at in 0..12 {
                    assert_eq!(images[i * 12 + at], 0.75 * before[i * 12 + at] + 0.25 * before[partner * 12 + at]);
                }
            }
        }
    }

    #[test]
    fn no_pictures_are_no_error() {
        Mixing::Blend { lambda: 0.5 }.apply(&mut [], 12, 2);
        assert_eq!(draw(Mix::None, &mut SplitMix64::keyed(&[1]), (2, 2)), None);
    }
}
