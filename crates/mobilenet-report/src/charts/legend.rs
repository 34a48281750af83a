//! Which color is which series.

use super::svg::{Svg, text_width};

/// Length of an entry's line.
const LINE: f64 = 22.0;
/// From line to name, and from entry to entry.
const GAP: f64 = 6.0;
const BETWEEN: f64 = 18.0;
/// Height of a row of entries.
const ROW: f64 = 18.0;

/// A series in the legend.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The class of its color
    pub class: String,
    /// Its name
    pub name: String,
}

/// Entries with their places, in rows no wider than asked for.
pub struct Legend {
    entries: Vec<(Entry, f64, f64)>,
}

impl Legend {
    /// A legend at most `width` pixels wide.
    pub fn new(series: &[Entry], width: f64) -> Self {
        let (mut x, mut y) = (0.0, 0.0);
        let mut entries = Vec::new();
        for entry in series {
            let length = LINE + GAP + text_width(&entry.name);
            if x > 0.0 && x + length > width {
                (x, y) = (0.0, y + ROW);
            }
            entries.push((entry.clone(), x, y));
            x += length + BETWEEN;
        }
        Self { entries }
    }

    /// Height below the first row.
    pub fn extra_height(&self) -> f64 {
        self.entries.last().map_or(0.0, |(_, _, y)| *y)
    }

    /// Draws it with its first line's start at a point.
    pub fn draw(&self, svg: &mut Svg, (left, top): (f64, f64)) {
        for (entry, x, y) in &self.entries {
            let (x, y) = (left + x, top + y);
            svg.line(&format!("line stroke {}", entry.class), (x, y), (x + LINE, y));
            svg.text("name", (x + LINE + GAP, y + 4.0), "start", &entry.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_as_wide_as_they_may_be() {
        let entry = |i| Entry { class: "a".to_owned(), name: format!("series {i}") };
        let series: Vec<_> = (10..25).map(entry).collect();
        let legend = Legend::new(&series, 480.0);
        assert_eq!(legend.entries.len(), 15);
        for (entry, x, _) in &legend.entries {
            assert!(x + LINE + GAP + text_width(&entry.name) <= 480.0, "{entry:?}");
        }
        assert!(legend.extra_height() >= ROW);
        assert_eq!(Legend::new(&series[..2], 480.0).extra_height(), 0.0);
    }
}
