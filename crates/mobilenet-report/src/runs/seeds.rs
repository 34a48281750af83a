//! Which runs are seeds of one network with the same settings, and what compares.

use super::training::Training;
use crate::error::{Error, Result};
use crate::gather::{Model, Pair, Run};
use crate::origins::Trait;
use crate::stats;
use crate::subject::Subject;
use crate::text::list;

/// Says of each run who its seeds are: the runs of the same network with the same settings.
pub fn name_subjects(trainings: &mut [Training]) {
    let groups: Vec<usize> = trainings
        .iter()
        .enumerate()
        .map(|(i, training)| {
            let is_like =
                |known: &Training| known.network() == training.network() && known.settings() == training.settings();
            trainings[..i].iter().position(is_like).unwrap_or(i)
        })
        .collect();
    let runs: Vec<_> = trainings.iter().map(|training| (training.network(), training.name.clone())).collect();
    for (training, subject) in trainings.iter_mut().zip(Subject::of_groups(&runs, &groups)) {
        training.subject = subject;
    }
}

/// Groups the evaluated runs by subject. A run whose seed another has, or that was evaluated on other images, is not
/// counted as a seed of it.
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
        let Some((first, model)) = models.iter_mut().find(|(first, _)| first.subject == training.subject) else {
            models.push((training, model(training, run)?));
            continue;
        };
        let what = if first.eval.as_ref().map(|eval| &eval.labels) != Some(&eval.labels) {
            format!("it was evaluated on other test images than {}", first.name)
        } else if let Some(same) = model.runs.iter().find(|known| known.seed == run.seed) {
            format!("it has the seed of {}", same.name)
        } else {
            model.runs.push(run);
            continue;
        };
        notes.push(format!("{} is not counted among the seeds of {}: {what}.", training.name, first.subject.label()));
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
        subject: training.subject.clone(),
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

/// Every pair of networks; not compared if they were evaluated on different images.
pub fn pairs(models: &[Model], notes: &mut Vec<String>) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (i, first) in models.iter().enumerate() {
        for second in &models[i + 1..] {
            if first.runs[0].eval.labels != second.runs[0].eval.labels {
                notes.push(format!(
                    "{} and {} were evaluated on different test images: their accuracies are not compared.",
                    first.subject.label(),
                    second.subject.label()
                ));
                continue;
            }
            let comparison = stats::compare(&first.answers(), &second.answers());
            pairs.push(Pair { first: first.subject.clone(), second: second.subject.clone(), comparison });
        }
    }
    pairs
}

/// In what the networks were trained differently, if in anything: then a difference is not the network's alone.
pub fn different_settings(trainings: &[Training], models: &[Model]) -> Option<String> {
    let firsts: Vec<&Training> =
        models.iter().filter_map(|model| trainings.iter().find(|t| t.name == model.runs[0].name)).collect();
    let settings: Vec<_> = firsts.iter().map(|training| training.settings()).collect();
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in settings.iter().flatten() {
        // That the networks are different ones is the point.
        if !names.contains(&name.as_str()) && !["model.arch", "model.width_mult"].contains(&name.as_str()) {
            names.push(name);
        }
    }
    let value = |settings: &[(String, String)], name: &str| {
        settings.iter().find(|(known, _)| known == name).map_or_else(String::new, |(_, value)| value.clone())
    };
    names.retain(|name| settings.iter().any(|of| value(of, name) != value(&settings[0], name)));
    if names.is_empty() {
        return None;
    }
    if firsts.iter().any(|training| training.network() != firsts[0].network()) {
        return Some(format!(
            "The networks were not trained alike ({} differ): their differences are not the networks' alone.",
            list(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        ));
    }
    // One network with several settings: what they are is what the report is about.
    let told: Vec<String> = names
        .iter()
        .map(|name| {
            let values = firsts.iter().zip(&settings).map(|(training, of)| {
                let said = value(of, name);
                let said = if said.is_empty() || said == "null" { "none".to_owned() } else { said };
                format!("{said} in {}", training.subject.variant().unwrap_or(&training.name))
            });
            format!("{name} is {}", list(&values.collect::<Vec<_>>()))
        })
        .collect();
    Some(format!("The trainings differ in their settings: {}.", told.join("; ")))
}
