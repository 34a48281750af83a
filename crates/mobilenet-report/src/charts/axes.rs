//! Axes: where a value is in a picture, and the marks beside it.

use super::svg::Svg;

/// The part of a picture in which data is drawn.
pub struct Frame {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
    pub x: Vec<f64>,
    pub y: Vec<f64>,
}

impl Frame {
    /// Where a point is in the picture.
    pub fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let along = |v: f64, marks: &[f64]| (v - marks[0]) / (marks[marks.len() - 1] - marks[0]);
        (self.left + self.width * along(x, &self.x), self.top + self.height * (1.0 - along(y, &self.y)))
    }

    /// Grid lines, ticks and titles; the vertical axis's title stands above it, where it can be read.
    pub fn draw(&self, svg: &mut Svg, x_title: &str, y_title: &str) {
        let step = |marks: &[f64]| marks[1] - marks[0];
        let (right, bottom) = (self.left + self.width, self.top + self.height);
        for &mark in &self.y {
            let (_, y) = self.place((self.x[0], mark));
            svg.line("grid", (self.left, y), (right, y));
            svg.text("", (self.left - 8.0, y + 4.0), "end", &tick_label(mark, step(&self.y)));
        }
        for &mark in &self.x {
            let (x, _) = self.place((mark, self.y[0]));
            svg.line("axis", (x, bottom), (x, bottom + 4.0));
            svg.text("", (x, bottom + 18.0), "middle", &tick_label(mark, step(&self.x)));
        }
        svg.line("axis", (self.left, bottom), (right, bottom));
        svg.text("", (self.left + self.width / 2.0, bottom + 38.0), "middle", x_title);
        svg.text("title", (14.0, 24.0), "start", y_title);
    }
}

/// Marks from at or below `low` to at or above `high`, about `wanted` of them, at 1, 2 or 5 times a power of ten.
pub fn ticks(low: f64, high: f64, wanted: usize) -> Vec<f64> {
    if !(low.is_finite() && high.is_finite()) || high <= low {
        return vec![low, low + 1.0];
    }
    let rough = (high - low) / wanted.max(1) as f64;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(10.0 * power);
    let first = (low / step + 1e-9).floor() as i64;
    let last = (high / step - 1e-9).ceil() as i64;
    (first..=last).map(|i| i as f64 * step).collect()
}

/// A tick's label with just the digits that its distance to the next needs.
pub fn tick_label(value: f64, step: f64) -> String {
    let digits = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{value:.digits$}").replace('-', "−")
}

/// Ticks at whole numbers, from 1 (or 0 where there are many).
pub fn whole_ticks(last: f64) -> Vec<f64> {
    if last <= 1.0 {
        return vec![0.0, 1.0, 2.0];
    }
    if last <= 12.0 {
        return (1..=(last as u32)).map(f64::from).collect();
    }
    ticks(0.0, last, 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_span_the_data() {
        for (low, high, wanted, want) in [
            (0.0, 1.0, 5, vec![0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
            (12.0, 38.0, 4, vec![10.0, 20.0, 30.0, 40.0]),
            (0.9, 2.31, 4, vec![0.5, 1.0, 1.5, 2.0, 2.5]),
        ] {
            let got = ticks(low, high, wanted);
            assert_eq!(got.len(), want.len(), "{got:?}");
            assert!(got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-9), "{got:?}");
        }
        assert_eq!(ticks(3.0, 3.0, 4).len(), 2);
        assert_eq!(ticks(f64::NAN, 1.0, 4).len(), 2);
    }

    #[test]
    fn labels_have_the_digits_they_need() {
        for (value, step, want) in [(0.2, 0.2, "0.2"), (40.0, 10.0, "40"), (-0.05, 0.05, "−0.05")] {
            assert_eq!(tick_label(value, step), want);
        }
    }
}
