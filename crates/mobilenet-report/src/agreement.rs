//! On which test images two networks agree, counted over their seeds.

use mobilenet_schema::ClassCounts;
use mobilenet_schema::Eval;

/// In how many of its seeds a network classifies an image correctly.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Seeds that are right
    pub right: usize,
    /// Seeds in all
    pub seeds: usize,
}

impl Tally {
    fn is_all(self) -> bool {
        self.right == self.seeds
    }

    fn is_none(self) -> bool {
        self.right == 0
    }

    /// Share of the seeds.
    pub fn share(self) -> f64 {
        self.right as f64 / self.seeds as f64
    }
}

/// How two networks stand to one image. All but the last hold in every seed of both.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Both are right
    BothRight,
    /// Only the first is right
    OnlyFirst,
    /// Only the second is right
    OnlySecond,
    /// Both are wrong
    BothWrong,
    /// At least one network is right in some seeds and wrong in others
    Unsettled,
}

/// Two networks on the same test images.
pub struct Agreement {
    /// Names of the classes
    pub classes: Vec<String>,
    /// The truth, an image each
    pub labels: Vec<usize>,
    tallies: Vec<(Tally, Tally)>,
}

impl Agreement {
    /// Of each network the evaluations of all seeds; a network alone is compared with itself. `None` if there are none,
    /// or they are not of the same images.
    pub fn new(first: &[&Eval], second: Option<&[&Eval]>) -> Option<Self> {
        let reference = first.first()?;
        let second = second.unwrap_or(first);
        let n = reference.labels.len();
        if second.is_empty()
            || first.iter().chain(second).any(|e| e.labels != reference.labels || e.predicted.len() != n)
        {
            return None;
        }
        let tally = |evals: &[&Eval], image: usize| Tally {
            right: evals.iter().filter(|eval| eval.predicted[image] == eval.labels[image]).count(),
            seeds: evals.len(),
        };
        let tallies = (0..n).map(|image| (tally(first, image), tally(second, image))).collect();
        Some(Self { classes: reference.classes.clone(), labels: reference.labels.clone(), tallies })
    }

    /// Number of images.
    pub fn images_in_all(&self) -> usize {
        self.tallies.len()
    }

    /// How the networks stand to an image.
    pub fn kind(&self, image: usize) -> Kind {
        let (a, b) = self.tallies[image];
        match (a.is_all(), a.is_none(), b.is_all(), b.is_none()) {
            (true, _, true, _) => Kind::BothRight,
            (true, _, _, true) => Kind::OnlyFirst,
            (_, true, true, _) => Kind::OnlySecond,
            (_, true, _, true) => Kind::BothWrong,
            _ => Kind::Unsettled,
        }
    }

    /// By how large a share of its seeds the second network is right more often than the first.
    pub fn lead_of_second(&self, image: usize) -> f64 {
        let (a, b) = self.tallies[image];
        b.share() - a.share()
    }

    /// Images of one kind, in order.
    pub fn images(&self, kind: Kind) -> Vec<usize> {
        (0..self.images_in_all()).filter(|&image| self.kind(image) == kind).collect()
    }

    /// One row per class that occurs, in order, and their sum, named `all`, last.
    pub fn by_class(&self) -> Vec<ClassCounts> {
        let name = |class: usize| self.classes.get(class).cloned().unwrap_or_else(|| class.to_string());
        let last = self.labels.iter().copied().max().unwrap_or(0);
        let mut rows: Vec<_> =
            (0..=last).map(|class| ClassCounts { class: name(class), ..ClassCounts::default() }).collect();
        let mut sum = ClassCounts { class: "all".to_owned(), ..ClassCounts::default() };
        for (image, &label) in self.labels.iter().enumerate() {
            for row in [&mut rows[label], &mut sum] {
                row.images += 1;
                *match self.kind(image) {
                    Kind::BothRight => &mut row.both_right,
                    Kind::OnlyFirst => &mut row.only_first,
                    Kind::OnlySecond => &mut row.only_second,
                    Kind::BothWrong => &mut row.both_wrong,
                    Kind::Unsettled => &mut row.unsettled,
                } += 1;
            }
        }
        rows.retain(|row| row.images > 0);
        rows.push(sum);
        rows
    }
}

/// What a network says to one image: the answer of most seeds (of the first, if they are divided evenly), its mean
/// confidence, and in how many seeds it is right. `None` for an image that the network has not seen.
pub fn answer(evals: &[&Eval], image: usize) -> Option<(usize, f64, Tally)> {
    let mut votes: Vec<(usize, Vec<f64>)> = Vec::new();
    let mut right = 0;
    for eval in evals {
        let (predicted, confidence) = (*eval.predicted.get(image)?, f64::from(*eval.confidence.get(image)?));
        right += usize::from(predicted == *eval.labels.get(image)?);
        match votes.iter_mut().find(|(class, _)| *class == predicted) {
            Some((_, given)) => given.push(confidence),
            None => votes.push((predicted, vec![confidence])),
        }
    }
    // The last of several maxima would win; the first shall.
    let (class, given) = votes.iter().rev().max_by_key(|(_, given)| given.len())?;
    Some((*class, super::stats::mean(given), Tally { right, seeds: evals.len() }))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An evaluation of which only labels and answers matter.
    pub fn eval(labels: &[usize], predicted: &[usize]) -> Eval {
        Eval {
            test_images: labels.len() as u64,
            labels: labels.to_vec(),
            predicted: predicted.to_vec(),
            confidence: vec![0.5; labels.len()],
            ..Eval::default()
        }
    }

    #[test]
    fn a_firm_disagreement_holds_in_every_seed() {
        let labels = [0, 0, 1, 1, 2];
        let first = [eval(&labels, &[0, 0, 1, 1, 0]), eval(&labels, &[0, 0, 1, 0, 0])];
        let second = [eval(&labels, &[0, 1, 0, 1, 1]), eval(&labels, &[0, 1, 1, 1, 1])];
        let (first, second): (Vec<_>, Vec<_>) = (first.iter().collect(), second.iter().collect());
        let agreement = Agreement::new(&first, Some(&second)).unwrap();
        let kinds: Vec<_> = (0..agreement.images_in_all()).map(|image| agreement.kind(image)).collect();
        use Kind::{BothRight, BothWrong, OnlyFirst, Unsettled};
        assert_eq!(kinds, [BothRight, OnlyFirst, Unsettled, Unsettled, BothWrong]);
        assert_eq!((agreement.lead_of_second(1), agreement.lead_of_second(3)), (-1.0, 0.5));
        let rows = agreement.by_class();
        assert_eq!(rows.len(), 4);
        assert_eq!((rows[0].images, rows[0].only_first, rows[0].both_right), (2, 1, 1));
        assert_eq!((rows[3].images, rows[3].unsettled, rows[3].only_second), (5, 2, 0));
    }

    #[test]
    fn the_answer_is_that_of_most_seeds() {
        let labels = [1];
        let evals = [eval(&labels, &[0]), eval(&labels, &[1]), eval(&labels, &[1])];
        let all: Vec<_> = evals.iter().collect();
        assert_eq!(answer(&all, 0), Some((1, 0.5, Tally { right: 2, seeds: 3 })));
        assert_eq!(answer(&all[..2], 0).unwrap().0, 0);
        assert_eq!(answer(&all, 1), None);
    }

    #[test]
    fn other_images_are_not_compared() {
        let (a, b) = (eval(&[0, 1], &[0, 1]), eval(&[1, 0], &[0, 1]));
        assert!(Agreement::new(&[&a], Some(&[&b])).is_none());
        assert!(Agreement::new(&[], None).is_none());
    }
}
