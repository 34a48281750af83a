//! The article's claims, one by one: reproduced, not reproduced, or not measurable here, each with its reason.

use serde::Serialize;

use super::gather::{Gathered, Model};
use super::names::Arch;
use super::stats::Comparison;
use super::structure;
use super::text::{list, millions, percent, points, share, significant, thousands};

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
    let mut claims = code();
    claims.extend(counts(gathered));
    claims.extend(accuracy(gathered));
    claims.extend(speed(gathered));
    claims.extend(advice(gathered));
    claims
}

fn claim(text: &str, verdict: Verdict, reason: impl Into<String>) -> Claim {
    Claim { claim: text.to_owned(), verdict, reason: reason.into() }
}

/// Claims that reading the code and arithmetic settle.
fn code() -> Vec<Claim> {
    use Verdict::NotReproduced;
    vec![
        claim(
            "The code as printed builds and runs MobileNetV3-Large.",
            NotReproduced,
            "From the second block on it reads `self.blocks[-1].conv[-1].out_channels`, but the last layer of `conv` is a `BatchNorm2d`, which has no such attribute: constructing the model raises `AttributeError`.",
        ),
        claim(
            "Its V3 block implements the configuration table (`k, exp, c, se, nl, s`).",
            NotReproduced,
            "`k` is read and never used: all windows are 3×3, although six of the fifteen rows ask for 5×5. `exp/16` is passed as the expansion ratio, which is right only for the first two rows, whose input has 16 channels; the third (24 in, 72 inside) would become 108 wide. `RE` is made a ReLU6, where V3 has a ReLU.",
        ),
        claim(
            "`reduced_tail` is an option of the model.",
            NotReproduced,
            "It is accepted and ignored. It should halve the last stage and the last channels; `mobilenet train --reduced-tail` does.",
        ),
        claim(
            "Its squeeze-and-excite module is V3's.",
            NotReproduced,
            "It has no biases, and its hidden width is exp/4 where V3 rounds to multiples of eight (72 channels: 24, not 18).",
        ),
        claim(
            "`width_mult` scales the V2 code.",
            NotReproduced,
            "At width 1 the printed V2 is right. At others it truncates (`int(c * width_mult)`) where MobileNetV2 rounds to multiples of eight, so published weights would not fit; at 0.75 the 24-channel stage gets 18 channels, not 24.",
        ),
    ]
}

/// `claimed` and `found` in millions: agreement within one percent counts.
fn count(text: &str, claimed: f64, found: Option<u64>, what: &str, remark: &str) -> Claim {
    let Some(found) = found else {
        return claim(text, Verdict::NotMeasurable, "No summary of this network is there.");
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

fn counts(gathered: &Gathered) -> Vec<Claim> {
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
                        "Of V3-Large's {} blocks {squeezed} have squeeze-and-excite, {swish} h-swish and {wide} a 5×5 window; V2's {} have none of these. The block-by-block table has the details.",
                        b.len(),
                        a.len()
                    ),
                )
            }
            _ => claim(
                "V3 adds squeeze-and-excite, h-swish and searched layer settings to V2's blocks.",
                Verdict::NotMeasurable,
                "A summary is missing.",
            ),
        },
        claim(
            "`torchinfo` shows the structure of both models.",
            if v2.is_some() && v3.is_some() { Verdict::Reproduced } else { Verdict::NotMeasurable },
            "`mobilenet summary` prints the same kind of table (layers, output shapes, parameters, multiply-adds), and the totals below are its. For the article's own V3 it could not have been printed, since that model cannot be constructed.",
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
                "Parameters: {} M against {} M, {} more, which is not slight. Computation is the other way round: {} M multiply-adds against {} M, {} of V2's.",
                millions(v3.params), millions(v2.params), percent(v3.params as f64 / v2.params as f64 - 1.0),
                millions(v3.macs), millions(v2.macs), percent(v3.macs as f64 / v2.macs as f64)
            ),
        ));
    }
    claims
}

/// Why accuracies of this comparison cannot be held against the article's; `None` if they can.
fn budget(gathered: &Gathered) -> Option<String> {
    if gathered.data.name != "cifar10" {
        Some(format!("trained on {}, not CIFAR-10", gathered.data.label()))
    } else if !gathered.is_articles_protocol() {
        Some(format!("after {} of the article's training", share(gathered.share_of_article())))
    } else {
        None
    }
}

/// A claimed accuracy: within one point counts as reproduced, if the protocol was the article's.
fn accuracy_claim(text: &str, claimed: f64, found: Option<f64>, limits: Option<&str>, remark: &str) -> Claim {
    let Some(found) = found else {
        return claim(text, Verdict::NotMeasurable, "This network was not part of the comparison.");
    };
    match limits {
        Some(limits) => claim(text, Verdict::NotMeasurable, format!("Here {}, but {limits}.{remark}", percent(found))),
        None => {
            let verdict = if (found - claimed).abs() <= 0.01 { Verdict::Reproduced } else { Verdict::NotReproduced };
            claim(
                text,
                verdict,
                format!("Here {}, {} from the article's figure.{remark}", percent(found), points(found - claimed)),
            )
        }
    }
}

