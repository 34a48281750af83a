//! Accuracy against a cost, with the Pareto front.

use super::labels::{Area, Labels};
use super::{Frame, Plot, lower_first, plot};
use crate::gather::{Gathered, Model};
use crate::pareto;
use crate::stats::wilson;
use crate::svg::{Svg, ticks};
use crate::text::significant;
use mobilenet_arch::Network;

/// Of more networks only those on the front are named in the picture; the others by a hint under the pointer.
const MOST_NAMED: usize = 6;

/// A network's place, accuracies in percent.
struct Point {
    network: Network,
    cost: f64,
    accuracy: f64,
    low: f64,
    high: f64,
}

/// Accuracy against a cost: the article's trade-off, with 95 % intervals.
pub fn trade_offs(gathered: &Gathered) -> Vec<Plot> {
    vec![
        scatter(gathered, ("accuracy-latency", "Latency, batch 1 (ms, median)"), &Model::latency),
        scatter(gathered, ("accuracy-macs", "Multiply-adds per image (millions)"), &|model| {
            Some(model.macs as f64 / 1e6)
        }),
    ]
}

/// A network's accuracy in percent with its bar: one standard deviation over the seeds, or the 95 % interval of a single one.
pub fn accuracy_with_bar(model: &Model) -> (f64, f64, f64) {
    let accuracy = model.test_top1();
    let (low, high) = if model.runs.len() > 1 {
        let spread = model.deviation(|run| run.eval.test_top1);
        (accuracy - spread, accuracy + spread)
    } else {
        wilson(accuracy, model.runs[0].eval.test_images)
    };
    (100.0 * accuracy, 100.0 * low, 100.0 * high)
}

/// What the bars are, for a caption.
pub fn bars(gathered: &Gathered) -> &'static str {
    let several = |model: &Model| model.runs.len() > 1;
    if gathered.models.iter().all(several) {
        "one standard deviation over the seeds"
    } else if gathered.models.iter().any(several) {
        "one standard deviation over the seeds; of networks with one seed, the 95% interval from the number of test images"
    } else {
        "95% intervals from the number of test images"
    }
}

fn scatter(gathered: &Gathered, (name, title): (&str, &str), cost: &dyn Fn(&Model) -> Option<f64>) -> Plot {
    let mut points: Vec<Point> = gathered
        .models
        .iter()
        .filter_map(|model| {
            let (accuracy, low, high) = accuracy_with_bar(model);
            Some(Point { network: model.network, cost: cost(model)?, accuracy, low, high })
        })
        .collect();
    points.sort_by(|a, b| a.cost.total_cmp(&b.cost));
    let front = pareto::front(&points.iter().map(|p| (p.cost, p.accuracy)).collect::<Vec<_>>());
    // Two networks need no front: one sees at once which is where.
    let with_front = points.len() > 2;
    let most = points.iter().map(|p| p.cost).fold(0.0, f64::max) * 1.2;
    let low = points.iter().map(|p| p.low).fold(f64::INFINITY, f64::min);
    let high = points.iter().map(|p| p.high).fold(f64::NEG_INFINITY, f64::max);

    let mut svg = Svg::new(560.0, 340.0, &format!("Test accuracy against {title}"));
    let frame =
        Frame { left: 52.0, top: 44.0, width: 480.0, height: 240.0, x: ticks(0.0, most, 6), y: ticks(low, high, 5) };
    frame.draw(&mut svg, title, "Test accuracy (%)");
    let best = points.iter().zip(&front).filter(|(_, on)| **on).map(|(p, _)| frame.place((p.cost, p.accuracy)));
    let best = if with_front { best.collect::<Vec<_>>() } else { Vec::new() };
    let stairs = stairs(&best, frame.left + frame.width);
    if with_front {
        svg.polyline("line front", &stairs);
    }
    for (point, on_front) in points.iter().zip(&front) {
        let (x, y) = frame.place((point.cost, point.accuracy));
        let dim = if with_front && !on_front { " dim" } else { "" };
        let class = point.network.class();
        let ends = [point.low, point.high].map(|end| (x, frame.place((point.cost, end)).1));
        svg.line(&format!("line stroke {class}{dim}"), ends[0], ends[1]);
        let hint = format!("{}: {:.1}% at {}", point.network.label(), point.accuracy, significant(point.cost));
        svg.disc(&format!("fill {class}{dim}"), (x, y), 6.0, &hint);
    }
    name_points(&mut svg, &frame, &points, (&front, &stairs));
    let front = if with_front {
        " Dotted: the Pareto front, the best accuracy at each cost; networks that another beats in both are faint."
    } else {
        ""
    };
    plot(
        name,
        format!(
            "Test accuracy against {}; up and to the left is better. Bars: {}.{front}",
            lower_first(title),
            bars(gathered)
        ),
        svg,
    )
}

/// Labels, for which also the front's line makes way.
fn name_points(svg: &mut Svg, frame: &Frame, points: &[Point], (front, stairs): (&[bool], &[(f64, f64)])) {
    let place = |p: &Point| frame.place((p.cost, p.accuracy));
    let mut taken: Vec<Area> = Vec::new();
    for point in points {
        let (x, y) = place(point);
        taken.push(Area(x - 8.0, y - 8.0, x + 8.0, y + 8.0));
        let ends = [point.high, point.low].map(|end| frame.place((point.cost, end)).1);
        taken.push(Area(x - 2.0, ends[0], x + 2.0, ends[1]));
    }
    taken.extend(stairs.windows(2).map(|line| {
        let ((x1, y1), (x2, y2)) = (line[0], line[1]);
        Area(x1.min(x2) - 1.0, y1.min(y2) - 1.0, x1.max(x2) + 1.0, y1.max(y2) + 1.0)
    }));
    let area = Area(frame.left, frame.top, frame.left + frame.width, frame.top + frame.height);
    let mut labels = Labels::new(area, taken);
    let many = points.len() > MOST_NAMED;
    for point in points.iter().zip(front).filter(|(_, on)| !many || **on).map(|(point, _)| point) {
        let name = point.network.short();
        let class = format!("fill {}", point.network.class());
        let figures = format!("{:.1}% at {}", point.accuracy, significant(point.cost));
        let lines = [(class.as_str(), name.as_str()), ("small", figures.as_str())];
        labels.write(svg, place(point), if many { &lines[..1] } else { &lines });
    }
}

/// The best accuracy at each cost: level up to the next point of the front, then up to it; on to the right end.
fn stairs(front: &[(f64, f64)], right: f64) -> Vec<(f64, f64)> {
    let mut corners = Vec::new();
    for (i, &(x, y)) in front.iter().enumerate() {
        if let Some(&(_, before)) = i.checked_sub(1).and_then(|i| front.get(i)) {
            corners.push((x, before));
        }
        corners.push((x, y));
    }
    if let Some(&(_, y)) = front.last() {
        corners.push((right, y));
    }
    corners
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_rises_where_a_better_network_begins() {
        assert_eq!(stairs(&[(1.0, 5.0), (3.0, 2.0)], 9.0), [(1.0, 5.0), (3.0, 5.0), (3.0, 2.0), (9.0, 2.0)]);
        assert_eq!(stairs(&[], 9.0), []);
    }
}
