//! Accuracy, latency and throughput against the width multiplier.

use mobilenet_arch::Arch;
use mobilenet_arch::Network;

use super::figures::{accuracy_with_bar, bars, best_throughput};
use super::plot::{Plot, plot};
use crate::charts::{Axes, Entry, LineChart, ticks};
use crate::gather::{Gathered, Model};
use crate::text::significant;

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
    let networks = gathered.models.iter().filter(|model| model.network().arch == arch);
    let point = |model: &Model| {
        let (value, low, high) = (subject.value)(model)?;
        Some(Point { network: model.network(), width: model.network().width.factor(), value, low, high })
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

    let entry = |arch: &Arch| Entry { class: arch.name().to_owned(), name: arch.short().to_owned() };
    let series: Vec<_> = lines.iter().map(|(arch, _)| entry(arch)).collect();
    let axes = Axes {
        x_title: "Width multiplier",
        y_title: subject.title,
        x: ticks(least(|p| p.width), most(|p| p.width), 6),
        y: ticks(low, most(|p| p.high), 5),
    };
    let mut chart = LineChart::new(&format!("{} against width", subject.title), 218.0, &series, axes);
    chart.legend();
    for (arch, line) in &lines {
        chart.line(arch.name(), false, &line.iter().map(|p| (p.width, p.value)).collect::<Vec<_>>());
        for point in line {
            let class = point.network.class();
            if point.low < point.high {
                chart.bar(&class, point.width, (point.low, point.high));
            }
            let hint = format!("{}: {}", point.network.label(), significant(point.value));
            chart.disc(&class, (point.width, point.value), 4.5, &hint);
        }
    }
    let bars = if subject.from_zero { String::new() } else { format!(" Bars: {}.", bars(gathered)) };
    plot(subject.name, format!("{} against the width multiplier.{bars}", subject.title), chart.finish())
}
