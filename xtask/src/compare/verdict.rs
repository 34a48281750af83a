//! The verdict in two sentences, and what must be said beside it.

use super::announce::fallback_warning;
use super::gather::{Gathered, Model};
use super::stats::{self, Difference};
use super::text::{count, list, percent, share, significant, thousands};

/// The difference between the two networks of the verdict.
pub fn difference(gathered: &Gathered) -> Option<Difference> {
    let (first, second) = gathered.pair()?;
    stats::compare(&first.evals(), &second.evals())
}

/// Accuracy in one sentence, cost in another.
pub fn sentences(gathered: &Gathered) -> [String; 2] {
    match gathered.pair() {
        Some((first, second)) => [accuracy(gathered, first, second), cost(first, second)],
        None => alone(gathered, &gathered.models[0]),
    }
}

fn accuracy(gathered: &Gathered, first: &Model, second: &Model) -> String {
    let (a, b) = (first.test_top1(), second.test_top1());
    let (best, high, other, low) = if b >= a { (second, b, first, a) } else { (first, a, second, b) };
    let images = format!("the {} {} test images", thousands(best.runs[0].eval.test_images), gathered.data.label());
    match difference(gathered) {
        Some(d) if !d.is_noise() => format!(
            "**{} is the more accurate of the two here**: it names {} of {images} rightly, {} {}, a gap wider than chance explains (p {}).",
            best.arch.label(),
            percent(high),
            other.arch.label(),
            percent(low),
            p_value(d.p_value)
        ),
        Some(d) => format!(
            "**{} and {} cannot be told apart by accuracy here**: {} against {} of {images}, a gap within noise (p {}).",
            best.arch.label(),
            other.arch.label(),
            percent(high),
            percent(low),
            p_value(d.p_value)
        ),
        None => format!(
            "{} names {} of its test images rightly and {} {}, but they saw different images.",
            best.arch.label(),
            percent(high),
            other.arch.label(),
            percent(low)
        ),
    }
}

/// `= 0.03` or `< 0.001`.
pub fn p_value(p: f64) -> String {
    if p < 0.001 { "< 0.001".to_owned() } else { format!("= {p:.2}").replace("= 0.00", "< 0.01") }
}

fn cost(first: &Model, second: &Model) -> String {
    let times = |a: f64, b: f64| format!("{:.2} times", b / a);
    let mut parts = vec![format!(
        "has {} the parameters and {} the multiply-adds",
        times(first.params as f64, second.params as f64),
        times(first.macs as f64, second.macs as f64)
    )];
    if let (Some(a), Some(b)) = (first.latency(), second.latency()) {
        parts.push(format!("answers in {} instead of {} ms", significant(b), significant(a)));
    }
    parts.push(format!(
        "trains at {} instead of {} images per second",
        significant(second.training_speed()),
        significant(first.training_speed())
    ));
    format!("Measured against {}, {} {}.", first.arch.label(), second.arch.label(), list(&parts))
}

fn alone(gathered: &Gathered, model: &Model) -> [String; 2] {
    [
        format!(
            "**{} names {} of the {} {} test images rightly.**",
            model.arch.label(),
            percent(model.test_top1()),
            thousands(model.runs[0].eval.test_images),
            gathered.data.label()
        ),
        format!(
            "It has {} parameters, needs {} multiply-adds an image and trains at {} images per second; nothing else was compared.",
            thousands(model.params),
            thousands(model.macs),
            significant(model.training_speed())
        ),
    ]
}

/// How far the verdict carries: data, budget, seeds.
pub fn caveats(gathered: &Gathered) -> Vec<String> {
    let mut caveats = Vec::new();
    let sizes = gathered.sizes();
    let recipe = &gathered.settings.recipe;
    let done = gathered.share_of_article();
    if done < 0.95 {
        caveats.push(format!(
            "This run is **{} of the article's training** ({} of {} images instead of 100 epochs of 50,000; profile `{}`). \
             Such a budget shows which network learns faster at the start, not how far each one gets.",
            share(done),
            count(recipe.epochs, "epoch"),
            thousands(sizes.train),
            gathered.settings.profile.key()
        ));
    }
    if gathered.data.copy.contains("lossy") {
        caveats.push(
            "This copy of the data is compressed as JPEG, at a loss; published figures are of the lossless original."
                .to_owned(),
        );
    }
    if gathered.models.iter().all(|model| model.runs.len() == 1) {
        let interval = gathered.models.first().map_or(0.0, |model| {
            let (low, high) = stats::wilson(model.test_top1(), model.runs[0].eval.test_images);
            (high - low) / 2.0
        });
        caveats.push(format!(
            "One seed each: the test images alone leave about ±{:.1} points of uncertainty, and how far another seed would land is not known.",
            interval * 100.0
        ));
    }
    caveats
}

/// The first line of the report: the warning if the data is a stand-in.
pub fn warning(gathered: &Gathered) -> Option<String> {
    fallback_warning(&gathered.data)
}
