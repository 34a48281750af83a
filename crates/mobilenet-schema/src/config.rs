//! `mobilenet train`: what a run was started with.

mod augment;
mod optimizer;
mod read;
mod schedule;
mod train;
mod transforms;

use std::path::PathBuf;

use mobilenet_arch::{ModelConfig, Precision};
use serde::{Deserialize, Serialize};

use crate::check::{Artefact, Problem, check, length, positive};
use crate::environment::Environment;
use crate::names::{RecipeName, Source};

pub use augment::{Augment, Mix, Padding};
pub use optimizer::{AdamWConfig, MuonConfig, OptimizerConfig, SgdConfig};
pub use read::ReadOptions;
pub(crate) use read::is_default;
pub use schedule::Schedule;
pub use train::{Balance, Distillation, LowResolution, LrFactor, TrainConfig, Variables};
pub use transforms::{ColorJitter, Policy, ResizedCrop};

/// `config.json`: everything that a run was started with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunConfig {
    /// The network.
    pub model: ModelConfig,
    /// How it is trained.
    pub train: TrainSettings,
    /// On what.
    pub data: DataConfig,
    /// What the settings started from.
    #[serde(default)]
    pub recipe: RecipeName,
    /// Weights that the training started from.
    #[serde(default)]
    pub init: Option<PathBuf>,
    /// Whether everything below the classifier stays as it was at the start.
    #[serde(default)]
    pub freeze_features: bool,
    /// The run or the model file whose network teaches.
    #[serde(default)]
    pub teacher: Option<PathBuf>,
    /// Where it was started.
    #[serde(default, deserialize_with = "crate::environment::or_default")]
    pub environment: Environment,
    /// The command as one would type it.
    #[serde(default)]
    pub command: String,
}

/// How a run is trained: the trainer's settings, and in the same JSON object what the network itself is set to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainSettings {
    /// The trainer's settings.
    #[serde(flatten)]
    pub config: TrainConfig,
    /// What the network multiplies and keeps while it is trained; evaluation is always float32.
    #[serde(default)]
    pub precision: Precision,
}

/// The data of a run, as it was asked for and as it was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataConfig {
    /// `--data`
    pub source: Source,
    /// `--data-dir`, as it was typed.
    pub data_dir: Option<PathBuf>,
    /// What folders of pictures are resized to.
    pub image_size: usize,
    /// How the data is read, where that is not told by the data.
    #[serde(default, skip_serializing_if = "is_default")]
    pub read: ReadOptions,
    /// Broken pictures that were left out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub left_out: usize,
    /// The set's name.
    pub name: String,
    /// Which copy of it was read.
    pub copy: String,
    /// The classes' names.
    pub classes: Vec<String>,
    /// Height and width of the images.
    pub image: [usize; 2],
    /// Images that were trained on: after the limit, without the validation images.
    pub train_images: usize,
    /// Test images, after the limit.
    pub test_images: usize,
    /// Only the first so many training images; all of them if absent.
    pub limit_train: Option<usize>,
    /// Only the first so many test images; all of them if absent.
    pub limit_test: Option<usize>,
    /// Images held out of the training images.
    pub validation: Option<usize>,
    /// Mean of each channel of the training images, in units of 0 to 1.
    pub mean: [f32; 3],
    /// Standard deviation of each channel of the training images, in the same units.
    pub std: [f32; 3],
    /// Whether mean and standard deviation were chosen and are not the data's.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fixed_mean_std: bool,
    /// Whether the set stands in for one that could not be had.
    pub fallback: bool,
}

impl RunConfig {
    /// Which weights the run ends with.
    #[must_use]
    pub fn weights_label(&self) -> String {
        let chosen = match self.data.validation {
            Some(n) => format!("best on {n} validation images"),
            None => "last epoch".into(),
        };
        match self.train.config.ema {
            Some(decay) => format!("{chosen}, moving average {decay}"),
            None => chosen,
        }
    }
}

impl DataConfig {
    fn check(&self) -> Result<(), Problem> {
        for (i, (mean, std)) in self.mean.iter().zip(self.std).enumerate() {
            check(mean.is_finite(), format_args!("mean[{i}]"), "a finite number", mean)?;
            positive(format_args!("std[{i}]"), std.into())?;
        }
        Ok(())
    }
}

