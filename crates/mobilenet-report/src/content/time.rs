//! Where an inference's time goes, and what the machine would allow.

use mobilenet_arch::Network;
use mobilenet_schema::{BlockTime, Blocks, Roofline};

use crate::document::{Block, Cell, Inline, Section, Table, rich};
use crate::gather::{Gathered, Model};
use crate::plan::BLOCK_BATCHES;
use crate::plots::{self, MARKED, is_marked};
use crate::text::{list, percent, significant, whole_percent};

/// Blocks that a sentence names.
const NAMED: usize = 4;

/// Shares of the time and the roofline; nothing if no block was timed.
pub fn section(gathered: &Gathered) -> Option<Section> {
    let [one, many] = BLOCK_BATCHES;
    let at = |batch: u64| -> Vec<(&Model, &Blocks)> {
        gathered.few().into_iter().filter_map(|model| Some((model, model.blocks_at(batch)?))).collect()
    };
    let (single, batched) = (at(one), at(many));
    if single.is_empty() && batched.is_empty() {
        return None;
    }
    let mut blocks = Vec::new();
    if !single.is_empty() {
        let sums: Vec<_> = single.iter().map(|(model, times)| sums(model.network(), times)).collect();
        let marked: Vec<_> = single.iter().map(|(model, times)| stands_out(model.network(), times)).collect();
        blocks.push(Block::Text(
            format!(
                "Each block's time within the whole network, for one image: the median of {} passes. {}",
                single[0].1.iterations,
                sums.join(" ")
            )
            .into(),
        ));
        blocks.push(Block::Text(Inline::join(marked)));
        blocks.extend(single.iter().map(|(model, times)| Block::Plots(vec![plots::shares(model.network(), times)])));
    }
    if let (Some(roof), false) = (&gathered.roofline, batched.is_empty()) {
        let words: Vec<_> = batched.iter().map(|(model, times)| under_the_roof(model.network(), times, roof)).collect();
        blocks.push(Block::Text(rich!(
            "A computation cannot be faster than the processor multiplies, nor than the memory delivers what it \
             computes with: the roofline (Williams, Waterman and Patterson, 2009), here as measured on this machine \
             by `mobilenet roofline`. {}",
            words.join(" ")
        )));
        let networks: Vec<_> = batched.iter().map(|&(model, times)| (model.network(), times)).collect();
        blocks.push(Block::Plots(vec![plots::roofline(roof, &networks)]));
    }
    let tables = gathered.few().into_iter().filter_map(|model| {
        table(model.network(), model.blocks_at(one), model.blocks_at(many), gathered.roofline.as_ref())
    });
    blocks.push(Block::Details("All blocks".into(), tables.map(Block::Table).collect()));
    Some(Section { title: "Where the time goes".into(), blocks })
}

/// The blocks' sum beside the whole.
fn sums(network: Network, times: &Blocks) -> String {
    let whole = times.latency_ms.p50;
    let rest = whole - times.sum_ms;
    let between = if rest >= 0.0 {
        format!("the other {} ({}) pass between the blocks", milliseconds(rest), percent(rest / whole))
    } else {
        format!(
            "{} ({}) less: timing each block adds a little, and there is noise",
            milliseconds(-rest),
            percent(-rest / whole)
        )
    };
    format!(
        "The blocks of {} add up to {}, the whole takes {}; {between}.",
        network.label(),
        milliseconds(times.sum_ms),
        milliseconds(whole)
    )
}

fn milliseconds(ms: f64) -> String {
    format!("{} ms", significant(ms))
}

/// The blocks whose time is out of proportion, those first that take most beyond their share.
fn stands_out(network: Network, times: &Blocks) -> Inline {
    let mut marked: Vec<&BlockTime> = times.blocks.iter().filter(|block| is_marked(block)).collect();
    let excess = |block: &BlockTime| block.latency_share - block.macs_share;
    marked.sort_by(|a, b| excess(b).total_cmp(&excess(a)));
    let mut words: Vec<_> = marked
        .iter()
        .take(NAMED)
        .enumerate()
        .map(|(i, block)| {
            let shares = (percent(block.latency_share), percent(block.macs_share));
            let [of_time, of_macs] = if i == 0 { [" of the time", " of the multiply-adds"] } else { ["", ""] };
            format!("{} ({}{of_time}, {}{of_macs})", the(&block.name), shares.0, shares.1)
        })
        .collect();
    if marked.len() > NAMED {
        words.push(format!("{} more", marked.len() - NAMED));
    }
    match marked.len() {
        0 => rich!(
            "In **{}** no block takes more than {} times its share of the multiply-adds.",
            network.label(),
            MARKED
        ),
        n => rich!(
            "In **{}** {} {} more than {} times {} share of the multiply-adds.",
            network.label(),
            list(&words),
            if n == 1 { "takes" } else { "take" },
            MARKED,
            if n == 1 { "its" } else { "their" }
        ),
    }
}

/// `block 3`, `the stem`.
fn the(name: &str) -> String {
    match name {
        "last conv" => "the last convolution".to_owned(),
        block if block.starts_with("block ") => block.to_owned(),
        other => format!("the {other}"),
    }
}

