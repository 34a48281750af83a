//! `RandomResizedCrop` of torchvision: a part of random area and shape, scaled to one size (Szegedy et al. 2015,
//! arXiv:1409.4842).

use mobilenet_common::random::SplitMix64;
use mobilenet_schema::ResizedCrop;

use super::Area;

const ATTEMPTS: usize = 10;

/// A part of a picture of `height` x `width`.
pub(super) fn draw(crop: &ResizedCrop, rng: &mut SplitMix64, (height, width): (usize, usize)) -> Area {
    for _ in 0..ATTEMPTS {
        let pixels = (height * width) as f64 * rng.uniform(crop.scale.0, crop.scale.1);
        let ratio = rng.uniform(crop.ratio.0.ln(), crop.ratio.1.ln()).exp();
        let (w, h) = (rounded((pixels * ratio).sqrt()), rounded((pixels / ratio).sqrt()));
        if (1..=width).contains(&w) && (1..=height).contains(&h) {
            return Area { top: rng.below(height - h + 1), left: rng.below(width - w + 1), height: h, width: w };
        }
    }
    whole(crop, (height, width))
}

/// The middle, as much of it as the shapes allow.
fn whole(crop: &ResizedCrop, (height, width): (usize, usize)) -> Area {
    let ratio = width as f64 / height as f64;
    let (h, w) = if ratio < crop.ratio.0 {
        (rounded(width as f64 / crop.ratio.0), width)
    } else if ratio > crop.ratio.1 {
        (height, rounded(height as f64 * crop.ratio.1))
    } else {
        (height, width)
    };
    let (h, w) = (h.clamp(1, height), w.clamp(1, width));
    Area { top: (height - h) / 2, left: (width - w) / 2, height: h, width: w }
}

/// As Python rounds.
fn rounded(x: f64) -> usize {
    x.round_ties_even() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_of_the_size_and_shape_they_should_be() {
        let crop = ResizedCrop::default();
        let (size, draws) = ((375, 500), 4000);
        let (mut share, mut log_ratio) = (0.0, 0.0);
        for i in 0..draws {
            let area = draw(&crop, &mut SplitMix64::keyed(&[i]), size);
            assert!(area.top + area.height <= size.0 && area.left + area.width <= size.1, "{area:?}");
            let (of_all, ratio) =
                (area.pixels() as f64 / (size.0 * size.1) as f64, area.width as f64 / area.height as f64);
            assert!((0.079..=1.0).contains(&of_all) && (0.73..1.36).contains(&ratio), "{area:?}");
            share += of_all / draws as f64;
            log_ratio += ratio.ln() / draws as f64;
        }
        // torchvision 0.29 over 40,000 draws: 0.4335 and 0.0316.
        assert!((share - 0.4335).abs() < 0.015 && (log_ratio - 0.0316).abs() < 0.012, "{share} {log_ratio}");
    }

    #[test]
    fn extreme_shapes_give_their_middle() {
        let crop = ResizedCrop { scale: (1.0, 1.0), ..ResizedCrop::default() };
        for (size, expected) in [
            ((10, 1000), Area { top: 0, left: 493, height: 10, width: 13 }),
            ((1000, 12), Area { top: 492, left: 0, height: 16, width: 12 }),
            ((1, 1), Area { top: 0, left: 0, height: 1, width: 1 }),
        ] {
            assert_eq!(draw(&crop, &mut SplitMix64::keyed(&[3]), size), expected);
        }
    }
}