impl Artefact for RunConfig {
    const WHAT: &str = "the settings of a run";

    fn check(&self) -> Result<(), Problem> {
        if let Err(error) = self.model.validate() {
            return Err(match error {
                mobilenet_arch::Error::InvalidConfig { field, expected, found } => {
                    Problem { field: format!("model.{field}"), expected, found }
                }
                other => Problem { field: "model".into(), expected: "a network".into(), found: other.to_string() },
            });
        }
        self.train.config.validate().map_err(|problem| problem.within("train"))?;
        self.data.check().map_err(|problem| problem.within("data"))?;
        length("data.classes", "output of the network", self.model.num_classes, self.data.classes.len())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// What the first version wrote, and fields that no version knows any more.
    fn early() -> Value {
        json!({
            "model": {
                "arch": "v3-small", "num_classes": 2, "preset": "cifar", "width_mult": 0.5, "reduced_tail": false,
                "dilated": false, "dropout": 0.2, "strides": null,
            },
            "train": {
                "epochs": 4, "batch_size": 8, "drop_last": false, "seed": 3, "label_smoothing": 0.0, "gone": [1, 2],
                "optimizer": {
                    "name": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": true, "weight_decay": 0.0005,
                    "decay_norm_and_bias": true, "gone": true,
                },
                "schedule": "cosine", "warmup_epochs": 0.0,
                "augment": {"flip": true, "crop_padding": 4, "gone": null},
            },
            "data": {
                "source": "cifar10", "data_dir": null, "image_size": 32, "name": "cifar10", "copy": "binary",
                "classes": ["a", "b"], "image": [32, 32], "train_images": 90, "test_images": 10, "limit_train": null,
                "limit_test": 10, "validation": 10, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25],
                "fallback": false, "gone": {},
            },
            "init": null,
            "environment": {"commit": null, "processor": "one", "cores": 2, "threads": 2, "os": "any", "version": "0"},
            "command": "mobilenet train",
            "gone": "too",
        })
    }

    #[test]
    fn what_came_later_has_defaults_and_what_is_gone_is_ignored() {
        let found: RunConfig = serde_json::from_value(early()).unwrap();
        let sgd = OptimizerConfig::Sgd(SgdConfig::default());
        let expected = TrainConfig { epochs: 4, batch_size: 8, seed: 3, optimizer: sgd, ..TrainConfig::default() };
        assert_eq!(found.train, TrainSettings { config: expected, precision: Precision::F32 });
        assert_eq!((found.recipe, found.freeze_features, &found.teacher), (RecipeName::Article, false, &None));
        assert_eq!(found.weights_label(), "best on 10 validation images");
        found.check().unwrap();
        let again: RunConfig = serde_json::from_str(&serde_json::to_string(&found).unwrap()).unwrap();
        assert_eq!(again, found);
    }

    /// A network with a setting that is ignored would be another network.
    #[test]
    fn a_network_is_known_to_the_last_field() {
        let mut config = early();
        config["model"]["extra"] = 1.into();
        let error = serde_json::from_value::<RunConfig>(config).unwrap_err().to_string();
        assert!(error.contains("unknown field `extra`"), "{error}");
    }

    #[test]
    fn settings_that_no_training_can_have_are_named() {
        for (pointer, value, words) in [
            ("/train/epochs", json!(0), "train.epochs: expected at least 1, found 0"),
            ("/train/optimizer/lr", json!(-1.0), "train.optimizer.lr: expected more than 0, found -1"),
            ("/data/std", json!([0.25, 0.0, 0.25]), "data.std[1]: expected a number above 0, found 0"),
            (
                "/data/classes",
                json!(["a"]),
                "data.classes: expected 2 entries, one for each output of the network, found 1",
            ),
            ("/model/width_mult", json!(99.0), "model.width_mult: expected a number above 0, at most 8, found 99"),
            ("/train/augment/crop_padding", json!(70_000), "train.crop padding: expected 0 to 65536, found 70000"),
        ] {
            let mut config = early();
            *config.pointer_mut(pointer).unwrap() = value;
            let found: RunConfig = serde_json::from_value(config).unwrap();
            assert_eq!(found.check().unwrap_err().to_string(), words);
        }
    }
}
