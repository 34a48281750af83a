//! One of the article's claims.

use mobilenet_schema::{ClaimResult, Verdict};

use crate::document::inline::Inline;

/// One claim and what became of it.
#[derive(Clone, Debug)]
pub struct Claim {
    /// What the article says
    pub claim: Inline,
    pub verdict: Verdict,
    /// Why, with figures
    pub reason: Inline,
}

impl Claim {
    /// As `results.json` has it.
    pub fn result(&self) -> ClaimResult {
        ClaimResult { claim: self.claim.source(), verdict: self.verdict, reason: self.reason.source() }
    }
}

/// Puts its parts together.
pub fn claim(text: &'static str, verdict: Verdict, reason: impl Into<Inline>) -> Claim {
    Claim { claim: text.into(), verdict, reason: reason.into() }
}
