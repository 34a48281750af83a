//! What a clock settles, on the same machine.

use mobilenet_arch::Arch;
use mobilenet_schema::Verdict;

use super::super::document::inline::{Inline, rich};
use super::super::gather::{Gathered, Model, quiet};
use super::super::text::significant;
use super::claim::{Claim, claim};
use super::swaps;

/// A pair of figures from a machine that is not here: only their order can be compared with ours.
fn on_other_machine(
    text: &'static str,
    claimed: (f64, f64),
    found: Option<(f64, f64)>,
    unit: &str,
    why: &'static str,
) -> Claim {
    let (ratio, why) = (claimed.1 / claimed.0, Inline::from(why));
    let reason = match found {
        Some((a, b)) => {
            let ours = b / a;
            let agree =
                if (ours > 1.0) == (ratio > 1.0) { "The order is the same" } else { "Even the order is different" };
            rich!(
                "{} Here V2 {} {}, V3-Large {} {}. {}: the article's ratio is {}, ours {}.",
                why,
                significant(a),
                unit,
                significant(b),
                unit,
                agree,
                format!("{ratio:.2}"),
                format!("{ours:.2}")
            )
        }
        None => rich!("{} One of the two networks was not measured here, or not on a machine known to be quiet.", why),
    };
    claim(text, Verdict::NotMeasurable, reason)
}

/// The claims about time and memory.
pub fn claims(gathered: &Gathered) -> Vec<Claim> {
    let (v2, v3) = (gathered.model(Arch::V2), gathered.model(Arch::V3Large));
    let both = |figure: &dyn Fn(&Model) -> Option<f64>| Some((figure(v2?)?, figure(v3?)?));
    let epoch = both(&|m| Some(50_000.0 / quiet::training_speed(m)?));
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
                    "An epoch of V3-Large is {word} here: {:.2} times V2's (the article: 1.16 times). This depends on \
                     the machine and the library as much as on the network.",
                    b / a
                ),
            )
        }
        None if v2.is_some() && v3.is_some() => claim(
            order,
            Verdict::Undecided,
            "Both were trained here, but not on a machine known to be quiet: the times leave it open.",
        ),
        None => claim(
            order,
            Verdict::NotCompared,
            "One of the two was not trained here: `cargo xtask compare --models v2,v3-large` trains both.",
        ),
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
            "No Jetson Nano here. The printed loop also stops the clock without `torch.cuda.synchronize()`, so on a \
             GPU it times the launching of work as much as the work.",
        ),
        on_other_machine(
            "Inference takes 125 MB (V2) and 158 MB (V3) of memory.",
            (125.0, 158.0),
            memory,
            "MB",
            "The article does not say what it measured: process, framework or tensors. Ours is the peak of the whole \
             process.",
        ),
        swaps::relu6(gathered),
        swaps::pieces(gathered),
    ]
}
