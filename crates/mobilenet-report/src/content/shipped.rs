//! What is shipped: each network in several forms, as the runtime runs it.

use mobilenet_arch::Network;
use mobilenet_schema::{Comparison, Form};

use super::significance::p_value;
use crate::document::{Block, Column, Inline, Section, Table, rich};
use crate::gather::{Gathered, Model, ShippedForm};
use crate::text::{list, megabytes, percent, points, points_interval, significant, thousands, whole_percent};
use crate::{pareto, plots};

/// Verdict, picture and table; nothing if no network was shipped.
pub fn section(gathered: &Gathered) -> Option<Section> {
    let all: Vec<(Network, &ShippedForm)> =
        gathered.models.iter().flat_map(|model| model.shipped.iter().map(|form| (model.network(), form))).collect();
    let (_, any) = all.first()?;
    let mut blocks = vec![Block::Text(Inline::join(eight_bits(gathered).into_iter().chain(front(&all))))];
    if all.iter().any(|(_, shipped)| shipped.bench.is_some()) {
        blocks.push(Block::Plots(vec![plots::shipped(gathered)]));
    }
    blocks.push(Block::Table(table(&all)));
    blocks.push(Block::Text(remark(any, &all)));
    Some(Section { title: "As shipped".into(), blocks })
}

/// What 8 bits cost and bring, network by network.
fn eight_bits(gathered: &Gathered) -> Option<Inline> {
    let said: Vec<String> = gathered.few().into_iter().filter_map(of_network).collect();
    (!said.is_empty()).then(|| rich!("In 8 bits instead of float32: {}.", said.join("; ")))
}

fn of_network(model: &Model) -> Option<String> {
    let (float32, int8) = (model.shipped(Form::Float32)?, model.shipped(Form::Int8)?);
    let found = int8.beside_float32.as_ref()?;
    let weight = if found.is_noise() { "within noise" } else { "more than chance explains" };
    let bytes = |form: &ShippedForm| form.eval.shipped.bytes as f64;
    let mut said = format!(
        "{} changes by {} ({weight}), its file has {} of the size",
        model.network().short(),
        points(found.difference),
        whole_percent(bytes(int8) / bytes(float32)),
    );
    if let (Some(before), Some(now)) = (float32.latency(), int8.latency()) {
        said += &format!(", and an image takes {} of the time", whole_percent(now / before));
    }
    if let Some(found) = model.shipped(Form::Int8Qat).and_then(|qat| qat.beside_float32.as_ref()) {
        said += &format!(" (after quantization-aware training {})", points(found.difference));
    }
    Some(said)
}

/// Which forms are worth their time.
fn front(all: &[(Network, &ShippedForm)]) -> Option<Inline> {
    let timed: Vec<_> = all.iter().filter_map(|(network, form)| Some((network, form, form.latency()?))).collect();
    let front = pareto::front(&timed.iter().map(|(_, form, ms)| (*ms, form.eval.test_top1)).collect::<Vec<_>>());
    let best: Vec<_> = timed
        .iter()
        .zip(front)
        .filter(|(_, on_front)| *on_front)
        .map(|((network, shipped, _), _)| format!("{} {}", network.short(), shipped.form))
        .collect();
    (timed.len() > 1)
        .then(|| rich!("Of all {} forms none is both faster and more accurate than **{}**.", timed.len(), list(&best)))
}

fn table(all: &[(Network, &ShippedForm)]) -> Table {
    let none = || "–".to_owned();
    let latency = |shipped: &ShippedForm| {
        let latency = shipped.bench.as_ref().map(|bench| bench.latency_ms);
        latency.map_or_else(none, |ms| format!("{} / {}", significant(ms.p50), significant(ms.p90)))
    };
    let beside = |shipped: &ShippedForm, say: &dyn Fn(&Comparison) -> Option<String>| {
        shipped.beside_float32.as_ref().and_then(say).unwrap_or_else(none)
    };
    let memory = |shipped: &ShippedForm| shipped.bench.as_ref()?.peak_rss_bytes;
    let columns: [Column<'_, (Network, &ShippedForm)>; 10] = [
        ("Network", &|(network, _)| network.short()),
        ("Form", &|(_, shipped)| shipped.form.label().to_owned()),
        ("Test accuracy", &|(_, shipped)| percent(shipped.eval.test_top1)),
        ("To float32", &|(_, shipped)| beside(shipped, &|found| Some(points(found.difference)))),
        ("95% interval", &|(_, shipped)| beside(shipped, &|found| found.interval().map(points_interval))),
        ("McNemar's p", &|(_, shipped)| beside(shipped, &|found| Some(p_value(found.mcnemar.first()?.p_value)))),
        ("File (MB)", &|(_, shipped)| significant(shipped.eval.shipped.bytes as f64 / f64::from(1 << 20))),
        ("Latency p50 / p90 (ms)", &|(_, shipped)| latency(shipped)),
        ("Memory (MB)", &|(_, shipped)| memory(shipped).map_or_else(none, megabytes)),
        ("Images/s", &|(_, shipped)| significant(shipped.eval.images_per_second)),
    ];
    Table::of(all.iter().copied(), &columns)
}

