//! What a training is to do: the defaults, or what the run was started with, changed by the command line.

use std::path::PathBuf;

use anyhow::{Context, Result};
use mobilenet_data::{Augment, Source};
use mobilenet_models::{ModelConfig, Preset};
use mobilenet_train::{AdamWConfig, OptimizerConfig, SgdConfig, TrainConfig};
use serde::Serialize;
use serde_json::Value;

use crate::args::{Rule, TrainArgs};
use crate::run::RunConfig;

/// Everything that a run depends on and the command line can say.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The number of classes is the data's; until that is loaded it is the stored run's, or a stand-in.
    pub model: ModelConfig,
    pub train: TrainConfig,
    pub init: Option<PathBuf>,
    pub source: Source,
    pub data_dir: Option<PathBuf>,
    /// What folders of pictures are resized to.
    pub image_size: usize,
    pub limit_train: Option<usize>,
    pub limit_test: Option<usize>,
    pub validation: Option<usize>,
}

impl Settings {
    /// The command line over `stored`, the run that is gone on with.
    ///
    /// # Errors
    /// A combination of values that cannot be trained.
    pub fn new(args: &TrainArgs, stored: Option<&RunConfig>) -> Result<Self> {
        let model = match (stored, args.model) {
            (Some(stored), None) => stored.model.clone(),
            (Some(stored), Some(arch)) => ModelConfig { arch, ..stored.model.clone() },
            (None, Some(arch)) => ModelConfig::new(arch, STAND_IN_CLASSES, Preset::Cifar),
            (None, None) => anyhow::bail!("{}: there is no run to resume; --model starts one", args.out.display()),
        };
        let mut settings = match stored {
            Some(RunConfig { train, data, init, .. }) => Self {
                model,
                train: train.clone(),
                init: init.clone(),
                source: data.source,
                data_dir: data.data_dir.clone(),
                image_size: data.image_size,
                limit_train: data.limit_train,
                limit_test: data.limit_test,
                validation: data.validation,
            },
            None => Self {
                model,
                train: TrainConfig::default(),
                init: None,
                source: Source::Auto,
                data_dir: None,
                image_size: args.shape.preset.unwrap_or(Preset::Cifar).image_size(),
                limit_train: None,
                limit_test: None,
                validation: None,
            },
        };
        settings.apply(args);
        settings.model.validate()?;
        settings.train.validate()?;
        Ok(settings)
    }

    fn apply(&mut self, args: &TrainArgs) {
        args.shape.apply(&mut self.model);
        self.init = args.init.clone().or(self.init.take());
        self.source = args.source.data.unwrap_or(self.source);
        self.data_dir = args.source.data_dir.clone().or(self.data_dir.take());
        self.image_size = args.source.image_size.unwrap_or(self.image_size);
        self.limit_train = args.limit_train.or(self.limit_train);
        self.limit_test = args.limit_test.or(self.limit_test);
        self.validation = args.validation.or(self.validation);

        let train = &mut self.train;
        train.epochs = args.epochs.unwrap_or(train.epochs);
        train.batch_size = args.batch_size.unwrap_or(train.batch_size);
        train.seed = args.seed.unwrap_or(train.seed);
        train.schedule = args.schedule.unwrap_or(train.schedule);
        train.warmup_epochs = args.warmup_epochs.unwrap_or(train.warmup_epochs);
        train.label_smoothing = args.label_smoothing.unwrap_or(train.label_smoothing);
        train.precision = args.precision.unwrap_or(train.precision);
        if args.no_augment {
            train.augment = Augment::NONE;
        }
        match (args.optimizer, train.optimizer) {
            (Some(Rule::AdamW), OptimizerConfig::Sgd(_)) => {
                train.optimizer = OptimizerConfig::AdamW(AdamWConfig::default());
            }
            (Some(Rule::Sgd), OptimizerConfig::AdamW(_)) => {
                train.optimizer = OptimizerConfig::Sgd(SgdConfig::default());
            }
            _ => {}
        }
        let (lr, weight_decay, decay_norm_and_bias) = match &mut train.optimizer {
            OptimizerConfig::AdamW(c) => (&mut c.lr, &mut c.weight_decay, &mut c.decay_norm_and_bias),
            OptimizerConfig::Sgd(c) => (&mut c.lr, &mut c.weight_decay, &mut c.decay_norm_and_bias),
        };
        *lr = args.lr.unwrap_or(*lr);
        *weight_decay = args.weight_decay.unwrap_or(*weight_decay);
        *decay_norm_and_bias &= !args.no_decay_norm;
    }

    /// Settings that are not those of the stored run, each as `name is now, was then`.
    ///
    /// Where the data lies may change; what it is, is checked when it is loaded.
    pub fn differences(&self, stored: &RunConfig) -> Result<Vec<String>> {
        let now = comparable(&self.model, &self.train, &self.init, self.data_numbers())?;
        let data = &stored.data;
        let numbers = [Some(data.image_size), data.limit_train, data.limit_test, data.validation];
        let then = comparable(&stored.model, &stored.train, &stored.init, numbers)?;
        let mut differences = Vec::new();
        differing("", &then, &now, &mut differences);
        Ok(differences)
    }

