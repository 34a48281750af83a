//! Accuracy against latency of what is shipped.

use mobilenet_arch::Network;

use super::pareto::{Place, Subject, pareto};
use super::plot::Plot;
use crate::document::inline::{Inline, rich};
use crate::gather::{Gathered, ShippedForm};
use crate::stats::wilson;
use crate::text::{list, points};

/// A form that loses more to float32 is named and not drawn: beside it all others would lie on one line.
const MOST_LOST: f64 = 0.1;

/// Every network in every form that was timed.
pub fn shipped(gathered: &Gathered) -> Plot {
    let forms = gathered.models.iter().flat_map(|model| model.shipped.iter().map(move |form| (model.network(), form)));
    let timed = forms.filter(|(_, shipped)| shipped.bench.is_some());
    let (collapsed, drawn): (Vec<_>, Vec<_>) = timed.partition(|(_, shipped)| change(shipped) < -MOST_LOST);
    let subject = Subject {
        name: "shipped-accuracy-latency",
        cost: "Latency as shipped, batch 1 (ms, median)",
        what: "forms",
        bars: "95% intervals from the number of test images",
    };
    let plot = pareto(&subject, drawn.into_iter().filter_map(place).collect());
    let lost = |(network, shipped): &(Network, &ShippedForm)| {
        format!("{} {} ({})", network.short(), shipped.form, points(change(shipped)))
    };
    let lost: Vec<_> = collapsed.iter().map(lost).collect();
    let remark = (!lost.is_empty()).then(|| rich!("Too inaccurate to be drawn: {}.", list(&lost)));
    Plot { caption: Inline::join(std::iter::once(plot.caption).chain(remark)), ..plot }
}

/// Its accuracy minus float32's.
fn change(shipped: &ShippedForm) -> f64 {
    shipped.beside_float32.as_ref().map_or(0.0, |found| found.difference)
}

fn place((network, shipped): (Network, &ShippedForm)) -> Option<Place> {
    let accuracy = shipped.eval.test_top1;
    let (low, high) = wilson(accuracy, shipped.eval.test_images);
    Some(Place {
        class: network.class(),
        short: format!("{} {}", network.short(), shipped.form),
        label: format!("{}, {}", network.label(), shipped.form.label()),
        cost: shipped.latency()?,
        accuracy: 100.0 * accuracy,
        bar: (100.0 * low, 100.0 * high),
    })
}

#[cfg(test)]
mod tests {
    use mobilenet_schema::Form;

    use super::*;
    use crate::gather::fixture::{copy_of_fixture, ship};
    use crate::gather::{Scope, gather};

    #[test]
    fn a_form_that_collapsed_is_named_instead_of_drawn() {
        let out = copy_of_fixture("shipped-plot");
        ship(&out, "v2", Form::Float32, 11, &[2.0]);
        ship(&out, "v2", Form::Int8, 10, &[1.0]);
        ship(&out, "v2", Form::Relu, 2, &[1.5]);
        let plot = shipped(&gather(&out, Scope::default()).unwrap());
        std::fs::remove_dir_all(&out).unwrap();
        let (picture, caption) = (plot.standalone(), plot.caption.plain());
        assert!(picture.contains("V2 int8") && !picture.contains("V2 relu"), "{picture}");
        assert!(caption.ends_with("Too inaccurate to be drawn: V2 relu (−75.0 points)."), "{caption}");
    }
}
