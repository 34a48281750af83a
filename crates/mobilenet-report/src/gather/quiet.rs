//! Signs that the machine was busy with something else while it was timed.

use mobilenet_schema::EpochMetrics;

use super::model::{Model, Run};
use crate::stats::median;
use crate::text::{list, significant};

/// How far a time may lie from its like before it is remarked on.
const SCATTER: f64 = 1.3;

/// One sentence for each sign: latencies that scatter, rounds of them that differ, epochs of unequal length, a training
/// slower than its own steps were timed before.
pub fn notes(model: &Model) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(bench) = &model.bench {
        let spread = bench.latency_ms.p90 / bench.latency_ms.p50;
        if spread > SCATTER {
            notes.push(format!(
                "The latencies of {} scatter widely (the 90th percentile is {spread:.1} times the median): the \
                 machine was not quiet.",
                model.network().label()
            ));
        }
    }
    let low = model.rounds.iter().copied().fold(f64::INFINITY, f64::min);
    let high = model.rounds.iter().copied().fold(0.0, f64::max);
    if high > SCATTER * low {
        notes.push(format!(
            "The rounds in which {} was timed have medians from {} to {} ms: the machine was not equally quiet in all \
             of them.",
            model.network().label(),
            significant(low),
            significant(high)
        ));
    }
    let restless: Vec<_> = model.shipped.iter().filter(|form| spread(&form.rounds) > SCATTER).collect();
    if let Some(worst) = restless.iter().map(|form| spread(&form.rounds)).max_by(f64::total_cmp) {
        notes.push(format!(
            "The rounds in which {} was timed as shipped differ by up to {worst:.1} times ({}): the machine was not \
             equally quiet in all of them.",
            model.network().label(),
            list(&restless.iter().map(|form| form.form.name().to_owned()).collect::<Vec<_>>())
        ));
    }
    let timed = model.training_bench.as_ref().map(|bench| bench.images_per_second);
    if timed.is_none() {
        notes.push(format!(
            "The training steps of {} were not timed by themselves: whether the machine was otherwise idle while it \
             trained is not known, so its time is no basis for a comparison.",
            model.network().label()
        ));
    }
    for run in &model.runs {
        notes.extend(epochs(run));
        if let Some(timed) = timed.filter(|&timed| is_slowed(run, timed)) {
            notes.push(format!(
                "{} trained at {} images per second, though steps alone were timed at {}: the machine was busy with \
                 something else during the training, so its time is no basis for a comparison.",
                run.name,
                significant(run.images_per_second()),
                significant(timed)
            ));
        }
    }
    notes
}

/// How many times the least of some times the greatest is.
fn spread(times: &[f64]) -> f64 {
    let least = times.iter().copied().fold(f64::INFINITY, f64::min);
    times.iter().copied().fold(0.0, f64::max) / least
}

/// Images per second of training; `None` where a run was slowed by something else on the machine, or might have been.
pub fn training_speed(model: &Model) -> Option<f64> {
    let timed = model.training_bench.as_ref()?.images_per_second;
    (!model.runs.iter().any(|run| is_slowed(run, timed))).then(|| model.training_speed())
}

/// Whether a run trained much slower than steps alone were `timed` at.
fn is_slowed(run: &Run, timed: f64) -> bool {
    timed > SCATTER * run.images_per_second()
}

fn epochs(run: &Run) -> Option<String> {
    let seconds: Vec<f64> = run.epochs.iter().filter_map(EpochMetrics::timed).collect();
    let low = seconds.iter().copied().fold(f64::INFINITY, f64::min);
    let high = seconds.iter().copied().fold(0.0, f64::max);
    (run.has_equal_epochs() && high > SCATTER * median(&seconds)?).then(|| {
        format!(
            "The epochs of {} took from {} to {} s: the machine was not equally quiet throughout.",
            run.name,
            significant(low),
            significant(high)
        )
    })
}

#[cfg(test)]
mod tests {
    use mobilenet_schema::LowResolution;

    use super::*;
    use crate::gather::fixture::fixture;

    #[test]
    fn a_busy_machine_is_noticed() {
        let mut model = fixture().models.remove(0);
        check(&model, &[]);
        model.rounds.push(3.0 * model.rounds[0]);
        check(&model, &["from 2.11 to 6.33 ms"]);
        // A slow epoch changes no figure; most of them do.
        let quiet = model.training_speed();
        model.runs[0].epochs[1].seconds = 100.0;
        check(&model, &["from 2.11 to 6.33 ms", "50.0 to 100 s"]);
        assert_eq!((model.training_speed(), training_speed(&model)), (quiet, Some(quiet)));
        model.runs[0].epochs[2].seconds = 100.0;
        check(&model, &["from 2.11 to 6.33 ms", "20.5 images per second"]);
        assert_eq!((model.runs[0].seconds_per_epoch(), training_speed(&model)), (100.0, None));
        // Epochs that are not meant to be equal.
        model.runs[0].settings.config.low_resolution = Some(LowResolution { share: 0.5, size: 24 });
        assert_eq!(model.training_speed(), quiet);
        model.training_bench = None;
        check(&model, &["from 2.11 to 6.33 ms", "were not timed by themselves"]);
        assert_eq!(training_speed(&model), None);
    }

    /// The notes are these, each with its figures.
    fn check(model: &Model, figures: &[&str]) {
        let found = notes(model);
        assert_eq!(found.len(), figures.len(), "{found:?}");
        assert!(found.iter().zip(figures).all(|(note, said)| note.contains(said)), "{found:?}");
    }
}
