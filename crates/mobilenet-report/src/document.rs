//! What a report consists of, before it is Markdown or HTML.
//!
//! Running text may hold `code` and **bold**; everything else in it is taken literally.

use super::agreement::Tally;
use super::audit::Verdict;
use super::network::Network;
use super::plots::Plot;
use super::text::whole_percent;

/// A whole report.
pub struct Document {
    pub title: String,
    /// One line under the title
    pub subtitle: String,
    /// What must be read before anything else
    pub warning: Option<String>,
    /// The verdict
    pub verdict: [String; 2],
    /// How far the verdict carries
    pub caveats: Vec<String>,
    /// Everything else
    pub sections: Vec<Section>,
}

/// One heading and what stands under it.
pub struct Section {
    pub title: String,
    pub blocks: Vec<Block>,
}

/// A piece of a section.
pub enum Block {
    Text(String),
    Table(Table),
    /// Side by side where there is room
    Plots(Vec<Plot>),
    /// Example pictures
    Gallery(Vec<GalleryRow>),
    /// Folded away
    Details(String, Vec<Block>),
    /// Lines shown as they are
    Code(String),
}

/// A table; all but the first columns may be numbers.
pub struct Table {
    pub head: Vec<String>,
    /// Aligned to the right
    pub numeric: bool,
    pub rows: Vec<Vec<Cell>>,
}

/// What stands in a table's cell.
pub enum Cell {
    Text(String),
    Verdict(Verdict),
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// Pictures of one kind.
pub struct GalleryRow {
    pub title: String,
    pub pictures: Vec<Shown>,
}

/// One picture and what each network said.
pub struct Shown {
    pub index: usize,
    pub png_base64: String,
    pub truth: String,
    pub answers: Vec<Answer>,
}

/// One network's answer; over several seeds that of most.
pub struct Answer {
    pub network: Network,
    pub class: String,
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
