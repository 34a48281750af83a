//! Charts as SVG. They know of axes, series and labels, and nothing of what is drawn: whoever draws gives each series
//! the class of its color ([`style`]), and says each name, hint and label.

mod axes;
mod bars;
mod labels;
mod legend;
mod lines;
mod matrix;
mod roofline;
mod scatter;
pub mod style;
mod svg;

pub use axes::{ticks, whole_ticks};
pub use bars::{Bar, Column, Group, Groups, Mirrored, Pairs, Series, groups, mirrored, pairs};
pub use legend::Entry;
pub use lines::{Axes, LineChart};
pub use matrix::{Matrix, matrix};
pub use roofline::{Disc, Roofline, roofline};
pub use scatter::{Point, Scatter, scatter};
pub use svg::Svg;
