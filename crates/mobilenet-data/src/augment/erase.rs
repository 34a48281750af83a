//! Random erasing (Zhong et al. 2017, arXiv:1708.04896), with the numbers of torchvision's `RandomErasing`.

use super::Area;
use mobilenet_common::random::SplitMix64;

/// Share of the picture that is erased, at least and at most.
const SCALE: (f64, f64) = (0.02, 0.33);
/// Height over width of what is erased, at least and at most; its logarithm is drawn evenly.
const RATIO: (f64, f64) = (0.3, 3.3);
const ATTEMPTS: usize = 10;

/// An area of a picture of `height` x `width`; `None` if ten draws give none that is smaller than the picture both
/// ways.
pub(super) fn draw(rng: &mut SplitMix64, (height, width): (usize, usize)) -> Option<Area> {
    for _ in 0..ATTEMPTS {
        let pixels = (height * width) as f64 * rng.uniform(SCALE.0, SCALE.1);
        let ratio = rng.uniform(RATIO.0.ln(), RATIO.1.ln()).exp();
        let (h, w) = ((pixels * ratio).sqrt().round() as usize, (pixels / ratio).sqrt().round() as usize);
        if h < height && w < width {
            return Some(Area { top: rng.below(height - h + 1), left: rng.below(width - w + 1), height: h, width: w });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_of_the_size_and_shape_they_should_be() {
        let (height, width) = (400, 420);
        let (mut share, mut log_ratio, mut middle) = (0.0, 0.0, (0.0, 0.0));
        let draws = 4000;
        for i in 0..draws {
            let area = draw(&mut SplitMix64::keyed(&[i]), (height, width)).unwrap();
            assert!(area.top + area.height <= height && area.left + area.width <= width, "{area:?}");
            let of_all = area.pixels() as f64 / (height * width) as f64;
            let ratio = area.height as f64 / area.width as f64;
            // Rounding to whole pixels moves either a little.
            assert!((0.019..0.332).contains(&of_all) && (0.29..3.4).contains(&ratio), "{area:?}");
            share += of_all / draws as f64;
            log_ratio += ratio.ln() / draws as f64;
            middle.0 += (area.top as f64 + area.height as f64 / 2.0) / height as f64 / draws as f64;
            middle.1 += (area.left as f64 + area.width as f64 / 2.0) / width as f64 / draws as f64;
        }
        // Standard deviations 0.0014 and 0.011.
        assert!((share - 0.175).abs() < 0.006, "{share}");
        assert!(log_ratio.abs() < 0.05, "{log_ratio}");
        assert!((middle.0 - 0.5).abs() < 0.02 && (middle.1 - 0.5).abs() < 0.02, "{middle:?}");
    }

    #[test]
    fn small_pictures_are_left_or_erased_within() {
        for size in [(1, 1), (1, 9), (2, 2), (3, 7)] {
            for i in 0..300 {
                if let Some(area) = draw(&mut SplitMix64::keyed(&[i]), size) {
                    assert!(area.height < size.0 && area.width < size.1, "{size:?}: {area:?}");
                    assert!(area.top + area.height <= size.0 && area.left + area.width <= size.1, "{area:?}");
                }
            }
        }
    }
}
