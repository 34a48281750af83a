//! The blocks of all networks under the machine's roof.

use super::legend::text_width;
use super::shares::short;
use super::{Frame, Plot, plot};
use crate::svg::Svg;
use crate::text::{count, percent, significant};
use mobilenet_arch::Network;
use mobilenet_schema::{Bandwidth, BlockTime, Blocks, Roofline};

/// Lines closer than this factor are drawn as one.
const SAME: f64 = 1.35;

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
        x: vec![(x_low * 0.4).log10(), (x_high * 1.5).log10()],
        y: vec![(y_low * 0.6).log10(), (y_high * 1.5).log10()],
    };
    let mut svg = Svg::new(900.0, frame.top + frame.height + 50.0, "Blocks under the machine's roofline");
    axes(&mut svg, &frame);
    draw_roof(&mut svg, &frame, roof);
    draw_blocks(&mut svg, &frame, roof, networks);
    let mut x = frame.left + frame.width;
    for (network, _) in networks.iter().rev() {
        svg.text(&format!("fill {}", network.class()), (x, 24.0), "end", &network.short());
        x -= text_width(&network.short()) + 22.0;
    }
    let batch = networks.first().map_or(1, |(_, times)| times.batch);
    let caption = format!(
        "The machine's roofline, measured on {} with float32 products ({}), and the blocks at batch {batch}; both axes are logarithmic. A disc's area is the block's share of its network's time; it has its name where there is room for it. Bytes are those of input, output and weights; what a block keeps between its convolutions comes from the caches.",
        count(roof.threads as u64, "thread"),
        roof.instruction_set
    );
    plot("roofline", caption, svg)
}

/// A line for each bandwidth up to the peak, and the peak.
fn draw_roof(svg: &mut Svg, frame: &Frame, roof: &Roofline) {
    let place = |x: f64, y: f64| frame.place((x.log10(), y.log10()));
    let peak = roof.peak_gflop_per_second;
    let (x_low, x_high) = (10_f64.powf(frame.x[0]), 10_f64.powf(frame.x[1]));
    let y_low = 10_f64.powf(frame.y[0]);
    for (i, (rate, label)) in lines(&roof.bandwidths).into_iter().enumerate() {
        // Where the line enters the picture: from the left or from below.
        let from = if x_low * rate > y_low { (x_low, x_low * rate) } else { (y_low / rate, y_low) };
        let (start, end) = (place(from.0, from.1), place(peak / rate, peak));
        svg.polyline(if i == 0 { "roof" } else { "roof faint" }, &[start, end]);
        // Along the line, above it.
        let (dx, dy) = (end.0 - start.0, end.1 - start.1);
        let length = dx.hypot(dy).max(1.0);
        let at = (start.0 + (14.0 * dx + 5.0 * dy) / length, start.1 + (14.0 * dy - 5.0 * dx) / length);
        svg.turned("name small", at, dy.atan2(dx).to_degrees(), &label);
    }
    let ridge = roof.bandwidths.last().map_or(x_low, |memory| peak / memory.gb_per_second);
    let end = place(x_high, peak);
    svg.polyline("roof", &[place(ridge, peak), end]);
    svg.text("name", (end.0, end.1 - 8.0), "end", &format!("peak, {} GFLOP/s", significant(peak)));
}

/// The bandwidths to be drawn, the memory first, with their labels; levels as fast as one another are one line.
fn lines(bandwidths: &[Bandwidth]) -> Vec<(f64, String)> {
    let mut groups: Vec<Vec<&Bandwidth>> = Vec::new();
    for found in bandwidths.iter().rev() {
        match groups.last_mut() {
            Some(group) if group.iter().all(|b| ratio(b.gb_per_second, found.gb_per_second) < SAME) => {
                group.push(found);
            }
            _ => groups.push(vec![found]),
        }
    }
    groups
        .into_iter()
        .map(|group| {
            let rate = group.iter().map(|b| b.gb_per_second).fold(0.0, f64::max);
            let names: Vec<_> = group.iter().rev().map(|b| b.level.name()).collect();
            (rate, format!("{} {} GB/s", names.join(", "), significant(rate)))
        })
        .collect()
}

/// At least 1.
fn ratio(a: f64, b: f64) -> f64 {
    (a / b).max(b / a)
}

/// A block in the picture.
struct Disc<'a> {
    network: Network,
    block: &'a BlockTime,
    at: (f64, f64),
    radius: f64,
}

impl<'a> Disc<'a> {
    fn new(frame: &Frame, network: Network, block: &'a BlockTime) -> Self {
        let at = frame.place((block.flop_per_byte.log10(), block.gflop_per_second.log10()));
        Self { network, block, at, radius: (30.0 * block.latency_share.sqrt()).max(2.5) }
    }
}

