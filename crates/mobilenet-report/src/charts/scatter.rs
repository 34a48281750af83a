//! Points with bars, labels and, where wanted, the front that no other point is beyond.

use super::axes::Frame;
use super::labels::{Area, Labels};
use super::svg::Svg;

/// What is drawn.
pub struct Scatter<'a> {
    /// For screen readers
    pub title: &'a str,
    /// Title of the horizontal axis
    pub x_title: &'a str,
    /// Title of the vertical axis
    pub y_title: &'a str,
    /// Marks from the left end to the right one
    pub x: Vec<f64>,
    /// Marks from the lower end to the upper one
    pub y: Vec<f64>,
    /// From left to right
    pub points: Vec<Point>,
    /// Whether stairs lead along the points that are not faint
    pub front: bool,
}

/// A point with a bar.
pub struct Point {
    /// The class of its color
    pub class: String,
    /// Its place
    pub x: f64,
    /// Its height
    pub y: f64,
    /// The ends of its bar
    pub bar: (f64, f64),
    /// Whether it recedes
    pub faint: bool,
    /// Shown under the pointer
    pub hint: String,
    /// Lines beside it, its name first; none where it is not named
    pub label: Vec<String>,
}

/// Draws them.
pub fn scatter(chart: Scatter<'_>) -> Svg {
    let Scatter { title, x_title, y_title, x, y, points, front } = chart;
    let mut svg = Svg::new(560.0, 340.0, title);
    let frame = Frame { left: 52.0, top: 44.0, width: 480.0, height: 240.0, x, y };
    frame.draw(&mut svg, x_title, y_title);
    let best = points.iter().filter(|point| front && !point.faint).map(|p| frame.place((p.x, p.y)));
    let stairs = stairs(&best.collect::<Vec<_>>(), frame.left + frame.width);
    if front {
        svg.polyline("line front", &stairs);
    }
    for point in &points {
        let (x, y) = frame.place((point.x, point.y));
        let class = if point.faint { format!("{} dim", point.class) } else { point.class.clone() };
        let [low, high] = [point.bar.0, point.bar.1].map(|end| (x, frame.place((point.x, end)).1));
        svg.line(&format!("line stroke {class}"), low, high);
        svg.disc(&format!("fill {class}"), (x, y), 6.0, &point.hint);
    }
    write_labels(&mut svg, &frame, &points, &stairs);
    svg
}

/// Labels, which hide neither points nor bars nor the front.
fn write_labels(svg: &mut Svg, frame: &Frame, points: &[Point], stairs: &[(f64, f64)]) {
    let mut taken: Vec<Area> = Vec::new();
    for point in points {
        let (x, y) = frame.place((point.x, point.y));
        taken.push(Area(x - 8.0, y - 8.0, x + 8.0, y + 8.0));
        let [high, low] = [point.bar.1, point.bar.0].map(|end| frame.place((point.x, end)).1);
        taken.push(Area(x - 2.0, high, x + 2.0, low));
    }
    taken.extend(stairs.windows(2).map(|line| {
        let ((x1, y1), (x2, y2)) = (line[0], line[1]);
        Area(x1.min(x2) - 1.0, y1.min(y2) - 1.0, x1.max(x2) + 1.0, y1.max(y2) + 1.0)
    }));
    let area = Area(frame.left, frame.top, frame.left + frame.width, frame.top + frame.height);
    let mut labels = Labels::new(area, taken);
    for point in points.iter().filter(|point| !point.label.is_empty()) {
        let name = format!("fill {}", point.class);
        let class = |line: usize| if line == 0 { name.as_str() } else { "small" };
        let lines: Vec<_> = point.label.iter().enumerate().map(|(i, text)| (class(i), text.as_str())).collect();
        labels.write(svg, frame.place((point.x, point.y)), &lines);
    }
}

/// The greatest height at each place: level up to the next point of the front, then up to it; on to the right end.
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
    fn the_front_rises_where_a_better_point_begins() {
        assert_eq!(stairs(&[(1.0, 5.0), (3.0, 2.0)], 9.0), [(1.0, 5.0), (3.0, 5.0), (3.0, 2.0), (9.0, 2.0)]);
        assert_eq!(stairs(&[], 9.0), []);
    }
}
