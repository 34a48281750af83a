//! What arithmetic settles: layers, parameters, multiply-adds.

use mobilenet_arch::Arch;
use mobilenet_schema::Verdict;

use super::super::gather::Gathered;
use super::super::structure;
use super::super::text::{millions, percent, thousands};
use super::claim::{Claim, claim};

/// Said where the counts of a network are not there.
pub const MISSING: &str = "A summary is missing: `cargo xtask compare` makes those of all published networks.";

/// `claimed` and `found` in millions: agreement within one percent counts.
fn count(text: &'static str, claimed: f64, found: Option<u64>, what: &str, remark: &str) -> Claim {
    let Some(found) = found else {
        return claim(text, Verdict::NotCompared, MISSING);
    };
    let gap = claimed * 1e6 / found as f64 - 1.0;
    let verdict = if gap.abs() < 0.012 { Verdict::Reproduced } else { Verdict::NotReproduced };
    let distance = if gap.abs() < 0.0005 {
        "the article's figure is the same, rounded".to_owned()
    } else {
        let word = if gap > 0.0 { "above" } else { "below" };
        format!("the article's figure is {} {word} that", percent(gap.abs()))
    };
    claim(text, verdict, format!("{} {what}; {distance}.{remark}", thousands(found)))
}

/// The claims about the networks' structure, parameters and multiply-adds.
pub fn claims(gathered: &Gathered) -> Vec<Claim> {
    let cifar = |arch| gathered.counts(arch).map(|c| &c.cifar);
    let imagenet = |arch| gathered.counts(arch).and_then(|c| c.imagenet.as_ref());
    let (v2, v3) = (cifar(Arch::V2), cifar(Arch::V3Large));
    let macs_at_32 = "multiply-adds at 32×32 (stem and first stride-2 stage at stride 1, as in the article)";
    let mut claims = vec![
        count(
            "At 224×224 MobileNetV2 costs 300 MMACs.",
            300.0,
            imagenet(Arch::V2).map(|s| s.macs),
            "multiply-adds at 224×224, 1000 classes",
            "",
        ),
        count(
            "At 224×224 MobileNetV3 costs 219 MMACs.",
            219.0,
            imagenet(Arch::V3Large).map(|s| s.macs),
            "multiply-adds at 224×224, 1000 classes",
            " 219 is the paper's figure for V3-Large.",
        ),
        match (v2, v3) {
            (Some(v2), Some(v3)) => {
                let (a, b) = (structure::blocks(v2), structure::blocks(v3));
                let squeezed = b.iter().filter(|block| block.squeeze.is_some()).count();
                let swish = b.iter().filter(|block| block.activation == "h-swish").count();
                let wide = b.iter().filter(|block| block.window == "5x5").count();
                let good = squeezed > 0 && swish > 0 && a.iter().all(|block| block.squeeze.is_none());
                let verdict = if good { Verdict::Reproduced } else { Verdict::NotReproduced };
                claim(
                    "V3 adds squeeze-and-excite, h-swish and searched layer settings to V2's blocks.",
                    verdict,
                    format!(
                        "Of V3-Large's {} blocks {squeezed} have squeeze-and-excite, {swish} h-swish and {wide} a 5×5 \
                         window; V2's {} have none of these. The block-by-block table has the details.",
                        b.len(),
                        a.len()
                    ),
                )
            }
            _ => claim(
                "V3 adds squeeze-and-excite, h-swish and searched layer settings to V2's blocks.",
                Verdict::NotCompared,
                MISSING,
            ),
        },
        claim(
            "`torchinfo` shows the structure of both models.",
            if v2.is_some() && v3.is_some() { Verdict::Reproduced } else { Verdict::NotCompared },
            "`mobilenet summary` prints the same kind of table (layers, output shapes, parameters, multiply-adds), \
             and the totals below are its. For the article's own V3 it could not have been printed, since that model \
             cannot be constructed.",
        ),
        count("MobileNetV2 has 2.23 M parameters.", 2.23, v2.map(|s| s.params), "parameters with 10 classes", ""),
        count(
            "MobileNetV3 has 3.87 M parameters.",
            3.87,
            v3.map(|s| s.params),
            "parameters of V3-Large with 10 classes",
            " It fits no standard variant.",
        ),
        count("MobileNetV2 costs 91.4 M FLOPs at 32×32.", 91.4, v2.map(|s| s.macs), macs_at_32, ""),
        count(
            "MobileNetV3 costs 123.6 M FLOPs at 32×32.",
            123.6,
            v3.map(|s| s.macs),
            &format!("{macs_at_32}, V3-Large"),
            " It fits no standard variant.",
        ),
    ];
    if let (Some(v2), Some(v3)) = (v2, v3) {
        let verdict =
            if v3.macs > v2.macs && v3.params > v2.params { Verdict::Reproduced } else { Verdict::NotReproduced };
        claims.push(claim(
            "V3 has slightly more parameters and computation than V2.",
            verdict,
            format!(
                "Parameters: {} M against {} M, {} more, which is not slight. Computation is the other way round: {} \
                 M multiply-adds against {} M, {} of V2's.",
                millions(v3.params),
                millions(v2.params),
                percent(v3.params as f64 / v2.params as f64 - 1.0),
                millions(v3.macs),
                millions(v2.macs),
                percent(v3.macs as f64 / v2.macs as f64)
            ),
        ));
    }
    claims
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_within_about_a_percent_are_reproduced() {
        for (claimed, found, want) in [
            (2.23, 2_236_682, Verdict::Reproduced),
            (219.0, 216_590_000, Verdict::Reproduced),
            (91.4, 87_980_000, Verdict::NotReproduced),
            (3.87, 4_214_842, Verdict::NotReproduced),
            (123.6, 66_460_000, Verdict::NotReproduced),
        ] {
            assert_eq!(count("", claimed, Some(found), "", "").verdict, want, "{claimed}");
        }
        assert_eq!(count("", 1.0, None, "", "").verdict, Verdict::NotCompared);
    }
}
