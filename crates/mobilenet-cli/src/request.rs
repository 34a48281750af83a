//! What a training is to do: the defaults, or what the run was started with, changed by the command line.

mod resumed;

use std::path::PathBuf;

use anyhow::{Context, Result};
use mobilenet_data::{DEFAULT_PICTURE_CACHE, ReadOptions, Source};
use mobilenet_layers::Precision;
use mobilenet_models::{ModelConfig, Preset};
use mobilenet_schema::{DataConfig, RecipeName, RunConfig, TrainSettings};
use mobilenet_train::OptimizerConfig;

use crate::args::{Freeze, MeanStd, TrainArgs};
use crate::recipe;
use crate::run::{self, WEIGHTS_FILE};

/// Everything that a run depends on and the command line can say.
#[derive(Clone, Debug)]
pub struct TrainingRequest {
    /// The number of classes is the data's; until that is loaded it is the stored run's, or a stand-in.
    pub model: ModelConfig,
    pub train: TrainSettings,
    pub recipe: RecipeName,
    pub init: Option<PathBuf>,
    pub freeze_features: bool,
    /// The run or the model file whose network teaches.
    pub teacher: Option<PathBuf>,
    pub source: Source,
    pub data_dir: Option<PathBuf>,
    /// What folders of pictures are resized to.
    pub image_size: usize,
    pub read: ReadOptions,
    /// Bytes of pictures that are kept in memory; results do not depend on it.
    pub picture_cache: u64,
    pub limit_train: Option<usize>,
    pub limit_test: Option<usize>,
    pub validation: Option<usize>,
    /// What images are normalized by; if nobody said, the weights that the training starts from decide.
    pub mean_std: Option<MeanStd>,
}

impl TrainingRequest {
    /// The command line over `stored`, the run that is resumed.
    ///
    /// # Errors
    /// A combination of values that cannot be trained.
    pub fn new(args: &TrainArgs, stored: Option<&RunConfig>) -> Result<Self> {
        let mut request = match stored {
            Some(stored) => Self::stored(stored, args),
            None => Self::fresh(args)?,
        };
        request.apply(args);
        request.model.validate()?;
        request.train.config.validate()?;
        Ok(request)
    }

    /// Those of a new run: the recipe's, and the network of `--init-from` if there is one.
    fn fresh(args: &TrainArgs) -> Result<Self> {
        let origin = args.init_from.as_deref().map(run::read_config).transpose().context("--init-from")?;
        let mut model = match (origin, args.model) {
            (Some(origin), Some(arch)) => {
                let found = origin.model.arch;
                anyhow::ensure!(found == arch, "--init-from holds a {found}, --model asks for {arch}");
                origin.model
            }
            (Some(origin), None) => origin.model,
            (None, Some(arch)) => ModelConfig::new(arch, STAND_IN_CLASSES, Preset::Cifar),
            (None, None) => anyhow::bail!("{}: there is no run to resume; --model starts one", args.out.display()),
        };
        let recipe = args.recipe.unwrap_or_default();
        recipe::apply(recipe, &mut model);
        Ok(Self {
            train: TrainSettings { config: recipe::config(recipe), precision: Precision::default() },
            recipe,
            init: None,
            freeze_features: false,
            teacher: None,
            source: Source::Auto,
            data_dir: None,
            image_size: args.shape.preset.unwrap_or(model.preset).image_size(),
            read: ReadOptions::default(),
            picture_cache: DEFAULT_PICTURE_CACHE,
            limit_train: None,
            limit_test: None,
            validation: None,
            mean_std: None,
            model,
        })
    }

