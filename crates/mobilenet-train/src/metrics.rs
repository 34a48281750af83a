//! Top-k accuracy, running averages, and what an epoch is judged by.

use std::fmt;

use mobilenet_schema::EvalMetrics;
use serde::{Deserialize, Serialize};

/// Whether the label is among the `k` largest logits of its image. Equal logits count in the order of their classes; a
/// NaN at the label never counts.
///
/// ```
/// use mobilenet_train::top_k_correct;
///
/// assert!(top_k_correct(&[0.1, 0.7, 0.2], 1, 1));
/// assert!(!top_k_correct(&[0.1, 0.7, 0.2], 2, 1));
/// assert!(top_k_correct(&[0.1, 0.7, 0.2], 2, 2));
/// ```
#[must_use]
pub fn top_k_correct(logits: &[f32], label: usize, k: usize) -> bool {
    let Some(&own) = logits.get(label) else { return false };
    let before = logits.iter().enumerate().filter(|&(class, &x)| x > own || (x == own && class < label)).count();
    !own.is_nan() && before < k
}

/// The images that a training is judged by after each epoch.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvalSplit {
    /// The test images. Nothing is selected on them: the run's weights are those of the last epoch.
    Test,
    /// A held-out part of the training images. The run's weights are those of the epoch with the best top-1 on them.
    Validation,
}

impl EvalSplit {
    /// These images' figures, under their names.
    pub(crate) fn metrics(self, loss: f64, top1: f64, top5: f64) -> EvalMetrics {
        match self {
            Self::Test => EvalMetrics::Test { test_loss: loss, test_top1: top1, test_top5: top5 },
            Self::Validation => EvalMetrics::Validation { valid_loss: loss, valid_top1: top1, valid_top5: top5 },
        }
    }
}

impl fmt::Display for EvalSplit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EvalSplit::Test => "test",
            EvalSplit::Validation => "validation",
        })
    }
}

/// Sums over the images seen so far. Part of a checkpoint, as a run may be resumed within an epoch.
#[derive(Copy, Clone, Default, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub images: u64,
    loss: f64,
    top1: u64,
    top5: u64,
}

impl Tally {
    /// Adds a batch: the mean loss over its images, and their logits (`classes` each) and labels.
    pub fn add(&mut self, mean_loss: f64, logits: &[f32], classes: usize, labels: &[u32]) {
        self.images += labels.len() as u64;
        self.loss += mean_loss * labels.len() as f64;
        for (row, &label) in logits.chunks_exact(classes).zip(labels) {
            self.top1 += u64::from(top_k_correct(row, label as usize, 1));
            self.top5 += u64::from(top_k_correct(row, label as usize, 5));
        }
    }

    /// Adds a batch that was counted elsewhere: its images, the mean loss over them, and how many were right.
    pub fn add_counts(&mut self, images: u64, mean_loss: f64, top1: u64, top5: u64) {
        self.images += images;
        self.loss += mean_loss * images as f64;
        self.top1 += top1;
        self.top5 += top5;
    }

    pub fn loss(&self) -> f64 {
        self.loss / self.images.max(1) as f64
    }

    pub fn top1(&self) -> f64 {
        self.top1 as f64 / self.images.max(1) as f64
    }

    pub fn top5(&self) -> f64 {
        self.top5 as f64 / self.images.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use mobilenet_schema::EpochMetrics;

    use super::*;

    #[test]
    fn top_k_counts_ties_in_order_and_never_nan() {
        //   logits, label, k, correct
        let cases: [(&[f32], usize, usize, bool); 8] = [
            (&[1.0, 1.0], 0, 1, true),
            (&[1.0, 1.0], 1, 1, false),
            (&[1.0, 1.0], 1, 2, true),
            (&[1.0, 2.0, 3.0], 0, 2, false),
            (&[1.0, 2.0, 3.0], 0, 5, true),
            (&[f32::NAN, 1.0], 0, 5, false),
            (&[f32::NEG_INFINITY, 1.0], 0, 2, true),
            (&[1.0, 2.0], 2, 5, false),
        ];
        for (logits, label, k, correct) in cases {
            assert_eq!(top_k_correct(logits, label, k), correct, "{logits:?} {label} {k}");
        }
    }

    #[test]
    fn a_metrics_line_survives_json_bit_for_bit() {
        for split in [EvalSplit::Test, EvalSplit::Validation] {
            let line = EpochMetrics {
                epoch: 1,
                lr: 0.1 + 0.2,
                train_loss: 1.0 / 3.0,
                train_top1: 0.1,
                train_top5: 2.0 / 7.0,
                eval: split.metrics(10f64.ln(), 1e-300, 1.0),
                images_per_second: 1.0 / 49.0,
                seconds: 1e9 / 7.0,
                eval_seconds: 0.0,
                elapsed_seconds: 5e-324,
            };
            let json = serde_json::to_string(&line).unwrap();
            let key = if split == EvalSplit::Test { "\"test_top5\":1.0" } else { "\"valid_top5\":1.0" };
            assert!(json.contains(key), "{json}");
            assert_eq!(serde_json::from_str::<EpochMetrics>(&json).unwrap(), line);
        }
    }
}
