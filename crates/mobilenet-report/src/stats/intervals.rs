//! A figure over several seeds, or of one, with its 95 % interval.

use mobilenet_schema::{Basis, Estimate};

use super::moments::{deviation, mean};
use super::special::student_quantile;

/// Share of intervals that are to hold the true value.
pub const LEVEL: f64 = 0.95;

/// The normal distribution's z for [`LEVEL`].
const Z: f64 = 1.959_963_984_540_054;

/// Any figure, one value a seed.
pub fn estimate(values: &[f64]) -> Estimate {
    let n = values.len();
    let deviation = (n > 1).then(|| deviation(values));
    let interval = (n > 1).then(|| student(values));
    let basis = if n > 1 { Basis::Student } else { Basis::Single };
    Estimate { n, mean: mean(values), deviation, interval, basis }
}

/// A share of `images` images, one value a seed; one seed alone, or seeds that show no scatter, get Wilson's interval.
pub fn estimate_share(shares: &[f64], images: u64) -> Estimate {
    match *shares {
        [share] => Estimate { interval: Some(wilson(share, images)), basis: Basis::Wilson, ..estimate(shares) },
        _ if !is_known(shares, 1.0 / images.max(1) as f64) => {
            let estimate = estimate(shares);
            Estimate { interval: Some(wilson(estimate.mean, images)), basis: Basis::Wilson, ..estimate }
        }
        _ => {
            let estimate = estimate(shares);
            let interval = estimate.interval.map(|(low, high)| (low.max(0.0), high.min(1.0)));
            Estimate { interval, ..estimate }
        }
    }
}

/// Student's 95 % interval of the mean of two or more values.
pub fn student(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let half = student_quantile(1.0 - LEVEL, n - 1.0) * deviation(values) / n.sqrt();
    let center = mean(values);
    (center - half, center + half)
}

/// 95 % interval of an accuracy measured on `n` images (Wilson's).
pub fn wilson(accuracy: f64, n: u64) -> (f64, f64) {
    let n = n.max(1) as f64;
    let center = (accuracy + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z / (1.0 + Z * Z / n) * (accuracy * (1.0 - accuracy) / n + Z * Z / (4.0 * n * n)).sqrt();
    (center - half, center + half)
}

/// Whether the scatter of several seeds can be told from none.
pub fn is_known(values: &[f64], resolution: f64) -> bool {
    // Equal accuracies may differ in their last bit.
    deviation(values) > resolution.max(1e-9) * (1.0 - 1e-6) * std::f64::consts::FRAC_1_SQRT_2
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{close, close_pair, fixture};
    use super::*;

    #[test]
    fn intervals_are_scipys() {
        let fixture = fixture();
        for case in &fixture.t_interval {
            let estimate = estimate(&case.values);
            close(estimate.mean, case.mean, 1e-12);
            close(estimate.deviation.unwrap(), case.deviation, 1e-10);
            close_pair(estimate.interval.unwrap(), case.interval, 1e-9);
        }
        for case in &fixture.wilson {
            close_pair(wilson(case.right as f64 / case.images as f64, case.images), case.interval, 1e-10);
        }
    }

    #[test]
    fn one_seed_has_no_scatter_of_seeds() {
        let share = estimate_share(&[0.5], 100);
        assert_eq!((share.n, share.deviation, share.basis), (1, None, Basis::Wilson));
        assert_eq!(estimate(&[3.0]).interval, None);
        // Seeds that are all the same say nothing of the next one.
        let same = estimate_share(&[0.5, 0.5], 100);
        assert_eq!((same.interval, same.basis), (share.interval, Basis::Wilson));
        // Two seeds far apart: the interval is wide, but an accuracy stays one.
        assert_eq!(estimate_share(&[0.2, 0.8], 100).interval, Some((0.0, 1.0)));
    }
}
