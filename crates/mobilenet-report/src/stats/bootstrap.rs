//! The percentile bootstrap of a difference in accuracy: what other test images, and other seeds, would have shown.

use std::collections::BTreeMap;

use mobilenet_common::numbers::quantile;
use mobilenet_schema::Bootstrap;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rand_distr::{Binomial, Distribution};

use super::answers::Answers;
use super::intervals::LEVEL;

/// Draws; the ends of the interval scatter by about 3 % of its standard error then.
const RESAMPLES: usize = 10_000;

/// The same report for the same runs.
const SEED: u64 = 1;

/// Draws test images with replacement and averages each network's accuracy over its seeds; with two seeds or more of
/// both networks, these are drawn with replacement as well, each network's by itself. `None` if the runs saw different
/// images, or none.
pub fn bootstrap(first: &[Answers<'_>], second: &[Answers<'_>]) -> Option<Bootstrap> {
    let over_seeds = first.len() > 1 && second.len() > 1;
    Some(Bootstrap { interval: resample(first, second, over_seeds)?, over_seeds })
}

fn resample(first: &[Answers<'_>], second: &[Answers<'_>], over_seeds: bool) -> Option<(f64, f64)> {
    let patterns = patterns(first, second)?;
    let images: u64 = patterns.iter().map(|pattern| pattern.images).sum();
    if images == 0 {
        return None;
    }
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(SEED);
    let mut differences = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        let mut weights = draw(first.len(), over_seeds, &mut rng);
        weights.iter_mut().for_each(|weight| *weight = -*weight);
        weights.extend(draw(second.len(), over_seeds, &mut rng));
        let (mut sum, mut open, mut known) = (0.0, images, images);
        for pattern in &patterns {
            let share = pattern.images as f64 / known as f64;
            let drawn = Binomial::new(open, share).ok()?.sample(&mut rng);
            sum += drawn as f64 * pattern.value(&weights);
            open -= drawn;
            known -= pattern.images;
        }
        differences.push(sum / images as f64);
    }
    differences.sort_by(f64::total_cmp);
    let tail = (1.0 - LEVEL) / 2.0;
    Some((quantile(&differences, tail)?, quantile(&differences, 1.0 - tail)?))
}

/// What each of `n` seeds weighs in the mean.
fn draw(n: usize, with_replacement: bool, rng: &mut Xoshiro256PlusPlus) -> Vec<f64> {
    let share = 1.0 / n as f64;
    if !with_replacement {
        return vec![share; n];
    }
    let mut weights = vec![0.0; n];
    for _ in 0..n {
        weights[rng.random_range(0..n as u32) as usize] += share;
    }
    weights
}

/// A combination of runs that classify an image correctly, and on how many images it is seen.
struct Pattern {
    right: Vec<bool>,
    images: u64,
}

impl Pattern {
    /// What an image of this kind adds to the difference in accuracy.
    fn value(&self, weights: &[f64]) -> f64 {
        self.right.iter().zip(weights).filter(|&(&right, _)| right).map(|(_, weight)| weight).sum()
    }
}

/// There are few patterns for thousands of images. How often each is drawn is multinomial, so a resample costs a
/// binomial number per pattern instead of a number per image.
fn patterns(first: &[Answers<'_>], second: &[Answers<'_>]) -> Option<Vec<Pattern>> {
    let runs: Vec<_> = first.iter().chain(second).collect();
    let reference = runs.first()?;
    let columns =
        runs.iter().map(|run| run.right_with(reference).map(Iterator::collect)).collect::<Option<Vec<_>>>()?;
    let columns: Vec<Vec<(bool, bool)>> = columns;
    let mut counts = BTreeMap::new();
    for image in 0..reference.labels.len() {
        let right: Vec<bool> = columns.iter().map(|column| column[image].0).collect();
        *counts.entry(right).or_insert(0) += 1;
    }
    Some(counts.into_iter().map(|(right, images)| Pattern { right, images }).collect())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{close_pair, fixture};
    use super::*;

    #[test]
    fn runs_without_images_have_no_interval() {
        let none = Answers { seed: 1, top1: 0.0, labels: &[], predicted: &[] };
        assert!(bootstrap(&[none], &[none]).is_none());
    }

    #[test]
    fn intervals_are_scipys_within_the_draws_own_scatter() {
        for case in &fixture().bootstrap {
            let labels = vec![0; case.first[0].len()];
            let predicted = |runs: &[String]| -> Vec<Vec<usize>> {
                runs.iter().map(|run| run.bytes().map(|right| usize::from(right == b'0')).collect()).collect()
            };
            let (first, second) = (predicted(&case.first), predicted(&case.second));
            let run = |predicted| Answers { seed: 1, top1: 0.0, labels: &labels, predicted };
            let a: Vec<_> = first.iter().map(|predicted| run(predicted)).collect();
            let b: Vec<_> = second.iter().map(|predicted| run(predicted)).collect();
            let error = (case.images.1 - case.images.0) / 3.92;
            close_pair(resample(&a, &b, false).unwrap(), case.images, 0.15 * error);
            if let Some(want) = case.images_and_seeds {
                let error = (want.1 - want.0) / 3.92;
                close_pair(bootstrap(&a, &b).unwrap().interval, want, 0.15 * error);
            }
        }
    }
}