fn accuracy(gathered: &Gathered) -> Vec<Claim> {
    let limits = budget(gathered);
    let (v2, v3) = (gathered.model(Arch::V2), gathered.model(Arch::V3Large));
    let test = |model: Option<&Model>| model.map(Model::test_top1);
    let train = |model: Option<&Model>| model.map(Model::train_top1);
    let marks = " Published marks for V2 on CIFAR-10 lie at 93.8–94.4%, after 300 epochs and more.";
    let mut claims = vec![
        accuracy_claim("MobileNetV2 reaches 96.2% on the training images.", 0.962, train(v2), limits.as_deref(), ""),
        accuracy_claim("MobileNetV3 reaches 97.5% on the training images.", 0.975, train(v3), limits.as_deref(), ""),
        accuracy_claim("MobileNetV2 reaches 90.1% on the test images.", 0.901, test(v2), limits.as_deref(), marks),
        accuracy_claim(
            "MobileNetV3 reaches 92.3% on the test images.",
            0.923,
            test(v3),
            limits.as_deref(),
            " For V3-Large no authoritative figure is known.",
        ),
    ];
    let text = "V3 is about 2 points more accurate than V2.";
    claims.push(match (v2, v3) {
        (Some(v2), Some(v3)) => {
            let gap = v3.test_top1() - v2.test_top1();
            let noise = gathered.difference().is_none_or(Comparison::is_noise);
            let weight = if noise { "within noise" } else { "more than chance explains" };
            match &limits {
                Some(limits) => {
                    claim(text, Verdict::NotMeasurable, format!("Here {}, {weight}, but {limits}.", points(gap)))
                }
                None => {
                    let verdict = if (0.01..=0.03).contains(&gap) && !noise {
                        Verdict::Reproduced
                    } else {
                        Verdict::NotReproduced
                    };
                    claim(text, verdict, format!("Here {}, {weight}.", points(gap)))
                }
            }
        }
        _ => claim(text, Verdict::NotMeasurable, "Only one of the two was part of the comparison."),
    });
    claims.push(parts(gathered, limits.as_deref()));
    claims
}

/// What each part of V3 brings, step by step, where the networks between V2 and V3-Large were compared.
fn parts(gathered: &Gathered, limits: Option<&str>) -> Claim {
    let text = "The gain comes from squeeze-and-excite, h-swish and the searched structure.";
    let rungs: Vec<_> = Arch::LADDER.into_iter().filter_map(|arch| gathered.model(arch)).collect();
    if rungs.len() < Arch::LADDER.len() {
        return claim(
            text,
            Verdict::NotMeasurable,
            "The article compares the two whole networks only; to tell the parts' shares apart, they would have to be added one by one: `cargo xtask compare --models ladder` does.",
        );
    }
    let names = ["h-swish", "squeeze-and-excite", "5×5 windows", "V3's layer settings"];
    let steps: Vec<_> = rungs.windows(2).map(|pair| pair[1].test_top1() - pair[0].test_top1()).collect();
    let said: Vec<_> = names.iter().zip(&steps).map(|(name, step)| format!("{name} {}", points(*step))).collect();
    let said = format!("Added one after the other: {}", list(&said));
    match limits {
        Some(limits) => claim(text, Verdict::NotMeasurable, format!("{said}; but {limits}.")),
        None if steps.iter().all(|step| *step > 0.0) => claim(text, Verdict::Reproduced, format!("{said}.")),
        None => claim(text, Verdict::NotReproduced, format!("{said}: not every part brings something.")),
    }
}

/// A pair of figures from a machine that is not here: only their order can be held against ours.
fn on_other_machine(text: &str, claimed: (f64, f64), found: Option<(f64, f64)>, unit: &str, why: &str) -> Claim {
    let ratio = claimed.1 / claimed.0;
    let reason = match found {
        Some((a, b)) => {
            let ours = b / a;
            let agree =
                if (ours > 1.0) == (ratio > 1.0) { "The order is the same" } else { "Even the order is different" };
            format!(
                "{why} Here V2 {} {unit}, V3-Large {} {unit}. {agree}: the article's ratio is {ratio:.2}, ours {ours:.2}.",
                significant(a),
                significant(b)
            )
        }
        None => format!("{why} One of the two networks was not measured here."),
    };
    claim(text, Verdict::NotMeasurable, reason)
}

