//! `--advice`: what is tried of the article's advice.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use mobilenet_arch::Network;
use mobilenet_report::{advised, text::list, usual_teacher};
use mobilenet_schema::{PlannedAdvice, PlannedTeacher};

/// The options, which `--advice` turns on.
#[derive(clap::Args)]
pub struct AdviceArgs {
    /// Also try the article's advice: the smallest V3 with and without label smoothing, distillation, twice the
    /// learning rate
    #[arg(long)]
    advice: bool,
    /// Epochs of these trainings instead of the comparison's
    #[arg(long, requires = "advice", value_parser = clap::value_parser!(u64).range(1..))]
    advice_epochs: Option<u64>,
    /// The run or model file that teaches [default: this comparison's V3-Large, else V2, else another]
    #[arg(long, value_name = "PATH", requires = "advice")]
    advice_teacher: Option<PathBuf>,
}

impl AdviceArgs {
    /// What is tried in a comparison of `models`; nothing if nobody asked.
    ///
    /// # Errors
    /// No network with h-swish, nobody to teach it, or a teacher that cannot be used.
    pub fn plan(
        &self,
        models: &[Network],
        seed: Option<u64>,
        epochs: u64,
        device: &str,
    ) -> Result<Option<PlannedAdvice>> {
        let Some(seed) = seed.filter(|_| self.advice) else { return Ok(None) };
        let network = advised(models).with_context(|| {
            let found = list(&models.iter().map(|network| network.key()).collect::<Vec<_>>());
            format!("--advice: expected a network with h-swish among --models, such as v3-small, found {found}")
        })?;
        Ok(Some(PlannedAdvice {
            network,
            seed,
            epochs: self.advice_epochs.unwrap_or(epochs),
            teacher: self.teacher(models, network, device)?,
        }))
    }

    fn teacher(&self, models: &[Network], network: Network, device: &str) -> Result<PlannedTeacher> {
        let Some(path) = &self.advice_teacher else {
            let teacher = usual_teacher(models, network).with_context(|| {
                format!("--advice: expected another network in --models that teaches {network}, or --advice-teacher")
            })?;
            return Ok(PlannedTeacher::Network(teacher));
        };
        if !path.exists() {
            bail!("--advice-teacher {}: there is no such folder or file", path.display());
        }
        if path.is_file() && device != "cpu" {
            bail!("--advice-teacher {}: a model file teaches on the CPU alone, --device is {device}", path.display());
        }
        Ok(PlannedTeacher::Path(path.clone()))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use mobilenet_arch::Arch;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        advice: AdviceArgs,
    }

    fn plan(line: &str, models: &str, device: &str) -> Result<Option<PlannedAdvice>> {
        let line = Line::try_parse_from(["compare"].into_iter().chain(line.split_whitespace()))?;
        let models: Vec<Network> = models.split(' ').map(|word| word.parse().unwrap()).collect();
        line.advice.plan(&models, Some(7), 30, device)
    }

    #[test]
    fn advice_is_tried_on_the_smallest_v3_for_as_long_as_is_asked() {
        assert_eq!(plan("", "v2 v3-large", "cpu").unwrap(), None);
        let usual = plan("--advice", "v2 v3-large v3-small", "cuda").unwrap().unwrap();
        let teacher = PlannedTeacher::Network(Arch::V3Large.into());
        assert_eq!(usual, PlannedAdvice { network: Arch::V3Small.into(), seed: 7, epochs: 30, teacher });
        let here = env!("CARGO_MANIFEST_DIR");
        let line = format!("--advice --advice-epochs 2 --advice-teacher {here}");
        let asked = plan(&line, "v3-small", "cuda").unwrap().unwrap();
        assert_eq!((asked.epochs, asked.teacher), (2, PlannedTeacher::Path(here.into())));
    }

    #[test]
    fn what_cannot_be_tried_is_refused_before_anything_is_trained() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let taught_by_a_file = format!("--advice --advice-teacher {file}");
        for (line, models, device, expected) in [
            (
                "--advice",
                "v1 v2",
                "cpu",
                "--advice: expected a network with h-swish among --models, such as v3-small, found v1 and v2",
            ),
            (
                "--advice",
                "v3-small",
                "cpu",
                "--advice: expected another network in --models that teaches v3-small, or --advice-teacher",
            ),
            (
                "--advice --advice-teacher nowhere",
                "v3-small",
                "cpu",
                "--advice-teacher nowhere: there is no such folder or file",
            ),
            (&taught_by_a_file, "v3-small", "cuda:1", "a model file teaches on the CPU alone, --device is cuda:1"),
            ("--advice-epochs 3", "v3-small", "cpu", "--advice"),
            ("--advice --advice-epochs 0", "v3-small", "cpu", "0 is not in"),
        ] {
            let error = plan(line, models, device).unwrap_err().to_string();
            assert!(error.contains(expected), "{line}: {error}");
        }
        assert!(plan(&taught_by_a_file, "v3-small", "cpu").is_ok());
    }
}
