//! The article's claims, one by one: reproduced, not reproduced, undecided, not part of the comparison, or not
//! measurable here, each with its reason.

mod accuracy;
mod advice;
mod claim;
mod code;
mod counts;
mod footing;
mod parts;
mod shipped;
mod speed;
mod swaps;

use super::gather::Gathered;

pub use claim::Claim;
pub use footing::is_lossy;

/// Which article this is, where the report first speaks of it.
pub const ARTICLE: &str = "\u{201c}The article\u{201d} is a Chinese blog article of \
    2026-06-05, \u{201c}从MobileNetV2到V3:我是如何用PyTorch复现并对比这两个轻量级网络性能的\u{201d} (From MobileNetV2 to V3: how I \
    reproduced and compared these two lightweight networks with PyTorch), whose claims this report checks one by one.";

/// All claims in the order of the article.
pub fn audit(gathered: &Gathered) -> Vec<Claim> {
    let mut claims = code::claims();
    claims.extend(counts::claims(gathered));
    claims.extend(accuracy::claims(gathered));
    claims.extend(speed::claims(gathered));
    claims.extend(advice::claims(gathered));
    claims
}

#[cfg(test)]
mod tests {
    use mobilenet_schema::Verdict;

    use super::super::gather::fixture::fixture;
    use super::*;

    fn verdict(claims: &[Claim], part: &str) -> Verdict {
        claims.iter().find(|c| c.claim.source().contains(part)).unwrap_or_else(|| panic!("no claim {part}")).verdict
    }

    #[test]
    fn the_whole_audit_of_the_fixture() {
        let claims = audit(&fixture());
        assert!(claims.len() >= 25);
        assert!(claims.iter().all(|c| c.reason.source().ends_with(['.', ')'])), "reasons are sentences");
        for (part, want) in [
            ("2.23 M", Verdict::Reproduced),
            ("slightly more", Verdict::NotReproduced),
            ("90.1%", Verdict::NotCompared),
            ("Jetson", Verdict::NotMeasurable),
            ("as printed", Verdict::NotReproduced),
            ("scarcest", Verdict::NotReproduced),
        ] {
            assert_eq!(verdict(&claims, part), want, "{part}");
        }
    }
}
