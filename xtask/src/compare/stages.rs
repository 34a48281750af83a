//! The stages of a comparison in order, and what the terminal calls them.

use mobilenet_arch::Network;
use mobilenet_report::{Advice, BENCH_ROUNDS, BLOCK_BATCHES, Inspect, Stage, forms, inspection, summarized};
use mobilenet_schema::ComparisonPlan;

/// What a stage does, in a few words.
pub fn title(stage: &Stage) -> String {
    match stage {
        Stage::Data => "look at the data".to_owned(),
        Stage::Summary { network, imagenet } => {
            let preset = if *imagenet { "imagenet" } else { "cifar" };
            format!("count layers, {network}, {preset} preset")
        }
        Stage::Bench { network, round } => format!("time inference, {network}, round {round} of {BENCH_ROUNDS}"),
        Stage::BenchTraining(network) => format!("time training steps, {network}"),
        Stage::Blocks { network, batch } => format!("time each block, {network}, batch {batch}"),
        Stage::Roofline => "measure the machine's roofline".to_owned(),
        Stage::Train(network, seed) => format!("train {network}, seed {seed}"),
        Stage::Eval(network, seed) => format!("evaluate {network}, seed {seed}"),
        Stage::Export(network, form) => format!("export {network}, {form}"),
        Stage::ShippedEval(network, form) => format!("evaluate {network} as shipped, {form}"),
        Stage::ShippedBench { network, form, round } => {
            format!("time {network} as shipped, {form}, round {round} of {BENCH_ROUNDS}")
        }
        Stage::Inspect(Inspect::Train) => "train v3-large on drawn flaws of metal".to_owned(),
        Stage::Inspect(Inspect::Export) => "export it in 8 bits".to_owned(),
        Stage::Inspect(Inspect::Eval) => "evaluate it on drawn flaws".to_owned(),
        Stage::Inspect(Inspect::Bench) => "time it, picture by picture".to_owned(),
        Stage::Advice(twin) => format!("train {}", of_advice(*twin)),
        Stage::AdviceEval(twin) => format!("evaluate {}", of_advice(*twin)),
        Stage::Samples => "fetch example pictures".to_owned(),
    }
}

/// The network that is trained as the article advises.
fn of_advice(twin: Advice) -> String {
    match twin {
        Advice::Plain => "the network without the article's advice".to_owned(),
        advised => format!("the network with the article's advice, {}", advised.label()),
    }
}

/// Untimed and timed passes of [`Stage::Blocks`].
pub fn block_passes(batch: u64) -> (u64, u64) {
    if batch == 1 { (10, 100) } else { (2, 10) }
}

/// All stages in order. Summaries cover every published network, compared or not: they take no time, and the audit of
/// the article's claims needs them. Timing comes before training, while the machine is cool and quiet.
pub fn stages(settings: &ComparisonPlan, samples: bool) -> Vec<Stage> {
    let mut stages = vec![Stage::Data];
    for imagenet in [false, true] {
        stages.extend(summarized(settings).into_iter().map(|network| Stage::Summary { network, imagenet }));
    }
    for round in 1..=BENCH_ROUNDS {
        stages.extend(settings.models.iter().map(|&network| Stage::Bench { network, round }));
    }
    stages.extend(settings.models.iter().map(|&network| Stage::BenchTraining(network)));
    // What is timed block by block are the CPU's kernels.
    if settings.device == "cpu" {
        for &network in &settings.models {
            stages.extend(BLOCK_BATCHES.map(|batch| Stage::Blocks { network, batch }));
        }
        stages.push(Stage::Roofline);
    }
    for &seed in &settings.seeds {
        for &network in &settings.models {
            stages.extend([Stage::Train(network, seed), Stage::Eval(network, seed)]);
        }
    }
    stages.extend(shipping(settings));
    if inspection(settings).is_some() {
        stages.extend(Inspect::ALL.map(Stage::Inspect));
    }
    if settings.advice.is_some() {
        stages.extend(Advice::ALL.into_iter().flat_map(|twin| [Stage::Advice(twin), Stage::AdviceEval(twin)]));
    }
    if samples {
        stages.push(Stage::Samples);
    }
    stages
}

