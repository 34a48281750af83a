//! What a run must be given, and what must be the same when it is resumed.

use candle_nn::ModuleT;
use mobilenet_data::Split;

use super::Trainer;
use crate::error::check;
use crate::run::FitData;
use crate::{Error, EvalSplit, TrainConfig};

impl<M: ModuleT> Trainer<'_, M> {
    /// Refuses settings that do not go with the data or the teacher.
    pub(super) fn check(&self, data: &FitData) -> Result<(), Error> {
        let TrainConfig { early_stop, distillation, .. } = self.config;
        if let Some(epochs) = early_stop.filter(|_| data.eval_split == EvalSplit::Test) {
            let expected = "held-out images to judge by: nothing is chosen on test images";
            return check(false, "early_stop", epochs, expected);
        }
        match (distillation, self.teacher) {
            (Some(_), None) => check(false, "distillation", "set", "a teacher for the trainer"),
            (None, Some(_)) => {
                check(false, "distillation", "none", "a temperature and a weight, as there is a teacher")
            }
            _ => Ok(()),
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
