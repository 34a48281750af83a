//! The blocks of all networks under the machine's roof.

use super::{Frame, Plot, plot};
use crate::compare::artefacts::{BlockTime, Blocks, Roofline};
use crate::compare::network::Network;
use crate::compare::svg::Svg;
use crate::compare::text::{count, percent, significant};

/// Rates over intensities, both logarithmic; a disc's area is the block's share of its network's time.
pub fn roofline(roof: &Roofline, networks: &[(Network, &Blocks)]) -> Plot {
    let peak = roof.peak_gflop_per_second;
    let points = || networks.iter().flat_map(|(_, times)| &times.blocks);
    let ridges = roof.bandwidths.iter().map(|b| peak / b.gb_per_second);
    let (x_low, x_high) = span(points().map(|b| b.flop_per_byte).chain(ridges));
    let (y_low, y_high) = span(points().map(|b| b.gflop_per_second).chain([peak]));
    let frame = Frame {
        left: 58.0,
        top: 46.0,
        width: 822.0,
        height: 340.0,
        x: vec![(x_low * 0.6).log10(), (x_high * 1.5).log10()],
        y: vec![(y_low * 0.6).log10(), (y_high * 1.5).log10()],
    };
    let place = |x: f64, y: f64| frame.place((x.log10(), y.log10()));
    let (right, bottom) = (frame.left + frame.width, frame.top + frame.height);
    let mut svg = Svg::new(900.0, bottom + 50.0, "Blocks under the machine's roofline");
    axes(&mut svg, &frame);

    for (i, bandwidth) in roof.bandwidths.iter().rev().enumerate() {
        let rate = bandwidth.gb_per_second;
        // Where the line enters the picture: from below or from the left.
        let (x0, y0) = (10_f64.powf(frame.x[0]), 10_f64.powf(frame.y[0]));
        let from = if x0 * rate > y0 { (x0, x0 * rate) } else { (y0 / rate, y0) };
        let ends = [place(from.0, from.1), place(peak / rate, peak)];
        svg.polyline(if i == 0 { "roof" } else { "roof faint" }, &ends);
        // Right of the line, each a little higher than the one before.
        let at = place(from.0, from.1);
        let rise = 14.0 + 20.0 * i as f64;
        let slope = (ends[1].0 - ends[0].0) / (ends[0].1 - ends[1].1).max(1.0);
        let name = match bandwidth.level.as_str() {
            "memory" => "memory".to_owned(),
            level => level.to_uppercase(),
        };
        let label = format!("{name}, {} GB/s", significant(rate));
        svg.text("name", (at.0 + slope * rise + 10.0, at.1 - rise + 4.0), "start", &label);
    }
    let start = roof.bandwidths.last().map_or(10_f64.powf(frame.x[0]), |memory| peak / memory.gb_per_second);
    let end = place(10_f64.powf(frame.x[1]), peak);
    svg.polyline("roof", &[place(start, peak), end]);
    let label = format!("peak, {} GFLOP/s", significant(peak));
    svg.text("name", (end.0, end.1 - 8.0), "end", &label);

    let mut discs: Vec<(Network, &BlockTime)> =
        networks.iter().flat_map(|&(arch, times)| times.blocks.iter().map(move |block| (arch, block))).collect();
    // The small ones last, on top.
    discs.sort_by(|a, b| b.1.latency_share.total_cmp(&a.1.latency_share));
    for (arch, block) in discs {
        let at = place(block.flop_per_byte, block.gflop_per_second);
        let radius = (34.0 * block.latency_share.sqrt()).max(2.5);
        let of_roof = block.gflop_per_second / roof.attainable(block.flop_per_byte);
        let hint = format!(
            "{}, {}: {} GFLOP/s at {} FLOP/byte, {} of the roof, {} of the time",
            arch.label(),
            block.name,
            significant(block.gflop_per_second),
            significant(block.flop_per_byte),
            percent(of_roof),
            percent(block.latency_share)
        );
        svg.disc(&format!("fill clear {}", arch.class()), at, radius, &hint);
        if radius >= 7.5 {
            let label = block.name.strip_prefix("block ").unwrap_or(&block.name);
            svg.text(&format!("on small {}", arch.class()), (at.0, at.1 + 3.5), "middle", label);
        }
    }
    let mut x = right;
    for (arch, _) in networks.iter().rev() {
        svg.text(&format!("fill {}", arch.class()), (x, 24.0), "end", &arch.short());
        x -= 9.0 * arch.short().len() as f64 + 14.0;
    }
    let batch = networks.first().map_or(1, |(_, times)| times.batch);
    let caption = format!(
        "The machine's roofline, measured on {} ({}), and the blocks at batch {batch}; both axes are logarithmic. A disc's area is the block's share of its network's time, its number the block. Bytes are those of input, output and weights; what a block keeps between its convolutions comes from the caches.",
        count(roof.threads, "thread"),
        roof.instruction_set
    );
    plot("roofline", caption, svg)
}

/// The least and the largest of values above 0.
fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let fold = |(low, high): (f64, f64), v: f64| (low.min(v), high.max(v));
    let (low, high) = values.filter(|v| v.is_finite() && *v > 0.0).fold((f64::INFINITY, 0.0), fold);
    if high > 0.0 { (low, high) } else { (1.0, 10.0) }
}

/// Grid lines at 1, 2 and 5 times the powers of ten.
fn axes(svg: &mut Svg, frame: &Frame) {
    let (right, bottom) = (frame.left + frame.width, frame.top + frame.height);
    for mark in marks(frame.y[0], frame.y[1]) {
        let (_, y) = frame.place((frame.x[0], mark.log10()));
        svg.line("grid", (frame.left, y), (right, y));
        svg.text("", (frame.left - 8.0, y + 4.0), "end", &mark.to_string());
    }
    for mark in marks(frame.x[0], frame.x[1]) {
        let (x, _) = frame.place((mark.log10(), frame.y[0]));
        svg.line("axis", (x, bottom), (x, bottom + 4.0));
        svg.text("", (x, bottom + 18.0), "middle", &mark.to_string());
    }
    svg.line("axis", (frame.left, bottom), (right, bottom));
    svg.text("", (frame.left + frame.width / 2.0, bottom + 38.0), "middle", "FLOP per byte moved at least");
    svg.text("title", (14.0, 24.0), "start", "GFLOP/s");
}

/// 1, 2 and 5 times powers of ten between two logarithms.
fn marks(low: f64, high: f64) -> Vec<f64> {
    let powers = low.floor() as i32..=high.floor() as i32;
    // Divided, where the power is negative: 5 / 100 is the number that is written 0.05, 5 · 0.01 is not.
    let mark = |power: i32, factor: f64| match power {
        0.. => factor * 10_f64.powi(power),
        _ => factor / 10_f64.powi(-power),
    };
    powers
        .flat_map(|power| [1.0, 2.0, 5.0].map(|factor| mark(power, factor)))
        .filter(|mark| (low..=high).contains(&mark.log10()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_within() {
        let text =
            |low: f64, high: f64| marks(low.log10(), high.log10()).iter().map(f64::to_string).collect::<Vec<_>>();
        assert_eq!(text(0.04, 3.0), ["0.05", "0.1", "0.2", "0.5", "1", "2"]);
        assert_eq!(text(90.0, 600.0), ["100", "200", "500"]);
    }
}
