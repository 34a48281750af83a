//! Each block's share of a network's time beside its share of the multiply-adds.

use mobilenet_arch::Network;
use mobilenet_schema::{BlockTime, Blocks};

use super::plot::{Plot, plot};
use crate::charts::{Column, Pairs, pairs};
use crate::text::{percent, significant};

/// Time over multiply-adds from which on a block is marked.
pub const MARKED: f64 = 1.5;

/// Pairs of bars, block by block.
pub fn shares(network: Network, times: &Blocks) -> Plot {
    let label = network.label();
    let column = |block: &BlockTime| Column {
        name: short(&block.name).to_owned(),
        group: side(block).map(|side| format!("{side}×{side}")),
        shares: [block.latency_share, block.macs_share],
        mark: is_marked(block).then(|| ratio(block)),
        hint: format!(
            "{}: {} ms, {} of the time, {} of the multiply-adds ({} M)",
            block.name,
            significant(block.p50_ms),
            percent(block.latency_share),
            percent(block.macs_share),
            significant(block.macs as f64 / 1e6)
        ),
    };
    let svg = pairs(&Pairs {
        title: &format!("Where the time of {label} goes"),
        heading: &format!("{label}: share of the whole, block by block (%)"),
        class: &network.class(),
        kinds: ["of the time", "of the multiply-adds"],
        columns: times.blocks.iter().map(column).collect(),
    });
    let caption = format!(
        "{label}, one image: each block's share of the time and of the multiply-adds; where the first is more than \
         {MARKED} times the second, how many times. Below, the size of the block's output."
    );
    plot(&format!("time-shares-{network}"), caption, svg)
}

/// Whether a block takes far more of the time than its multiply-adds are of the network's.
pub fn is_marked(block: &BlockTime) -> bool {
    block.latency_share > MARKED * block.macs_share
}

/// `3` of `block 3`.
pub fn short(block: &str) -> &str {
    match block {
        "last conv" => "last",
        name => name.strip_prefix("block ").unwrap_or(name),
    }
}

/// `2.3×`
fn ratio(block: &BlockTime) -> String {
    match block.latency_share / block.macs_share {
        times if times < 9.95 => format!("{times:.1}×"),
        times if times < 999.5 => format!("{times:.0}×"),
        _ => "≫".to_owned(),
    }
}

/// Height of the output in pixels.
fn side(block: &BlockTime) -> Option<u64> {
    block.output.get(1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gather::fixture::fixture;

    #[test]
    fn every_block_has_two_bars_and_a_name() {
        let gathered = fixture();
        for model in &gathered.models {
            let times = model.blocks_at(1).unwrap();
            let svg = shares(model.network(), times).svg.inline();
            // And two in the legend.
            assert_eq!(svg.matches("<rect").count(), 2 * times.blocks.len() + 2, "{}", model.network());
            for name in ["stem", "1", "last", "classifier"] {
                assert!(svg.contains(&format!(">{name}</text>")), "{}: {name}", model.network());
            }
            let marked = times.blocks.iter().filter(|block| is_marked(block)).count();
            assert_eq!(svg.matches("×</text>").count(), marked, "{}", model.network());
        }
    }
}
