//! The arguments of `mobilenet` for each stage.

use std::path::Path;

use mobilenet_arch::Network;
use mobilenet_report::{Advice, Inspect, Stage, advice_settings, advice_teacher, inspection, run_name, tuning_epochs};
use mobilenet_schema::{ComparisonPlan, DataInfo, Form, Source};

use super::stages::block_passes;
use super::words::{Args, machine, source, threads};

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
            training(&mut args, (*network, *seed), settings, data, settings.recipe.lr);
            into_run(&mut args, &out.join(run_name(*network, *seed)), settings);
        }
        Stage::Eval(network, seed) => evaluation(&mut args, &out.join(run_name(*network, *seed)), settings),
        Stage::Export(network, form) => {
            let seed = settings.seeds.first().copied().unwrap_or_default();
            args.word("export").option("--run", out.join(run_name(*network, seed)).display());
            args.option("--out", stage.artefact(out).display());
            let epochs = form.untuned().and_then(|_| tuning_epochs(settings.profile));
            match form.untuned().unwrap_or(*form) {
                Form::Int8 => {
                    args.word("--int8").changed("--qat-epochs", epochs);
                }
                Form::Pieces4 => {
                    args.option("--activation", "pieces:4").changed("--finetune-epochs", epochs);
                }
                swap @ (Form::Relu6 | Form::Relu) => {
                    args.option("--activation", swap.name()).changed("--finetune-epochs", epochs);
                }
                _ => {}
            }
            args.changed("--data-dir", settings.data_dir.as_ref().map(|dir| dir.display()));
            threads(&mut args, settings);
            args.word("--json");
        }
        Stage::ShippedEval(network, form) => {
            args.word("eval").option("--model-file", Stage::Export(*network, *form).artefact(out).display());
            source(&mut args, settings, data);
            threads(&mut args, settings);
            args.word("--json");
        }
        Stage::ShippedBench { network, form, .. } => {
            args.word("bench").option("--model-file", Stage::Export(*network, *form).artefact(out).display());
            args.option("--batch", 1);
            threads(&mut args, settings);
            args.word("--json");
        }
        Stage::Inspect(part) => inspect(*part, settings, out, &mut args),
        Stage::Advice(twin) => try_advice(*twin, settings, out, data, &mut args),
        Stage::AdviceEval(twin) => evaluation(&mut args, &twin.run(out), settings),
        Stage::Samples => {
            let images: Vec<_> = images.iter().map(usize::to_string).collect();
            args.word("data");
            source(&mut args, settings, data);
            args.option("--images", images.join(",")).word("--json");
        }
    }
    args.into_words()
}

/// A training by the comparison's recipe, up to what is left to [`into_run`].
fn training(
    args: &mut Args,
    (network, seed): (Network, u64),
    settings: &ComparisonPlan,
    data: Option<&DataInfo>,
    lr: Option<f64>,
) {
    let recipe = &settings.recipe;
    args.word("train").network(network);
    source(args, settings, data);
    args.option("--recipe", recipe.name.name()).option("--epochs", recipe.epochs);
    args.option("--batch-size", recipe.batch_size).option("--seed", seed);
    args.changed("--optimizer", recipe.optimizer.as_ref()).changed("--lr", lr);
    args.changed("--weight-decay", recipe.weight_decay).changed("--schedule", recipe.schedule.as_ref());
    args.option("--precision", settings.precision.name());
    args.changed("--limit-train", recipe.limit_train).changed("--limit-test", recipe.limit_test);
}

/// Where a training computes and what it writes to; resumed if it was begun.
fn into_run(args: &mut Args, run: &Path, settings: &ComparisonPlan) {
    machine(args, settings);
    args.option("--out", run.display());
    if run.join("checkpoint.safetensors").exists() {
        args.word("--resume");
    }
}

/// A run's evaluation on its own images.
fn evaluation(args: &mut Args, run: &Path, settings: &ComparisonPlan) {
    args.word("eval").option("--run", run.display());
    machine(args, settings);
    args.word("--json");
}

/// A training with a piece of the article's advice, or without any.
fn try_advice(twin: Advice, settings: &ComparisonPlan, out: &Path, data: Option<&DataInfo>, args: &mut Args) {
    // Without advice there is no such stage.
    let Some(advice) = &settings.advice else { return };
    let settings = &advice_settings(settings, advice);
    training(args, (advice.network, advice.seed), settings, data, twin.lr(&settings.recipe));
    args.option("--label-smoothing", twin.label_smoothing());
    if twin == Advice::Distillation {
        args.option("--teacher", advice_teacher(advice, out).display());
    }
    into_run(args, &twin.run(out), settings);
}

/// The parts of the inspection of drawn flaws: on the CPU, for that is what ships.
fn inspect(part: Inspect, settings: &ComparisonPlan, out: &Path, args: &mut Args) {
    let (run, file) = (Inspect::run(out), Inspect::Export.artefact(out));
    match part {
        Inspect::Train => {
            args.word("train").option("--model", "v3-large").option("--preset", "imagenet");
            args.option("--data", Source::Flaws.name());
            if let Some(inspection) = inspection(settings) {
                args.option("--image-size", inspection.image_size).option("--limit-train", inspection.images);
                args.option("--epochs", inspection.epochs);
            }
            // Muon's products would cost more than such small batches of such small pictures.
            args.option("--recipe", "article").option("--batch-size", 32).option("--lr", 2e-3);
            args.option("--schedule", "one-cycle").option("--bn-momentum", 0.1);
            args.option("--seed", settings.seeds.first().copied().unwrap_or_default());
            args.option("--precision", settings.precision.name());
            into_run(args, &run, settings);
            return;
        }
        Inspect::Export => {
            args.word("export").option("--run", run.display()).option("--out", file.display()).word("--int8");
        }
        Inspect::Eval => {
            args.word("eval").option("--model-file", file.display()).option("--data", Source::Flaws.name());
        }
        Inspect::Bench => {
            args.word("bench").option("--model-file", file.display()).option("--batch", 1);
        }
    }
    threads(args, settings);
    args.word("--json");
}

