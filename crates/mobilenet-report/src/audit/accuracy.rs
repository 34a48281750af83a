//! What only training settles. An accuracy is judged by its 95 % interval: over seeds where several scatter, else over
//! images.

use mobilenet_arch::Arch;
use mobilenet_schema::{Comparison, Estimate, Verdict};

use super::super::document::inline::{Inline, rich};
use super::super::gather::{Gathered, Model, Run};
use super::super::stats;
use super::super::text::{percent, points, points_interval};
use super::claim::{Claim, claim};
use super::footing::{COMPRESSED, Footing, Pictures, on_cifar};
use super::parts::parts;

/// How far from the article's figure an accuracy under its protocol may lie.
const TOLERANCE: f64 = 0.01;

const GAP: &str = "V3 is about 2 points more accurate than V2.";

/// Between which differences that is so.
const ABOUT_TWO_POINTS: (f64, f64) = (0.01, 0.03);

/// Why there is nothing to judge a network's accuracy by.
const MISSING: &str = "This network was not part of the comparison: `--models v2,v3-large` trains both.";

/// A claimed accuracy. Under the article's protocol it is reproduced if the whole interval lies within one point of it,
/// and is not if the whole interval lies outside; after another training, or on pictures that are harder than the
/// article's, it is reproduced if the whole interval lies at or above it.
fn accuracy_claim(
    text: &'static str,
    claimed: f64,
    found: Option<Estimate>,
    footing: &Footing,
    remark: &'static str,
) -> Claim {
    let Some(found) = found else { return claim(text, Verdict::NotCompared, MISSING) };
    let (low, high) = found.interval.unwrap_or((found.mean, found.mean));
    let here = format!("{} (95% interval {} to {})", percent(found.mean), percent(low), percent(high));
    let from = format!("Here {here}, {} from the article's figure", points(found.mean - claimed));
    let (nearest, farthest) = (claimed - TOLERANCE, claimed + TOLERANCE);
    let (verdict, reason): (Verdict, Inline) = match (&footing.pictures, footing.handicap()) {
        (Pictures::Others(how), _) => (Verdict::NotCompared, rich!("Here {}, {}", here, on_cifar(how))),
        (_, Some(how)) if low >= claimed => (Verdict::Reproduced, format!("Here {here} already {how}").into()),
        (_, Some(how)) => (Verdict::Undecided, format!("Here {here}, but {how}").into()),
        (_, None) if low >= nearest && high <= farthest => (Verdict::Reproduced, from.into()),
        (_, None) if high < nearest || low > farthest => (Verdict::NotReproduced, from.into()),
        (_, None) => (Verdict::Undecided, format!("{from}: the interval leaves open whether within one point").into()),
    };
    claim(text, verdict, rich!("{}.{}", reason, remark))
}

/// How much more accurate V3 is than V2, on the same images: judged where both had the article's training, on its
/// pictures or a compressed copy of them, which is the same for both.
fn gap_claim(found: Option<&Comparison>, gap: f64, footing: &Footing) -> Claim {
    let Some((low, high)) = found.and_then(Comparison::interval) else {
        return claim(GAP, Verdict::Undecided, format!("Here {}, of which no interval can be given.", points(gap)));
    };
    let gap = found.map_or(gap, |found| found.difference);
    let here = format!("Here {} (95% interval {})", points(gap), points_interval((low, high)));
    let (least, most) = ABOUT_TWO_POINTS;
    let copy = if footing.pictures == Pictures::Compressed { format!(", {COMPRESSED}") } else { String::new() };
    let (verdict, reason): (Verdict, Inline) = match (&footing.pictures, &footing.training) {
        (Pictures::Others(how), _) => (Verdict::NotCompared, rich!("{}, {}", here, on_cifar(how))),
        (_, Some(how)) => (Verdict::Undecided, format!("{here}, but {how}{copy}").into()),
        (_, None) if low >= least && high <= most => (Verdict::Reproduced, (here + &copy).into()),
        (_, None) if high < least || low > most => (Verdict::NotReproduced, (here + &copy).into()),
        (_, None) => {
            (Verdict::Undecided, format!("{here}{copy}: the interval leaves open whether about 2 points").into())
        }
    };
    claim(GAP, verdict, rich!("{}.", reason))
}

/// The claims about accuracy.
pub fn claims(gathered: &Gathered) -> Vec<Claim> {
    let footing = Footing::of(gathered);
    let (v2, v3) = (gathered.model(Arch::V2), gathered.model(Arch::V3Large));
    let share = |model: &Model, figure: fn(&Run) -> f64, images: fn(&Run) -> u64| {
        let shares: Vec<_> = model.runs.iter().map(figure).collect();
        stats::estimate_share(&shares, model.runs.iter().map(images).min().unwrap_or(0))
    };
    let test = |model: Option<&Model>| model.map(|m| share(m, |run| run.eval.test_top1, |run| run.eval.test_images));
    let train = |model: Option<&Model>| model.map(|m| share(m, |run| run.eval.train_top1, |run| run.eval.train_images));
    let marks = " Published marks for V2 on CIFAR-10 lie at 93.8–94.4%, after 300 epochs and more.";
    let mut claims = vec![
        accuracy_claim("MobileNetV2 reaches 96.2% on the training images.", 0.962, train(v2), &footing, ""),
        accuracy_claim("MobileNetV3 reaches 97.5% on the training images.", 0.975, train(v3), &footing, ""),
        accuracy_claim("MobileNetV2 reaches 90.1% on the test images.", 0.901, test(v2), &footing, marks),
        accuracy_claim(
            "MobileNetV3 reaches 92.3% on the test images.",
            0.923,
            test(v3),
            &footing,
            " For V3-Large no authoritative figure is known.",
        ),
    ];
    claims.push(match (v2, v3) {
        // With both there, they are the pair that is compared first.
        (Some(v2), Some(v3)) => gap_claim(gathered.difference(), v3.test_top1() - v2.test_top1(), &footing),
        _ => claim(
            GAP,
            Verdict::NotCompared,
            "Only one of the two was part of the comparison: `--models v2,v3-large` trains both.",
        ),
    });
    claims.push(parts(gathered, &footing));
    claims
}

