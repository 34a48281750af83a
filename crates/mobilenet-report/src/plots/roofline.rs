//! The blocks of all networks under the machine's roof.

use mobilenet_arch::Network;
use mobilenet_schema::{Bandwidth, BlockTime, Blocks, Roofline};

use super::plot::{Plot, plot};
use super::shares::short;
use crate::charts::{self, Disc, Entry};
use crate::text::{count, percent, significant};

/// Lines closer than this factor are drawn as one.
const SAME: f64 = 1.35;

/// Rates over intensities; a disc's area is the block's share of its network's time.
pub fn roofline(roof: &Roofline, networks: &[(Network, &Blocks)]) -> Plot {
    let peak = roof.peak_gflop_per_second;
    let ridges: Vec<f64> = roof.bandwidths.iter().map(|bandwidth| peak / bandwidth.gb_per_second).collect();
    let discs = networks.iter().flat_map(|&(network, times)| times.blocks.iter().map(move |b| disc(roof, network, b)));
    let entry = |&(network, _): &(Network, _)| Entry { class: network.class(), name: network.short() };
    let svg = charts::roofline(&charts::Roofline {
        title: "Blocks under the machine's roofline",
        axes: ("FLOP per byte of input, output and weights", "GFLOP/s"),
        peak,
        peak_label: &format!("peak, {} GFLOP/s", significant(peak)),
        slopes: lines(&roof.bandwidths),
        ridge: ridges.last().copied(),
        intensities: ridges,
        discs: discs.collect(),
        series: networks.iter().map(entry).collect(),
    });
    let batch = networks.first().map_or(1, |(_, times)| times.batch);
    let caption = format!(
        "The machine's roofline, measured on {} with float32 products ({}), and the blocks at batch {batch}; both axes \
         are logarithmic. A disc's area is the block's share of its network's time; it has its name where there is \
         room \
         for it. Bytes are those of input, output and weights; what a block keeps between its convolutions comes from \
         the caches.",
        count(roof.threads as u64, "thread"),
        roof.instruction_set
    );
    plot("roofline", caption, svg)
}

fn disc(roof: &Roofline, network: Network, block: &BlockTime) -> Disc {
    let of_roof = block.gflop_per_second / roof.attainable(block.flop_per_byte);
    Disc {
        class: network.class(),
        name: short(&block.name).to_owned(),
        intensity: block.flop_per_byte,
        rate: block.gflop_per_second,
        share: block.latency_share,
        hint: format!(
            "{}, {}: {} GFLOP/s at {} FLOP/byte, {} of the roof, {} of the time",
            network.label(),
            block.name,
            significant(block.gflop_per_second),
            significant(block.flop_per_byte),
            percent(of_roof),
            percent(block.latency_share)
        ),
    }
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

#[cfg(test)]
mod tests {
    use mobilenet_schema::MemoryLevel;

    use super::*;
    use crate::gather::fixture::fixture;

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
        let networks: Vec<_> = gathered.models.iter().map(|m| (m.network(), m.blocks_at(128).unwrap())).collect();
        let svg = roofline(gathered.roofline.as_ref().unwrap(), &networks).svg.inline();
        assert_eq!(svg.matches("<circle").count(), networks.iter().map(|(_, times)| times.blocks.len()).sum::<usize>());
        assert!(svg.contains("classifier") && !svg.contains("NaN") && !svg.contains("inf"));
    }
}
