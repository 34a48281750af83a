//! The article's claims, as `results.json` holds them.

use serde::{Deserialize, Serialize};

/// One of the article's claims and what became of it. The texts are Markdown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimResult {
    /// What the article says.
    pub claim: String,
    /// What became of it.
    pub verdict: Verdict,
    /// Why, with figures.
    pub reason: String,
}

/// What became of a claim.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The figures here say the same.
    Reproduced,
    /// The figures here say otherwise.
    NotReproduced,
    /// There is nothing here to judge it by.
    NotMeasurable,
}

impl Verdict {
    /// As the report says it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Reproduced => "reproduced",
            Self::NotReproduced => "not reproduced",
            Self::NotMeasurable => "not measurable here",
        }
    }
}
