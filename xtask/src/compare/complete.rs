//! Whether a stage's artefacts are there already.

use std::path::Path;

use anyhow::{Result, bail};
use mobilenet_arch::Network;
use mobilenet_report::{Advice, BENCH_ROUNDS, Inspect, Stage, advice_mismatch, config_mismatch, run_name};
use mobilenet_schema::{
    Bench, ComparisonPlan, DataInfo, Eval, Form, PlannedTeacher, RooflineRecord, RunConfig, ShippedBench, ShippedEval,
    Summary, TrainRecord, read,
};

/// True if the stage's artefacts are complete. A training run made with other settings is an error: overwriting
/// it silently could destroy hours of work.
pub fn is_complete(stage: &Stage, settings: &ComparisonPlan, out: &Path, images: &[usize]) -> Result<bool> {
    let path = stage.artefact(out);
    match stage {
        Stage::Train(network, seed) => {
            let run = out.join(run_name(*network, *seed));
            is_trained(&run, &|config| config_mismatch(config, settings, *seed))
        }
        Stage::Advice(twin) => {
            let Some(advice) = &settings.advice else { return Ok(true) };
            is_trained(&twin.run(out), &|config| advice_mismatch(config, settings, (advice, *twin)))
        }
        Stage::Samples => Ok(read::<DataInfo>(&path)
            .is_ok_and(|samples| samples.images.iter().map(|p| p.index).eq(images.iter().copied()))),
        Stage::Data => Ok(read::<DataInfo>(&path).is_ok()),
        Stage::Summary { .. } => Ok(read::<Summary>(&path).is_ok()),
        Stage::Bench { .. } | Stage::BenchTraining(_) => Ok(read::<Bench>(&path).is_ok()),
        Stage::Blocks { .. } => Ok(read::<Bench>(&path).is_ok_and(|bench| !bench.blocks.is_empty())),
        Stage::Roofline => Ok(read::<RooflineRecord>(&path).is_ok()),
        Stage::Eval(..) | Stage::AdviceEval(_) => Ok(read::<Eval>(&path).is_ok()),
        // The file is there to be measured, and is removed afterwards.
        Stage::Export(network, form) => Ok(path.exists() || is_measured(*network, *form, out)),
        Stage::ShippedEval(..) => Ok(read::<ShippedEval>(&path).is_ok()),
        Stage::ShippedBench { .. } => Ok(read::<ShippedBench>(&path).is_ok()),
        Stage::Inspect(part) => Ok(is_inspected(*part, out)),
    }
}

