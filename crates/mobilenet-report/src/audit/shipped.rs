//! What only exported networks settle: 8 bits here, simpler activations in `swaps`.
//!
//! Each is a difference between two forms of one network on the same images, so that it is judged on any pictures but
//! drawn ones, and after any training that was long enough: a network that is wrong on most images has little to lose.
//! Where a form was also trained a little with its change, it is judged as it is after that, as one would ship it.

use mobilenet_schema::{Comparison, Form, Verdict};

use super::super::document::inline::{Inline, rich};
use super::super::gather::{Gathered, Model, ShippedForm};
use super::super::text::{count, percent, points, points_interval, share, significant, thousands, whole_percent};
use super::claim::{Claim, claim};
use super::footing::poorly_trained;

/// The loss of accuracy that still counts as none, or as about the one that is claimed.
pub const TOLERANCE: f64 = 0.01;

/// Said where pictures are drawn.
pub const DRAWN: &str = "; but these are pictures drawn by code, on which no accuracy is judged: `--data cifar10` has \
    others";

/// Whether an accuracy falls by at most `allowed`, by the whole 95 % interval of its change; `None` where that leaves
/// it open.
pub fn keeps(change: &Comparison, allowed: f64) -> Option<bool> {
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
pub fn say(change: &Comparison) -> String {
    let interval = change.interval().map(|interval| format!(" (95% interval {})", points_interval(interval)));
    points(change.difference) + &interval.unwrap_or_default()
}

/// What keeps the accuracies of these networks, in float32, from being judged, and what the verdict is then.
pub fn obstacle<'a>(
    gathered: &Gathered,
    networks: impl IntoIterator<Item = (&'a Model, &'a ShippedForm)>,
) -> Option<(Verdict, Inline)> {
    if gathered.data.is_drawn() {
        return Some((Verdict::NotCompared, DRAWN.into()));
    }
    let name = |model: &Model| model.network().short() + " in float32";
    let networks = networks.into_iter().map(|(model, float32)| (name(model), float32.eval.test_top1));
    let poor = poorly_trained(networks, "what a change costs")?;
    Some((Verdict::Undecided, format!("; but {poor}").into()))
}

/// A form that was also trained with its change, if it was; else without.
pub fn best(model: &Model, form: Form) -> Option<&ShippedForm> {
    let measured = |form: Form| model.shipped(form).filter(|shipped| shipped.beside_float32.is_some());
    form.tuned().and_then(measured).or_else(|| measured(form))
}

/// The same change without training, where the form is one with it: ` (−2.1 points without)`.
pub fn without(model: &Model, shipped: &ShippedForm) -> String {
    let untuned = shipped.form.untuned().and_then(|form| model.shipped(form)?.beside_float32.as_ref());
    untuned.map(|change| format!(" ({} without)", points(change.difference))).unwrap_or_default()
}

/// After how much training, where it is not the article's.
pub fn training(gathered: &Gathered) -> String {
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
        let nothing = "Nothing was exported in 8 bits here: `cargo xtask compare` does where it has the weights.";
        return claim(text, Verdict::NotCompared, rich!("{}{}", Inline::from(nothing), published));
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
    let (verdict, why) = obstacle.unwrap_or_else(|| {
        let (verdict, why) = if kept.contains(&Some(false)) {
            (Verdict::NotReproduced, ": more than about one point is lost")
        } else if !smaller {
            (Verdict::NotReproduced, ": a file of half the size or more is not much smaller")
        } else if kept.iter().all(|kept| *kept == Some(true)) {
            (Verdict::Reproduced, "")
        } else {
            (Verdict::Undecided, ": the intervals leave open whether about one point is lost or more")
        };
        (verdict, why.into())
    });
    claim(text, verdict, rich!("{}{}.{}{}", said, why, training(gathered), published))
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

#[cfg(test)]
pub mod tests {
    use mobilenet_schema::ShippedEval;

    use super::*;
    use crate::gather::fixture::{copy_of_fixture, fixture, ship_answers};
    use crate::gather::{Scope, gather};

    const IMAGES: usize = 1_000;

    /// Ships each form (network, form, right answers of a thousand, latencies) and judges.
    pub fn judge(
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
            ("drawn", "shapes10", 900, Verdict::NotCompared, "pictures drawn by code"),
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
    fn the_inspection_of_drawn_flaws_stands_beside_the_claim() {
        assert!(!defects(&fixture()).reason.plain().contains("counterpart"));
        let mut gathered = fixture();
        let eval = ShippedEval { test_top1: 0.97, test_images: 1_400, ..ShippedEval::default() };
        gathered.inspected = Some((eval, None));
        let found = defects(&gathered);
        assert_eq!(found.verdict, Verdict::NotMeasurable);
        assert!(found.reason.plain().contains("sorts 97.0% of 1,400 rightly. Accuracies"), "{}", found.reason.plain());
    }
}
