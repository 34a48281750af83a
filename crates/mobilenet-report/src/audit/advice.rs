//! The article's advice.

use mobilenet_arch::Arch;
use mobilenet_schema::{Comparison, Verdict};

use super::super::document::inline::{Inline, rich};
use super::super::gather::{Gathered, Tried};
use super::super::plan::Advice;
use super::super::text::{count, list, millions, points};
use super::super::verdict::p_value;
use super::claim::{Claim, claim};
use super::footing::poorly_trained;
use super::{counts, shipped};

/// The claims about what to choose and what helps.
pub fn claims(gathered: &Gathered) -> Vec<Claim> {
    let small = gathered.counts(Arch::V3Small).map(|c| &c.cifar);
    let v2 = gathered.counts(Arch::V2).map(|c| &c.cifar);
    let text = "Where resources are scarcest, take MobileNetV2.";
    let scarce = match (small, v2) {
        (Some(small), Some(v2)) if small.params < v2.params && small.macs < v2.macs => claim(
            text,
            Verdict::NotReproduced,
            format!(
                "V3-Small needs less of both: {} M parameters against {} M, {} M multiply-adds against {} M at 32×32.",
                millions(small.params),
                millions(v2.params),
                millions(small.macs),
                millions(v2.macs)
            ),
        ),
        _ => claim(text, Verdict::NotCompared, counts::MISSING),
    };
    vec![scarce, training(gathered), shipped::eight_bits(gathered), shipped::defects(gathered)]
}

/// What helps a training.
fn training(gathered: &Gathered) -> Claim {
    let text = "Label smoothing, distillation and a higher initial learning rate for h-swish help.";
    let Some(tried) = &gathered.tried else {
        return claim(
            text,
            Verdict::NotCompared,
            "The article gives no figures. `cargo xtask compare --advice` trains a small network with and without each.",
        );
    };
    let (verdict, why) =
        if gathered.data.is_drawn() { (Verdict::NotCompared, shipped::DRAWN.into()) } else { judge(tried) };
    claim(text, verdict, rich!("{}{}.", said(tried), why))
}

/// `V3-Small after 10 epochs of one seed, each against its twin without: label smoothing +0.6 points (…), …`
fn said(tried: &Tried) -> Inline {
    let plain = &tried.plain.training;
    let (network, epochs) = (plain.network().short(), count(plain.record.epochs, "epoch"));
    let mut parts = vec![rich!("{} after {} of one seed, each against its twin without:", network, epochs)];
    let compared = tried.advised.iter().filter_map(|twin| Some((twin.advice, twin.beside_plain.as_ref()?)));
    let compared: Vec<(Advice, &Comparison)> = compared.collect();
    for (i, (advice, found)) in compared.iter().enumerate() {
        let test = if i == 0 { "McNemar's test, " } else { "" };
        let end = if i + 1 < compared.len() { "," } else { "" };
        let (gain, p) = (points(found.difference), p_value(found.p_value()));
        parts.push(rich!("{} {} ({}p {}){}", tried.label(*advice), gain, test, p, end));
    }
    Inline::join(parts)
}

/// A claim of several is reproduced only if each of them holds, and is not if one does harm.
fn judge(tried: &Tried) -> (Verdict, Inline) {
    let plain = &tried.plain;
    let found = |advice: Advice| tried.twin(advice).and_then(|twin| twin.beside_plain.as_ref());
    let which = |is_one: &dyn Fn(Option<&Comparison>) -> bool| -> Vec<String> {
        let advised = Advice::ALL.into_iter().filter(|&advice| advice != Advice::Plain && is_one(found(advice)));
        advised.map(|advice| advice.label().to_owned()).collect()
    };
    let worse = which(&|found| found.is_some_and(|found| found.difference < 0.0 && !found.is_noise()));
    let missing = which(&|found| found.is_none());
    let open = which(&|found| found.is_some_and(Comparison::is_noise));
    let poor = poorly_trained([(plain.training.network().short(), plain.eval.test_top1)], "what advice brings");
    let (verdict, why) = match poor {
        Some(poor) => (Verdict::Undecided, format!("; but {poor}")),
        None if !worse.is_empty() => (Verdict::NotReproduced, format!(": that is less with {}", list(&worse))),
        None if !missing.is_empty() => (Verdict::Undecided, format!("; nothing was found of {}", list(&missing))),
        None if !open.is_empty() => (Verdict::Undecided, format!(": within noise with {}", list(&open))),
        None => (Verdict::Reproduced, ", each more than chance explains".to_owned()),
    };
    (verdict, why.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gather::fixture::{advise, copy_of_fixture, fixture};
    use crate::gather::{Scope, gather};

    /// Tries advice on a thousand images, of which each training is right on so many, and judges.
    fn judged(name: &str, data: &str, right: &[(Advice, usize)]) -> (Verdict, String) {
        let out = copy_of_fixture(&format!("audit-advice-{name}"));
        for &(advice, right) in right {
            advise(&out, advice, (1_000, right), &|_| ());
        }
        let mut gathered = gather(&out, Scope { every_run: true, ..Scope::default() }).unwrap();
        std::fs::remove_dir_all(&out).unwrap();
        gathered.data.name = data.to_owned();
        let found = training(&gathered);
        (found.verdict, found.reason.source())
    }

    #[test]
    fn advice_helps_only_if_each_piece_of_it_does() {
        use Advice::{Distillation, HigherRate, LabelSmoothing, Plain};
        let all = |plain, smoothing, distillation, rate| {
            [(Plain, plain), (LabelSmoothing, smoothing), (Distillation, distillation), (HigherRate, rate)]
        };
        for (name, data, right, want, says) in [
            ("all", "cifar10", all(850, 870, 880, 875), Verdict::Reproduced, "), each more than chance explains."),
            ("one", "cifar10", all(850, 870, 880, 851), Verdict::Undecided, "): within noise with twice the learning"),
            ("worse", "cifar10", all(850, 870, 851, 830), Verdict::NotReproduced, "): that is less with twice the"),
            (
                "poor",
                "cifar10",
                all(700, 790, 790, 790),
                Verdict::Undecided,
                "correctly (V2 70.0%): what advice brings",
            ),
            ("drawn", "shapes10", all(850, 870, 880, 875), Verdict::NotCompared, "`--data cifar10` has others."),
        ] {
            let (verdict, reason) = judged(name, data, &right);
            assert_eq!(verdict, want, "{reason}");
            assert!(reason.contains(says), "{reason}");
        }
        let (verdict, reason) = judged("missing", "cifar10", &all(850, 870, 880, 875)[..3]);
        assert_eq!(verdict, Verdict::Undecided, "{reason}");
        assert_eq!(
            reason,
            "V2 after 3 epochs of one seed, each against its twin without: label smoothing +2.0 points (McNemar's test, \
             p < 0.001), distillation from V3-Large +3.0 points (p < 0.001); nothing was found of twice the learning \
             rate."
        );
    }

    #[test]
    fn advice_that_was_not_tried_is_asked_for() {
        let found = training(&fixture());
        assert_eq!(found.verdict, Verdict::NotCompared);
        assert!(found.reason.source().contains("`cargo xtask compare --advice`"), "{}", found.reason.source());
    }
}
