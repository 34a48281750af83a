//! The weights of a picture's pixels in one that is scaled to another size.

/// What one pixel of the result is made of along one axis: neighbors and their weights, which sum to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Taps {
    /// The first of the neighbors.
    pub start: usize,
    /// The weights of the neighbors from there on.
    pub weights: Vec<f32>,
}

/// The triangle filter from `from` pixels to `to`, both at least 1: bilinear, and antialiased where there become fewer, as
/// torchvision's `Resize`. Its foot is as wide as two pixels of the coarser side.
pub fn triangle(from: usize, to: usize) -> impl Iterator<Item = Taps> {
    let scale = from as f64 / to as f64;
    let reach = scale.max(1.0);
    (0..to).map(move |at| {
        let center = (at as f64 + 0.5) * scale;
        let start = (center - reach + 0.5).max(0.0) as usize;
        let end = ((center + reach + 0.5) as usize).min(from);
        let weights = (start..end).map(|i| (1.0 - (i as f64 + 0.5 - center).abs() / reach).max(0.0));
        let sum: f64 = weights.clone().sum();
        Taps { start, weights: weights.map(|weight| (weight / sum) as f32).collect() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_sum_to_one_and_lie_within() {
        for (from, to) in [(1, 1), (1, 9), (9, 1), (32, 24), (24, 32), (500, 7)] {
            let taps: Vec<Taps> = triangle(from, to).collect();
            assert_eq!(taps.len(), to);
            for Taps { start, weights } in taps {
                assert!(!weights.is_empty() && start + weights.len() <= from, "{from} to {to}");
                assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{from} to {to}: {weights:?}");
            }
        }
        let same: Vec<Taps> = triangle(3, 3).collect();
        let weights: Vec<f32> =
            same.iter().flat_map(|taps| taps.weights.iter().copied()).filter(|w| *w > 0.0).collect();
        assert_eq!(weights, [1.0; 3], "the same size changes nothing");
    }
}
