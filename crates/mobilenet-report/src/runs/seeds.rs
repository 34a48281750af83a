//! Which runs are seeds of one network, and which networks compare.

use super::training::Training;
use crate::error::{Error, Result};
use crate::gather::{Model, Pair, Run};
use crate::origins::Trait;
use crate::stats;
use crate::text::list;

/// Groups the evaluated runs by network. A run whose settings are not those of the network's first, or whose seed
/// another has, is not counted as a seed of it.
pub fn models(trainings: &[Training], notes: &mut Vec<String>) -> Result<Vec<Model>> {
    let mut models: Vec<(&Training, Model)> = Vec::new();
    for training in trainings {
        let Some(eval) = &training.eval else { continue };
        let run = Run {
            seed: training.seed,
            name: training.name.clone(),
            epochs: training.epochs.clone(),
            record: training.record.clone(),
            eval: eval.clone(),
            settings: training.config.train.clone(),
            processor: Trait::Processor.of(&training.origin),
        };
        let Some((first, model)) = models.iter_mut().find(|(first, _)| first.network == training.network) else {
            models.push((training, model(training, run)?));
            continue;
        };
        let what = if let Some((name, then, now)) = difference(first, training) {
            format!("its {name} is {now}, that of {} {then}", first.name)
        } else if first.eval.as_ref().map(|eval| &eval.labels) != Some(&eval.labels) {
            format!("it was evaluated on other test images than {}", first.name)
        } else if let Some(same) = model.runs.iter().find(|known| known.seed == run.seed) {
            format!("it has the seed of {}", same.name)
        } else {
            model.runs.push(run);
            continue;
        };
        notes.push(format!("{} is not counted among the seeds of {}: {what}.", training.name, first.network.label()));
    }
    Ok(models.into_iter().map(|(_, model)| model).collect())
}

/// A network with its first run, and its counts by its configuration.
fn model(training: &Training, run: Run) -> Result<Model> {
    let [height, width] = training.config.data.image;
    let counts = mobilenet_arch::summary(&training.config.model, (height, width)).map_err(|error| Error::Config {
        run: training.name.clone(),
        problem: format!("config.json does not hold a network's settings: {error}"),
    })?;
    Ok(Model {
        network: training.network,
        params: counts.params as u64,
        macs: counts.macs as u64,
        bench: None,
        rounds: Vec::new(),
        training_bench: None,
        blocks: Vec::new(),
        shipped: Vec::new(),
        runs: vec![run],
    })
}

/// The first setting in which two runs differ, as (name, of the first, of the second).
fn difference(first: &Training, second: &Training) -> Option<(String, String, String)> {
    let (a, b) = (first.settings(), second.settings());
    let value = |all: &[(String, String)], name: &str| {
        all.iter().find(|(known, _)| known == name).map_or("not said".to_owned(), |(_, value)| value.clone())
    };
    let mut names = a.iter().chain(&b).map(|(name, _)| name);
    names.find_map(|name| {
        let (then, now) = (value(&a, name), value(&b, name));
        (then != now).then(|| (name.clone(), then, now))
    })
}

/// Every pair of networks; not compared if they were evaluated on different images.
pub fn pairs(models: &[Model], notes: &mut Vec<String>) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (i, first) in models.iter().enumerate() {
        for second in &models[i + 1..] {
            if first.runs[0].eval.labels != second.runs[0].eval.labels {
                notes.push(format!(
                    "{} and {} were evaluated on different test images: their accuracies are not compared.",
                    first.network.label(),
                    second.network.label()
                ));
                continue;
            }
            let comparison = stats::compare(&first.answers(), &second.answers());
            pairs.push(Pair { first: first.network, second: second.network, comparison });
        }
    }
    pairs
}

/// In what the networks were trained differently, if in anything: then a difference is not the network's alone.
pub fn different_settings(trainings: &[Training], models: &[Model]) -> Option<String> {
    let mut firsts = models.iter().filter_map(|model| trainings.iter().find(|t| t.name == model.runs[0].name));
    let first = firsts.next()?;
    let mut names: Vec<String> = Vec::new();
    for other in firsts {
        let (a, b) = (first.settings(), other.settings());
        let differing = a.iter().filter(|(name, value)| !b.iter().any(|(n, v)| n == name && v == value));
        // That the networks are different ones is the point.
        for (name, _) in differing.filter(|(name, _)| !["model.arch", "model.width_mult"].contains(&name.as_str())) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    (!names.is_empty()).then(|| {
        format!(
            "The networks were not trained alike ({} differ): their differences are not the networks' alone.",
            list(&names)
        )
    })
}
