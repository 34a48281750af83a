//! When a difference between two networks is more than noise.
//!
//! Two things scatter: which test images were drawn, and which seed a training started from. [`mcnemar`] knows the
//! first alone, [`welch`] the second alone, [`bootstrap`] the first and, with several seeds, roughly the second.

mod answers;
mod bootstrap;
#[cfg(test)]
mod fixture;
mod intervals;
mod mcnemar;
mod moments;
mod special;
mod welch;

use mobilenet_schema::Comparison;

pub use answers::Answers;
pub use intervals::{estimate, estimate_share, wilson};
pub use moments::{deviation, mean, median};

/// Compares the runs of two networks. `None` if that cannot be done: too few seeds, and different images.
///
/// If one network has a single seed, or seeds that show no scatter, there is no test over seeds. Then difference, test
/// and interval are all of the one pair of runs that can be compared image by image, so that they are of one piece.
pub fn compare(first: &[Answers<'_>], second: &[Answers<'_>]) -> Option<Comparison> {
    let top1 = |runs: &[Answers<'_>]| runs.iter().map(|run| run.top1).collect::<Vec<_>>();
    let seeds = (first.len(), second.len());
    let pairs = pairs(first, second);
    let images = first.iter().chain(second).map(|run| run.labels.len()).max().unwrap_or(0);
    let resolution = if images == 0 { 0.0 } else { 1.0 / images as f64 };
    let welch = welch::welch(&top1(first), &top1(second), resolution);
    let (first, second) = match (&welch, pairs.first()) {
        (None, Some(&(a, b))) => (std::slice::from_ref(a), std::slice::from_ref(b)),
        _ => (first, second),
    };
    let comparison = Comparison {
        difference: mean(&top1(second)) - mean(&top1(first)),
        seeds,
        welch,
        mcnemar: pairs.into_iter().filter_map(|(a, b)| mcnemar::mcnemar(a, b)).collect(),
        bootstrap: bootstrap::bootstrap(first, second),
    };
    (comparison.welch.is_some() || !comparison.mcnemar.is_empty()).then_some(comparison)
}

/// Runs of the same seed; the first of each if no seed is common.
fn pairs<'a, 'b>(first: &'a [Answers<'b>], second: &'a [Answers<'b>]) -> Vec<(&'a Answers<'b>, &'a Answers<'b>)> {
    let common: Vec<_> = first.iter().filter_map(|a| Some((a, second.iter().find(|b| b.seed == a.seed)?))).collect();
    if common.is_empty() { first.first().zip(second.first()).into_iter().collect() } else { common }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares runs given as (seed, how many of the first of 40 images are classified correctly).
    fn compared(first: &[(u64, usize)], second: &[(u64, usize)]) -> Option<Comparison> {
        let labels = [0; 40];
        let wrong_from: Vec<Vec<usize>> =
            (0..=40).map(|right| (0..40).map(|i| usize::from(i >= right)).collect()).collect();
        let answers = |&(seed, right): &(u64, usize)| Answers {
            seed,
            top1: right as f64 / 40.0,
            labels: &labels,
            predicted: &wrong_from[right],
        };
        let (first, second): (Vec<_>, Vec<_>) =
            (first.iter().map(answers).collect(), second.iter().map(answers).collect());
        compare(&first, &second)
    }

    #[test]
    fn one_seed_is_judged_image_by_image() {
        let found = compared(&[(1, 20)], &[(1, 32)]).unwrap();
        assert!((found.difference - 0.3).abs() < 1e-12);
        assert_eq!((found.welch.as_ref(), found.mcnemar.len()), (None, 1));
        assert_eq!((found.mcnemar[0].only_first, found.mcnemar[0].only_second), (0, 12));
        let (low, high) = found.interval().unwrap();
        assert!(!found.is_noise() && 0.1 < low && low < 0.3 && 0.3 < high && high < 0.5, "{found:?}");
        assert!(compared(&[(1, 20)], &[(1, 22)]).unwrap().is_noise());
    }

    #[test]
    fn several_seeds_are_judged_by_their_scatter() {
        // Each pair differs clearly on its images, but seeds scatter as widely.
        let found = compared(&[(1, 10), (2, 30)], &[(2, 39), (1, 20)]).unwrap();
        assert!(found.mcnemar.iter().all(|test| test.p_value < 0.05), "{found:?}");
        assert_eq!(found.mcnemar.iter().map(|test| test.seeds).collect::<Vec<_>>(), [(1, 1), (2, 2)]);
        assert!(found.is_noise() && found.bootstrap.unwrap().over_seeds);
        assert!(!compared(&[(1, 20), (2, 21), (3, 20)], &[(1, 30), (2, 31), (3, 30)]).unwrap().is_noise());
    }

    #[test]
    fn seeds_without_scatter_prove_nothing() {
        // 41 and 41 of 100 against 42 and 42: over the seeds a difference without any scatter, on the images one of
        // them.
        let found = compared(&[(1, 20), (2, 20)], &[(1, 21), (2, 21)]).unwrap();
        assert_eq!((found.welch.as_ref(), found.seeds, found.mcnemar.len()), (None, (2, 2), 2));
        assert!(found.is_noise() && found.p_value() == 1.0, "{found:?}");
        assert!(found.test().contains("the runs of seed 1 alone"), "{}", found.test());
        // A scatter of one network alone is none either.
        assert_eq!(compared(&[(1, 20), (2, 20)], &[(1, 21), (2, 23)]).unwrap().welch, None);
        // Without images nothing is left to judge by.
        let run = |seed, top1| Answers { seed, top1, labels: &[], predicted: &[] };
        assert_eq!(compare(&[run(1, 0.41), run(2, 0.41)], &[run(1, 0.42), run(2, 0.42)]), None);
    }

    #[test]
    fn a_tiny_scatter_of_seeds_does_not_outweigh_the_images() {
        // 4 of 40 images more, seeds within one image of each other; which images are right changes from network to
        // network.
        let labels = [0; 40];
        let right =
            |from: usize, to: usize| -> Vec<usize> { (0..40).map(|i| usize::from(i < from || i >= to)).collect() };
        let runs = [right(0, 20), right(0, 21), right(17, 40), right(16, 40)];
        let answers: Vec<_> = runs
            .iter()
            .zip([(1, 20.0), (2, 21.0), (1, 23.0), (2, 24.0)])
            .map(|(predicted, (seed, count))| Answers { seed, top1: count / 40.0, labels: &labels, predicted })
            .collect();
        let found = compare(&answers[..2], &answers[2..]).unwrap();
        assert!(found.p_value() < 0.06, "{found:?}");
        assert!(found.images_may_explain() && found.is_noise(), "{found:?}");
    }

    #[test]
    fn runs_without_a_common_seed_are_still_paired() {
        let found = compared(&[(1, 20)], &[(2, 32), (3, 40)]).unwrap();
        assert!((found.difference - 0.3).abs() < 1e-12, "of the pair that is tested: {found:?}");
        assert_eq!(found.mcnemar.iter().map(|test| test.seeds).collect::<Vec<_>>(), [(1, 2)]);
        assert!(!found.bootstrap.as_ref().unwrap().over_seeds);
        assert!(found.test().contains("seed 1 of the one and seed 2 of the other"), "{}", found.test());
    }
}
