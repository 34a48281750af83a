//! What is counted from a network's answers to labeled images, class by class and by confidence.

use serde::{Deserialize, Serialize};

use crate::check::{Problem, check, share};

/// Bins of [`Calibration`], as many as Guo et al. have.
const BINS: usize = 15;

/// What is counted from a network's answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// The mean of the classes' recalls, of those with images.
    pub balanced_accuracy: f64,
    /// The mean of the classes' F1, of those with images or answers.
    pub macro_f1: f64,
    /// One entry for each class, in their order.
    pub by_class: Vec<ClassScores>,
    /// How far the confidences can be believed.
    pub calibration: Calibration,
}

/// How well one class is found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClassScores {
    /// Its name.
    pub class: String,
    /// Images of it.
    pub images: u64,
    /// Images that were taken for it.
    pub answers: u64,
    /// Images of it that were taken for it.
    pub right: u64,
    /// `right / answers`; absent where there is no answer.
    pub precision: Option<f64>,
    /// `right / images`; absent where there is no image.
    pub recall: Option<f64>,
    /// `2 right / (images + answers)`, the harmonic mean of the two; absent where there is neither.
    pub f1: Option<f64>,
}

/// The confidence of the answers beside their accuracy, in bins of equal width (Guo et al. 2017, "On Calibration of
/// Modern Neural Networks", <https://arxiv.org/abs/1706.04599>).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Expected calibration error: the mean over all images of the distance between their bin's accuracy and confidence.
    pub ece: f64,
    /// The bins, from confidence 0 to 1.
    pub bins: Vec<CalibrationBin>,
}

/// Answers with a confidence above `low` and at most `high`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Lower end; 0 belongs to the first bin.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// How many.
    pub images: u64,
    /// Their mean confidence; absent where there are none.
    pub confidence: Option<f64>,
    /// The share of them that is right; absent where there are none.
    pub accuracy: Option<f64>,
}

impl Scores {
    /// Counts the answers `predicted`, of probability `confidence`, to images of the classes `labels`; both are places
    /// in `classes`, and the three lists are of one length. What has no place there is not counted.
    #[must_use]
    pub fn count(classes: &[String], labels: &[usize], predicted: &[usize], confidence: &[f32]) -> Self {
        let mut by_class: Vec<ClassScores> =
            classes.iter().map(|class| ClassScores { class: class.clone(), ..ClassScores::default() }).collect();
        for (&label, &answer) in labels.iter().zip(predicted) {
            if let Some(class) = by_class.get_mut(label) {
                class.images += 1;
                class.right += u64::from(label == answer);
            }
            if let Some(class) = by_class.get_mut(answer) {
                class.answers += 1;
            }
        }
        for class in &mut by_class {
            let of = |n: u64, sum: u64| (sum > 0).then(|| n as f64 / sum as f64);
            class.precision = of(class.right, class.answers);
            class.recall = of(class.right, class.images);
            class.f1 = of(2 * class.right, class.images + class.answers);
        }
        Self {
            balanced_accuracy: mean(by_class.iter().filter_map(|class| class.recall)),
            macro_f1: mean(by_class.iter().filter_map(|class| class.f1)),
            by_class,
            calibration: Calibration::count(labels, predicted, confidence),
        }
    }

    pub(crate) fn check(&self, classes: usize) -> Result<(), Problem> {
        share("balanced_accuracy", self.balanced_accuracy)?;
        share("macro_f1", self.macro_f1)?;
        share("calibration.ece", self.calibration.ece)?;
        check(self.by_class.len() == classes, "by_class", format_args!("{classes} classes"), self.by_class.len())
    }
}

