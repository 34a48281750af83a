//! Networks of several widths: what a width costs and brings, and which of all are worth their cost.

use mobilenet_arch::Width;

use super::tables::over_seeds;
use crate::document::{Block, Column, Section, Table, rich};
use crate::gather::{Gathered, Model};
use crate::text::{list, megabytes, millions, significant};
use crate::{pareto, plots};

/// Table and plots; nothing if all networks have width 1.
pub fn section(gathered: &Gathered) -> Option<Section> {
    if gathered.models.iter().all(|model| model.network().width == Width::ONE) {
        return None;
    }
    let measured: Vec<_> = gathered.models.iter().filter_map(|model| Some((model, model.latency()?))).collect();
    let front = pareto::front(&measured.iter().map(|(model, ms)| (*ms, model.test_top1())).collect::<Vec<_>>());
    let best: Vec<_> =
        measured.iter().zip(&front).filter(|(_, on)| **on).map(|((model, _), _)| model.network().short()).collect();
    let text = rich!(
        "The width multiplier scales the channels of every layer: parameters and multiply-adds grow nearly as its \
         square. \
         No other network is both faster and more accurate than **{} of the {}: {}**. Each of the rest is beaten in \
         both by one of these. \
         Neighbors whose accuracies differ by less than their bars may change places with another seed or more \
         training.",
        best.len(),
        measured.len(),
        list(&best)
    );
    let mut models: Vec<&Model> = gathered.models.iter().collect();
    models.sort_by_key(|model| (model.network().arch, model.network().width));
    let none = || "–".to_owned();
    let memory = |model: &Model| model.bench.as_ref()?.peak_rss_bytes;
    let columns: [Column<'_, &Model>; 8] = [
        ("Network", &|model| model.network().label()),
        ("Parameters (M)", &|model| millions(model.params)),
        ("Multiply-adds (M)", &|model| millions(model.macs)),
        ("Latency (ms)", &|model| model.latency().map_or_else(none, significant)),
        ("Images/s, best batch", &|model| plots::best_throughput(model).map_or_else(none, significant)),
        ("Memory, inference (MB)", &|model| memory(model).map_or_else(none, megabytes)),
        ("Test accuracy", &|model| over_seeds(model, |run| run.eval.test_top1)),
        ("Beaten by", &|model| beaten_by(model, &measured)),
    ];
    let table = Table::of(models, &columns);
    Some(Section {
        title: "Width and the Pareto front".into(),
        blocks: vec![
            Block::Text(text),
            Block::Plots(plots::trade_offs(gathered)),
            Block::Plots(plots::widths(gathered)),
            Block::Table(table),
        ],
    })
}

/// The most accurate network that is no slower and no less accurate, and better in one; `none` for those on the front.
fn beaten_by(model: &Model, measured: &[(&Model, f64)]) -> String {
    let Some(&(_, own)) = measured.iter().find(|(other, _)| other.network() == model.network()) else {
        return "not timed".to_owned();
    };
    let accuracy = model.test_top1();
    measured
        .iter()
        .filter(|(other, ms)| {
            let (ms, found) = (*ms, other.test_top1());
            ms <= own && found >= accuracy && (ms, found) != (own, accuracy)
        })
        .max_by(|(a, _), (b, _)| a.test_top1().total_cmp(&b.test_top1()))
        .map_or("none".to_owned(), |(other, _)| other.network().short())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Cell;
    use crate::gather::fixture::{fixture, fixture_of};

    #[test]
    fn every_network_has_a_row_and_those_on_the_front_are_beaten_by_none() {
        // Each of the fixture's networks is faster and less accurate than the one before: all are on the front.
        let section = section(&fixture_of("widths,v2-hs")).unwrap();
        let Some(Block::Table(table)) = section.blocks.last() else { panic!("no table") };
        let cells = |i: usize| {
            table.rows.iter().map(move |row| if let Cell::Text(text) = &row[i] { text.plain() } else { String::new() })
        };
        assert_eq!(table.rows.len(), 16);
        assert_eq!(cells(0).nth(5).as_deref(), Some("MobileNetV2 + h-swish"), "by architecture, then width");
        assert!(cells(7).all(|text| text == "none"));
        assert!(super::section(&fixture()).is_none());
    }

    #[test]
    fn a_network_is_beaten_by_the_most_accurate_that_is_no_slower() {
        let gathered = fixture_of("v2,v2@0.75,v2@0.5");
        let [a, b, c] = &gathered.models[..] else { panic!("three networks") };
        // Accuracies fall from a to c; by these times b is the slowest and c the fastest.
        let measured = [(a, 1.8), (b, 2.0), (c, 1.0)];
        assert_eq!(beaten_by(b, &measured), "V2");
        assert_eq!(beaten_by(a, &measured), "none");
    }
}