    fn data_numbers(&self) -> [Option<usize>; 4] {
        [Some(self.image_size), self.limit_train, self.limit_test, self.validation]
    }
}

/// Any number of classes that a model can have.
const STAND_IN_CLASSES: usize = 10;

fn comparable(
    model: &ModelConfig,
    train: &TrainConfig,
    init: &Option<PathBuf>,
    [image_size, limit_train, limit_test, validation]: [Option<usize>; 4],
) -> Result<Value> {
    #[derive(Serialize)]
    struct Comparable<'a> {
        model: &'a ModelConfig,
        train: &'a TrainConfig,
        init: &'a Option<PathBuf>,
        image_size: Option<usize>,
        limit_train: Option<usize>,
        limit_test: Option<usize>,
        validation: Option<usize>,
    }
    let all = Comparable { model, train, init, image_size, limit_train, limit_test, validation };
    serde_json::to_value(all).context("the settings cannot be compared")
}

/// Collects the leaves that differ, with their dotted names.
fn differing(name: &str, then: &Value, now: &Value, found: &mut Vec<String>) {
    match (then, now) {
        (Value::Object(then), Value::Object(now)) => {
            for key in then.keys().chain(now.keys().filter(|key| !then.contains_key(*key))) {
                let inner = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                let at = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
                differing(&inner, &at(then), &at(now), found);
            }
        }
        (then, now) if then != now => found.push(format!("{name} is {now}, was {then}")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use crate::run::DataConfig;
    use clap::Parser;
    use mobilenet_train::Schedule;

    fn settings(line: &str, stored: Option<&RunConfig>) -> Result<Settings> {
        let words = ["mobilenet", "train", "--out", "r"].into_iter().chain(line.split_whitespace());
        let Command::Train(args) = Cli::try_parse_from(words)?.command else { panic!("not train") };
        Settings::new(&args, stored)
    }

    fn stored(line: &str) -> RunConfig {
        let settings = settings(line, None).unwrap();
        RunConfig {
            data: DataConfig::new(&settings, "set".into(), "copy".into(), Vec::new()),
            model: settings.model,
            train: settings.train,
            init: settings.init,
            environment: crate::environment::collect(),
            command: String::new(),
        }
    }

    #[test]
    fn defaults_are_the_articles() {
        let found = settings("--model v2", None).unwrap();
        assert_eq!(found.train, TrainConfig::default());
        assert_eq!((found.train.epochs, found.train.batch_size, found.image_size), (100, 128, 32));
        assert_eq!(found.train.schedule, Schedule::Cosine);
        let OptimizerConfig::AdamW(adamw) = found.train.optimizer else { panic!("AdamW") };
        assert_eq!((adamw.lr, adamw.weight_decay), (1e-3, 1e-4));
    }

    #[test]
    fn options_reach_their_places() {
        let line = "--model v3-large --preset imagenet --width 0.5 --optimizer sgd --lr 0.4 --no-decay-norm \
                    --no-augment --seed 7 --label-smoothing 0.1 --warmup-epochs 2.5";
        let found = settings(line, None).unwrap();
        let OptimizerConfig::Sgd(sgd) = found.train.optimizer else { panic!("SGD") };
        assert_eq!((sgd.lr, sgd.weight_decay, sgd.decay_norm_and_bias, sgd.nesterov), (0.4, 5e-4, false, true));
        assert_eq!((found.image_size, found.model.width_mult), (224, 0.5));
        assert_eq!(found.train.augment, Augment::NONE);
        assert_eq!((found.train.seed, found.train.label_smoothing, found.train.warmup_epochs), (7, 0.1, 2.5));
    }

    #[test]
    fn impossible_combinations_are_errors() {
        for line in ["--model v2 --reduced-tail", "--model v2 --strides 1,2", "--model v2 --width 99", "--resume"] {
            assert!(settings(line, None).is_err(), "{line}");
        }
        assert!(settings("--model v2 --epochs 3 --warmup-epochs 4", None).is_err());
    }

    #[test]
    fn a_run_is_gone_on_with_as_it_was_started() {
        let run = stored("--model v2 --optimizer sgd --epochs 5 --limit-train 64 --width 0.5");
        for line in ["--resume", "--resume --model v2 --epochs 5 --lr 0.1", "--resume --data-dir elsewhere"] {
            let found = settings(line, Some(&run)).unwrap();
            assert_eq!(found.differences(&run).unwrap(), Vec::<String>::new(), "{line}");
        }
        for (line, expected) in [
            ("--resume --epochs 6", "train.epochs is 6, was 5"),
            ("--resume --model v3-small", "model.arch is \"v3-small\", was \"v2\""),
            ("--resume --validation 8", "validation is 8, was null"),
            ("--resume --lr 0.2", "train.optimizer.lr is 0.2, was 0.1"),
        ] {
            let found = settings(line, Some(&run)).unwrap();
            assert_eq!(found.differences(&run).unwrap(), [expected], "{line}");
        }
    }
}