/// What is shipped: every form of every network is exported and evaluated, then all are timed in turns.
fn shipping(settings: &ComparisonPlan) -> Vec<Stage> {
    let of = |&network: &Network| forms(network, settings.profile).into_iter().map(move |form| (network, form));
    let all: Vec<_> = settings.models.iter().flat_map(of).collect();
    let mut stages = Vec::new();
    for &(network, form) in &all {
        stages.extend([Stage::Export(network, form), Stage::ShippedEval(network, form)]);
    }
    for round in 1..=BENCH_ROUNDS {
        stages.extend(all.iter().map(|&(network, form)| Stage::ShippedBench { network, form, round }));
    }
    stages
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mobilenet_arch::Arch;
    use mobilenet_schema::Profile;

    use super::super::profile::tests::{settings, with_advice};
    use super::*;

    #[test]
    fn every_run_is_trained_before_it_is_evaluated() {
        let mut settings = settings();
        settings.seeds = vec![1, 2];
        let stages = stages(&settings, true);
        let position = |stage: &Stage| stages.iter().position(|s| s == stage).unwrap();
        for seed in [1, 2] {
            for arch in [Arch::V2, Arch::V3Large] {
                let eval = position(&Stage::Eval(arch.into(), seed));
                assert!(position(&Stage::Train(arch.into(), seed)) < eval);
                assert!(eval < position(&Stage::Samples));
            }
        }
        assert_eq!(stages[0], Stage::Data);
        let mut files: Vec<_> = stages.iter().map(|s| s.artefact(Path::new(""))).collect();
        files.sort();
        files.dedup();
        assert_eq!(files.len(), stages.len(), "two stages share an artefact");
    }

    #[test]
    fn other_widths_have_artefacts_of_their_own() {
        let models = ["v2", "v2@0.5", "v2-hs"].map(|key| key.parse().unwrap()).into();
        let stages = stages(&ComparisonPlan { models, ..settings() }, false);
        let files: Vec<_> = stages.iter().map(|s| s.artefact(Path::new(""))).collect();
        for file in ["summary-v2@0.5.json", "summary-v3-small.json", "bench-v2-hs.json", "v2@0.5-s1/train.json"] {
            assert_eq!(files.iter().filter(|path| **path == Path::new(file)).count(), 1, "{file}");
        }
    }

    #[test]
    fn blocks_are_timed_on_the_cpu_alone() {
        let block_stages = |device: &str| {
            let settings = ComparisonPlan { device: device.to_owned(), ..settings() };
            let is_one = |stage: &Stage| matches!(stage, Stage::Blocks { .. } | Stage::Roofline);
            stages(&settings, true).iter().filter(|stage| is_one(stage)).count()
        };
        assert_eq!((block_stages("cpu"), block_stages("cuda")), (2 * BLOCK_BATCHES.len() + 1, 0));
    }

    #[test]
    fn networks_are_timed_in_turns() {
        let stages = stages(&settings(), true);
        let turns: Vec<_> = stages.iter().filter(|stage| matches!(stage, Stage::Bench { .. })).collect();
        assert_eq!(turns.len() as u64, 2 * BENCH_ROUNDS);
        for (turn, arch) in turns.iter().zip([Arch::V2, Arch::V3Large].into_iter().cycle()) {
            assert!(matches!(turn, Stage::Bench { network, .. } if *network == arch.into()), "{turns:?}");
        }
    }

    #[test]
    fn what_is_shipped_is_exported_after_the_trainings_and_timed_in_turns() {
        let stages = stages(&ComparisonPlan { profile: Profile::Quick, seeds: vec![1, 2], ..settings() }, false);
        let last = stages.iter().rposition(|stage| matches!(stage, Stage::Eval(..))).unwrap();
        let first = stages.iter().position(|stage| stage.shipped().is_some()).unwrap();
        assert_eq!(first, last + 1);
        let timed: Vec<_> = stages
            .iter()
            .filter_map(|stage| stage.shipped().filter(|_| matches!(stage, Stage::ShippedBench { .. })))
            .collect();
        assert_eq!(timed.len() as u64, BENCH_ROUNDS * (3 + 4), "V2 in three forms, V3-Large in four");
        assert!(timed.chunks(7).all(|round| round == &timed[..7]), "{timed:?}");
    }

    #[test]
    fn advice_is_tried_where_it_is_asked_for_and_after_its_teacher_is_trained() {
        let tries = |stage: &Stage| matches!(stage, Stage::Advice(_) | Stage::AdviceEval(_));
        assert!(!stages(&settings(), true).iter().any(tries));
        let stages = stages(&with_advice(), true);
        let last = stages.iter().rposition(|stage| matches!(stage, Stage::Eval(..))).unwrap();
        let tried: Vec<_> = stages.iter().enumerate().filter(|(_, stage)| tries(stage)).collect();
        assert_eq!(tried.len(), 2 * Advice::ALL.len());
        assert!(tried.iter().all(|(position, _)| *position > last));
        for (pair, twin) in tried.chunks(2).zip(Advice::ALL) {
            assert_eq!((pair[0].1, pair[1].1), (&Stage::Advice(twin), &Stage::AdviceEval(twin)));
        }
        assert_eq!(title(tried[0].1), "train the network without the article's advice");
        assert_eq!(title(tried[3].1), "evaluate the network with the article's advice, label smoothing");
    }

    #[test]
    fn no_samples_means_no_pictures() {
        assert!(!stages(&settings(), false).contains(&Stage::Samples));
    }
}
