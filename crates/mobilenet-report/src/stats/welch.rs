//! Welch's t-test: do two networks differ by more than their seeds scatter?

use mobilenet_schema::Welch;

use super::intervals::{LEVEL, is_known};
use super::moments::{deviation, mean};
use super::special::{student_quantile, student_tail};

/// Two-sided test with its interval. `None` if either network has fewer than two seeds, or seeds whose scatter is less
/// than `resolution`, the least step between two accuracies: an accuracy is a count of images, and what lies within one
/// of them says nothing about how far another seed would land.
pub fn welch(first: &[f64], second: &[f64], resolution: f64) -> Option<Welch> {
    let seeds = (first.len(), second.len());
    if seeds.0 < 2 || seeds.1 < 2 {
        return None;
    }
    if [first, second].iter().any(|values| !is_known(values, resolution)) {
        return None;
    }
    let part = |v: &[f64]| deviation(v).powi(2) / v.len() as f64;
    let (a, b) = (part(first), part(second));
    let error = (a + b).sqrt();
    let gap = mean(second) - mean(first);
    let freedom = (a + b).powi(2) / (a.powi(2) / (seeds.0 - 1) as f64 + b.powi(2) / (seeds.1 - 1) as f64);
    let half = student_quantile(1.0 - LEVEL, freedom) * error;
    Some(Welch { seeds, p_value: student_tail(gap / error, freedom), interval: (gap - half, gap + half) })
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{close, close_pair, fixture};
    use super::*;

    #[test]
    fn p_values_and_intervals_are_scipys() {
        for case in &fixture().welch {
            let test = welch(&case.first, &case.second, 0.0).unwrap();
            close(test.p_value, case.p_value, 1e-10);
            close_pair(test.interval, case.interval, 1e-9);
        }
    }

    #[test]
    fn too_few_seeds_or_no_scatter() {
        assert_eq!(welch(&[0.4], &[0.5, 0.6], 0.0), None);
        assert_eq!(welch(&[0.4, 0.4], &[0.4, 0.4], 0.0), None);
        assert_eq!(welch(&[0.4, 0.4], &[0.5, 0.5], 0.0), None, "no scatter is no proof");
        assert_eq!(welch(&[0.4, 0.4], &[0.5, 0.6], 0.0), None, "of one network");
        assert_eq!(welch(&[0.41, 0.41 + 1e-16], &[0.42, 0.42], 0.0), None, "but for rounding");
        assert_eq!(welch(&[0.400, 0.4001], &[0.5, 0.51], 0.001), None, "less than an image");
        assert!(welch(&[0.40, 0.41], &[0.5, 0.51], 0.01).is_some(), "an image apart");
    }
}
