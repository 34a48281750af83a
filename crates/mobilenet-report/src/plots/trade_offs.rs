//! Accuracy against a cost, with the Pareto front.

use super::figures::{accuracy_with_bar, bars};
use super::pareto::{Place, Subject, pareto};
use super::plot::Plot;
use crate::gather::{Gathered, Model};

/// Accuracy against a cost: the article's trade-off, with 95 % intervals.
pub fn trade_offs(gathered: &Gathered) -> Vec<Plot> {
    vec![
        against(gathered, ("accuracy-latency", "Latency, batch 1 (ms, median)"), &Model::latency),
        against(gathered, ("accuracy-macs", "Multiply-adds per image (millions)"), &|model| {
            Some(model.macs as f64 / 1e6)
        }),
    ]
}

fn against(gathered: &Gathered, (name, title): (&str, &str), cost: &dyn Fn(&Model) -> Option<f64>) -> Plot {
    let place = |model: &Model| {
        let (accuracy, low, high) = accuracy_with_bar(model);
        Some(Place {
            class: model.network().class(),
            short: model.network().short(),
            label: model.network().label(),
            cost: cost(model)?,
            accuracy,
            bar: (low, high),
        })
    };
    let subject = Subject { name, cost: title, what: "networks", bars: bars(gathered) };
    pareto(&subject, gathered.models.iter().filter_map(place).collect())
}
