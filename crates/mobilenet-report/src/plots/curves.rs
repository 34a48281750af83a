//! Loss and accuracy over the epochs, and accuracy over the time that training took.

use mobilenet_schema::{EpochMetrics, EvalMetrics};

use super::plot::{Plot, plot};
use crate::charts::{Axes, Entry, LineChart, ticks, whole_ticks};
use crate::stats::median;
use crate::subject::Subject;
use crate::text::{list, significant};

/// One kind of value over the epochs, with what it is called.
struct Quantity {
    name: &'static str,
    title: &'static str,
    /// Left out where only test images matter
    train: Option<fn(&EpochMetrics) -> f64>,
    eval: fn(&EvalMetrics) -> f64,
    axis: Axis,
}

/// Which images a curve is of.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Part {
    Training,
    Test,
    /// Held-out training images, for a run that is judged by them while it is trained
    Validation,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Test => "test",
            Self::Validation => "held out",
        }
    }
}

/// What a curve is drawn over.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Axis {
    Epochs,
    /// Minutes of training alone: the sum of the epochs' `seconds`, which leave out evaluation, checkpoints and breaks
    Minutes,
}

const LOSS: Quantity = Quantity {
    name: "curves-loss",
    title: "Loss (cross-entropy)",
    train: Some(|epoch| epoch.train_loss),
    eval: EvalMetrics::loss,
    axis: Axis::Epochs,
};

const ACCURACY: Quantity = Quantity {
    name: "curves-accuracy",
    title: "Accuracy (%)",
    train: Some(|epoch| 100.0 * epoch.train_top1),
    eval: |eval| 100.0 * eval.top1(),
    axis: Axis::Epochs,
};

const ACCURACY_BY_TIME: Quantity = Quantity {
    name: "curves-accuracy-time",
    title: "Test accuracy (%)",
    train: None,
    eval: ACCURACY.eval,
    axis: Axis::Minutes,
};

impl Quantity {
    /// The value of an epoch, if it has one of this part.
    fn of(&self, part: Part, epoch: &EpochMetrics) -> Option<f64> {
        let of_test_images = epoch.eval.on_test_images().is_some();
        match part {
            Part::Training => self.train.map(|value| value(epoch)),
            Part::Test => of_test_images.then(|| (self.eval)(&epoch.eval)),
            // Without training curves the title says that the images are the test's.
            Part::Validation => (!of_test_images && self.train.is_some()).then(|| (self.eval)(&epoch.eval)),
        }
    }
}

/// Of more networks only the curves of the test images are drawn.
const MOST_BOTH: usize = 5;

/// A curve of more epochs has no disc at each.
const MOST_DISCS: usize = 20;

/// Accuracy over epochs and over time, and loss; the second only if the runs have noted their time.
pub fn curves(trainings: &[Training<'_>], classes: usize) -> Vec<Plot> {
    let chance = (classes.max(2) as f64).ln();
    let mut plots = Vec::new();
    for (quantity, chance) in [(&ACCURACY, None), (&ACCURACY_BY_TIME, None), (&LOSS, Some(chance))] {
        if !collect(trainings, quantity).is_empty() {
            plots.push(draw(trainings, quantity, chance));
        }
    }
    plots
}

/// A training as far as its curves show it.
pub struct Training<'a> {
    pub subject: &'a Subject,
    pub seed: u64,
    /// Name of the run
    pub name: &'a str,
    pub epochs: &'a [EpochMetrics],
}

/// The values of one run's training or test images.
struct Curve<'a> {
    subject: &'a Subject,
    seed: u64,
    part: Part,
    axis: Axis,
    /// (epoch or minutes, value); values that are no numbers are left out
    points: Vec<(f64, f64)>,
}

impl Curve<'_> {
    fn hint(&self, (x, value): (f64, f64)) -> String {
        let place = match self.axis {
            Axis::Epochs => format!("epoch {x}"),
            Axis::Minutes => format!("after {x:.1} min"),
        };
        format!("{}, seed {}, {}, {place}: {value:.3}", self.subject.label(), self.seed, self.part.name())
    }
}