    fn apply(&mut self, args: &TrainArgs) {
        args.shape.apply(&mut self.model);
        let init_from = args.init_from.as_ref().map(|run| run.join(WEIGHTS_FILE));
        self.init = args.init.clone().or(init_from).or(self.init.take());
        self.freeze_features |= args.freeze == Some(Freeze::Features);
        self.teacher = args.technique.teacher.clone().or(self.teacher.take());
        self.source = args.source.data.unwrap_or(self.source);
        self.data_dir = args.source.data_dir.clone().or(self.data_dir.take());
        self.image_size = args.source.image_size.unwrap_or(self.image_size);
        args.source.apply(&mut self.read);
        self.picture_cache = args.source.picture_cache.unwrap_or(self.picture_cache);
        self.limit_train = args.limit_train.or(self.limit_train);
        self.limit_test = args.limit_test.or(self.limit_test);
        self.validation = args.validation.or(self.validation);
        self.mean_std = args.mean_std.or(self.mean_std);

        let TrainSettings { config: train, precision } = &mut self.train;
        *precision = args.precision.unwrap_or(*precision);
        train.epochs = args.epochs.unwrap_or(train.epochs);
        train.batch_size = args.batch_size.unwrap_or(train.batch_size);
        train.seed = args.seed.unwrap_or(train.seed);
        train.schedule = args.schedule.unwrap_or(train.schedule);
        train.warmup_epochs = args.warmup_epochs.unwrap_or(train.warmup_epochs);
        train.final_lr = args.final_lr.unwrap_or(train.final_lr);
        train.label_smoothing = args.label_smoothing.unwrap_or(train.label_smoothing);
        args.technique.apply(train, self.teacher.is_some());
        if let Some(rule) = args.optimizer.filter(|rule| !rule.is_that_of(&train.optimizer)) {
            train.optimizer = rule.config();
        }
        let (lr, weight_decay, decay_norm_and_bias) = match &mut train.optimizer {
            OptimizerConfig::AdamW(c) => (&mut c.lr, &mut c.weight_decay, &mut c.decay_norm_and_bias),
            OptimizerConfig::Sgd(c) => (&mut c.lr, &mut c.weight_decay, &mut c.decay_norm_and_bias),
            OptimizerConfig::Muon(c) => (&mut c.lr, &mut c.weight_decay, &mut c.decay_norm_and_bias),
        };
        *lr = args.lr.unwrap_or(*lr);
        *weight_decay = args.weight_decay.unwrap_or(*weight_decay);
        *decay_norm_and_bias &= !args.no_decay_norm;
    }

    /// What `config.json` says of the data, with the set's names; the numbers follow with [`run::cut`].
    pub fn data_config(&self, name: String, copy: String, classes: Vec<String>) -> DataConfig {
        let (mean, std, fixed_mean_std) = match self.mean_std {
            Some(MeanStd::Fixed { mean, std }) => (mean, std, true),
            Some(MeanStd::Data) | None => ([0.0; 3], [1.0; 3], false),
        };
        DataConfig {
            source: self.source,
            data_dir: self.data_dir.clone(),
            image_size: self.image_size,
            read: self.read.clone(),
            left_out: 0,
            name,
            copy,
            classes,
            image: [0, 0],
            train_images: 0,
            test_images: 0,
            limit_train: self.limit_train,
            limit_test: self.limit_test,
            validation: self.validation,
            mean,
            std,
            fixed_mean_std,
            fallback: false,
        }
    }
}

