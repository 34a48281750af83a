//! Accuracy against latency of what is shipped.

use super::pareto::{Place, Subject, pareto};
use super::plot::Plot;
use crate::gather::Gathered;
use crate::stats::wilson;

/// Every network in every form that was timed.
pub fn shipped(gathered: &Gathered) -> Plot {
    let forms = gathered.models.iter().flat_map(|model| model.shipped.iter().map(move |form| (model.network, form)));
    let places = forms.filter_map(|(network, shipped)| {
        let (accuracy, (low, high)) =
            (shipped.eval.test_top1, wilson(shipped.eval.test_top1, shipped.eval.test_images));
        Some(Place {
            class: network.class(),
            short: format!("{} {}", network.short(), shipped.form),
            label: format!("{}, {}", network.label(), shipped.form.label()),
            cost: shipped.latency()?,
            accuracy: 100.0 * accuracy,
            bar: (100.0 * low, 100.0 * high),
        })
    });
    let subject = Subject {
        name: "shipped-accuracy-latency",
        cost: "Latency as shipped, batch 1 (ms, median)",
        what: "forms",
        bars: "95% intervals from the number of test images",
    };
    pareto(&subject, places.collect())
}
