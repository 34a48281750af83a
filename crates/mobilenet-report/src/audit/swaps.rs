//! What simpler activations in place of h-swish cost and bring, as the networks are shipped.

use mobilenet_arch::Arch;
use mobilenet_schema::{Comparison, Form, Verdict};

use super::super::document::inline::{Inline, rich};
use super::super::gather::{Gathered, Model, ShippedForm};
use super::super::text::{list, significant};
use super::claim::{Claim, claim};
use super::shipped::{TOLERANCE, best, keeps, obstacle, say, training, without};

/// The network that swaps of h-swish are judged by: V3-Large, or else the first that was shipped in the form.
fn with_swap(gathered: &Gathered, form: Form) -> Option<(&Model, &ShippedForm, &ShippedForm, &Comparison)> {
    let swapped = |model: &&Model| best(model, form).is_some();
    let model = gathered.model(Arch::V3Large).filter(swapped).or_else(|| gathered.models.iter().find(swapped))?;
    let shipped = best(model, form)?;
    Some((model, model.shipped(Form::Float32)?, shipped, shipped.beside_float32.as_ref()?))
}

/// `After fine-tuning V3-Large changes by −0.1 points (−2.1 points without)`
fn swap_said(model: &Model, shipped: &ShippedForm, change: &Comparison, what: &str) -> String {
    let how = if shipped.form.untuned().is_some() { "After fine-tuning" } else { "Without fine-tuning" };
    format!("{how} with the swap {what} changes by {}{}", say(change), without(model, shipped))
}

/// ReLU6 in place of h-swish.
pub fn relu6(gathered: &Gathered) -> Claim {
    let text = "At inference h-swish can be replaced by ReLU6, which closes most of the gap in speed.";
    let function = Inline::from(
        "That changes the function: the two differ by up to 0.375 between −3 and 3, h-swish is negative below 0, and \
         above 6 ReLU6 stays at 6 where h-swish grows on. (h-swish does use ReLU6 inside, x·ReLU6(x+3)/6; that is a \
         cheap sigmoid, not a ReLU6 in its place.)",
    );
    let Some((model, float32, shipped, change)) = with_swap(gathered, Form::Relu6) else {
        return claim(
            text,
            Verdict::NotCompared,
            rich!(
                "{} What it costs must be measured, and no network was exported with such a swap here: `cargo xtask \
                 compare --models v2,v3-large` does.",
                function
            ),
        );
    };
    let said = swap_said(model, shipped, change, &model.network().short());
    let beside = gathered.model(Arch::V2).and_then(|v2| v2.shipped(Form::Float32)?.latency());
    let (speed, closes) = match (beside, float32.latency(), shipped.latency()) {
        (Some(v2), Some(before), Some(now)) => (
            format!(
                ", and an image takes {} instead of {} ms, V2's {} ms",
                significant(now),
                significant(before),
                significant(v2)
            ),
            Some(before > v2 && (before - now) > 0.5 * (before - v2)),
        ),
        _ => (String::new(), None),
    };
    let obstacle = obstacle(gathered, [(model, float32)]);
    let (verdict, why) = obstacle.unwrap_or_else(|| {
        let (verdict, why) = match (keeps(change, TOLERANCE), closes) {
            (Some(false), _) => (Verdict::NotReproduced, ": it cannot be replaced like that"),
            (None, _) => (Verdict::Undecided, ": the interval leaves open whether more than a point is lost"),
            (Some(true), Some(true)) => (Verdict::Reproduced, ""),
            (Some(true), Some(false)) => (Verdict::NotReproduced, ": that closes no such gap"),
            (Some(true), None) => {
                (Verdict::NotCompared, "; but the times were not measured: `--models v2,v3-large` has both")
            }
        };
        (verdict, why.into())
    });
    claim(text, verdict, rich!("{}{}{}.{} {}", said, speed, why, training(gathered), function))
}

/// Straight pieces in place of h-swish.
pub fn pieces(gathered: &Gathered) -> Claim {
    let text = "A piecewise linear approximation of h-swish makes inference faster still.";
    let Some((model, float32, shipped, change)) = with_swap(gathered, Form::Pieces4) else {
        return claim(
            text,
            Verdict::NotCompared,
            "No network was exported with straight pieces here: `cargo xtask compare --models v3-large` does.",
        );
    };
    let name = model.network().short();
    let accuracy = swap_said(model, shipped, change, "its accuracy") + ".";
    let (Some(before), Some(now)) = (range(&float32.rounds), range(&shipped.rounds)) else {
        let untimed =
            rich!("{} was not timed with straight pieces, which `cargo xtask compare` does. {}", name, accuracy);
        return claim(text, Verdict::NotCompared, untimed);
    };
    let said = list(&[
        format!("{name} takes {} ms an image with four straight pieces", ends(now)),
        format!("{} ms with h-swish", ends(before)),
    ]);
    let (verdict, why) = if now.1 < before.0 {
        (Verdict::Reproduced, "")
    } else if now.0 > before.1 {
        (Verdict::NotReproduced, ": that is slower")
    } else {
        (Verdict::Undecided, ": the rounds of timing overlap")
    };
    claim(text, verdict, format!("{said}{why}. {accuracy}"))
}

