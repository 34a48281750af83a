//! Numbers: quantiles, and digits as people read them.

/// The `q`-quantile (`q` in `0..=1`; the ends for any other) of values in ascending order; `None` of no values.
///
/// Between two neighbors it interpolates linearly: method 7 of Hyndman and Fan, "Sample Quantiles in Statistical
/// Packages", 1996, which is NumPy's default.
///
/// ```
/// use mobilenet_common::numbers::quantile;
///
/// assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), Some(3.0));
/// assert_eq!(quantile(&[], 0.5), None);
/// ```
#[must_use]
pub fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let place = q.clamp(0.0, 1.0) * sorted.len().checked_sub(1)? as f64;
    let (below, above) = (sorted.get(place.floor() as usize)?, sorted.get(place.ceil() as usize)?);
    Some(below + (above - below) * place.fract())
}

/// A whole number with its digits in groups of three: `2236682` becomes `2,236,682`.
///
/// ```
/// assert_eq!(mobilenet_common::numbers::thousands(2_236_682), "2,236,682");
/// ```
#[must_use]
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_numpys() {
        // numpy.percentile([1..100], [50, 90, 99]) = 50.5, 90.1, 99.01
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        for (q, expected) in [(0.0, 1.0), (0.5, 50.5), (0.9, 90.1), (0.99, 99.01), (1.0, 100.0)] {
            let found = quantile(&values, q).unwrap();
            assert!((found - expected).abs() < 1e-12, "{q}: {found}, expected {expected}");
        }
        assert_eq!(quantile(&[7.0], 0.3), Some(7.0));
    }

    #[test]
    fn shares_out_of_range_are_the_ends_and_nothing_has_no_quantile() {
        for (q, expected) in [(-1.0, 1.0), (2.0, 3.0), (f64::INFINITY, 3.0)] {
            assert_eq!(quantile(&[1.0, 2.0, 3.0], q), Some(expected));
        }
        assert!(quantile(&[1.0, 2.0], f64::NAN).is_none_or(f64::is_nan));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn digits_are_grouped() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (12_345_678, "12,345,678"), (100_000, "100,000")];
        for (n, expected) in cases {
            assert_eq!(thousands(n), expected);
        }
        assert_eq!(thousands(u64::MAX), "18,446,744,073,709,551,615");
    }
}
