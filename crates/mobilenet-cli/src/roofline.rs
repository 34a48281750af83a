//! `mobilenet roofline`

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;
use mobilenet_bench::{Roofline, roofline};
use mobilenet_schema::RooflineRecord;

use crate::args::RooflineArgs;
use crate::output::{print, print_json};

/// In all: each figure is the best of some dozens of rounds.
const TIME: Duration = Duration::from_secs(3);

pub fn run(args: &RooflineArgs) -> Result<()> {
    let report = RooflineRecord { roofline: roofline(TIME)?, environment: crate::environment::collect() };
    if args.json {
        return print_json(&report);
    }
    print(&said(&report))
}

fn said(report: &RooflineRecord) -> String {
    let Roofline { threads, instruction_set, peak_gflop_per_second: peak, bandwidths } = &report.roofline;
    let count = match threads {
        1 => "1 thread".into(),
        n => format!("{n} threads"),
    };
    let mut text = format!(
        "{count} on {}\n{:<8} {peak:>7.1} GFLOP/s  float32 products in the cache, {instruction_set}\n",
        report.environment.processor, "peak"
    );
    for found in bandwidths {
        let _ = writeln!(
            text,
            "{:<8} {:>7.1} GB/s     read and written, {:.1} MB; limits below {:.1} FLOP/byte",
            found.level.name(),
            found.gb_per_second,
            found.buffer_bytes as f64 / 1e6,
            found.ridge(*peak)
        );
    }
    text
}
