//! The `mobilenet` command of each stage, and whether its artefacts are there already.

use std::path::Path;

use anyhow::{Result, bail};
use mobilenet_report::artefacts::{self, DataInfo};
use mobilenet_report::gather::{Gathered, config_mismatch};
use mobilenet_report::names::Source;
use mobilenet_report::network::{Network, Width};
use mobilenet_report::plan::{ComparisonPlan, Stage, run_name};

use super::profile;
use super::stages::{block_passes, stages};

/// Arguments of `mobilenet` for one stage. `data` is known to all stages but the first; `images` are the test
/// images wanted as examples.
pub fn arguments(
    stage: &Stage,
    settings: &ComparisonPlan,
    out: &Path,
    data: Option<&DataInfo>,
    images: &[usize],
) -> Vec<String> {
    let classes = data.map_or(10, |data| data.classes.len());
    let batch = settings.recipe.batch_size.to_string();
    let mut args = Args::default();
    match stage {
        Stage::Data => {
            args.word("data");
            source(&mut args, settings, data);
            args.word("--json");
        }
        Stage::Summary { network, imagenet } => {
            let (preset, classes) = if *imagenet { ("imagenet", 1_000) } else { ("cifar", classes) };
            args.word("summary").network(*network);
            args.option("--preset", preset);
            args.option("--num-classes", classes).word("--json");
        }
        Stage::Bench { network, .. } => {
            args.word("bench").network(*network);
            args.option("--preset", "cifar").option("--num-classes", classes);
            machine(&mut args, settings);
            args.word("--json");
        }
        Stage::BenchTraining(network) => {
            args.word("bench").network(*network);
            args.option("--preset", "cifar").option("--num-classes", classes);
            args.word("--train").option("--batch", batch);
            // A handful of steps: enough to correct the estimate.
            args.option("--warmup", 2).option("--iterations", 6).option("--precision", settings.precision.name());
            machine(&mut args, settings);
            args.word("--json");
        }
        Stage::Blocks { network, batch } => {
            let (warmup, iterations) = block_passes(*batch);
            args.word("bench").network(*network);
            args.option("--preset", "cifar").option("--num-classes", classes);
            args.word("--blocks").option("--batch", batch);
            args.option("--warmup", warmup).option("--iterations", iterations);
            machine(&mut args, settings);
            args.word("--json");
        }
        Stage::Roofline => {
            args.word("roofline");
            threads(&mut args, settings);
            args.word("--json");
        }
        Stage::Train(network, seed) => {
            let run = out.join(run_name(*network, *seed));
            let recipe = &settings.recipe;
            args.word("train").network(*network);
            source(&mut args, settings, data);
            args.option("--recipe", recipe.name.name()).option("--epochs", recipe.epochs);
            args.option("--batch-size", batch).option("--seed", seed);
            args.changed("--optimizer", recipe.optimizer.as_ref()).changed("--lr", recipe.lr);
            args.changed("--weight-decay", recipe.weight_decay).changed("--schedule", recipe.schedule.as_ref());
            args.option("--precision", settings.precision.name());
            if let Some(limit) = recipe.limit_train {
                args.option("--limit-train", limit);
            }
            if let Some(limit) = recipe.limit_test {
                args.option("--limit-test", limit);
            }
            machine(&mut args, settings);
            args.option("--out", run.display());
            if run.join("checkpoint.safetensors").exists() {
                args.word("--resume");
            }
        }
        Stage::Eval(network, seed) => {
            let run = out.join(run_name(*network, *seed));
            args.word("eval").option("--run", run.display());
            machine(&mut args, settings);
            args.word("--json");
        }
        Stage::Samples => {
            let images: Vec<_> = images.iter().map(usize::to_string).collect();
            args.word("data");
            source(&mut args, settings, data);
            args.option("--images", images.join(",")).word("--json");
        }
    }
    args.0
}

#[derive(Default)]
struct Args(Vec<String>);

impl Args {
    fn word(&mut self, word: &str) -> &mut Self {
        self.0.push(word.to_owned());
        self
    }

    fn option(&mut self, name: &str, value: impl ToString) -> &mut Self {
        self.word(name);
        self.0.push(value.to_string());
        self
    }

    /// An option that is only given where its value is not the default.
    fn changed(&mut self, name: &str, value: Option<impl ToString>) -> &mut Self {
        match value {
            Some(value) => self.option(name, value),
            None => self,
        }
    }

    /// `--model`, and `--width` where it is not 1.
    fn network(&mut self, network: Network) -> &mut Self {
        self.option("--model", network.arch.name());
        if network.width == Width::ONE { self } else { self.option("--width", network.width) }
    }
}

