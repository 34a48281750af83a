//! What a run must be given, and what must be the same when it is resumed.

use candle_nn::ModuleT;
use mobilenet_common::random::Fingerprint;
use mobilenet_data::Split;

use super::Trainer;
use crate::device;
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
        if let Some(setting) = self.on_device.as_ref().and_then(|_| device::setting(&self.config)) {
            return check(false, "device", setting, "settings that there are kernels for");
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

/// A fingerprint of a split: a hash of its shape, labels and pixels.
fn fingerprint(split: &Split) -> String {
    let mut fingerprint = Fingerprint::new();
    fingerprint.add(split.height() as u64);
    fingerprint.add(split.width() as u64);
    split.labels().iter().for_each(|&label| fingerprint.add(u64::from(label)));
    fingerprint.add_bytes(split.pixels());
    format!("{:016x}", fingerprint.value())
}
