//! What only exported networks settle: 8 bits, and simpler activations in place of h-swish.
//!
//! Each is a difference between two forms of one network on the same images, so that it is judged on any pictures but
//! drawn ones, and after any training that was long enough: a network that is wrong on most images has little to lose.
//! Where a form was also trained a little with its change, it is judged as it is after that, as one would ship it.

use mobilenet_arch::Arch;
use mobilenet_schema::{Comparison, Form, Verdict};

use super::super::document::inline::{Inline, rich};
use super::super::gather::{Gathered, Model, ShippedForm};
use super::super::text::{count, list, percent, points, points_interval, share, significant, thousands, whole_percent};
use super::claim::{Claim, claim};

/// The loss of accuracy that still counts as none, or as about the one that is claimed.
const TOLERANCE: f64 = 0.01;

/// The least accuracy in float32 at which a change's cost is judged: ten points below the article's figure for V2.
const TRAINED: f64 = 0.8;

/// Whether an accuracy falls by at most `allowed`, by the whole 95 % interval of its change; `None` where that leaves
/// it open.
fn keeps(change: &Comparison, allowed: f64) -> Option<bool> {
    let (low, high) = change.interval()?;
    if low >= -allowed {
        Some(true)
    } else if high < -allowed {
        Some(false)
    } else {
        None
    }
}

/// `−0.2 points (95% interval −0.5 to +0.1 points)`
fn say(change: &Comparison) -> String {
    let interval = change.interval().map(|interval| format!(" (95% interval {})", points_interval(interval)));
    points(change.difference) + &interval.unwrap_or_default()
}

/// What keeps the accuracies of these networks, in float32, from being judged.
fn obstacle<'a>(
    gathered: &Gathered,
    networks: impl IntoIterator<Item = (&'a Model, &'a ShippedForm)>,
) -> Option<String> {
    if gathered.data.is_drawn() {
        return Some("; but these are pictures drawn by code, on which no accuracy is judged".to_owned());
    }
    let poor = networks.into_iter().filter(|(_, float32)| float32.eval.test_top1 < TRAINED);
    let poor: Vec<_> = poor
        .map(|(model, float32)| format!("{} on {}", model.network().short(), percent(float32.eval.test_top1)))
        .collect();
    (!poor.is_empty()).then(|| {
        let whole = whole_percent(TRAINED);
        format!(
            "; but of the test images {} only is right in float32: what a change costs is judged from {whole} on, ten \
             points below the article's figure for V2",
            list(&poor)
        )
    })
}

/// A form that was also trained with its change, if it was; else without.
fn best(model: &Model, form: Form) -> Option<&ShippedForm> {
    let measured = |form: Form| model.shipped(form).filter(|shipped| shipped.beside_float32.is_some());
    form.tuned().and_then(measured).or_else(|| measured(form))
}

/// The same change without training, where the form is one with it: ` (−2.1 points without)`.
fn without(model: &Model, shipped: &ShippedForm) -> String {
    let untuned = shipped.form.untuned().and_then(|form| model.shipped(form)?.beside_float32.as_ref());
    untuned.map(|change| format!(" ({} without)", points(change.difference))).unwrap_or_default()
}

/// After how much training, where it is not the article's.
fn training(gathered: &Gathered) -> String {
    let done = gathered.share_of_article();
    if done >= 0.95 { String::new() } else { format!(" This is after {} of the article's training.", share(done)) }
}