/// `--data` and `--data-dir`. Once the set is known, `auto` becomes that set, so that a network that comes or goes
/// between two stages cannot change the data under the comparison.
fn source(args: &mut Args, settings: &ComparisonPlan, data: Option<&DataInfo>) {
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
fn machine(args: &mut Args, settings: &ComparisonPlan) {
    if settings.device != "cpu" {
        args.option("--device", &settings.device);
    }
    threads(args, settings);
}

fn threads(args: &mut Args, settings: &ComparisonPlan) {
    if let Some(threads) = settings.threads {
        args.option("--threads", threads);
    }
}

/// The commands of a comparison that lies in `out`: the one that makes all of it, then what it runs.
pub fn all(gathered: &Gathered, out: &Path) -> Vec<String> {
    let settings = &gathered.settings;
    let pictures = !gathered.pictures.is_empty();
    let indices: Vec<_> = gathered.pictures.iter().map(|picture| picture.index).collect();
    let made_in = settings.out.as_deref().unwrap_or(out);
    let mut commands = vec![whole(settings, made_in, pictures)];
    commands.extend(stages(settings, pictures).iter().map(|stage| {
        let mut args = arguments(stage, settings, made_in, Some(&gathered.data), &indices);
        args.retain(|arg| arg != "--resume");
        display(&args)
    }));
    commands
}

/// The command that makes the whole comparison in `out`.
fn whole(settings: &ComparisonPlan, out: &Path, pictures: bool) -> String {
    let usual = profile::recipe(settings.profile);
    let recipe = &settings.recipe;
    let mut args = Args::default();
    args.option("--profile", settings.profile.name());
    args.option("--models", settings.models.iter().map(|network| network.key()).collect::<Vec<_>>().join(","));
    args.option("--seeds", settings.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(","));
    args.changed("--recipe", (recipe.name != usual.name).then(|| recipe.name.name()));
    // Given even where it is the profile's: that number may change from version to version.
    args.option("--epochs", recipe.epochs);
    source(&mut args, settings, None);
    machine(&mut args, settings);
    args.option("--precision", settings.precision.name()).option("--out", out.display());
    if !pictures {
        args.word("--no-samples");
    }
    line("cargo xtask compare", &args.0)
}

/// A command of `mobilenet` as one would type it.
pub fn display(args: &[String]) -> String {
    line("mobilenet", args)
}

fn line(program: &str, args: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:=+@".contains(c);
    let mut line = program.to_owned();
    for arg in args {
        line.push(' ');
        if !arg.is_empty() && arg.chars().all(plain) {
            line.push_str(arg);
        } else {
            line.push_str(&format!("'{}'", arg.replace('\'', r"'\''")));
        }
    }
    line
}

/// True if the stage's artefacts are complete. A training run made with other settings is an error: overwriting
/// it silently could destroy hours of work.
pub fn is_complete(stage: &Stage, settings: &ComparisonPlan, out: &Path, images: &[usize]) -> Result<bool> {
    let path = stage.artefact(out);
    match stage {
        Stage::Train(network, seed) => {
            let run = out.join(run_name(*network, *seed));
            let config = run.join("config.json");
            if config.exists()
                && let Some((name, found, wanted)) = config_mismatch(&artefacts::read(&config)?, settings, *seed)
            {
                bail!(
                    "{} was trained with {name} = {found}, not {wanted}; choose another --out or remove it",
                    run.display()
                );
            }
            // Weights are there to be evaluated: a run that was, and was copied here without them, is not trained again.
            let enough = run.join("model.safetensors").exists()
                || is_complete(&Stage::Eval(*network, *seed), settings, out, images)?;
            Ok(enough && artefacts::read::<artefacts::TrainRecord>(&path).is_ok())
        }
        Stage::Samples => Ok(artefacts::read::<DataInfo>(&path)
            .is_ok_and(|samples| samples.images.iter().map(|p| p.index).eq(images.iter().copied()))),
        Stage::Data => Ok(artefacts::read::<DataInfo>(&path).is_ok()),
        Stage::Summary { .. } => Ok(artefacts::read::<artefacts::Summary>(&path).is_ok()),
        Stage::Bench { .. } | Stage::BenchTraining(_) => Ok(artefacts::read::<artefacts::Bench>(&path).is_ok()),
        Stage::Blocks { .. } => {
            Ok(artefacts::read::<artefacts::Bench>(&path).is_ok_and(|bench| !bench.blocks.is_empty()))
        }
        Stage::Roofline => Ok(artefacts::read::<artefacts::RooflineRecord>(&path).is_ok()),
        Stage::Eval(..) => Ok(artefacts::read::<artefacts::Eval>(&path).is_ok()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use mobilenet_report::gather::{Scope, gather};
    use mobilenet_report::names::{Arch, RecipeName};

    use super::super::profile::tests::settings;
    use super::*;

    /// A small comparison, committed with the report.
    fn comparison() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/mobilenet-report/fixtures/comparison")
    }

    #[test]
    fn the_commands_of_a_comparison_name_its_networks() {
        let gathered = gather(&comparison(), Scope { pictures: true, ..Scope::default() }).unwrap();
        let commands = all(&gathered, Path::new("out"));
        assert!(commands[0].starts_with("cargo xtask compare "), "{commands:?}");
        assert!(commands.iter().any(|command| command.contains("train --model v3-large")), "{commands:?}");
    }

    #[test]
    fn auto_is_pinned_to_the_set_that_was_found() {
        let mut settings = settings();
        let data = DataInfo { name: "shapes10".to_owned(), ..DataInfo::default() };
        let out = Path::new("out");
        let line = |settings: &ComparisonPlan, data| {
            display(&arguments(&Stage::Train(Arch::V2.into(), 1), settings, out, data, &[]))
        };
        assert!(line(&settings, None).contains("--data auto"));
        assert!(line(&settings, Some(&data)).contains("--data shapes10"));
        settings.data_dir = Some("a b".into());
        assert!(line(&settings, Some(&data)).contains("--data auto --data-dir 'a b'"));
    }

    #[test]
    fn the_whole_comparison_is_one_command() {
        let mut settings = settings();
        let line = |settings: &ComparisonPlan| whole(settings, Path::new("runs/x"), false);
        assert_eq!(
            line(&settings),
            "cargo xtask compare --profile smoke --models v2,v3-large --seeds 1 --epochs 3 --data auto --precision f32 --out runs/x --no-samples"
        );
        settings.recipe.name = RecipeName::Fast;
        settings.seeds = vec![1, 2];
        settings.data_dir = Some("data".into());
        settings.threads = Some(1);
        let found = line(&settings);
        for part in ["--seeds 1,2 ", "--recipe fast ", "--data auto --data-dir data ", "--threads 1 "] {
            assert!(found.contains(part), "{found}");
        }
    }

    #[test]
    fn a_width_is_handed_on() {
        let network: Network = "v2@0.5".parse().unwrap();
        let line = |stage| display(&arguments(&stage, &settings(), Path::new("out"), None, &[]));
        for stage in [
            Stage::Summary { network, imagenet: false },
            Stage::Bench { network, round: 1 },
            Stage::BenchTraining(network),
            Stage::Train(network, 1),
        ] {
            assert!(line(stage.clone()).contains(" --model v2 --width 0.5 "), "{stage:?}");
        }
        assert!(line(Stage::Eval(network, 1)).contains("--run out/v2@0.5-s1 "));
        assert!(!line(Stage::Bench { network: Arch::V2.into(), round: 1 }).contains("--width"));
    }

    #[test]
    fn nothing_is_complete_in_an_empty_folder() {
        let out = std::env::temp_dir().join("xtask-no-such-folder");
        for stage in stages(&settings(), true) {
            assert!(!is_complete(&stage, &settings(), &out, &[]).unwrap(), "{stage:?}");
        }
    }

    #[test]
    fn a_run_is_complete_with_weights_or_once_it_is_evaluated() {
        let out = std::env::temp_dir().join(format!("xtask-complete-{}", std::process::id()));
        let run = out.join("v2-s1");
        std::fs::create_dir_all(&run).unwrap();
        for file in ["plan.json", "v2-s1/config.json", "v2-s1/eval.json", "v2-s1/train.json"] {
            std::fs::copy(comparison().join(file), out.join(file)).unwrap();
        }
        let settings = mobilenet_report::plan::read(&out).unwrap().unwrap();
        let trained = || is_complete(&Stage::Train(Arch::V2.into(), 1), &settings, &out, &[]).unwrap();
        assert!(trained(), "the fixture's runs are evaluated and without weights");
        let eval = Stage::Eval(Arch::V2.into(), 1).artefact(&out);
        std::fs::remove_file(&eval).unwrap();
        assert!(!trained());
        std::fs::write(out.join("v2-s1/model.safetensors"), "").unwrap();
        assert!(trained());
        std::fs::remove_dir_all(&out).unwrap();
    }
}
