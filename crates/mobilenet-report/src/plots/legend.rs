//! Which color is which network.

use crate::svg::Svg;
use mobilenet_arch::Network;

/// Length of an entry's line.
const LINE: f64 = 22.0;
/// From line to name, and from entry to entry.
const GAP: f64 = 6.0;
const BETWEEN: f64 = 18.0;
/// Height of a row of entries.
const ROW: f64 = 18.0;

/// About how wide a text is, in pixels, at the plots' size of type.
pub fn text_width(text: &str) -> f64 {
    6.7 * text.chars().count() as f64
}

/// Networks with the places of their entries, in rows no wider than asked for.
pub struct Legend {
    entries: Vec<(Network, f64, f64)>,
}

impl Legend {
    /// The legend of some networks, `width` pixels wide.
    pub fn new(networks: &[Network], width: f64) -> Self {
        let (mut x, mut y) = (0.0, 0.0);
        let mut entries = Vec::new();
        for &network in networks {
            let length = LINE + GAP + text_width(&network.short());
            if x > 0.0 && x + length > width {
                (x, y) = (0.0, y + ROW);
            }
            entries.push((network, x, y));
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
        for (network, x, y) in &self.entries {
            let (x, y) = (left + x, top + y);
            svg.line(&format!("line stroke {}", network.class()), (x, y), (x + LINE, y));
            svg.text("name", (x + LINE + GAP, y + 4.0), "start", &network.short());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mobilenet_arch::Selection;

    #[test]
    fn rows_are_as_wide_as_they_may_be() {
        let networks = "widths".parse::<Selection>().unwrap().0;
        let legend = Legend::new(&networks, 480.0);
        assert_eq!(legend.entries.len(), 15);
        for (network, x, _) in &legend.entries {
            assert!(x + LINE + GAP + text_width(&network.short()) <= 480.0, "{network}");
        }
        assert!(legend.extra_height() >= ROW);
        assert_eq!(Legend::new(&networks[..2], 480.0).extra_height(), 0.0);
    }
}
