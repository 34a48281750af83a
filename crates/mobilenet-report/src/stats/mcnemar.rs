//! McNemar's test: do two trained networks differ by more than chance on the same test images?
//!
//! Images that both classify correctly, or both wrongly, say nothing about which is better. Among those that only one
//! classifies correctly, equally good networks split like tosses of a coin.

use mobilenet_schema::McNemar;

use super::answers::Answers;
use super::special::chi_squared_tail;

/// Below as many images in dispute the coin is computed exactly.
const EXACT_BELOW: u64 = 25;

/// The test on one run of each network; `None` if they saw different images.
pub fn mcnemar(first: &Answers<'_>, second: &Answers<'_>) -> Option<McNemar> {
    let (mut only_first, mut only_second) = (0, 0);
    for (a, b) in first.right_with(second)? {
        match (a, b) {
            (true, false) => only_first += 1,
            (false, true) => only_second += 1,
            _ => {}
        }
    }
    let exact = only_first + only_second < EXACT_BELOW;
    let p_value = if exact { binomial(only_first, only_second) } else { corrected(only_first, only_second) };
    Some(McNemar { seeds: (first.seed, second.seed), only_first, only_second, exact, p_value })
}

/// P of a split at least as uneven among tosses of a coin, both sides.
fn binomial(only_first: u64, only_second: u64) -> f64 {
    let n = only_first + only_second;
    let mut ways = 1.0;
    let mut sum = 0.0;
    for k in 0..=only_first.min(only_second) {
        sum += ways;
        ways *= (n - k) as f64 / (k + 1) as f64;
    }
    (2.0 * sum * 0.5_f64.powf(n as f64)).min(1.0)
}

/// Edwards' continuity correction. The corrected gap ends at zero, as in R; statsmodels squares a negative one.
fn corrected(only_first: u64, only_second: u64) -> f64 {
    let gap = (only_first.abs_diff(only_second) as f64 - 1.0).max(0.0);
    chi_squared_tail(gap * gap / (only_first + only_second) as f64)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{close, fixture};
    use super::*;

    /// Runs that disagree on so many images, beside five on which they agree.
    fn test(only_first: u64, only_second: u64) -> McNemar {
        let (a, b) = (only_first as usize, only_second as usize);
        let labels = vec![0; a + b + 5];
        let predicted = |wrong: std::ops::Range<usize>| -> Vec<usize> {
            (0..labels.len()).map(|i| usize::from(wrong.contains(&i) || i >= a + b + 3)).collect()
        };
        let (first, second) = (predicted(a..a + b), predicted(0..a));
        let run = |seed, predicted| Answers { seed, top1: 0.0, labels: &labels, predicted };
        mcnemar(&run(1, &first), &run(2, &second)).unwrap()
    }

    #[test]
    fn p_values_are_statsmodels() {
        let cases = fixture().mcnemar;
        assert!(cases.iter().any(|case| case.exact) && cases.iter().any(|case| !case.exact));
        for case in cases {
            let found = test(case.only_first, case.only_second);
            assert_eq!((found.only_first, found.only_second), (case.only_first, case.only_second));
            assert_eq!(found.exact, case.exact, "{found:?}");
            close(found.p_value, case.p_value, 1e-10);
        }
    }

    #[test]
    fn an_even_split_is_no_difference() {
        assert_eq!(test(0, 0).p_value, 1.0);
        assert_eq!(test(7, 7).p_value, 1.0);
        assert_eq!(test(40, 40).p_value, 1.0);
    }

    #[test]
    fn other_images_cannot_be_paired() {
        let run = |labels, predicted| Answers { seed: 1, top1: 0.5, labels, predicted };
        assert_eq!(mcnemar(&run(&[0, 1], &[0, 1]), &run(&[1, 0], &[0, 1])), None);
        assert_eq!(mcnemar(&run(&[], &[]), &run(&[], &[])), None);
    }
}