/// What 8 bits cost.
pub fn eight_bits(gathered: &Gathered) -> Claim {
    let text = "8-bit quantization costs only about 1% accuracy and makes the file much smaller.";
    let published = " About one point is what quantization-aware training gets; published post-training results on V3 \
                     run from half a point lost to collapse, with per-tensor weights, squeeze-and-excite and h-swish \
                     as the usual causes.";
    let networks: Vec<(&Model, &ShippedForm, &Comparison, f64)> = gathered
        .few()
        .into_iter()
        .filter_map(|model| {
            let (float32, int8) = (model.shipped(Form::Float32)?, best(model, Form::Int8)?);
            let size = int8.eval.shipped.bytes as f64 / float32.eval.shipped.bytes.max(1) as f64;
            Some((model, int8, int8.beside_float32.as_ref()?, size))
        })
        .collect();
    if networks.is_empty() {
        return claim(text, Verdict::NotMeasurable, format!("Nothing was exported in 8 bits here.{published}"));
    }
    let is_trained = |int8: &ShippedForm| int8.form == Form::Int8Qat;
    let said: Vec<_> = networks
        .iter()
        .map(|(model, int8, change, size)| {
            let (name, how) =
                (model.network().short(), if is_trained(int8) { " after training in 8 bits" } else { "" });
            let (change, without) = (say(change), without(model, int8));
            format!("{name}{how} {change}{without}, its file {} of the size", whole_percent(*size))
        })
        .collect();
    let none = !networks.iter().any(|(_, int8, ..)| is_trained(int8));
    let said = format!("Here{}: {}", if none { ", without any training in 8 bits" } else { "" }, said.join("; "));
    let kept: Vec<_> = networks.iter().map(|(_, _, change, _)| keeps(change, 0.01 + TOLERANCE)).collect();
    let smaller = networks.iter().all(|(_, _, _, size)| *size < 0.5);
    let float32 = networks.iter().filter_map(|(model, ..)| Some((*model, model.shipped(Form::Float32)?)));
    let obstacle = obstacle(gathered, float32);
    let (verdict, why) = match obstacle.as_deref() {
        Some(obstacle) => (Verdict::NotMeasurable, obstacle),
        None if kept.contains(&Some(false)) => (Verdict::NotReproduced, ": more than about one point is lost"),
        None if !smaller => (Verdict::NotReproduced, ": a file of half the size or more is not much smaller"),
        None if kept.iter().all(|kept| *kept == Some(true)) => (Verdict::Reproduced, ""),
        None => (Verdict::NotMeasurable, ": the intervals leave open whether about one point is lost or more"),
    };
    claim(text, verdict, format!("{said}{why}.{}{published}", training(gathered)))
}

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
            Verdict::NotMeasurable,
            rich!("{} What it costs must be measured, and no network was exported with such a swap here.", function),
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
    let (verdict, why) = match (obstacle.as_deref(), keeps(change, TOLERANCE), closes) {
        (Some(obstacle), ..) => (Verdict::NotMeasurable, obstacle),
        (None, Some(false), _) => (Verdict::NotReproduced, ": it cannot be replaced like that"),
        (None, None, _) => (Verdict::NotMeasurable, ": the interval leaves open whether more than a point is lost"),
        (None, Some(true), Some(true)) => (Verdict::Reproduced, ""),
        (None, Some(true), Some(false)) => (Verdict::NotReproduced, ": that closes no such gap"),
        (None, Some(true), None) => (Verdict::NotMeasurable, "; but the times were not measured"),
    };
    claim(text, verdict, rich!("{}{}{}.{} {}", said, speed, why, training(gathered), function))
}

/// Straight pieces in place of h-swish.
pub fn pieces(gathered: &Gathered) -> Claim {
    let text = "A piecewise linear approximation of h-swish makes inference faster still.";
    let Some((model, float32, shipped, change)) = with_swap(gathered, Form::Pieces4) else {
        return claim(text, Verdict::NotMeasurable, "No network was exported with straight pieces here.");
    };
    let name = model.network().short();
    let accuracy = swap_said(model, shipped, change, "its accuracy") + ".";
    let (Some(before), Some(now)) = (range(&float32.rounds), range(&shipped.rounds)) else {
        return claim(text, Verdict::NotMeasurable, format!("{name} was not timed with straight pieces. {accuracy}"));
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
        (Verdict::NotMeasurable, ": the rounds of timing overlap")
    };
    claim(text, verdict, format!("{said}{why}. {accuracy}"))
}