/// A disc with its name beside it, where there is room for that.
fn draw_blocks(svg: &mut Svg, frame: &Frame, roof: &Roofline, networks: &[(Network, &Blocks)]) {
    let mut discs: Vec<Disc> = networks
        .iter()
        .flat_map(|&(network, times)| times.blocks.iter().map(move |block| Disc::new(frame, network, block)))
        .collect();
    // The small ones last, on top.
    discs.sort_by(|a, b| b.radius.total_cmp(&a.radius));
    for &Disc { network, block, at, radius } in &discs {
        let of_roof = block.gflop_per_second / roof.attainable(block.flop_per_byte);
        let hint = format!(
            "{}, {}: {} GFLOP/s at {} FLOP/byte, {} of the roof, {} of the time",
            network.label(),
            block.name,
            significant(block.gflop_per_second),
            significant(block.flop_per_byte),
            percent(of_roof),
            percent(block.latency_share)
        );
        svg.disc(&format!("fill clear {}", network.class()), at, radius, &hint);
    }
    // Left, top, right, bottom; a disc's square overstates it.
    let square =
        |(x, y): (f64, f64), radius: f64| [x - 0.8 * radius, y - 0.8 * radius, x + 0.8 * radius, y + 0.8 * radius];
    let mut taken: Vec<[f64; 4]> = discs.iter().map(|disc| square(disc.at, disc.radius)).collect();
    let (right, (_, peak)) = (frame.left + frame.width, frame.place((0.0, roof.peak_gflop_per_second.log10())));
    taken.push([frame.left, peak - 2.0, right, peak + 2.0]);
    for &Disc { network, block, at: (x, y), radius } in &discs {
        let name = short(&block.name);
        let (width, gap) = (0.9 * text_width(name), radius + 3.0);
        let places = [
            (x + gap, y + 4.0, "start", x + gap),
            (x - gap, y + 4.0, "end", x - gap - width),
            (x, y + gap + 8.0, "middle", x - width / 2.0),
            (x, y - gap, "middle", x - width / 2.0),
        ];
        let free = |left: f64, bottom: f64| {
            let area = [left, bottom - 9.0, left + width, bottom + 1.0];
            taken.iter().all(|t| area[2] < t[0] || t[2] < area[0] || area[3] < t[1] || t[3] < area[1]).then_some(area)
        };
        let found = places.into_iter().find_map(|place| Some((place, free(place.3, place.1)?)));
        if let Some(((x, y, anchor, _), area)) = found {
            svg.text(&format!("fill small {}", network.class()), (x, y), anchor, name);
            taken.push(area);
        }
    }
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
    let title = "FLOP per byte of input, output and weights";
    svg.text("", (frame.left + frame.width / 2.0, bottom + 38.0), "middle", title);
    svg.text("title", (14.0, 24.0), "start", "GFLOP/s");
}

/// 1, 2 and 5 times powers of ten between two logarithms.
fn marks(low: f64, high: f64) -> Vec<f64> {
    let powers = low.floor() as i32..=high.floor() as i32;
    // Divided, where the power is negative: 5 / 100 is the number that is written 0.05, 5 · 0.01 may not be.
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
    use crate::gather::fixture::fixture;
    use mobilenet_schema::MemoryLevel;

    #[test]
    fn marks_are_round_and_within() {
        let text =
            |low: f64, high: f64| marks(low.log10(), high.log10()).iter().map(f64::to_string).collect::<Vec<_>>();
        assert_eq!(text(0.04, 3.0), ["0.05", "0.1", "0.2", "0.5", "1", "2"]);
        assert_eq!(text(90.0, 600.0), ["100", "200", "500"]);
    }

    #[test]
    fn levels_as_fast_as_one_another_are_one_line() {
        let levels = |rates: [f64; 3]| {
            let of = |(level, gb_per_second)| Bandwidth { level, buffer_bytes: 0, gb_per_second };
            let bandwidths: Vec<_> =
                [MemoryLevel::L2, MemoryLevel::L3, MemoryLevel::Memory].into_iter().zip(rates).map(of).collect();
            lines(&bandwidths).into_iter().map(|(_, label)| label).collect::<Vec<_>>()
        };
        assert_eq!(levels([300.0, 150.0, 40.0]), ["memory 40.0 GB/s", "L3 150 GB/s", "L2 300 GB/s"]);
        assert_eq!(levels([140.0, 150.0, 40.0]), ["memory 40.0 GB/s", "L2, L3 150 GB/s"]);
    }

    #[test]
    fn every_block_has_a_disc_and_no_place_is_no_number() {
        let gathered = fixture();
        let networks: Vec<_> = gathered.models.iter().map(|m| (m.network, m.blocks_at(128).unwrap())).collect();
        let svg = roofline(gathered.roofline.as_ref().unwrap(), &networks).svg.inline();
        assert_eq!(svg.matches("<circle").count(), networks.iter().map(|(_, times)| times.blocks.len()).sum::<usize>());
        assert!(svg.contains("classifier") && !svg.contains("NaN") && !svg.contains("inf"));
    }
}
