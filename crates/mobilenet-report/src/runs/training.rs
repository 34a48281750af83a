//! One run, a folder of `mobilenet train`.

use std::path::Path;

use mobilenet_arch::Network;
use mobilenet_schema::{EpochMetrics, Eval, Origin, RunConfig, TrainRecord};

use crate::error::{Error, Result};
use crate::leaves::flatten;
use crate::subject::Subject;

/// One finished run, evaluated or not.
#[derive(Debug)]
pub struct Training {
    /// Its folder's name
    pub name: String,
    /// The network, and which of its settings if the runs have several
    pub subject: Subject,
    /// Its seed
    pub seed: u64,
    /// `metrics.jsonl`
    pub epochs: Vec<EpochMetrics>,
    /// `train.json`
    pub record: TrainRecord,
    /// `config.json`
    pub config: RunConfig,
    /// `eval.json`, if there is one
    pub eval: Option<Eval>,
    /// Where it was trained
    pub origin: Origin,
}

impl Training {
    /// The network.
    pub fn network(&self) -> Network {
        self.subject.network
    }

    /// Everything that decides its weights but the seed, as (name, value).
    pub fn settings(&self) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        let config = serde_json::to_value(&self.config).unwrap_or_default();
        for part in ["train", "model", "recipe", "init", "freeze_features", "teacher"] {
            flatten(part, &config[part], &mut fields);
        }
        for part in ["name", "copy", "train_images", "limit_train", "validation", "image"] {
            flatten(&format!("data.{part}"), &config["data"][part], &mut fields);
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
    // What is missing is said before what is wrong with the rest.
    let config = path("config.json", "expected a folder that mobilenet train wrote")?;
    let record = path("train.json", "its training has not ended")?;
    let epochs = path("metrics.jsonl", "its epochs are not there")?;
    let config: RunConfig = mobilenet_schema::read(&config)?;
    let (record, epochs) = (mobilenet_schema::read(&record)?, mobilenet_schema::read_lines(&epochs)?);
    let eval = folder.join("eval.json");
    let mut eval: Option<Eval> = if eval.exists() { Some(mobilenet_schema::read(&eval)?) } else { None };
    for class in eval.iter_mut().flat_map(|eval| &mut eval.classes) {
        *class = class.replace('_', " ");
    }
    let (arch, width) = (config.model.arch, config.model.width_mult);
    let network: Network = format!("{arch}@{width}")
        .parse()
        .map_err(|error| Error::Config { run: folder.display().to_string(), problem: format!("{error}") })?;
    let seed = config.train.config.seed;
    // `.` and `..` have no name of their own.
    let full = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let name = full.file_name().map_or_else(|| folder.display().to_string(), |name| name.display().to_string());
    let origin =
        Origin { what: name.clone(), environment: config.environment.clone(), copy: Some(config.data.copy.clone()) };
    Ok(Training { name, subject: network.into(), seed, epochs, record, config, eval, origin })
}
