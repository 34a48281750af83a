//! A picture with its name and its caption.

use super::palette;
use crate::charts::Svg;
use crate::document::inline::Inline;

/// A picture with its file name (without ending) and what it shows.
pub struct Plot {
    pub name: String,
    pub caption: Inline,
    pub svg: Svg,
}

impl Plot {
    /// The picture as a file of its own.
    pub fn standalone(&self) -> String {
        self.svg.standalone(&(palette::colors() + &palette::style()))
    }
}

/// Puts them together.
pub fn plot(name: &str, caption: impl Into<Inline>, svg: Svg) -> Plot {
    Plot { name: name.to_owned(), caption: caption.into(), svg }
}

/// A title within a sentence.
pub fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |c| c.to_lowercase().chain(chars).collect())
}
