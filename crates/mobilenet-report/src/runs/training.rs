//! One run, a folder of `mobilenet train`.

use std::path::Path;

use mobilenet_arch::Network;
use mobilenet_schema::{Environment, EpochMetrics, Eval, Origin, TrainRecord};
use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::leaves::flatten;

/// One finished run, evaluated or not.
#[derive(Debug)]
pub struct Training {
    /// Its folder's name
    pub name: String,
    /// The network
    pub network: Network,
    /// Its seed
    pub seed: u64,
    /// `metrics.jsonl`
    pub epochs: Vec<EpochMetrics>,
    /// `train.json`
    pub record: TrainRecord,
    /// `config.json`
    pub config: Value,
    /// `eval.json`, if there is one
    pub eval: Option<Eval>,
    /// Where it was trained
    pub origin: Origin,
}

impl Training {
    /// One of its settings in words, such as `/data/name`; nothing if `config.json` does not say.
    pub fn setting(&self, pointer: &str) -> Option<&str> {
        self.config.pointer(pointer)?.as_str()
    }

    /// Everything that decides its weights but the seed, as (name, value).
    pub fn settings(&self) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        for part in ["train", "model", "recipe", "init", "freeze_features", "teacher"] {
            flatten(part, &self.config[part], &mut fields);
        }
        for part in ["name", "copy", "train_images", "limit_train", "validation", "image"] {
            flatten(&format!("data.{part}"), &self.config["data"][part], &mut fields);
        }
        fields.retain(|(name, _)| name != "train.seed");
        fields
    }
}

/// Reads one run's folder.
pub fn read_training(folder: &Path) -> Result<Training> {
    if !folder.is_dir() {
        return Err(Error::NotAFolder { path: folder.to_owned() });
    }
    let path = |file: &'static str, expected: &'static str| {
        let path = folder.join(file);
        if path.is_file() { Ok(path) } else { Err(Error::IncompleteRun { folder: folder.to_owned(), expected, file }) }
    };
    let config: Value = mobilenet_schema::read(&path("config.json", "expected a folder that mobilenet train wrote")?)?;
    let record = mobilenet_schema::read(&path("train.json", "its training has not ended")?)?;
    let epochs = mobilenet_schema::read_lines(&path("metrics.jsonl", "its epochs are not there")?)?;
    let eval = folder.join("eval.json");
    let mut eval: Option<Eval> = if eval.exists() { Some(mobilenet_schema::read(&eval)?) } else { None };
    for class in eval.iter_mut().flat_map(|eval| &mut eval.classes) {
        *class = class.replace('_', " ");
    }
    let bad = |problem: String| Error::Config { run: folder.display().to_string(), problem };
    let unsaid = |field: &str| bad(format!("config.json does not say {field}"));
    let arch = config.pointer("/model/arch").and_then(Value::as_str).ok_or_else(|| unsaid("model.arch"))?;
    let width = config.pointer("/model/width_mult").and_then(Value::as_f64).unwrap_or(1.0);
    let network: Network = format!("{arch}@{width}").parse().map_err(|error| bad(format!("{error}")))?;
    let seed = config.pointer("/train/seed").and_then(Value::as_u64).ok_or_else(|| unsaid("train.seed"))?;
    // `.` and `..` have no name of their own.
    let full = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let name = full.file_name().map_or_else(|| folder.display().to_string(), |name| name.display().to_string());
    let environment = Environment::deserialize(&config["environment"]).unwrap_or_default();
    let copy = config.pointer("/data/copy").and_then(Value::as_str).map(str::to_owned);
    let origin = Origin { what: name.clone(), environment, copy };
    Ok(Training { name, network, seed, epochs, record, config, eval, origin })
}