/// How it was measured.
fn remark(shipped: &ShippedForm, all: &[(Network, &ShippedForm)]) -> Inline {
    let training = if all.iter().any(|(_, shipped)| shipped.form.untuned().is_some()) {
        "What is fine-tuned, or in 8 bits after QAT (quantization-aware training), was trained a little more with the \
         change, on the same images; no other form was trained after its change."
    } else {
        "Nothing was trained after an activation was replaced, which would win some of the loss back."
    };
    rich!(
        "Each network of the first seed was exported and runs on the CPU by `mobilenet-runtime`, which is what one \
         ships; everything else in this report is measured in Candle. Accuracy is that of {} test images, and \
         differences are to the same network in float32 on the same images. {} Latency is of an image alone, the \
         middle one of the rounds in which all forms took turns; memory the peak of the whole process; images per \
         second those of the evaluation, in batches.",
        thousands(shipped.eval.test_images),
        training
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Cell;
    use crate::gather::fixture::{copy_of_fixture, fixture, ship};
    use crate::gather::{Scope, gather};

    #[test]
    fn every_form_has_a_row_and_the_front_is_named() {
        let out = copy_of_fixture("shipped-section");
        ship(&out, "v2", Form::Float32, 9, &[2.0]);
        ship(&out, "v2", Form::Int8, 8, &[1.0]);
        ship(&out, "v2", Form::Relu, 7, &[1.5]);
        ship(&out, "v3-large", Form::Int8, 10, &[]);
        let gathered = gather(&out, Scope::default()).unwrap();
        std::fs::remove_dir_all(&out).unwrap();
        let section = section(&gathered).unwrap();
        let [Block::Text(verdict), Block::Plots(_), Block::Table(table), Block::Text(_)] = &section.blocks[..] else {
            panic!("other blocks")
        };
        assert_eq!(
            verdict.plain(),
            "In 8 bits instead of float32: V2 changes by −8.3 points (within noise), its file has 100% of the size, \
             and an image takes 50% of the time. Of all 3 forms none is both faster and more accurate than V2 float32 \
             and V2 int8."
        );
        let text = |cell: &Cell| if let Cell::Text(text) = cell { text.plain() } else { String::new() };
        let rows: Vec<Vec<String>> = table.rows.iter().map(|row| row.iter().map(text).collect()).collect();
        assert_eq!(rows.len(), 4);
        assert_eq!(rows[0][1..5], ["float32", "75.0%", "–", "–"]);
        assert_eq!(rows[1][1..4], ["int8", "66.7%", "−8.3 points"]);
        assert_eq!(rows[1][5..], ["1.00", "2.00", "1.00 / 1.10", "20", "800"]);
        assert_eq!(rows[3][5..9], ["–", "2.00", "–", "–"]);
        assert_eq!(rows[3][0], "V3-Large");
    }

    #[test]
    fn what_was_trained_after_its_change_is_said_to_be() {
        let out = copy_of_fixture("shipped-tuned");
        ship(&out, "v2", Form::Float32, 9, &[]);
        ship(&out, "v2", Form::Int8, 7, &[]);
        ship(&out, "v2", Form::Int8Qat, 8, &[]);
        let gathered = gather(&out, Scope::default()).unwrap();
        std::fs::remove_dir_all(&out).unwrap();
        let section = section(&gathered).unwrap();
        let [Block::Text(verdict), Block::Table(table), Block::Text(remark)] = &section.blocks[..] else {
            panic!("other blocks")
        };
        let qat = "100% of the size (after quantization-aware training −8.3 points).";
        assert!(verdict.plain().ends_with(qat), "{}", verdict.plain());
        assert_eq!(table.rows.len(), 3);
        assert!(remark.plain().contains("was trained a little more"), "{}", remark.plain());
    }

    #[test]
    fn without_shipped_networks_there_is_no_section() {
        assert!(section(&fixture()).is_none());
    }
}
