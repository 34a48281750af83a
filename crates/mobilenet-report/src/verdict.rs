//! The verdict in a few short sentences, and what must be said beside it.

use mobilenet_schema::RecipeName;
use mobilenet_schema::{Comparison, DataInfo};

use super::audit;
use super::document::{Inline, rich};
use super::gather::{Gathered, Model, quiet};
use super::stats;
use super::text::{count, list, percent, points, points_interval, share, significant, thousands};

/// The verdict as plain text: accuracy in one paragraph, cost in another. Whether the data stands in for CIFAR is not
/// said: see [`data_warning`].
pub fn verdict(gathered: &Gathered) -> [String; 2] {
    sentences(gathered).map(|sentence| sentence.plain())
}

/// What must be said first where the pictures are not the article's; nothing where they are.
pub fn data_warning(data: &DataInfo) -> Option<String> {
    warning(data).map(|warning| warning.plain())
}

/// [`verdict`] with its emphasis.
pub fn sentences(gathered: &Gathered) -> [Inline; 2] {
    match gathered.pair() {
        Some((first, second)) => [accuracy(gathered, first, second), cost(first, second).into()],
        None => alone(gathered, &gathered.models[0]),
    }
}

fn accuracy(gathered: &Gathered, first: &Model, second: &Model) -> Inline {
    let (a, b) = (first.test_top1(), second.test_top1());
    let (best, high, other, low) = if b >= a { (second, b, first, a) } else { (first, a, second, b) };
    let Some(d) = gathered.difference() else {
        return format!(
            "{} classifies {} of its test images correctly and {} {}, but they saw different images.",
            best.network().label(),
            percent(high),
            other.network().label(),
            percent(low)
        )
        .into();
    };
    // Where seeds are unequal in number the test knows one pair of runs, which need not lean as the means do.
    let lead = if d.is_noise() || d.difference * (b - a) < 0.0 {
        rich!("**{} and {} cannot be told apart by accuracy here**", best.network().label(), other.network().label())
    } else {
        rich!("**{} is the more accurate of the two here**", best.network().label())
    };
    rich!(
        "{}: {} against {} of the {} {} test images. {}",
        lead,
        percent(high),
        percent(low),
        thousands(best.runs[0].eval.test_images),
        gathered.data.label(),
        difference(d, (first, second))
    )
}

/// The difference with its interval and test in one sentence.
fn difference(d: &Comparison, (first, second): (&Model, &Model)) -> String {
    let interval = d.interval().map_or(String::new(), |i| format!(", 95% interval {}", points_interval(i)));
    format!(
        "{} minus {}: {}{interval}; {} ({}, p {}{}).",
        second.network().short(),
        first.network().short(),
        points(d.difference),
        if d.is_noise() { "not significant" } else { "significant" },
        d.test(),
        p_value(d.p_value()),
        doubt(d)
    )
}

/// What keeps a small p-value from being significant.
pub fn doubt(d: &Comparison) -> &'static str {
    if d.p_value() < 0.05 && d.images_may_explain() { ", but other test images may undo it" } else { "" }
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
    if let (Some(a), Some(b)) = (quiet::training_speed(first), quiet::training_speed(second)) {
        parts.push(format!("trains at {} instead of {} images per second", significant(b), significant(a)));
    }
    format!("Measured against {}, {} {}.", first.network().label(), second.network().label(), list(&parts))
}

fn alone(gathered: &Gathered, model: &Model) -> [Inline; 2] {
    [
        rich!(
            "**{} classifies {} of the {} {} test images correctly.**",
            model.network().label(),
            percent(model.test_top1()),
            thousands(model.runs[0].eval.test_images),
            gathered.data.label()
        ),
        format!(
            "It has {} parameters, needs {} multiply-adds an image and trains at {} images per second; nothing else \
             was compared.",
            thousands(model.params),
            thousands(model.macs),
            significant(model.training_speed())
        )
        .into(),
    ]
}