/// The inspection of surfaces.
pub fn defects(gathered: &Gathered) -> Claim {
    let text = "A quantized V3-Large finds defects with 98.5% accuracy at 45 frames per second.";
    let secret = "Neither the data nor the device nor the model is public.";
    let Some((eval, bench)) = &gathered.inspected else {
        return claim(text, Verdict::NotMeasurable, secret);
    };
    let speed = bench.as_ref().map_or_else(String::new, |bench| {
        format!(
            "; {} pictures of {}×{} pixels a second, one by one, on {}",
            significant(1e3 / bench.latency_ms.p50),
            bench.image[1],
            bench.image[0],
            count(bench.threads, "thread")
        )
    });
    let found = format!(
        "{secret} Its counterpart here: of pictures of metal that code draws (`--data flaws`: sound, or with one of six \
         kinds of flaws, four to ten standard deviations of the metal's texture away from it), V3-Large in 8 bits sorts \
         {} of {} rightly{speed}. Accuracies on drawn pictures say nothing about real ones.",
        percent(eval.test_top1),
        thousands(eval.test_images)
    );
    claim(text, Verdict::NotMeasurable, found)
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
    use mobilenet_schema::ShippedEval;

    use super::*;
    use crate::gather::fixture::{copy_of_fixture, fixture, ship_answers};
    use crate::gather::{Scope, gather};

    const IMAGES: usize = 1_000;

    /// Ships each form (network, form, right answers of a thousand, latencies) and judges.
    fn judge(
        name: &str,
        data: &str,
        forms: &[(&str, Form, usize, &[f64])],
        of: fn(&Gathered) -> Claim,
    ) -> (Verdict, String) {
        let out = copy_of_fixture(&format!("audit-{name}"));
        for &(network, form, right, rounds) in forms {
            let predicted = (0..IMAGES).map(|i| usize::from(i >= right)).collect();
            ship_answers(&out, network, form, (vec![0; IMAGES], predicted), rounds);
        }
        let mut gathered = gather(&out, Scope::default()).unwrap();
        std::fs::remove_dir_all(&out).unwrap();
        gathered.data.name = data.to_owned();
        let found = of(&gathered);
        (found.verdict, found.reason.plain())
    }

    #[test]
    fn eight_bits_are_judged_by_the_interval_of_the_loss() {
        for (name, data, right, want, says) in [
            ("none", "cifar10", 900, Verdict::NotReproduced, "half the size or more"),
            ("lost", "cifar10", 800, Verdict::NotReproduced, "more than about one point is lost"),
            ("drawn", "shapes10", 900, Verdict::NotMeasurable, "pictures drawn by code"),
        ] {
            let forms = [("v2", Form::Float32, 900, &[][..]), ("v2", Form::Int8, right, &[][..])];
            let (verdict, reason) = judge(name, data, &forms, eight_bits);
            assert_eq!(verdict, want, "{reason}");
            assert!(reason.contains(says), "{reason}");
        }
        let change = |low: f64, high: f64| Comparison {
            difference: 0.0,
            seeds: (1, 1),
            welch: None,
            mcnemar: Vec::new(),
            bootstrap: Some(mobilenet_schema::Bootstrap { interval: (low, high), over_seeds: false }),
        };
        assert_eq!(keeps(&change(-0.02, 0.0), 0.02), Some(true));
        assert_eq!(keeps(&change(0.01, 0.02), 0.02), Some(true), "a gain is no loss");
        assert_eq!(keeps(&change(-0.03, -0.021), 0.02), Some(false));
        assert_eq!(keeps(&change(-0.03, -0.01), 0.02), None);
    }

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
            ("open", 890, &[1.2][..], Verdict::NotMeasurable, "leaves open"),
            ("untimed", 900, &[][..], Verdict::NotMeasurable, "times were not measured"),
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
        for (right, want) in [(300, Verdict::NotMeasurable), (799, Verdict::NotMeasurable), (801, Verdict::Reproduced)]
        {
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
            assert_eq!(reason.contains("V3-Large on"), right < 800, "{reason}");
        }
    }

    #[test]
    fn straight_pieces_have_to_be_faster_in_every_round() {
        for (name, ms, want) in [
            ("faster", &[1.8, 1.9][..], Verdict::Reproduced),
            ("slower", &[2.3, 2.4][..], Verdict::NotReproduced),
            ("same", &[1.8, 2.1][..], Verdict::NotMeasurable),
            ("never", &[][..], Verdict::NotMeasurable),
        ] {
            let forms = [("v3-large", Form::Float32, 900, &[2.0, 2.2][..]), ("v3-large", Form::Pieces4, 895, ms)];
            let (verdict, reason) = judge(&format!("pieces-{name}"), "cifar10", &forms, pieces);
            assert_eq!(verdict, want, "{reason}");
            assert!(reason.contains("changes by −0.5 points"), "{reason}");
        }
    }

    #[test]
    fn the_inspection_of_drawn_flaws_stands_beside_the_claim() {
        assert!(!defects(&fixture()).reason.plain().contains("counterpart"));
        let mut gathered = fixture();
        let eval = ShippedEval { test_top1: 0.97, test_images: 1_400, ..ShippedEval::default() };
        gathered.inspected = Some((eval, None));
        let found = defects(&gathered);
        assert_eq!(found.verdict, Verdict::NotMeasurable);
        assert!(found.reason.plain().contains("sorts 97.0% of 1,400 rightly. Accuracies"), "{}", found.reason.plain());
    }

    #[test]
    fn what_was_not_shipped_cannot_be_judged() {
        let gathered = fixture();
        for of in [eight_bits, relu6, pieces] {
            assert_eq!(of(&gathered).verdict, Verdict::NotMeasurable);
        }
    }
}