fn speed(gathered: &Gathered) -> Vec<Claim> {
    let (v2, v3) = (gathered.model(Arch::V2), gathered.model(Arch::V3Large));
    let both = |figure: &dyn Fn(&Model) -> Option<f64>| Some((figure(v2?)?, figure(v3?)?));
    let epoch = both(&|m| Some(50_000.0 / m.training_speed()));
    let latency = both(&Model::latency);
    let memory = both(&|m| Some(m.bench.as_ref()?.peak_rss_bytes? as f64 / f64::from(1 << 20)));
    let order = "V3 takes longer per epoch than V2.";
    let order = match epoch {
        Some((a, b)) => {
            let verdict = if b > a { Verdict::Reproduced } else { Verdict::NotReproduced };
            let word = if b > a { "longer" } else { "shorter" };
            claim(
                order,
                verdict,
                format!(
                    "An epoch of V3-Large is {word} here: {:.2} times V2's (the article: 1.16 times). This depends on the machine and the library as much as on the network.",
                    b / a
                ),
            )
        }
        None => claim(order, Verdict::NotMeasurable, "Only one of the two was part of the comparison."),
    };
    vec![
        on_other_machine(
            "An epoch takes 45 s (V2) and 52 s (V3).",
            (45.0, 52.0),
            epoch,
            "s per 50,000 images",
            "The article does not name the machine it trained on.",
        ),
        order,
        on_other_machine(
            "On a Jetson Nano one image takes 12.4 ms (V2) and 15.2 ms (V3).",
            (12.4, 15.2),
            latency,
            "ms",
            "No Jetson Nano here. The printed loop also stops the clock without `torch.cuda.synchronize()`, so on a GPU it times the launching of work as much as the work.",
        ),
        on_other_machine(
            "Inference takes 125 MB (V2) and 158 MB (V3) of memory.",
            (125.0, 158.0),
            memory,
            "MB",
            "The article does not say what it measured: process, framework or tensors. Ours is the peak of the whole process.",
        ),
        claim(
            "At inference h-swish can be replaced by ReLU6, which closes most of the gap in speed.",
            Verdict::NotMeasurable,
            "That changes the function: the two differ by up to 0.375 between −3 and 3, h-swish is negative below 0, and above 6 ReLU6 stays at 6 where h-swish grows on. What it costs must be measured, before and after fine-tuning, and there is no such swap here yet. (h-swish does use ReLU6 inside, x·ReLU6(x+3)/6; that is a cheap sigmoid, not a ReLU6 in its place.)",
        ),
    ]
}

fn advice(gathered: &Gathered) -> Vec<Claim> {
    let small = gathered.counts(Arch::V3Small).map(|c| &c.cifar);
    let v2 = gathered.counts(Arch::V2).map(|c| &c.cifar);
    let text = "Where resources are scarcest, take MobileNetV2.";
    let scarce = match (small, v2) {
        (Some(small), Some(v2)) if small.params < v2.params && small.macs < v2.macs => claim(
            text,
            Verdict::NotReproduced,
            format!(
                "V3-Small asks for less of both: {} M parameters against {} M, {} M multiply-adds against {} M at 32×32.",
                millions(small.params),
                millions(v2.params),
                millions(small.macs),
                millions(v2.macs)
            ),
        ),
        _ => claim(text, Verdict::NotMeasurable, "A summary is missing."),
    };
    vec![
        scarce,
        claim(
            "Label smoothing, distillation and a higher initial learning rate for h-swish help.",
            Verdict::NotMeasurable,
            "The article gives no figures. Label smoothing and learning rate can be tried with `mobilenet train`; distillation is not there.",
        ),
        claim(
            "8-bit quantization costs about 1% accuracy.",
            Verdict::NotMeasurable,
            "There is no int8 path here yet. About one point is what quantization-aware training gets; published post-training results on V3 run from half a point lost to collapse, with per-tensor weights, squeeze-and-excite and h-swish as the usual causes.",
        ),
        claim(
            "A quantized V3-Large finds defects with 98.5% accuracy at 45 frames per second.",
            Verdict::NotMeasurable,
            "Neither the data nor the device nor the model is public.",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::gather::tests::fixture;
    use super::*;

    fn verdict(claims: &[Claim], part: &str) -> Verdict {
        claims.iter().find(|c| c.claim.contains(part)).unwrap_or_else(|| panic!("no claim {part}")).verdict
    }

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
        assert_eq!(count("", 1.0, None, "", "").verdict, Verdict::NotMeasurable);
    }

    #[test]
    fn accuracies_are_judged_only_under_the_articles_protocol() {
        let judge = |found, limits| accuracy_claim("", 0.901, found, limits, "").verdict;
        assert_eq!(judge(Some(0.905), None), Verdict::Reproduced);
        assert_eq!(judge(Some(0.94), None), Verdict::NotReproduced);
        assert_eq!(judge(Some(0.905), Some("too short")), Verdict::NotMeasurable);
        assert_eq!(judge(None, None), Verdict::NotMeasurable);
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
