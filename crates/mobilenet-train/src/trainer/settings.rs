//! What a run must be given, and what must be the same when it is resumed.

use candle_nn::ModuleT;
use mobilenet_data::Split;

use super::Trainer;
use crate::device;
use crate::error::check;
use crate::run::FitData;
use crate::{Balance, Error, EvalSplit, TrainConfig};

impl<M: ModuleT> Trainer<'_, M> {
    /// Refuses settings that do not go with the data or the teacher.
    pub(super) fn check(&self, data: &FitData) -> Result<(), Error> {
        let TrainConfig { early_stop, distillation, precise_bn, .. } = self.config;
        if let Some(epochs) = early_stop.filter(|_| data.eval_split == EvalSplit::Test) {
            let expected = "held-out images to judge by: nothing is chosen on test images";
            return check(false, "early_stop", epochs, expected);
        }
        if let Some(setting) = self.on_device.as_ref().and_then(|_| device::setting(&self.config)) {
            return check(false, "device", setting, "settings that there are kernels for");
        }
        if let Some(batches) = precise_bn.filter(|_| self.statistics.is_none()) {
            return check(false, "precise_bn", batches, "a model to take statistics with");
        }
        match (distillation, self.has_teacher()?) {
            (Some(_), false) => check(false, "distillation", "set", "a teacher for the trainer"),
            (None, true) => check(false, "distillation", "none", "a temperature and a weight, as there is a teacher"),
            _ => Ok(()),
        }
    }

    fn has_teacher(&self) -> Result<bool, Error> {
        match &self.on_device {
            Some(device) => Ok(device.steps()?.has_teacher()),
            None => Ok(self.teacher.is_some()),
        }
    }

    /// What must be the same when a run is resumed.
    pub(super) fn settings(&self, data: &FitData, model: &serde_json::Value) -> Result<serde_json::Value, Error> {
        Ok(serde_json::json!({
            "train": serde_json::to_value(&self.config)?,
            "model": model,
            "data": {
                "train_images": data.train.len(),
                "train_contents": fingerprint(&data.train),
                "eval_images": data.eval.len(),
                "eval_contents": fingerprint(&data.eval),
                "eval_split": data.eval_split,
                "normalization": data.normalization,
            },
        }))
    }
}

/// A hash of a split's shape, labels and pixels.
fn fingerprint(split: &Split) -> String {
    format!("{:016x}", split.fingerprint())
}

/// What each class counts in the loss, if classes are to be balanced that way: a class without images as much as the
/// average one has.
pub(super) fn class_weights(balance: Balance, labels: &[u32]) -> Vec<f64> {
    if balance != Balance::Weights {
        return Vec::new();
    }
    let mut images = vec![0usize; labels.iter().max().map_or(0, |&most| most as usize + 1)];
    labels.iter().for_each(|&label| images[label as usize] += 1);
    let classes = images.iter().filter(|&&images| images > 0).count();
    let weight = |images: usize| labels.len() as f64 / (classes * images) as f64;
    images.into_iter().map(|images| if images == 0 { 1.0 } else { weight(images) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_classes_count_more() {
        // scikit-learn's compute_class_weight("balanced") of the classes that there are.
        let labels = [0, 0, 0, 0, 0, 0, 1, 1, 3];
        assert_eq!(class_weights(Balance::Weights, &labels), [0.5, 1.5, 1.0, 3.0]);
        assert!(class_weights(Balance::Weights, &[]).is_empty());
        assert!(
            class_weights(Balance::None, &labels).is_empty() && class_weights(Balance::Sampler, &labels).is_empty()
        );
    }
}