/// The least and the greatest.
fn range(rounds: &[f64]) -> Option<(f64, f64)> {
    let least = rounds.iter().copied().min_by(f64::total_cmp)?;
    Some((least, rounds.iter().copied().max_by(f64::total_cmp)?))
}

fn ends((low, high): (f64, f64)) -> String {
    let (low, high) = (significant(low), significant(high));
    if low == high { low } else { format!("{low} to {high}") }
}

#[cfg(test)]
mod tests {
    use super::super::shipped::eight_bits;
    use super::super::shipped::tests::judge;
    use super::*;
    use crate::gather::fixture::fixture;

    #[test]
    fn relu6_has_to_keep_the_accuracy_and_to_close_the_gap() {
        let all = |right, ms: &'static [f64]| {
            [
                ("v2", Form::Float32, 880, &[1.0][..]),
                ("v3-large", Form::Float32, 900, &[2.0][..]),
                ("v3-large", Form::Relu6, right, ms),
            ]
        };
        for (name, right, ms, want, says) in [
            ("closes", 900, &[1.2][..], Verdict::Reproduced, "takes 1.20 instead of 2.00 ms, V2's 1.00 ms."),
            ("half", 900, &[1.6][..], Verdict::NotReproduced, "closes no such gap"),
            ("ruins", 300, &[1.2][..], Verdict::NotReproduced, "cannot be replaced like that"),
            ("open", 890, &[1.2][..], Verdict::Undecided, "leaves open"),
            ("untimed", 900, &[][..], Verdict::NotCompared, "times were not measured"),
        ] {
            let (verdict, reason) = judge(name, "cifar10", &all(right, ms), relu6);
            assert_eq!(verdict, want, "{name}: {reason}");
            assert!(reason.contains(says) && reason.contains("Without fine-tuning"), "{name}: {reason}");
        }
    }

    #[test]
    fn what_was_trained_with_its_change_is_judged_after_that() {
        let forms = [
            ("v2", Form::Float32, 880, &[1.0][..]),
            ("v3-large", Form::Float32, 900, &[2.0][..]),
            ("v3-large", Form::Relu6, 300, &[1.2][..]),
            ("v3-large", Form::Relu6Tuned, 900, &[1.2][..]),
            ("v3-large", Form::Int8, 700, &[][..]),
            ("v3-large", Form::Int8Qat, 899, &[][..]),
        ];
        let (verdict, reason) = judge("tuned-relu6", "cifar10", &forms, relu6);
        assert_eq!(verdict, Verdict::Reproduced, "{reason}");
        assert!(reason.contains("After fine-tuning with the swap V3-Large changes by"), "{reason}");
        assert!(reason.contains("(−60.0 points without), and an image takes"), "{reason}");
        // It would be reproduced, but that its file is as large.
        let (_, reason) = judge("tuned-int8", "cifar10", &forms, eight_bits);
        assert!(reason.starts_with("Here: V3-Large after training in 8 bits −0.1 points"), "{reason}");
        assert!(reason.contains("(−20.0 points without), its file 100% of the size: a file of half"), "{reason}");
    }

    #[test]
    fn a_network_that_was_hardly_trained_settles_nothing() {
        for (right, want) in [(300, Verdict::Undecided), (799, Verdict::Undecided), (801, Verdict::Reproduced)] {
            let forms = [
                ("v2", Form::Float32, 880, &[1.0][..]),
                ("v3-large", Form::Float32, right, &[2.0][..]),
                ("v3-large", Form::Relu6, right, &[1.2][..]),
                ("v3-large", Form::Int8, right, &[][..]),
            ];
            let (verdict, reason) = judge(&format!("poor-{right}"), "cifar10", &forms, relu6);
            assert_eq!(verdict, want, "{reason}");
            assert_eq!(reason.contains("is judged from 80% on"), right < 800, "{reason}");
            let (_, reason) = judge(&format!("poor-int8-{right}"), "cifar10", &forms, eight_bits);
            assert_eq!(reason.contains("V3-Large in float32"), right < 800, "{reason}");
        }
    }

    #[test]
    fn straight_pieces_have_to_be_faster_in_every_round() {
        for (name, ms, want) in [
            ("faster", &[1.8, 1.9][..], Verdict::Reproduced),
            ("slower", &[2.3, 2.4][..], Verdict::NotReproduced),
            ("same", &[1.8, 2.1][..], Verdict::Undecided),
            ("never", &[][..], Verdict::NotCompared),
        ] {
            let forms = [("v3-large", Form::Float32, 900, &[2.0, 2.2][..]), ("v3-large", Form::Pieces4, 895, ms)];
            let (verdict, reason) = judge(&format!("pieces-{name}"), "cifar10", &forms, pieces);
            assert_eq!(verdict, want, "{reason}");
            assert!(reason.contains("changes by −0.5 points"), "{reason}");
        }
    }

    #[test]
    fn what_was_not_shipped_cannot_be_judged() {
        let gathered = fixture();
        for of in [eight_bits, relu6, pieces] {
            let found = of(&gathered);
            assert_eq!(found.verdict, Verdict::NotCompared);
            assert!(found.reason.source().contains("`cargo xtask compare"), "{}", found.reason.source());
        }
    }
}
