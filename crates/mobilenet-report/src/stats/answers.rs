//! The answers that the tests image by image compare.

/// What one run answered.
#[derive(Copy, Clone, Debug)]
pub struct Answers<'a> {
    /// The seed of its training
    pub seed: u64,
    /// Accuracy, a fraction
    pub top1: f64,
    /// The truth, an image each; empty if only the accuracy is known
    pub labels: &'a [usize],
    /// The answers, an image each
    pub predicted: &'a [usize],
}

impl<'a> Answers<'a> {
    /// For each image whether this run and the other are right; `None` if they saw different images, or none.
    pub fn right_with(&self, other: &Answers<'a>) -> Option<impl Iterator<Item = (bool, bool)> + use<'a>> {
        let n = self.labels.len();
        if n == 0 || self.labels != other.labels || self.predicted.len() != n || other.predicted.len() != n {
            return None;
        }
        let pairs = self.predicted.iter().zip(other.predicted);
        Some(self.labels.iter().zip(pairs).map(|(label, (a, b))| (a == label, b == label)))
    }
}
