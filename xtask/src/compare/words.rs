//! A command line of `mobilenet` in the making, and the options that many of them share.

use mobilenet_arch::{Network, Width};
use mobilenet_schema::{ComparisonPlan, DataInfo, Source};

/// A command line in the making.
#[derive(Default)]
pub struct Args(Vec<String>);

impl Args {
    /// The words, none of them quoted.
    pub fn into_words(self) -> Vec<String> {
        self.0
    }

    /// A subcommand or a flag.
    pub fn word(&mut self, word: &str) -> &mut Self {
        self.0.push(word.to_owned());
        self
    }

    /// An option with its value.
    pub fn option(&mut self, name: &str, value: impl ToString) -> &mut Self {
        self.word(name);
        self.0.push(value.to_string());
        self
    }

    /// An option that is only given where its value is not the default.
    pub fn changed(&mut self, name: &str, value: Option<impl ToString>) -> &mut Self {
        match value {
            Some(value) => self.option(name, value),
            None => self,
        }
    }

    /// `--model`, and `--width` where it is not 1.
    pub fn network(&mut self, network: Network) -> &mut Self {
        self.option("--model", network.arch.name());
        if network.width == Width::ONE { self } else { self.option("--width", network.width) }
    }
}

/// `--data` and `--data-dir`. Once the set is known, `auto` becomes that set, so that a network that comes or goes
/// between two stages cannot change the data under the comparison.
pub fn source(args: &mut Args, settings: &ComparisonPlan, data: Option<&DataInfo>) {
    let key = match (settings.data, &settings.data_dir, data) {
        (Source::Auto, None, Some(data)) if data.name == "cifar10" => Source::Cifar10,
        (Source::Auto, None, Some(data)) if data.name == "shapes10" => Source::Shapes10,
        (asked, _, _) => asked,
    };
    args.option("--data", key.name());
    if let Some(dir) = &settings.data_dir {
        args.option("--data-dir", dir.display());
    }
}

/// `--device` and `--threads`, where they differ from the defaults.
pub fn machine(args: &mut Args, settings: &ComparisonPlan) {
    if settings.device != "cpu" {
        args.option("--device", &settings.device);
    }
    threads(args, settings);
}

/// `--threads`, where it is given.
pub fn threads(args: &mut Args, settings: &ComparisonPlan) {
    if let Some(threads) = settings.threads {
        args.option("--threads", threads);
    }
}