/// How much of the time the roof explains.
fn under_the_roof(network: Network, times: &Blocks, roof: &Roofline) -> String {
    let allowed = |block: &BlockTime| block.p50_ms * block.gflop_per_second / roof.attainable(block.flop_per_byte);
    let allowed: f64 = times.blocks.iter().map(allowed).sum();
    format!(
        "It allows {} {} for a batch of {}; the blocks take {}, so that they reach {} of what it allows.",
        network.label(),
        milliseconds(allowed),
        times.batch,
        milliseconds(times.sum_ms),
        whole_percent(allowed / times.sum_ms)
    )
}

/// Every block of one network.
fn table(
    network: Network,
    single: Option<&Blocks>,
    batched: Option<&Blocks>,
    roof: Option<&Roofline>,
) -> Option<Table> {
    let [one, many] = BLOCK_BATCHES;
    let names = single.or(batched)?;
    let mut head: Vec<String> = vec![network.label().to_owned(), "Output".to_owned(), "M multiply-adds".to_owned()];
    if single.is_some() {
        head.extend(["Share".to_owned(), format!("ms, batch {one}"), "Share".to_owned(), "GFLOP/s".to_owned()]);
    }
    if batched.is_some() {
        head.extend([format!("ms, batch {many}"), "Share".to_owned(), "GFLOP/s".to_owned(), "FLOP/byte".to_owned()]);
        head.extend(roof.map(|_| "Of the roof".to_owned()));
    }
    let rows = names.blocks.iter().enumerate().map(|(i, block)| {
        let output = block.output.iter().map(u64::to_string).collect::<Vec<_>>().join("×");
        let mut row = vec![block.name.clone(), output, significant(block.macs as f64 / 1e6)];
        if let Some(b) = single.and_then(|times| times.blocks.get(i)) {
            row.push(percent(b.macs_share));
            row.extend([significant(b.p50_ms), percent(b.latency_share), significant(b.gflop_per_second)]);
        }
        if let Some(b) = batched.and_then(|times| times.blocks.get(i)) {
            row.extend([significant(b.p50_ms), percent(b.latency_share)]);
            row.extend([significant(b.gflop_per_second), significant(b.flop_per_byte)]);
            row.extend(roof.map(|roof| whole_percent(b.gflop_per_second / roof.attainable(b.flop_per_byte))));
        }
        row.into_iter().map(Cell::from).collect()
    });
    Some(Table { head: head.into_iter().map(Inline::from).collect(), numeric: true, rows: rows.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gather::fixture::{fixture, fixture_of};

    fn texts(section: &Section) -> Vec<String> {
        let mut texts = Vec::new();
        for block in &section.blocks {
            if let Block::Text(text) = block {
                texts.push(text.source());
            }
        }
        texts
    }

    #[test]
    fn the_section_names_what_stands_out_and_draws_every_network() {
        let gathered = fixture();
        let section = section(&gathered).unwrap();
        let texts = texts(&section);
        assert_eq!(texts.len(), 3);
        assert!(texts[1].contains("In **MobileNetV2** block 17 (14."), "{}", texts[1]);
        assert!(texts[2].contains("It allows MobileNetV3-Large"), "{}", texts[2]);
        let plots = section.blocks.iter().filter(|block| matches!(block, Block::Plots(_))).count();
        assert_eq!(plots, gathered.models.len() + 1);
        let Some(Block::Details(_, tables)) = section.blocks.last() else { panic!("no tables") };
        for (table, model) in tables.iter().zip(&gathered.models) {
            let Block::Table(table) = table else { panic!("no table") };
            assert_eq!(table.rows.len(), model.blocks_at(1).unwrap().blocks.len());
            assert!(table.rows.iter().all(|row| row.len() == table.head.len()), "{}", model.network());
        }
    }

    #[test]
    fn folders_without_these_artefacts_have_no_section() {
        assert!(section(&fixture_of("v2,v3-large")).is_none());
        // Of the batched artefacts and the roofline, one alone is of no use; what is there is shown.
        let mut gathered = fixture();
        gathered.roofline = None;
        assert_eq!(texts(&section(&gathered).unwrap()).len(), 2);
    }

    #[test]
    fn a_sentence_names_few_blocks_and_counts_the_rest() {
        let gathered = fixture();
        let mut times = gathered.models[0].blocks_at(1).unwrap().clone();
        let said = |times: &Blocks| stands_out(gathered.models[0].network(), times);
        times.blocks.iter_mut().for_each(|block| block.latency_share = 2.0 * block.macs_share);
        assert!(said(&times).plain().contains(&format!("and {} more take more than", times.blocks.len() - NAMED)));
        times.blocks.iter_mut().skip(1).for_each(|block| block.latency_share = 0.0);
        assert!(
            said(&times).plain().contains("the stem (2.0% of the time, 1.0% of the multiply-adds) takes more"),
            "{}",
            said(&times).plain()
        );
        times.blocks[0].latency_share = 0.0;
        assert!(said(&times).plain().contains("no block takes more"));
    }
}
