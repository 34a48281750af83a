//! The article's advice.

use mobilenet_arch::Arch;
use mobilenet_schema::Verdict;

use super::super::gather::Gathered;
use super::super::text::millions;
use super::claim::{Claim, claim};
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
    vec![
        scarce,
        claim(
            "Label smoothing, distillation and a higher initial learning rate for h-swish help.",
            Verdict::NotCompared,
            "The article gives no figures. `cargo xtask compare --advice` trains a small network with and without each.",
        ),
        shipped::eight_bits(gathered),
        shipped::defects(gathered),
    ]
}
