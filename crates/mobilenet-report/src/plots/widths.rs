//! Accuracy, latency and throughput against the width multiplier.

use super::legend::Legend;
use super::scatter::{accuracy_with_bar, bars};
use super::{Frame, Plot, best_throughput, plot};
use crate::gather::{Gathered, Model};
use crate::svg::{Svg, ticks};
use crate::text::significant;
use mobilenet_arch::Arch;
use mobilenet_arch::Network;

/// One figure against the width.
struct Subject {
    name: &'static str,
    title: &'static str,
    /// The figure with the ends of its bar
    value: fn(&Model) -> Option<(f64, f64, f64)>,
    /// Whether the axis begins at 0
    from_zero: bool,
}

const SUBJECTS: [Subject; 3] = [
    Subject {
        name: "width-accuracy",
        title: "Test accuracy (%)",
        value: |model| Some(accuracy_with_bar(model)),
        from_zero: false,
    },
    Subject {
        name: "width-latency",
        title: "Latency, batch 1 (ms, median)",
        value: |model| model.latency().map(|v| (v, v, v)),
        from_zero: true,
    },
    Subject {
        name: "width-throughput",
        title: "Throughput, inference (images per second)",
        value: |model| best_throughput(model).map(|v| (v, v, v)),
        from_zero: true,
    },
];

/// The three plots, a line for each architecture.
pub fn widths(gathered: &Gathered) -> Vec<Plot> {
    SUBJECTS.iter().map(|subject| draw(gathered, subject)).collect()
}

/// A network's figure with the ends of its bar.
struct Point {
    network: Network,
    width: f64,
    value: f64,
    low: f64,
    high: f64,
}

/// An architecture's networks, from narrow to wide.
fn line(gathered: &Gathered, arch: Arch, subject: &Subject) -> Vec<Point> {
    let networks = gathered.models.iter().filter(|model| model.network.arch == arch);
    let point = |model: &Model| {
        let (value, low, high) = (subject.value)(model)?;
        Some(Point { network: model.network, width: model.network.width.factor(), value, low, high })
    };
    let mut line: Vec<_> = networks.filter_map(point).collect();
    line.sort_by(|a, b| a.width.total_cmp(&b.width));
    line
}

fn draw(gathered: &Gathered, subject: &Subject) -> Plot {
    let lines = Arch::all().map(|arch| (arch, line(gathered, arch, subject)));
    let lines: Vec<_> = lines.filter(|(_, line)| !line.is_empty()).collect();
    let points = || lines.iter().flat_map(|(_, line)| line);
    let least = |figure: fn(&Point) -> f64| points().map(figure).fold(f64::INFINITY, f64::min);
    let most = |figure: fn(&Point) -> f64| points().map(figure).fold(f64::NEG_INFINITY, f64::max);
    let low = if subject.from_zero { 0.0 } else { least(|p| p.low) };

    let names: Vec<Network> = lines.iter().map(|(arch, _)| (*arch).into()).collect();
    let legend = Legend::new(&names, 480.0);
    let shift = legend.extra_height();
    let mut svg = Svg::new(560.0, 340.0 + shift, &format!("{} against width", subject.title));
    let frame = Frame {
        left: 52.0,
        top: 66.0 + shift,
        width: 480.0,
        height: 218.0,
        x: ticks(least(|p| p.width), most(|p| p.width), 6),
        y: ticks(low, most(|p| p.high), 5),
    };
    frame.draw(&mut svg, "Width multiplier", subject.title);
    legend.draw(&mut svg, (frame.left, 44.0));
    for (arch, line) in &lines {
        let places: Vec<_> = line.iter().map(|p| frame.place((p.width, p.value))).collect();
        svg.polyline(&format!("line stroke {}", arch.name()), &places);
        for (point, at) in line.iter().zip(places) {
            let class = point.network.class();
            if point.low < point.high {
                let ends = [point.low, point.high].map(|end| frame.place((point.width, end)));
                svg.line(&format!("line stroke {class}"), ends[0], ends[1]);
            }
            let hint = format!("{}: {}", point.network.label(), significant(point.value));
            svg.disc(&format!("fill {class}"), at, 4.5, &hint);
        }
    }
    let bars = if subject.from_zero { String::new() } else { format!(" Bars: {}.", bars(gathered)) };
    plot(subject.name, format!("{} against the width multiplier.{bars}", subject.title), svg)
}