/// How far the verdict carries: data, budget, seeds.
pub fn caveats(gathered: &Gathered) -> Vec<Inline> {
    let mut caveats = vec![Inline::from(audit::ARTICLE)];
    let sizes = gathered.sizes();
    let recipe = &gathered.settings.recipe;
    let done = gathered.share_of_article();
    if done < 0.95 {
        let carries = if recipe.name == RecipeName::Fast && done >= 0.2 {
            let settings = if have_same_settings(gathered) {
                "the same settings for every network"
            } else {
                "settings of its own for each network"
            };
            format!(
                "The recipe is made for few epochs, with {settings}; a longer training may separate or rank them \
                 differently."
            )
        } else {
            "Such a budget shows which network learns faster at the start, not how far each one gets.".to_owned()
        };
        caveats.push(rich!(
            "This run is **{} of the article's training** ({} of {} images instead of 100 epochs of 50,000; profile \
             `{}`, recipe `{}`). {}",
            share(done),
            count(recipe.epochs, "epoch"),
            thousands(sizes.train),
            gathered.settings.profile.name(),
            recipe.name.name(),
            carries
        ));
    }
    if audit::is_lossy(&gathered.data) {
        caveats.push(
            "This copy of the data is compressed as JPEG, at a loss; published figures are of the lossless original."
                .into(),
        );
    }
    caveats.extend(seeds(gathered));
    caveats
}

/// Whether all trainings have the same settings but for their seeds.
fn have_same_settings(gathered: &Gathered) -> bool {
    let mut settings = gathered.models.iter().flat_map(|model| &model.runs).map(|run| {
        let mut settings = run.settings.clone();
        settings.config.seed = 0;
        settings
    });
    let first = settings.next();
    settings.all(|settings| Some(&settings) == first.as_ref())
}

/// What the number of seeds leaves open.
fn seeds(gathered: &Gathered) -> Option<Inline> {
    if gathered.models.iter().all(|model| model.runs.len() == 1) {
        let interval = gathered.models.first().map_or(0.0, |model| {
            let (low, high) = stats::wilson(model.test_top1(), model.runs[0].eval.test_images);
            (high - low) / 2.0
        });
        return Some(rich!(
            "One seed each: the test images alone leave about ±{} points of uncertainty in an accuracy, and **how far \
             another seed would land is not known**. The test judges these trainings, not all that the networks could \
             have had.",
            format!("{:.1}", interval * 100.0)
        ));
    }
    let (first, second) = gathered.pair()?;
    let d = gathered.difference()?;
    if d.welch.is_none() && first.runs.len() > 1 && second.runs.len() > 1 {
        return Some(
            "The seeds of a network are equally accurate to within one test image: so few of them say nothing about \
             how far another seed would land. There is no test over seeds, and the one over images judges single \
             trainings."
                .into(),
        );
    }
    if d.welch.is_none() {
        return Some(
            format!(
                "{} has {} and {} {}: the scatter between seeds is not known for both, and the test judges single \
             trainings.",
                first.network().label(),
                count(first.runs.len() as u64, "seed"),
                second.network().label(),
                count(second.runs.len() as u64, "seed")
            )
            .into(),
        );
    }
    let images_tell = !d.mcnemar.is_empty() && d.mcnemar.iter().all(|test| test.p_value < 0.05);
    if d.is_noise() && images_tell {
        return Some(
            "Each pair of trainings differs by more than the test images explain, but seeds of one network scatter as \
             widely: more seeds would be needed to tell the networks apart."
                .into(),
        );
    }
    let fewest = first.runs.len().min(second.runs.len());
    (fewest < 5).then(|| {
        format!(
            "{fewest} seeds are few: the scatter between them is known only roughly, which the interval allows for."
        )
        .into()
    })
}

/// [`data_warning`] with its emphasis, for the first line of the report.
pub fn warning(data: &DataInfo) -> Option<Inline> {
    if data.fallback {
        Some(
            format!(
                "CIFAR-10 was not available. This comparison uses {}, shapes drawn by code: its accuracies say nothing \
             about CIFAR.",
                data.name
            )
            .into(),
        )
    } else if data.is_drawn() {
        Some(
            format!("This comparison uses {}, drawn by code: its accuracies say nothing about CIFAR.", data.name)
                .into(),
        )
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::gather::fixture::fixture;
    use super::*;

    #[test]
    fn a_recipe_is_called_the_same_for_every_network_only_where_it_is() {
        let mut gathered = fixture();
        gathered.settings.recipe.name = RecipeName::Fast;
        gathered.settings.recipe.epochs = 1_000;
        let says = |gathered: &Gathered, words: &str| caveats(gathered)[1].source().contains(words);
        gathered.models[1].runs[0].settings.config.seed = 2;
        assert!(says(&gathered, "the same settings for every network"));
        gathered.models[1].runs[0].settings.config.label_smoothing = 0.1;
        assert!(says(&gathered, "settings of its own for each network"));
        gathered.settings.recipe.epochs = 4;
        assert!(says(&gathered, "learns faster at the start"));
    }
}
