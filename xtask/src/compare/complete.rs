//! Whether a stage's artefacts are there already.

use std::path::Path;

use anyhow::{Result, bail};
use mobilenet_arch::Network;
use mobilenet_report::{BENCH_ROUNDS, Inspect, Stage, config_mismatch, run_name};
use mobilenet_schema::{
    Bench, ComparisonPlan, DataInfo, Eval, Form, RooflineRecord, ShippedBench, ShippedEval, Summary, TrainRecord, read,
};

/// True if the stage's artefacts are complete. A training run made with other settings is an error: overwriting
/// it silently could destroy hours of work.
pub fn is_complete(stage: &Stage, settings: &ComparisonPlan, out: &Path, images: &[usize]) -> Result<bool> {
    let path = stage.artefact(out);
    match stage {
        Stage::Train(network, seed) => {
            let run = out.join(run_name(*network, *seed));
            let config = run.join("config.json");
            if config.exists()
                && let Some((name, found, wanted)) = config_mismatch(&read(&config)?, settings, *seed)
            {
                bail!(
                    "{} was trained with {name} = {found}, not {wanted}; choose another --out or remove it",
                    run.display()
                );
            }
            // Weights are there to be evaluated: a run that was, and was copied here without them, is not trained
            // again.
            let enough = run.join("model.safetensors").exists()
                || is_complete(&Stage::Eval(*network, *seed), settings, out, images)?;
            Ok(enough && read::<TrainRecord>(&path).is_ok())
        }
        Stage::Samples => Ok(read::<DataInfo>(&path)
            .is_ok_and(|samples| samples.images.iter().map(|p| p.index).eq(images.iter().copied()))),
        Stage::Data => Ok(read::<DataInfo>(&path).is_ok()),
        Stage::Summary { .. } => Ok(read::<Summary>(&path).is_ok()),
        Stage::Bench { .. } | Stage::BenchTraining(_) => Ok(read::<Bench>(&path).is_ok()),
        Stage::Blocks { .. } => Ok(read::<Bench>(&path).is_ok_and(|bench| !bench.blocks.is_empty())),
        Stage::Roofline => Ok(read::<RooflineRecord>(&path).is_ok()),
        Stage::Eval(..) => Ok(read::<Eval>(&path).is_ok()),
        // The file is there to be measured, and is removed afterwards.
        Stage::Export(network, form) => Ok(path.exists() || is_measured(*network, *form, out)),
        Stage::ShippedEval(..) => Ok(read::<ShippedEval>(&path).is_ok()),
        Stage::ShippedBench { .. } => Ok(read::<ShippedBench>(&path).is_ok()),
        Stage::Inspect(part) => Ok(is_inspected(*part, out)),
    }
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
    let (Some((network, form)), Some(&seed)) = (stage.shipped(), settings.seeds.first()) else { return false };
    let weights = out.join(run_name(network, seed)).join("model.safetensors");
    read::<Eval>(&Stage::Eval(network, seed).artefact(out)).is_ok()
        && !weights.exists()
        && !Stage::Export(network, form).artefact(out).exists()
}

#[cfg(test)]
mod tests {
    use mobilenet_arch::Arch;

    use super::*;
    use crate::compare::profile::tests::{comparison, settings};
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