/// With `chance`, the value of a mere guess, the axis ends where single far higher values would flatten the rest.
fn draw(trainings: &[Training<'_>], quantity: &Quantity, chance: Option<f64>) -> Plot {
    let curves = collect(trainings, quantity);
    let values: Vec<f64> = curves.iter().flat_map(|curve| curve.points.iter().map(|p| p.1)).collect();
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = chance.map_or(f64::INFINITY, |chance| limit(&values, chance));
    let high = values.iter().copied().filter(|&v| v <= high).fold(f64::NEG_INFINITY, f64::max);
    let last = curves.iter().flat_map(|curve| curve.points.iter().map(|p| p.0)).fold(0.0, f64::max);
    let y = ticks(low, high, 5);
    let top = y[y.len() - 1];
    let (x, x_title, per) = match quantity.axis {
        Axis::Epochs => (whole_ticks(last), "Epoch", "per epoch"),
        Axis::Minutes => (ticks(0.0, last, 6), "Minutes of training", "against minutes of training"),
    };

    let entry = |subject: &Subject| Entry { class: subject.class(), name: subject.short() };
    let series: Vec<_> = subjects(trainings).into_iter().map(entry).collect();
    let axes = Axes { x_title, y_title: quantity.title, x, y };
    let mut chart = LineChart::new(&format!("{} {per}", quantity.title), 238.0, &series, axes);
    for curve in &curves {
        let (faint, radius) = if curve.part == Part::Training { (true, 2.5) } else { (false, 4.0) };
        let class = curve.subject.class();
        chart.line(&class, faint, &curve.points);
        if curve.points.len() > MOST_DISCS {
            continue;
        }
        for &point in &curve.points {
            chart.disc(&class, point, radius, &curve.hint(point));
        }
    }
    chart.legend();
    let has = |part| curves.iter().any(|curve| curve.part == part);
    let both = has(Part::Training);
    let (solid, images) = match (has(Part::Test), has(Part::Validation)) {
        (true, true) => ("test or held out", "test images, or held-out training images in runs that have some"),
        (false, true) => ("held out", "held-out training images"),
        _ => ("test", "test images"),
    };
    if both {
        chart.remark(&format!("solid: {solid}, dashed: training"));
    }
    let caption = match quantity.axis {
        Axis::Epochs => {
            let which = if both {
                format!("Solid: {images}; dashed: training images, augmented, averaged while the epoch runs.")
            } else {
                format!("{}{}.", images[..1].to_uppercase(), &images[1..])
            };
            format!("{}. {which}{}", quantity.title, beyond(&curves, top))
        }
        Axis::Minutes => {
            let missing = match untimed(trainings) {
                names if names.is_empty() => String::new(),
                names => format!(" Not drawn, for want of times: {}.", list(&names)),
            };
            format!(
                "{} at the end of each epoch against the time spent on training steps up to then, without evaluation \
                 and checkpoints. The time is that of the machine and its load.{missing}",
                quantity.title
            )
        }
    };
    plot(quantity.name, caption, chart.finish())
}

/// The curves of all runs that have values; training curves too, unless there are so many networks that nobody could
/// tell them apart.
fn collect<'a>(trainings: &[Training<'a>], quantity: &Quantity) -> Vec<Curve<'a>> {
    let axis = quantity.axis;
    let few = subjects(trainings).len() <= MOST_BOTH;
    let parts = [Part::Training, Part::Test, Part::Validation];
    let curves = trainings.iter().flat_map(|&Training { subject, seed, epochs, .. }| {
        parts.into_iter().map(move |part| {
            let finite = |epoch| quantity.of(part, epoch).filter(|v: &f64| v.is_finite());
            let places = match axis {
                Axis::Epochs => epochs.iter().map(|epoch| epoch.epoch as f64).collect(),
                Axis::Minutes => minutes(epochs).unwrap_or_default(),
            };
            let points = places.into_iter().zip(epochs).filter_map(|(x, epoch)| Some((x, finite(epoch)?)));
            Curve { subject, seed, part, axis, points: points.collect() }
        })
    });
    curves.filter(|curve| !curve.points.is_empty()).filter(|curve| few || curve.part != Part::Training).collect()
}

