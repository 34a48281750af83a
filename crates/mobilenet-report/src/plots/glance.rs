//! The networks side by side.

use super::figures::best_throughput;
use super::plot::{Plot, plot};
use crate::charts::{Group, Groups, Series, groups};
use crate::gather::{Gathered, Model, quiet};
use crate::text::{megabytes, millions, percent, significant};

/// A figure of a network: its name, its value where it was measured, and the value in words.
struct Metric {
    label: &'static str,
    value: fn(&Model) -> Option<f64>,
    format: fn(f64) -> String,
}

const METRICS: [Metric; 7] = [
    Metric { label: "Test accuracy", value: |model| Some(model.test_top1()), format: percent },
    Metric {
        label: "Parameters",
        value: |model| Some(model.params as f64),
        format: |v| format!("{} M", millions(v as u64)),
    },
    Metric {
        label: "Multiply-adds",
        value: |model| Some(model.macs as f64),
        format: |v| format!("{} M", millions(v as u64)),
    },
    Metric { label: "Latency", value: Model::latency, format: |v| format!("{} ms", significant(v)) },
    Metric { label: "Throughput, inference", value: best_throughput, format: |v| format!("{} img/s", significant(v)) },
    Metric {
        label: "Throughput, training",
        value: quiet::training_speed,
        format: |v| format!("{} img/s", significant(v)),
    },
    Metric {
        label: "Memory, training",
        value: |model| model.training_memory().map(|bytes| bytes as f64),
        format: |v| format!("{} MB", megabytes(v as u64)),
    },
];

/// One group of bars for each figure.
pub fn glance(gathered: &Gathered) -> Plot {
    let models = gathered.few();
    let values = |metric: &Metric| {
        let value = |model: &&Model| (metric.value)(model).map(|value| (value, (metric.format)(value)));
        models.iter().map(value).collect()
    };
    let series = |model: &&Model| Series {
        class: model.network().class(),
        short: model.network().short(),
        name: model.network().label(),
    };
    let svg = groups(&Groups {
        title: "The networks side by side",
        series: models.iter().map(series).collect(),
        groups: METRICS.iter().map(|metric| Group { name: metric.label, values: values(metric) }).collect(),
    });
    let rest = match gathered.models.len() - models.len() {
        0 => String::new(),
        n => format!(" The other {n} networks are in the tables below."),
    };
    plot("at-a-glance", format!("Each row is drawn to its own scale.{rest}"), svg)
}
