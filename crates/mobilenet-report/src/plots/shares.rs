//! Each block's share of a network's time beside its share of the multiply-adds.

use super::{Frame, Plot, plot};
use crate::svg::{Svg, tick_label, ticks};
use crate::text::{percent, significant};
use mobilenet_arch::Network;
use mobilenet_schema::{BlockTime, Blocks};

/// Time over multiply-adds from which on a block is marked.
pub const MARKED: f64 = 1.5;

const WIDTH: f64 = 900.0;

/// Pairs of bars, block by block.
pub fn shares(network: Network, times: &Blocks) -> Plot {
    let most = times.blocks.iter().map(|b| b.latency_share.max(b.macs_share)).fold(0.01, f64::max);
    let frame = Frame {
        left: 52.0,
        top: 56.0,
        width: WIDTH - 68.0,
        height: 190.0,
        x: vec![0.0, times.blocks.len().max(1) as f64],
        y: ticks(0.0, 108.0 * most, 4),
    };
    let (right, bottom) = (frame.left + frame.width, frame.top + frame.height);
    let mut svg = Svg::new(WIDTH, bottom + 50.0, &format!("Where the time of {} goes", network.label()));
    let title = format!("{}: share of the whole, block by block (%)", network.label());
    svg.text("title", (14.0, 24.0), "start", &title);
    legend(&mut svg, network, right);
    for &mark in &frame.y {
        let (_, y) = frame.place((0.0, mark));
        svg.line("grid", (frame.left, y), (right, y));
        svg.text("", (frame.left - 8.0, y + 4.0), "end", &tick_label(mark, frame.y[1] - frame.y[0]));
    }
    let step = frame.width / times.blocks.len().max(1) as f64;
    let bar = (step - 9.0) / 2.0;
    let color = format!("fill {}", network.class());
    let mut resolution = None;
    for (i, block) in times.blocks.iter().enumerate() {
        let (x, _) = frame.place((i as f64, 0.0));
        if resolution != Some(side(block)) {
            resolution = Some(side(block));
            if i > 0 {
                svg.line("grid", (x, frame.top), (x, bottom));
                svg.line("grid", (x, bottom + 24.0), (x, bottom + 40.0));
            }
            if let Some(side) = side(block) {
                svg.text("small", (x + 5.0, bottom + 36.0), "start", &format!("{side}×{side}"));
            }
        }
        let hint = format!(
            "{}: {} ms, {} of the time, {} of the multiply-adds ({} M)",
            block.name,
            significant(block.p50_ms),
            percent(block.latency_share),
            percent(block.macs_share),
            significant(block.macs as f64 / 1e6)
        );
        for (k, (share, opacity)) in [(block.latency_share, 1.0), (block.macs_share, 0.38)].into_iter().enumerate() {
            let (_, top) = frame.place((0.0, 100.0 * share));
            let at = (x + 4.0 + (bar + 1.0) * k as f64, top);
            svg.rect(&color, at, (bar, bottom - top), opacity, &hint);
        }
        if is_marked(block) {
            let (_, top) = frame.place((0.0, 100.0 * block.latency_share));
            let at = (x + 4.0 + bar / 2.0, top - 5.0);
            svg.text("small name", at, "middle", &ratio(block));
        }
        // The last label is wider than its column and ends with it.
        let last = i + 1 == times.blocks.len();
        let (at, anchor) = if last { (right, "end") } else { (x + step / 2.0, "middle") };
        svg.text("name small", (at, bottom + 16.0), anchor, short(&block.name));
    }
    svg.line("axis", (frame.left, bottom), (right, bottom));
    let caption = format!(
        "{}, one image: each block's share of the time and of the multiply-adds; where the first is more than {MARKED} times the second, how many times. Below, the size of the block's output.",
        network.label()
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

fn legend(svg: &mut Svg, network: Network, right: f64) {
    for (x, opacity, text) in [(right - 262.0, 1.0, "of the time"), (right - 144.0, 0.38, "of the multiply-adds")] {
        svg.rect(&format!("fill {}", network.class()), (x, 14.0), (11.0, 11.0), opacity, text);
        svg.text("name", (x + 17.0, 24.0), "start", text);
    }
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
            let svg = shares(model.network, times).svg.inline();
            // And two in the legend.
            assert_eq!(svg.matches("<rect").count(), 2 * times.blocks.len() + 2, "{}", model.network);
            for name in ["stem", "1", "last", "classifier"] {
                assert!(svg.contains(&format!(">{name}</text>")), "{}: {name}", model.network);
            }
            let marked = times.blocks.iter().filter(|block| is_marked(block)).count();
            assert_eq!(svg.matches("×</text>").count(), marked, "{}", model.network);
        }
    }
}