/// Minutes of training at the end of each epoch; `None` if an epoch's time is not known.
fn minutes(epochs: &[EpochMetrics]) -> Option<Vec<f64>> {
    let mut sum = 0.0;
    epochs
        .iter()
        .map(|epoch| {
            sum += epoch.timed()? / 60.0;
            Some(sum)
        })
        .collect()
}

/// Names of the runs whose time is not known.
fn untimed(trainings: &[Training<'_>]) -> Vec<String> {
    trainings.iter().filter(|run| minutes(run.epochs).is_none()).map(|run| run.name.to_owned()).collect()
}

/// Each subject once, in order.
fn subjects<'a>(trainings: &[Training<'a>]) -> Vec<&'a Subject> {
    let mut subjects = Vec::new();
    for training in trainings {
        if !subjects.contains(&training.subject) {
            subjects.push(training.subject);
        }
    }
    subjects
}

/// The highest value that may stretch the axis: twice what is usual, be that a mere guess or the median.
fn limit(values: &[f64], chance: f64) -> f64 {
    2.0 * median(values).map_or(chance, |median| median.max(chance))
}

/// A sentence on the values above the plot, the first few of them by name; empty if there are none.
fn beyond(curves: &[Curve<'_>], top: f64) -> String {
    const NAMED: usize = 3;
    let mut above: Vec<String> = curves
        .iter()
        .flat_map(|curve| curve.points.iter().filter(|p| p.1 > top).map(move |&point| (curve, point)))
        .map(|(curve, (epoch, value))| {
            format!("{} {} epoch {epoch} ({})", curve.subject.short(), curve.part.name(), significant(value))
        })
        .collect();
    if above.is_empty() {
        return String::new();
    }
    if above.len() > NAMED {
        let more = above.len() - NAMED;
        above.truncate(NAMED);
        above.push(format!("{more} more"));
    }
    format!(" Too high for the picture, so that their curves leave it at the top: {}.", list(&above))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gather::fixture::fixture;

    #[test]
    fn only_what_is_far_from_usual_is_left_out() {
        let chance = 10_f64.ln();
        assert!(limit(&[137.3, 2.3, 2.1, 1.9], chance) < 5.0);
        assert!(limit(&[3.9, 2.3, 2.1, 1.9], chance) > 3.9);
        // A loss that is high throughout is the subject, not an outlier.
        assert!(limit(&[30.0, 31.0, 29.0], chance) > 31.0);
        assert!(limit(&[], chance) > chance);
    }

    #[test]
    fn held_out_images_are_not_called_test_images() {
        let test = fixture().models.remove(0).runs.remove(0).epochs;
        let held_out: Vec<EpochMetrics> = test
            .iter()
            .map(|epoch| {
                let (valid_loss, valid_top1) = (epoch.eval.loss(), epoch.eval.top1());
                let eval = EvalMetrics::Validation { valid_loss, valid_top1, valid_top5: epoch.eval.top5() };
                EpochMetrics { eval, ..epoch.clone() }
            })
            .collect();
        let subject = Subject::from(mobilenet_arch::Network::from(mobilenet_arch::Arch::V2));
        let run = |name, epochs| Training { subject: &subject, seed: 1, name, epochs };
        for (runs, words, plots) in [
            (vec![run("a", &test)], "Solid: test images; dashed", 3),
            (vec![run("b", &held_out)], "Solid: held-out training images; dashed", 2),
            (
                vec![run("a", &test), run("b", &held_out)],
                "Solid: test images, or held-out training images in runs that have some; dashed",
                3,
            ),
        ] {
            let found = curves(&runs, 10);
            assert_eq!(found.len(), plots, "{words}");
            assert!(found[0].caption.source().contains(words), "{}", found[0].caption.source());
            // Both lines of each run.
            assert_eq!(found[0].standalone().matches("<polyline").count(), 2 * runs.len(), "{words}");
        }
    }

    #[test]
    fn time_is_the_sum_of_the_epochs_and_unknown_if_one_is() {
        let like = &fixture().models[0].runs[0].epochs[0];
        let epoch = |seconds| EpochMetrics { seconds, ..like.clone() };
        assert_eq!(minutes(&[epoch(60.0), epoch(30.0)]), Some(vec![1.0, 1.5]));
        assert_eq!(minutes(&[epoch(60.0), epoch(0.0)]), None);
    }
}