#[cfg(test)]
mod tests {
    use mobilenet_schema::Bootstrap;

    use super::*;

    fn footing(pictures: Pictures, training: Option<&str>) -> Footing {
        Footing { pictures, training: training.map(str::to_owned) }
    }

    #[test]
    fn accuracies_are_judged_by_what_they_rest_on() {
        let judge = |found: Option<f64>, footing: &Footing| {
            let found = found.map(|share| stats::estimate_share(&[share], 10_000));
            let claim = accuracy_claim("", 0.901, found, footing, " Remark.");
            (claim.verdict, claim.reason.source())
        };
        let (same, compressed) = (footing(Pictures::Same, None), footing(Pictures::Compressed, None));
        let shorter = footing(Pictures::Same, Some("after a third of the training"));
        let both = footing(Pictures::Compressed, Some("after a third of the training"));
        let drawn = footing(Pictures::Others("trained on shapes".to_owned()), None);
        for (found, footing, want, says) in [
            (Some(0.903), &same, Verdict::Reproduced, "+0.2 points from the article's figure. Remark."),
            (Some(0.91), &same, Verdict::Undecided, "leaves open whether within one point. Remark."),
            (Some(0.94), &same, Verdict::NotReproduced, "+3.9 points from"),
            (None, &same, Verdict::NotCompared, "`--models v2,v3-large` trains both."),
            (Some(0.94), &shorter, Verdict::Reproduced, "already after a third of the training. Remark."),
            (Some(0.902), &shorter, Verdict::Undecided, "but after a third"),
            (Some(0.9), &shorter, Verdict::Undecided, "but after a third"),
            (Some(0.94), &compressed, Verdict::Reproduced, "already on a copy of CIFAR-10 that is compressed as JPEG."),
            (Some(0.9), &compressed, Verdict::Undecided, "but on a copy of CIFAR-10 that is"),
            (Some(0.94), &both, Verdict::Reproduced, "already after a third of the training, on a copy of CIFAR-10"),
            (Some(0.9), &both, Verdict::Undecided, "but after a third of the training, on a copy of CIFAR-10"),
            (Some(0.99), &drawn, Verdict::NotCompared, "but trained on shapes: `cargo xtask compare --profile article"),
        ] {
            let (verdict, reason) = judge(found, footing);
            assert_eq!(verdict, want, "{reason}");
            assert!(reason.contains(says), "{reason}");
        }
    }

    #[test]
    fn the_gap_is_judged_by_its_interval_after_the_articles_training() {
        let judge = |interval: Option<(f64, f64)>, footing: &Footing| {
            let found = Comparison {
                difference: 0.018,
                seeds: (1, 1),
                welch: None,
                mcnemar: Vec::new(),
                bootstrap: interval.map(|interval| Bootstrap { interval, over_seeds: false }),
            };
            let claim = gap_claim(Some(&found), 0.02, footing);
            (claim.verdict, claim.reason.source())
        };
        let (same, compressed) = (footing(Pictures::Same, None), footing(Pictures::Compressed, None));
        let shorter = footing(Pictures::Compressed, Some("after a third of the training"));
        let drawn = footing(Pictures::Others("trained on shapes".to_owned()), None);
        let about = Some((0.011, 0.025));
        for (interval, footing, want, says) in [
            (about, &same, Verdict::Reproduced, "Here +1.8 points (95% interval +1.1 to +2.5 points)."),
            (about, &compressed, Verdict::Reproduced, "points), on a copy of CIFAR-10 that is compressed as JPEG."),
            (Some((0.002, 0.025)), &same, Verdict::Undecided, "leaves open whether about 2 points."),
            (Some((0.02, 0.031)), &compressed, Verdict::Undecided, "JPEG: the interval leaves open"),
            (Some((-0.01, 0.009)), &same, Verdict::NotReproduced, "−1.0 to +0.9 points"),
            (Some((0.031, 0.04)), &compressed, Verdict::NotReproduced, "compressed as JPEG."),
            (about, &shorter, Verdict::Undecided, "points), but after a third of the training, on a copy of"),
            (about, &drawn, Verdict::NotCompared, "but trained on shapes: `cargo xtask"),
            (None, &same, Verdict::Undecided, "Here +2.0 points, of which no interval"),
        ] {
            let (verdict, reason) = judge(interval, footing);
            assert_eq!(verdict, want, "{reason}");
            assert!(reason.contains(says), "{reason}");
        }
    }
}
