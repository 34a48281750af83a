//! Loss and accuracy over the epochs, and accuracy over the time that training took.

use mobilenet_arch::Network;
use mobilenet_schema::{EpochMetrics, EvalMetrics};

use super::plot::{Plot, plot};
use crate::charts::{Axes, Entry, LineChart, ticks, whole_ticks};
use crate::stats::median;
use crate::text::{list, significant};

/// One kind of value over the epochs, with what it is called.
struct Subject {
    name: &'static str,
    title: &'static str,
    /// Left out where only test images matter
    train: Option<fn(&EpochMetrics) -> Option<f64>>,
    test: fn(&EpochMetrics) -> Option<f64>,
    axis: Axis,
}

/// What a curve is drawn over.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Axis {
    Epochs,
    /// Minutes of training alone: the sum of the epochs' `seconds`, which leave out evaluation, checkpoints and breaks
    Minutes,
}

const LOSS: Subject = Subject {
    name: "curves-loss",
    title: "Loss (cross-entropy)",
    train: Some(|epoch| Some(epoch.train_loss)),
    test: |epoch| epoch.eval.on_test_images().map(EvalMetrics::loss),
    axis: Axis::Epochs,
};

const ACCURACY: Subject = Subject {
    name: "curves-accuracy",
    title: "Accuracy (%)",
    train: Some(|epoch| Some(100.0 * epoch.train_top1)),
    test: |epoch| epoch.eval.on_test_images().map(|test| 100.0 * test.top1()),
    axis: Axis::Epochs,
};

const ACCURACY_BY_TIME: Subject = Subject {
    name: "curves-accuracy-time",
    title: "Test accuracy (%)",
    train: None,
    test: ACCURACY.test,
    axis: Axis::Minutes,
};

/// Of more networks only the curves of the test images are drawn.
const MOST_BOTH: usize = 5;

/// A curve of more epochs has no disc at each.
const MOST_DISCS: usize = 20;

/// Accuracy over epochs and over time, and loss; the second only if the runs have noted their time.
pub fn curves(trainings: &[Training<'_>], classes: usize) -> Vec<Plot> {
    let chance = (classes.max(2) as f64).ln();
    let mut plots = Vec::new();
    for (subject, chance) in [(&ACCURACY, None), (&ACCURACY_BY_TIME, None), (&LOSS, Some(chance))] {
        if !collect(trainings, subject).is_empty() {
            plots.push(draw(trainings, subject, chance));
        }
    }
    plots
}

/// A training as far as its curves show it.
#[derive(Copy, Clone)]
pub struct Training<'a> {
    pub network: Network,
    pub seed: u64,
    /// Name of the run
    pub name: &'a str,
    pub epochs: &'a [EpochMetrics],
}

/// The values of one run's training or test images.
struct Curve {
    network: Network,
    seed: u64,
    part: &'static str,
    axis: Axis,
    /// (epoch or minutes, value); values that are no numbers are left out
    points: Vec<(f64, f64)>,
}

impl Curve {
    fn hint(&self, (x, value): (f64, f64)) -> String {
        let place = match self.axis {
            Axis::Epochs => format!("epoch {x}"),
            Axis::Minutes => format!("after {x:.1} min"),
        };
        format!("{}, seed {}, {}, {place}: {value:.3}", self.network.label(), self.seed, self.part)
    }
}

