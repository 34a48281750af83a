//! Lines over a common axis.

use super::axes::Frame;
use super::legend::{Entry, Legend};
use super::svg::Svg;

/// Width of the picture and of what is drawn in it.
const WIDTH: f64 = 560.0;
const INNER: f64 = 480.0;

/// A picture of lines in the making.
pub struct LineChart {
    svg: Svg,
    frame: Frame,
    legend: Legend,
}

/// The axes of a [`LineChart`]: what they are called and where their marks are.
pub struct Axes<'a> {
    /// Title of the horizontal axis
    pub x_title: &'a str,
    /// Title of the vertical axis
    pub y_title: &'a str,
    /// Marks from the left end to the right one
    pub x: Vec<f64>,
    /// Marks from the lower end to the upper one
    pub y: Vec<f64>,
}

impl LineChart {
    /// The axes alone, `height` pixels high; the title is for screen readers.
    pub fn new(title: &str, height: f64, series: &[Entry], Axes { x_title, y_title, x, y }: Axes<'_>) -> Self {
        let legend = Legend::new(series, INNER);
        let shift = legend.extra_height();
        let mut svg = Svg::new(WIDTH, height + 122.0 + shift, title);
        let frame = Frame { left: 52.0, top: 66.0 + shift, width: INNER, height, x, y };
        frame.draw(&mut svg, x_title, y_title);
        Self { svg, frame, legend }
    }

    /// The largest value that is drawn.
    pub fn top(&self) -> f64 {
        self.frame.y[self.frame.y.len() - 1]
    }

    /// Writes the legend above the lines.
    pub fn legend(&mut self) {
        self.legend.draw(&mut self.svg, (self.frame.left, 44.0));
    }

    /// A line through points, as far as they are not above the picture; a `faint` one is dashed.
    pub fn line(&mut self, class: &str, faint: bool, points: &[(f64, f64)]) {
        let style = if faint { "line faint" } else { "line" };
        for piece in below(points, self.top()) {
            let placed: Vec<_> = piece.into_iter().map(|p| self.frame.place(p)).collect();
            self.svg.polyline(&format!("{style} stroke {class}"), &placed);
        }
    }

    /// A vertical bar about a point.
    pub fn bar(&mut self, class: &str, x: f64, (low, high): (f64, f64)) {
        let ends = [low, high].map(|end| self.frame.place((x, end)));
        self.svg.line(&format!("line stroke {class}"), ends[0], ends[1]);
    }

    /// A disc, if it is not above the picture; `hint` is shown under the pointer.
    pub fn disc(&mut self, class: &str, point: (f64, f64), radius: f64, hint: &str) {
        if point.1 <= self.top() {
            self.svg.disc(&format!("fill {class}"), self.frame.place(point), radius, hint);
        }
    }

    /// A remark in the upper right corner.
    pub fn remark(&mut self, text: &str) {
        self.svg.text("", (self.frame.left + INNER, 24.0), "end", text);
    }

    /// The picture.
    pub fn finish(self) -> Svg {
        self.svg
    }
}

/// The pieces of a curve that lie at or below `top`, each ending where the curve crosses it.
fn below(points: &[(f64, f64)], top: f64) -> Vec<Vec<(f64, f64)>> {
    let (mut pieces, mut piece) = (Vec::new(), Vec::new());
    let mut previous: Option<(f64, f64)> = None;
    for &(x, y) in points {
        if let Some((x0, y0)) = previous.filter(|p| (p.1 > top) != (y > top)) {
            piece.push((x0 + (x - x0) * (top - y0) / (y - y0), top));
        }
        if y <= top {
            piece.push((x, y));
        } else {
            pieces.push(std::mem::take(&mut piece));
        }
        previous = Some((x, y));
    }
    pieces.push(piece);
    pieces.retain(|piece| piece.len() > 1);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_ends_where_it_leaves_the_plot() {
        let check = |points: &[(f64, f64)], want: &[&[(f64, f64)]]| assert_eq!(below(points, 4.0), want, "{points:?}");
        check(&[(1.0, 3.0), (2.0, 4.0)], &[&[(1.0, 3.0), (2.0, 4.0)]]);
        check(&[(1.0, 6.0), (2.0, 2.0), (3.0, 1.0)], &[&[(1.5, 4.0), (2.0, 2.0), (3.0, 1.0)]]);
        check(&[(1.0, 2.0), (2.0, 6.0), (3.0, 2.0)], &[&[(1.0, 2.0), (1.5, 4.0)], &[(2.5, 4.0), (3.0, 2.0)]]);
        check(&[(1.0, 6.0), (2.0, 7.0)], &[]);
        check(&[], &[]);
    }
}
