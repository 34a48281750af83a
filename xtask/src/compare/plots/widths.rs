//! Accuracy, latency and throughput against the width multiplier.

use super::legend::Legend;
use super::scatter::{accuracy_with_bar, bars};
use super::{Frame, Plot, best_throughput, plot};
use crate::compare::gather::{Gathered, Model};
use crate::compare::names::Arch;
use crate::compare::network::Network;
use crate::compare::svg::{Svg, ticks};
use crate::compare::text::significant;

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

fn draw(gathered: &Gathered, subject: &Subject) -> Plot {
    let of = |arch: Arch| {
        let mut line: Vec<_> = gathered
            .models
            .iter()
            .filter(|model| model.arch.arch == arch)
            .filter_map(|model| Some((model.arch, model.arch.width.factor(), (subject.value)(model)?)))
            .collect();
        line.sort_by(|a, b| a.1.total_cmp(&b.1));
        line
    };
    let lines: Vec<_> =
        Arch::NAMED.into_iter().map(|arch| (arch, of(arch))).filter(|(_, line)| !line.is_empty()).collect();
    let points = || lines.iter().flat_map(|(_, line)| line);
    let least =
        |figure: fn(&(Network, f64, (f64, f64, f64))) -> f64| points().map(figure).fold(f64::INFINITY, f64::min);
    let most =
        |figure: fn(&(Network, f64, (f64, f64, f64))) -> f64| points().map(figure).fold(f64::NEG_INFINITY, f64::max);
    let low = if subject.from_zero { 0.0 } else { least(|p| p.2.1) };

    let names: Vec<Network> = lines.iter().map(|(arch, _)| (*arch).into()).collect();
    let legend = Legend::new(&names, 480.0);
    let shift = legend.extra_height();
    let mut svg = Svg::new(560.0, 340.0 + shift, &format!("{} against width", subject.title));
    let frame = Frame {
        left: 52.0,
        top: 66.0 + shift,
        width: 480.0,
        height: 218.0,
        x: ticks(least(|p| p.1), most(|p| p.1), 6),
        y: ticks(low, most(|p| p.2.2), 5),
    };
    frame.draw(&mut svg, "Width multiplier", subject.title);
    legend.draw(&mut svg, (frame.left, 44.0));
    for (arch, line) in &lines {
        let places: Vec<_> = line.iter().map(|(_, width, value)| frame.place((*width, value.0))).collect();
        svg.polyline(&format!("line stroke {}", arch.key()), &places);
        for ((network, width, (value, low, high)), at) in line.iter().zip(places) {
            if low < high {
                let ends = [low, high].map(|end| frame.place((*width, *end)));
                svg.line(&format!("line stroke {}", network.class()), ends[0], ends[1]);
            }
            svg.disc(
                &format!("fill {}", network.class()),
                at,
                4.5,
                &format!("{}: {}", network.label(), significant(*value)),
            );
        }
    }
    let bars = if subject.from_zero { String::new() } else { format!(" Bars: {}.", bars(gathered)) };
    plot(subject.name, format!("{} against the width multiplier.{bars}", subject.title), svg)
}
