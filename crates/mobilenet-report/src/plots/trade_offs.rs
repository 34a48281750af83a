//! Accuracy against a cost, with the Pareto front.

use mobilenet_arch::Network;

use super::figures::{accuracy_with_bar, bars};
use super::plot::{Plot, lower_first, plot};
use crate::charts::{self, Point, Scatter, ticks};
use crate::gather::{Gathered, Model};
use crate::pareto;
use crate::text::significant;

/// Of more networks only those on the front are named in the picture; the others by a hint under the pointer.
const MOST_NAMED: usize = 6;

/// Accuracy against a cost: the article's trade-off, with 95 % intervals.
pub fn trade_offs(gathered: &Gathered) -> Vec<Plot> {
    vec![
        against(gathered, ("accuracy-latency", "Latency, batch 1 (ms, median)"), &Model::latency),
        against(gathered, ("accuracy-macs", "Multiply-adds per image (millions)"), &|model| {
            Some(model.macs as f64 / 1e6)
        }),
    ]
}

/// A network's place, accuracies in percent.
struct Place {
    network: Network,
    cost: f64,
    accuracy: f64,
    bar: (f64, f64),
}

fn against(gathered: &Gathered, (name, title): (&str, &str), cost: &dyn Fn(&Model) -> Option<f64>) -> Plot {
    let place = |model: &Model| {
        let (accuracy, low, high) = accuracy_with_bar(model);
        Some(Place { network: model.network, cost: cost(model)?, accuracy, bar: (low, high) })
    };
    let mut places: Vec<Place> = gathered.models.iter().filter_map(place).collect();
    places.sort_by(|a, b| a.cost.total_cmp(&b.cost));
    let on_front = pareto::front(&places.iter().map(|p| (p.cost, p.accuracy)).collect::<Vec<_>>());
    // Two networks need no front: one sees at once which is where.
    let front = places.len() > 2;
    let many = places.len() > MOST_NAMED;
    let most = places.iter().map(|p| p.cost).fold(0.0, f64::max) * 1.2;
    let low = places.iter().map(|p| p.bar.0).fold(f64::INFINITY, f64::min);
    let high = places.iter().map(|p| p.bar.1).fold(f64::NEG_INFINITY, f64::max);
    let point = |(place, on_front): (&Place, &bool)| {
        let figures = format!("{:.1}% at {}", place.accuracy, significant(place.cost));
        let label = match (many, on_front) {
            (false, _) => vec![place.network.short(), figures.clone()],
            (true, true) => vec![place.network.short()],
            (true, false) => Vec::new(),
        };
        Point {
            class: place.network.class(),
            x: place.cost,
            y: place.accuracy,
            bar: place.bar,
            faint: front && !on_front,
            hint: format!("{}: {figures}", place.network.label()),
            label,
        }
    };
    let svg = charts::scatter(Scatter {
        title: &format!("Test accuracy against {title}"),
        x_title: title,
        y_title: "Test accuracy (%)",
        x: ticks(0.0, most, 6),
        y: ticks(low, high, 5),
        points: places.iter().zip(&on_front).map(point).collect(),
        front,
    });
    let front = if front {
        " Dotted: the Pareto front, the best accuracy at each cost; networks that another beats in both are faint."
    } else {
        ""
    };
    let caption = format!(
        "Test accuracy against {}; up and to the left is better. Bars: {}.{front}",
        lower_first(title),
        bars(gathered)
    );
    plot(name, caption, svg)
}
