//! A run that is resumed: what it was started with, and whether it is still asked for.

use std::path::PathBuf;

use anyhow::{Context, Result};
use mobilenet_common::json::differences;
use mobilenet_data::{DEFAULT_PICTURE_CACHE, ReadOptions};
use mobilenet_layers::Precision;
use mobilenet_models::ModelConfig;
use mobilenet_schema::{DataConfig, RunConfig, TrainSettings};
use serde::Serialize;
use serde_json::Value;

use super::TrainingRequest;
use crate::args::{MeanStd, TrainArgs};
use crate::recipe;

impl TrainingRequest {
    /// The settings of a run that is resumed.
    pub(super) fn stored(stored: &RunConfig, args: &TrainArgs) -> Self {
        let RunConfig { model, train, data, init, recipe, freeze_features, teacher, .. } = stored;
        let mut model = model.clone();
        model.arch = args.model.unwrap_or(model.arch);
        let recipe = *recipe;
        // The run's own recipe changes nothing of what it was started with.
        let train = match args.recipe.filter(|&asked| asked != recipe) {
            Some(asked) => TrainSettings { config: recipe::config(asked), precision: Precision::default() },
            None => train.clone(),
        };
        Self {
            model,
            train,
            recipe: args.recipe.unwrap_or(recipe),
            init: init.clone(),
            freeze_features: *freeze_features,
            teacher: teacher.clone(),
            source: data.source,
            data_dir: data.data_dir.clone(),
            image_size: data.image_size,
            read: data.read.clone(),
            picture_cache: DEFAULT_PICTURE_CACHE,
            limit_train: data.limit_train,
            limit_test: data.limit_test,
            validation: data.validation,
            mean_std: Some(stored_mean_std(data)),
        }
    }

    /// Whether this asks for more epochs than the stored run has: it is to go on.
    pub fn has_more_epochs_than(&self, stored: &RunConfig) -> bool {
        self.train.config.epochs > stored.train.config.epochs
    }

    /// Settings that are not those of the stored run, but for more epochs, each as `name is now, was then`.
    ///
    /// Where the data lies may change; what it is, is checked when it is loaded.
    pub fn differences(&self, stored: &RunConfig) -> Result<Vec<String>> {
        let RunConfig { model, train, init, freeze_features, teacher, data, .. } = stored;
        let then = Comparable {
            model,
            train,
            init,
            freeze_features: *freeze_features,
            teacher,
            image_size: data.image_size,
            read: &data.read,
            limit_train: data.limit_train,
            limit_test: data.limit_test,
            validation: data.validation,
        };
        let stored_mean_std = stored_mean_std(data);
        let mut train_now = self.train.clone();
        if self.has_more_epochs_than(stored) {
            train_now.config.epochs = train.config.epochs;
        }
        let now = Comparable {
            model: &self.model,
            train: &train_now,
            init: &self.init,
            freeze_features: self.freeze_features,
            teacher: &self.teacher,
            image_size: self.image_size,
            read: &self.read,
            limit_train: self.limit_train,
            limit_test: self.limit_test,
            validation: self.validation,
        };
        let differences = differences(&then.value()?, &now.value()?);
        let mut said: Vec<String> =
            differences.into_iter().map(|d| format!("{} is {}, was {}", d.field, d.now, d.before)).collect();
        if self.mean_std.is_some_and(|now| now != stored_mean_std) {
            said.push("--mean-std is another".to_owned());
        }
        Ok(said)
    }
}

/// What a run's images are normalized by.
fn stored_mean_std(data: &DataConfig) -> MeanStd {
    match data.fixed_mean_std {
        true => MeanStd::Fixed { mean: data.mean, std: data.std },
        false => MeanStd::Data,
    }
}

/// What must be the same for a run to be resumed.
#[derive(Serialize)]
struct Comparable<'a> {
    model: &'a ModelConfig,
    train: &'a TrainSettings,
    init: &'a Option<PathBuf>,
    freeze_features: bool,
    teacher: &'a Option<PathBuf>,
    image_size: usize,
    read: &'a ReadOptions,
    limit_train: Option<usize>,
    limit_test: Option<usize>,
    validation: Option<usize>,
}

impl Comparable<'_> {
    fn value(&self) -> Result<Value> {
        serde_json::to_value(self).context("the settings cannot be compared")
    }
}