/// A setting of a run that contradicts the plan, as (name, found, wanted).
type Mismatch<'a> = &'a dyn Fn(&RunConfig) -> Option<(&'static str, String, String)>;

/// Whether a run is trained. Weights are there to be evaluated: a run that was, and was copied here without them, is not
/// trained again.
fn is_trained(run: &Path, mismatch: Mismatch<'_>) -> Result<bool> {
    let config = run.join("config.json");
    if config.exists()
        && let Some((name, found, wanted)) = mismatch(&read(&config)?)
    {
        bail!("{} was trained with {name} = {found}, not {wanted}; choose another --out or remove it", run.display());
    }
    let enough = run.join("model.safetensors").exists() || read::<Eval>(&run.join("eval.json")).is_ok();
    Ok(enough && read::<TrainRecord>(&run.join("train.json")).is_ok())
}

/// Whether all that is measured of an exported file is there.
fn is_measured(network: Network, form: Form, out: &Path) -> bool {
    let bench = |round| Stage::ShippedBench { network, form, round }.artefact(out);
    read::<ShippedEval>(&Stage::ShippedEval(network, form).artefact(out)).is_ok()
        && (1..=BENCH_ROUNDS).all(|round| read::<ShippedBench>(&bench(round)).is_ok())
}

/// Whether a part of the inspection of flaws is there, or all that it is needed for.
fn is_inspected(part: Inspect, out: &Path) -> bool {
    let path = part.artefact(out);
    let measured = || is_inspected(Inspect::Eval, out) && is_inspected(Inspect::Bench, out);
    match part {
        Inspect::Train => {
            let weights = Inspect::run(out).join("model.safetensors");
            read::<TrainRecord>(&path).is_ok() && (weights.exists() || measured())
        }
        Inspect::Export => path.exists() || measured(),
        Inspect::Eval => read::<ShippedEval>(&path).is_ok(),
        Inspect::Bench => read::<ShippedBench>(&path).is_ok(),
    }
}

/// Whether a stage can no longer be run: the network was trained and evaluated, but its weights are gone, and so is
/// what was exported of them. The report does without.
pub fn is_out_of_reach(stage: &Stage, settings: &ComparisonPlan, out: &Path) -> bool {
    match (stage, stage.shipped(), settings.seeds.first()) {
        (Stage::Advice(Advice::Distillation) | Stage::AdviceEval(Advice::Distillation), ..) => {
            has_lost_its_teacher(settings, out)
        }
        (_, Some((network, form)), Some(&seed)) => {
            is_without_weights(network, seed, out) && !Stage::Export(network, form).artefact(out).exists()
        }
        _ => false,
    }
}

/// Whether a network was trained and evaluated, and its weights are gone.
fn is_without_weights(network: Network, seed: u64, out: &Path) -> bool {
    let weights = out.join(run_name(network, seed)).join("model.safetensors");
    read::<Eval>(&Stage::Eval(network, seed).artefact(out)).is_ok() && !weights.exists()
}

/// Whether nobody can teach the network that is not distilled yet.
fn has_lost_its_teacher(settings: &ComparisonPlan, out: &Path) -> bool {
    let Some(advice) = &settings.advice else { return false };
    let trained = Stage::Advice(Advice::Distillation).artefact(out).exists();
    match advice.teacher {
        PlannedTeacher::Network(network) => !trained && is_without_weights(network, advice.seed, out),
        PlannedTeacher::Path(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use mobilenet_arch::Arch;

    use super::*;
    use crate::compare::profile::tests::{comparison, settings, with_advice};
    use crate::compare::stages::stages;

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
        let settings = mobilenet_report::read_plan(&out).unwrap().unwrap();
        let trained = || is_complete(&Stage::Train(Arch::V2.into(), 1), &settings, &out, &[]).unwrap();
        assert!(trained(), "the fixture's runs are evaluated and without weights");
        let eval = Stage::Eval(Arch::V2.into(), 1).artefact(&out);
        std::fs::remove_file(&eval).unwrap();
        assert!(!trained());
        std::fs::write(out.join("v2-s1/model.safetensors"), "").unwrap();
        assert!(trained());
        std::fs::remove_dir_all(&out).unwrap();
    }

    #[test]
    fn a_twin_is_trained_by_its_own_settings_and_taught_while_there_is_a_teacher() {
        let out = std::env::temp_dir().join(format!("xtask-advice-{}", std::process::id()));
        for folder in ["v2-s1", "advice/plain"] {
            std::fs::create_dir_all(out.join(folder)).unwrap();
        }
        let settings = with_advice();
        let complete = |stage| is_complete(&stage, &settings, &out, &[]);
        let distillation = Stage::Advice(Advice::Distillation);
        let out_of_reach = || is_out_of_reach(&distillation, &settings, &out);
        assert!(!complete(Stage::Advice(Advice::Plain)).unwrap() && !complete(distillation.clone()).unwrap());
        assert!(!out_of_reach(), "its teacher is not trained yet");
        std::fs::copy(comparison().join("v2-s1/eval.json"), out.join("v2-s1/eval.json")).unwrap();
        assert!(out_of_reach(), "a teacher that was copied here without weights");
        std::fs::write(out.join("v2-s1/model.safetensors"), "").unwrap();
        assert!(!out_of_reach());
        // A run of another network, with other epochs.
        std::fs::copy(comparison().join("v2-s1/config.json"), out.join("advice/plain/config.json")).unwrap();
        let error = complete(Stage::Advice(Advice::Plain)).unwrap_err().to_string();
        assert!(error.contains("plain was trained with epochs = 3, not 2; choose another --out"), "{error}");
        std::fs::remove_dir_all(&out).unwrap();
    }

    #[test]
    fn what_is_shipped_needs_weights_or_what_was_exported_of_them() {
        let out = std::env::temp_dir().join(format!("xtask-shipped-{}", std::process::id()));
        for folder in ["v2-s1", "shipped"] {
            std::fs::create_dir_all(out.join(folder)).unwrap();
        }
        let (network, settings) = (Network::from(Arch::V2), settings());
        let export = Stage::Export(network, Form::Int8);
        let complete = || is_complete(&export, &settings, &out, &[]).unwrap();
        let out_of_reach = || is_out_of_reach(&export, &settings, &out);
        assert!(!complete() && !out_of_reach(), "it is not trained yet");
        std::fs::copy(comparison().join("v2-s1/eval.json"), out.join("v2-s1/eval.json")).unwrap();
        assert!(out_of_reach(), "a run that was copied here without weights");
        std::fs::write(out.join("v2-s1/model.safetensors"), "").unwrap();
        assert!(!complete() && !out_of_reach());
        std::fs::write(export.artefact(&out), "").unwrap();
        std::fs::remove_file(out.join("v2-s1/model.safetensors")).unwrap();
        assert!(complete() && !out_of_reach());
        assert!(!is_out_of_reach(&Stage::Eval(network, 1), &settings, &out));
        std::fs::remove_dir_all(&out).unwrap();
    }
}
