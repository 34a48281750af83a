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
    /// It was measured here, and the figures leave it open, or what was measured is not quite what it speaks of.
    Undecided,
    /// It was not measured here, though it can be.
    NotCompared,
    /// There is nothing here to judge it by: the article does not tell, or nobody else has what it was measured on.
    NotMeasurable,
}

impl Verdict {
    /// Every verdict, in the order of a report's summary.
    pub const ALL: [Self; 5] =
        [Self::Reproduced, Self::NotReproduced, Self::Undecided, Self::NotCompared, Self::NotMeasurable];

    /// As the report says it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Reproduced => "reproduced",
            Self::NotReproduced => "not reproduced",
            Self::Undecided => "undecided",
            Self::NotCompared => "not part of this comparison",
            Self::NotMeasurable => "not measurable here",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_have_names_in_files() {
        let names: Vec<_> = Verdict::ALL.iter().map(|verdict| serde_json::to_string(verdict).unwrap()).collect();
        let expected = ["reproduced", "not-reproduced", "undecided", "not-compared", "not-measurable"];
        assert_eq!(names, expected.map(|name| format!("\"{name}\"")));
        let read = |name: &String| serde_json::from_str::<Verdict>(name).unwrap();
        assert_eq!(names.iter().map(read).collect::<Vec<_>>(), Verdict::ALL);
    }
}
