//! What a report consists of, before it is Markdown or HTML.

pub mod inline;

pub(crate) use inline::rich;
pub use inline::{Inline, Span};

use mobilenet_arch::Network;
use mobilenet_schema::Verdict;

use super::agreement::Tally;
use super::plots::Plot;
use super::text::whole_percent;

/// A whole report.
pub struct Document {
    pub title: Inline,
    /// One line under the title
    pub subtitle: Inline,
    /// What must be read before anything else
    pub warning: Option<Inline>,
    /// The verdict
    pub verdict: Vec<Inline>,
    /// How far the verdict carries
    pub caveats: Vec<Inline>,
    /// Everything else
    pub sections: Vec<Section>,
}

/// One heading and what stands under it.
pub struct Section {
    pub title: Inline,
    pub blocks: Vec<Block>,
}

/// A piece of a section.
pub enum Block {
    Text(Inline),
    Table(Table),
    /// Side by side where there is room
    Plots(Vec<Plot>),
    /// Example pictures
    Gallery(Vec<GalleryRow>),
    /// Folded away
    Details(Inline, Vec<Block>),
    /// Lines shown as they are
    Code(String),
}

/// A table; all but the first columns may be numbers.
pub struct Table {
    pub head: Vec<Inline>,
    /// Aligned to the right
    pub numeric: bool,
    pub rows: Vec<Vec<Cell>>,
}

/// A column of a table of `T`s: its title, and what it says of one of them.
pub type Column<'a, T> = (&'a str, &'a dyn Fn(&T) -> String);

impl Table {
    /// A table of numbers with a row for each item.
    pub fn of<T>(items: impl IntoIterator<Item = T>, columns: &[Column<'_, T>]) -> Self {
        let row = |item: T| columns.iter().map(|(_, say)| say(&item).into()).collect();
        Self {
            head: columns.iter().map(|(title, _)| (*title).to_owned().into()).collect(),
            numeric: true,
            rows: items.into_iter().map(row).collect(),
        }
    }
}

/// What stands in a table's cell.
pub enum Cell {
    Text(Inline),
    Verdict(Verdict),
}

impl<T: Into<Inline>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::Text(text.into())
    }
}

/// Pictures of one kind.
pub struct GalleryRow {
    pub title: Inline,
    pub pictures: Vec<Shown>,
}

/// One picture and what each network said.
pub struct Shown {
    pub index: usize,
    pub png_base64: String,
    /// The name of its file, where it has one of its own
    pub file: Option<String>,
    pub truth: Inline,
    pub answers: Vec<Answer>,
}

/// One network's answer; over several seeds that of most.
pub struct Answer {
    /// Nothing where there is just one, of no known architecture
    pub network: Option<Network>,
    pub class: Inline,
    pub confidence: f64,
    /// In how many seeds the network is right
    pub tally: Tally,
}

impl Answer {
    /// ✓ or ✗, or ~ where the seeds are divided.
    pub fn mark(&self) -> &'static str {
        match self.tally {
            Tally { right, seeds } if right == seeds => "✓",
            Tally { right: 0, .. } => "✗",
            _ => "~",
        }
    }

    /// Confidence and, where the seeds are divided, how many of them are right.
    pub fn remark(&self) -> String {
        let confidence = whole_percent(self.confidence);
        let Tally { right, seeds } = self.tally;
        if right == 0 || right == seeds { confidence } else { format!("{confidence}, {right} of {seeds} seeds right") }
    }
}