impl Calibration {
    fn count(labels: &[usize], predicted: &[usize], confidence: &[f32]) -> Self {
        let mut sums = [(0u64, 0.0, 0u64); BINS];
        for ((label, answer), &confidence) in labels.iter().zip(predicted).zip(confidence) {
            let confidence = f64::from(confidence);
            // The bin whose upper end is the first that is not below.
            let bin = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
            let (images, sum, right) = &mut sums[bin];
            *images += 1;
            *sum += confidence;
            *right += u64::from(label == answer);
        }
        let all: u64 = sums.iter().map(|(images, ..)| images).sum();
        let gaps = sums.iter().map(|&(_, sum, right)| (sum - right as f64).abs());
        let ece = gaps.sum::<f64>() / all.max(1) as f64;
        let bin = |(i, &(images, sum, right)): (usize, &(u64, f64, u64))| {
            let mean = |sum: f64| (images > 0).then(|| sum / images as f64);
            CalibrationBin {
                low: i as f64 / BINS as f64,
                high: (i + 1) as f64 / BINS as f64,
                images,
                confidence: mean(sum),
                accuracy: mean(right as f64),
            }
        };
        Self { ece, bins: sums.iter().enumerate().map(bin).collect() }
    }
}

/// Wrong answers, the most confident first; at most `most`, by their places.
#[must_use]
pub fn worst_mistakes(labels: &[usize], predicted: &[usize], confidence: &[f32], most: usize) -> Vec<usize> {
    let answers = labels.iter().zip(predicted).zip(confidence).enumerate();
    let mut wrong: Vec<(usize, f32)> =
        answers.filter(|(_, ((label, answer), _))| label != answer).map(|(i, (_, &sure))| (i, sure)).collect();
    wrong.sort_by(|a, b| b.1.total_cmp(&a.1));
    wrong.into_iter().take(most).map(|(i, _)| i).collect()
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (n, sum) = values.fold((0u64, 0.0), |(n, sum), value| (n + 1, sum + value));
    sum / n.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [usize; 8] = [0, 0, 0, 1, 1, 2, 2, 2];
    const PREDICTED: [usize; 8] = [0, 0, 1, 1, 1, 0, 2, 1];

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("class {i}")).collect()
    }

    #[test]
    fn classes_are_scored_as_scikit_learn_does() {
        let scores = Scores::count(&names(4), &LABELS, &PREDICTED, &[0.5; 8]);
        let of = |i: usize| (scores.by_class[i].precision, scores.by_class[i].recall, scores.by_class[i].f1);
        // precision_recall_fscore_support of scikit-learn
        assert_eq!(of(0), (Some(2.0 / 3.0), Some(2.0 / 3.0), Some(2.0 / 3.0)));
        assert_eq!(of(1), (Some(0.5), Some(1.0), Some(2.0 / 3.0)));
        assert_eq!(of(2), (Some(1.0), Some(1.0 / 3.0), Some(0.5)));
        assert_eq!(of(3), (None, None, None));
        assert!((scores.balanced_accuracy - 2.0 / 3.0).abs() < 1e-12);
        assert!((scores.macro_f1 - 11.0 / 18.0).abs() < 1e-12);
        assert_eq!(scores.by_class[1].images + scores.by_class[1].answers, 6);
    }

    #[test]
    fn the_calibration_error_is_that_of_its_bins() {
        // Four answers of 0.9, three of them right; two of 0.3, one right; one of 0 and one of 1, both wrong.
        let confidence = [0.9, 0.9, 0.9, 0.9, 0.3, 0.3, 0.0, 1.0];
        let right = [1, 1, 1, 0, 1, 0, 0, 0];
        let found = Calibration::count(&[1; 8], &right, &confidence);
        let expected = (4.0 * 0.15 + 2.0 * 0.2 + 1.0) / 8.0;
        assert!((found.ece - expected).abs() < 1e-6, "{}", found.ece);
        assert_eq!(found.bins.len(), BINS);
        assert_eq!(found.bins.iter().map(|bin| bin.images).sum::<u64>(), 8);
        // 0.9 lies above 13/15 and below 14/15.
        assert_eq!((found.bins[13].images, found.bins[13].accuracy), (4, Some(0.75)));
        assert_eq!((found.bins[0].images, found.bins[14].images, found.bins[7].confidence), (1, 1, None));
        assert_eq!(Calibration::count(&[], &[], &[]).ece, 0.0);
    }

    #[test]
    fn the_surest_mistakes_come_first() {
        let confidence = [0.1, 0.2, 0.5, 0.3, 0.4, 0.9, 0.8, 0.5];
        assert_eq!(worst_mistakes(&LABELS, &PREDICTED, &confidence, 9), [5, 2, 7]);
        assert_eq!(worst_mistakes(&LABELS, &PREDICTED, &confidence, 1), [5]);
    }
}
