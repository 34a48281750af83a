//! The article's claims, one by one: reproduced, not reproduced, or not measurable here, each with its reason.

mod accuracy;
mod advice;
mod code;
mod counts;
mod speed;

use serde::Serialize;

use super::gather::Gathered;

/// What became of a claim.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Reproduced,
    NotReproduced,
    NotMeasurable,
}

impl Verdict {
    /// As the report says it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Reproduced => "reproduced",
            Self::NotReproduced => "not reproduced",
            Self::NotMeasurable => "not measurable here",
        }
    }
}

/// One claim and what became of it.
#[derive(Clone, Debug, Serialize)]
pub struct Claim {
    /// What the article says
    pub claim: String,
    pub verdict: Verdict,
    /// Why, with figures
    pub reason: String,
}

/// All claims in the order of the article.
pub fn audit(gathered: &Gathered) -> Vec<Claim> {
    let mut claims = code::claims();
    claims.extend(counts::claims(gathered));
    claims.extend(accuracy::claims(gathered));
    claims.extend(speed::claims(gathered));
    claims.extend(advice::claims(gathered));
    claims
}

fn claim(text: &str, verdict: Verdict, reason: impl Into<String>) -> Claim {
    Claim { claim: text.to_owned(), verdict, reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::super::gather::fixture::fixture;
    use super::*;

    fn verdict(claims: &[Claim], part: &str) -> Verdict {
        claims.iter().find(|c| c.claim.contains(part)).unwrap_or_else(|| panic!("no claim {part}")).verdict
    }

    #[test]
    fn the_whole_audit_of_the_fixture() {
        let claims = audit(&fixture());
        assert!(claims.len() >= 25);
        assert!(claims.iter().all(|c| c.reason.ends_with(['.', ')'])), "reasons are sentences");
        for (part, want) in [
            ("2.23 M", Verdict::Reproduced),
            ("slightly more", Verdict::NotReproduced),
            ("90.1%", Verdict::NotMeasurable),
            ("Jetson", Verdict::NotMeasurable),
            ("as printed", Verdict::NotReproduced),
            ("scarcest", Verdict::NotReproduced),
        ] {
            assert_eq!(verdict(&claims, part), want, "{part}");
        }
    }
}
