//! The structural differences between V2 and V3.

use mobilenet_arch::Arch;

use crate::document::{Block, Cell, Inline, Section, Table};
use crate::gather::Gathered;
use crate::text::millions;
use crate::{plots, structure};

/// V2 and V3 side by side; nothing if a summary is missing.
pub fn section(gathered: &Gathered) -> Option<Section> {
    let second = if gathered.model(Arch::V3Large).is_none() && gathered.model(Arch::V3Small).is_some() {
        Arch::V3Small
    } else {
        Arch::V3Large
    };
    let (a, b) = (&gathered.counts(Arch::V2)?.cifar, &gathered.counts(second)?.cifar);
    let (first_blocks, second_blocks) = (structure::blocks(a), structure::blocks(b));
    let pairs = structure::align(&first_blocks, &second_blocks);
    let describe = |block: &Option<structure::Block>| block.as_ref().map_or("–".to_owned(), structure::Block::describe);
    let cost = |block: &Option<structure::Block>| block.as_ref().map_or("–".to_owned(), structure::Block::cost);
    let rows = pairs
        .iter()
        .map(|pair| {
            [
                format!("{0}×{0}", pair.resolution),
                describe(&pair.first),
                describe(&pair.second),
                cost(&pair.first),
                cost(&pair.second),
                pair.differences("V2", second.short()),
            ]
            .map(Cell::from)
            .into()
        })
        .collect();
    let head = [
        "Output".to_owned(),
        "V2: window, inside → out".to_owned(),
        format!("{}: window, inside → out", second.short()),
        "V2, M multiply-adds".to_owned(),
        format!("{}, M", second.short()),
        format!("What {} does differently", second.short()),
    ];
    let ((params_a, macs_a), (params_b, macs_b)) =
        (structure::around(a, &first_blocks), structure::around(b, &second_blocks));
    let text = format!(
        "Both stack inverted residuals: widen by a 1×1 convolution, filter each channel by itself, narrow by another \
         1×1 convolution. {} spends its multiply-adds differently: narrower blocks at high resolution; 5×5 windows, \
         squeeze-and-excite and h-swish where it is low. \
         Outside the blocks (stem, last convolution, classifier) V2 has {} M parameters and {} M multiply-adds, {} {} \
         M and {} M, mostly in the hidden layer of its classifier.",
        second.label(),
        millions(params_a),
        millions(macs_a),
        second.short(),
        millions(params_b),
        millions(macs_b)
    );
    Some(Section {
        title: "V2 and V3, block by block".into(),
        blocks: vec![
            Block::Text(text.into()),
            Block::Plots(vec![plots::block_costs(&pairs, (Arch::V2.into(), second.into()))]),
            Block::Details(
                "All blocks".into(),
                vec![Block::Table(Table { head: head.map(Inline::from).into(), numeric: false, rows })],
            ),
        ],
    })
}