/// Any number of classes that a model can have.
const STAND_IN_CLASSES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use mobilenet_train::{Schedule, TrainConfig};

    fn request(line: &str, stored: Option<&RunConfig>) -> Result<TrainingRequest> {
        let words = ["mobilenet", "train", "--out", "r"].into_iter().chain(line.split_whitespace());
        let Command::Train(args) = Cli::read(words)?.command else { panic!("not train") };
        TrainingRequest::new(&args, stored)
    }

    fn stored(line: &str) -> RunConfig {
        let request = request(line, None).unwrap();
        RunConfig {
            data: request.data_config("set".into(), "copy".into(), Vec::new()),
            model: request.model,
            train: request.train,
            recipe: request.recipe,
            init: request.init,
            freeze_features: request.freeze_features,
            teacher: request.teacher,
            environment: crate::environment::collect(),
            command: String::new(),
        }
    }

    #[test]
    fn defaults_are_the_articles() {
        let found = request("--model v2", None).unwrap();
        assert_eq!(found.train, TrainSettings { config: TrainConfig::default(), precision: Precision::F32 });
        assert_eq!((found.train.config.epochs, found.train.config.batch_size, found.image_size), (100, 128, 32));
        assert_eq!(found.train.config.schedule, Schedule::Cosine);
        let OptimizerConfig::AdamW(adamw) = found.train.config.optimizer else { panic!("AdamW") };
        assert_eq!((adamw.lr, adamw.weight_decay), (1e-3, 1e-4));
    }

    #[test]
    fn options_reach_their_places() {
        let line = "--model v3-large --preset imagenet --width 0.5 --optimizer sgd --lr 0.4 --no-decay-norm \
                    --no-augment --seed 7 --label-smoothing 0.1 --warmup-epochs 2.5";
        let found = request(line, None).unwrap();
        let OptimizerConfig::Sgd(sgd) = found.train.config.optimizer else { panic!("SGD") };
        assert_eq!((sgd.lr, sgd.weight_decay, sgd.decay_norm_and_bias, sgd.nesterov), (0.4, 5e-4, false, true));
        assert_eq!((found.image_size, found.model.width_mult), (224, 0.5));
        assert_eq!(found.train.config.augment, mobilenet_data::Augment::NONE);
        assert_eq!(
            (found.train.config.seed, found.train.config.label_smoothing, found.train.config.warmup_epochs),
            (7, 0.1, 2.5)
        );
    }

    #[test]
    fn impossible_combinations_are_errors() {
        for line in ["--model v2 --reduced-tail", "--model v2 --strides 1,2", "--model v2 --width 99", "--resume"] {
            assert!(request(line, None).is_err(), "{line}");
        }
        assert!(request("--model v2 --epochs 3 --warmup-epochs 4", None).is_err());
    }

    #[test]
    fn a_run_is_resumed_as_it_was_started() {
        let run = stored("--model v2 --optimizer sgd --epochs 5 --limit-train 64 --width 0.5");
        for line in [
            "--resume",
            "--resume --model v2 --epochs 5 --lr 0.1",
            "--resume --data-dir elsewhere",
            "--resume --epochs 6",
        ] {
            let found = request(line, Some(&run)).unwrap();
            assert_eq!(found.differences(&run).unwrap(), Vec::<String>::new(), "{line}");
        }
        for (line, expected) in [
            ("--resume --epochs 4", "train.epochs is 4, was 5"),
            ("--resume --model v3-small", "model.arch is \"v3-small\", was \"v2\""),
            ("--resume --mean-std imagenet", "--mean-std is another"),
            ("--resume --validation 8", "validation is 8, was null"),
            ("--resume --lr 0.2", "train.optimizer.lr is 0.2, was 0.1"),
            ("--resume --precision bf16", "train.precision is \"bf16\", was \"f32\""),
        ] {
            let found = request(line, Some(&run)).unwrap();
            assert_eq!(found.differences(&run).unwrap(), [expected], "{line}");
        }
    }

    /// The precision is the network's, but it has always stood among the training's settings.
    #[test]
    fn the_precision_is_stored_with_the_training() {
        let run = stored("--model v2 --precision bf16 --lr 0.1");
        let json = serde_json::to_value(&run).unwrap();
        assert_eq!((&json["train"]["precision"], &json["train"]["epochs"]), (&"bf16".into(), &100.into()));
        let read: RunConfig = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(read.train, run.train);
        let mut before = json;
        before["train"].as_object_mut().unwrap().remove("precision");
        let read: RunConfig = serde_json::from_value(before).unwrap();
        assert_eq!(read.train.precision, Precision::F32);
    }
}
