//! What each block of two networks costs.

use mobilenet_arch::Network;

use super::plot::{Plot, plot};
use crate::charts::{Bar, Mirrored, mirrored};
use crate::structure::{Block, Pair};

/// Multiply-adds of each block, the two networks above and below one line.
pub fn block_costs(pairs: &[Pair], (a, b): (Network, Network)) -> Plot {
    let bar = |network: Network, block: &Option<Block>| {
        let block = block.as_ref()?;
        Some(Bar {
            value: block.macs as f64 / 1e6,
            mark: block.squeeze.map(|_| "SE"),
            hint: format!("{} block {}: {} M, {}", network.label(), block.index, block.cost(), block.describe()),
        })
    };
    let column = |pair: &Pair| (format!("{0}×{0}", pair.resolution), [bar(a, &pair.first), bar(b, &pair.second)]);
    let svg = mirrored(&Mirrored {
        title: "Multiply-adds of each block",
        heading: "Multiply-adds per block (millions)",
        series: [(a.class(), format!("{} above", a.short())), (b.class(), format!("{} below", b.short()))],
        columns: pairs.iter().map(column).collect(),
    });
    plot(
        "block-costs",
        "Blocks in the order they run, by the size of their output; SE: with squeeze-and-excite. Stem, head and \
         classifier are not drawn.",
        svg,
    )
}