/// With `chance`, the value of a mere guess, the axis ends where single far higher values would flatten the rest.
fn draw(trainings: &[Training<'_>], subject: &Subject, chance: Option<f64>) -> Plot {
    let curves = collect(trainings, subject);
    let values: Vec<f64> = curves.iter().flat_map(|curve| curve.points.iter().map(|p| p.1)).collect();
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = chance.map_or(f64::INFINITY, |chance| limit(&values, chance));
    let high = values.iter().copied().filter(|&v| v <= high).fold(f64::NEG_INFINITY, f64::max);
    let last = curves.iter().flat_map(|curve| curve.points.iter().map(|p| p.0)).fold(0.0, f64::max);
    let y = ticks(low, high, 5);
    let top = y[y.len() - 1];
    let (x, x_title, per) = match subject.axis {
        Axis::Epochs => (whole_ticks(last), "Epoch", "per epoch"),
        Axis::Minutes => (ticks(0.0, last, 6), "Minutes of training", "against minutes of training"),
    };

    let entry = |network: Network| Entry { class: network.class(), name: network.short() };
    let series: Vec<_> = networks(trainings).into_iter().map(entry).collect();
    let axes = Axes { x_title, y_title: subject.title, x, y };
    let mut chart = LineChart::new(&format!("{} {per}", subject.title), 238.0, &series, axes);
    for curve in &curves {
        let (faint, radius) = if curve.part == "test" { (false, 4.0) } else { (true, 2.5) };
        let class = curve.network.class();
        chart.line(&class, faint, &curve.points);
        if curve.points.len() > MOST_DISCS {
            continue;
        }
        for &point in &curve.points {
            chart.disc(&class, point, radius, &curve.hint(point));
        }
    }
    chart.legend();
    let both = curves.iter().any(|curve| curve.part != "test");
    if both {
        chart.remark("solid: test, dashed: training");
    }
    let caption = match subject.axis {
        Axis::Epochs => {
            let which = if both {
                "Solid: test images; dashed: training images, augmented, averaged while the epoch runs."
            } else {
                "Test images."
            };
            format!("{}. {which}{}", subject.title, beyond(&curves, top))
        }
        Axis::Minutes => {
            let missing = match untimed(trainings) {
                names if names.is_empty() => String::new(),
                names => format!(" Not drawn, for want of times: {}.", list(&names)),
            };
            format!(
                "{} at the end of each epoch against the time spent on training steps up to then, without evaluation \
                 and checkpoints. The time is that of the machine and its load.{missing}",
                subject.title
            )
        }
    };
    plot(subject.name, caption, chart.finish())
}

/// The curves of all runs that have values; training curves too, unless there are so many networks that nobody could
/// tell them apart.
fn collect(trainings: &[Training<'_>], subject: &Subject) -> Vec<Curve> {
    let axis = subject.axis;
    let few = networks(trainings).len() <= MOST_BOTH;
    let parts = [subject.train.map(|value| ("training", value)), Some(("test", subject.test))];
    let curves = trainings.iter().flat_map(|&Training { network, seed, epochs, .. }| {
        parts.into_iter().flatten().map(move |(part, value)| {
            let finite = |epoch| value(epoch).filter(|v: &f64| v.is_finite());
            let places = match axis {
                Axis::Epochs => epochs.iter().map(|epoch| epoch.epoch as f64).collect(),
                Axis::Minutes => minutes(epochs).unwrap_or_default(),
            };
            let points = places.into_iter().zip(epochs).filter_map(|(x, epoch)| Some((x, finite(epoch)?)));
            Curve { network, seed, part, axis, points: points.collect() }
        })
    });
    curves.filter(|curve| !curve.points.is_empty()).filter(|curve| few || curve.part == "test").collect()
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

/// Each network once, in order.
fn networks(trainings: &[Training<'_>]) -> Vec<Network> {
    let mut networks = Vec::new();
    for training in trainings {
        if !networks.contains(&training.network) {
            networks.push(training.network);
        }
    }
    networks
}

/// The highest value that may stretch the axis: twice what is usual, be that a mere guess or the median.
fn limit(values: &[f64], chance: f64) -> f64 {
    2.0 * median(values).map_or(chance, |median| median.max(chance))
}

/// A sentence on the values above the plot, the first few of them by name; empty if there are none.
fn beyond(curves: &[Curve], top: f64) -> String {
    const NAMED: usize = 3;
    let mut above: Vec<String> = curves
        .iter()
        .flat_map(|curve| curve.points.iter().filter(|p| p.1 > top).map(move |&point| (curve, point)))
        .map(|(curve, (epoch, value))| {
            format!("{} {} epoch {epoch} ({})", curve.network.short(), curve.part, significant(value))
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
    fn time_is_the_sum_of_the_epochs_and_unknown_if_one_is() {
        let like = &fixture().models[0].runs[0].epochs[0];
        let epoch = |seconds| EpochMetrics { seconds, ..like.clone() };
        assert_eq!(minutes(&[epoch(60.0), epoch(30.0)]), Some(vec![1.0, 1.5]));
        assert_eq!(minutes(&[epoch(60.0), epoch(0.0)]), None);
    }
}