#[cfg(test)]
mod tests {
    use mobilenet_arch::Arch;
    use mobilenet_schema::{Profile, RecipeName};

    use super::*;
    use crate::compare::profile::tests::{settings, with_advice};

    #[test]
    fn auto_is_pinned_to_the_set_that_was_found() {
        let mut settings = settings();
        let data = DataInfo { name: "shapes10".to_owned(), ..DataInfo::default() };
        let out = Path::new("out");
        let line = |settings: &ComparisonPlan, data| {
            arguments(&Stage::Train(Arch::V2.into(), 1), settings, out, data, &[]).join(" ")
        };
        assert!(line(&settings, None).contains("--data auto"));
        assert!(line(&settings, Some(&data)).contains("--data shapes10"));
        settings.data_dir = Some("a b".into());
        assert!(line(&settings, Some(&data)).contains("--data auto --data-dir a b"));
    }

    #[test]
    fn flaws_are_trained_on_exported_and_measured() {
        let settings = ComparisonPlan { profile: Profile::Quick, threads: Some(2), ..settings() };
        let line = |part| arguments(&Stage::Inspect(part), &settings, Path::new("out"), None, &[]).join(" ");
        let train = line(Inspect::Train);
        assert!(train.starts_with("train --model v3-large --preset imagenet --data flaws --image-size 64 "), "{train}");
        let file = "out/flaws/v3-large-int8.safetensors";
        assert_eq!(
            line(Inspect::Export),
            format!("export --run out/flaws/v3-large --out {file} --int8 --threads 2 --json")
        );
        assert_eq!(line(Inspect::Eval), format!("eval --model-file {file} --data flaws --threads 2 --json"));
        assert_eq!(line(Inspect::Bench), format!("bench --model-file {file} --batch 1 --threads 2 --json"));
    }

    #[test]
    fn twins_are_trained_alike_but_for_what_is_advised() {
        let mut settings = ComparisonPlan { threads: Some(2), ..with_advice() };
        let line =
            |settings: &ComparisonPlan, stage| arguments(&stage, settings, Path::new("out"), None, &[]).join(" ");
        let start = "train --model v3-large --data auto --recipe article --epochs 2 --batch-size 16 --seed 1";
        let middle = "--precision f32 --limit-train 2000 --limit-test 1000 --label-smoothing";
        let end = |twin: Advice| format!("--threads 2 --out out/advice/{}", twin.name());
        for (twin, rate, advised) in [
            (Advice::Plain, "", "0"),
            (Advice::LabelSmoothing, "", "0.1"),
            (Advice::Distillation, "", "0 --teacher out/v2-s1"),
            (Advice::HigherRate, " --lr 0.002", "0"),
        ] {
            let want = format!("{start}{rate} {middle} {advised} {}", end(twin));
            assert_eq!(line(&settings, Stage::Advice(twin)), want);
            let want = format!("eval --run out/advice/{} --threads 2 --json", twin.name());
            assert_eq!(line(&settings, Stage::AdviceEval(twin)), want);
        }
        settings.recipe.name = RecipeName::Fast;
        assert!(line(&settings, Stage::Advice(Advice::HigherRate)).contains(" --lr 0.012 "));
        settings.recipe.lr = Some(0.02);
        assert!(line(&settings, Stage::Advice(Advice::HigherRate)).contains(" --lr 0.04 "));
        assert!(line(&settings, Stage::Advice(Advice::Plain)).contains(" --lr 0.02 "));
    }

    #[test]
    fn a_form_is_exported_from_the_first_seed_and_measured_from_its_file() {
        let mut settings = settings();
        (settings.seeds, settings.threads, settings.data_dir) = (vec![3, 1], Some(2), Some("data".into()));
        settings.profile = Profile::Article;
        let network: Network = "v3-large".parse().unwrap();
        let line = |stage| arguments(&stage, &settings, Path::new("out"), None, &[]).join(" ");
        let file = |form: &str| format!("out/shipped/v3-large-{form}.safetensors");
        for (form, option) in [
            (Form::Float32, ""),
            (Form::Int8, " --int8"),
            (Form::Pieces4, " --activation pieces:4"),
            (Form::Relu6, " --activation relu6"),
            (Form::Relu, " --activation relu"),
            (Form::Int8Qat, " --int8 --qat-epochs 3"),
            (Form::Pieces4Tuned, " --activation pieces:4 --finetune-epochs 3"),
            (Form::Relu6Tuned, " --activation relu6 --finetune-epochs 3"),
            (Form::ReluTuned, " --activation relu --finetune-epochs 3"),
        ] {
            let file = file(form.name());
            let want = format!("export --run out/v3-large-s3 --out {file}{option} --data-dir data --threads 2 --json");
            assert_eq!(line(Stage::Export(network, form)), want);
            let want = format!("eval --model-file {file} --data auto --data-dir data --threads 2 --json");
            assert_eq!(line(Stage::ShippedEval(network, form)), want);
            let want = format!("bench --model-file {file} --batch 1 --threads 2 --json");
            assert_eq!(line(Stage::ShippedBench { network, form, round: 2 }), want);
        }
    }

    #[test]
    fn a_width_is_handed_on() {
        let network: Network = "v2@0.5".parse().unwrap();
        let line = |stage| arguments(&stage, &settings(), Path::new("out"), None, &[]).join(" ");
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
}
