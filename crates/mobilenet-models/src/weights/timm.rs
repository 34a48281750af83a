//! timm's names of MobileNetV1, V2 and V3, and torchvision's.
//!
//! ```text
//! timm                                  torchvision (V1: this crate's, in the same manner)
//! conv_stem, bn1                        features.0.{0,1}
//! blocks.S.B, B-th block of stage S     features.I, I counting all blocks from 1
//!   conv_pw, bn1 (expansion)              V2: conv.0.{0,1}   V3: block.0.{0,1}
//!   conv_dw, bn2 (bn1 without one)        V2: conv.1.{0,1}   V3: block.1.{0,1}      V1: 0.{0,1}
//!   se.conv_reduce, se.conv_expand                           V3: block.2.{fc1,fc2}
//!   conv_pwl, bn3 (conv_pw, bn2)          V2: conv.2, conv.3 V3: block.3.{0,1}      V1: 1.{0,1}
//! blocks.S.0 with conv, bn1 (V3)        the last of features, {0,1}
//! conv_head, bn2 (V2)                   the last of features, {0,1}
//! conv_head (V3), a 1×1 convolution     classifier.0, a linear layer
//! classifier                            V1, V2: classifier.1   V3: classifier.3
//! ```
//!
//! What a block does not have moves its later parts one place down. timm's V3 has a batch norm with an eps of 1e-5 where
//! torchvision's has 1e-3: the difference goes into the variances. (The networks that timm calls `tf_…` have 1e-3, and
//! another padding, which no weights can make up for.) Source: `timm/models/_efficientnet_blocks.py`.

use std::collections::BTreeMap;

use super::reading::Entry;
use crate::plan::{BlockConfig, Plan};
use crate::{Arch, ModelConfig, Preset};

/// What is added to timm's variances: timm's eps less torchvision's.
const V3_VARIANCE: f64 = 1e-5 - 1e-3;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Family {
    V1,
    V2,
    V3,
}

/// What a block of either naming consists of.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Parts {
    expands: bool,
    squeezes: bool,
}

impl Family {
    /// A block's parts: timm's name and ours.
    fn parts(self, Parts { expands, squeezes }: Parts) -> Vec<(&'static str, String)> {
        let folder = match self {
            Self::V1 => "",
            Self::V2 => "conv.",
            Self::V3 => "block.",
        };
        let mut place = 0;
        let mut parts = Vec::new();
        let mut pair = |names: [&'static str; 2], place: usize| {
            parts.extend([0, 1].map(|i| (names[i], format!("{folder}{place}.{i}"))));
        };
        if expands {
            pair(["conv_pw", "bn1"], place);
            place += 1;
        }
        pair(["conv_dw", if expands { "bn2" } else { "bn1" }], place);
        place += 1;
        if squeezes {
            let [fc1, fc2] = ["fc1", "fc2"].map(|part| format!("{folder}{place}.{part}"));
            parts.extend([("se.conv_reduce", fc1), ("se.conv_expand", fc2)]);
            place += 1;
        }
        let (conv, norm) = if expands { ("conv_pwl", "bn3") } else { ("conv_pw", "bn2") };
        // Of V2's projection the parts are the sequence's own.
        let [ours_conv, ours_norm] = match self {
            Self::V2 => [format!("{folder}{place}"), format!("{folder}{}", place + 1)],
            _ => [format!("{folder}{place}.0"), format!("{folder}{place}.1")],
        };
        parts.extend([(conv, ours_conv), (norm, ours_norm)]);
        parts
    }

    /// What is before and after the blocks; `last` is the number of V2's last convolution.
    fn ends(self, last: usize) -> Vec<(&'static str, String)> {
        let mut ends = vec![("conv_stem", "features.0.0".to_owned()), ("bn1", "features.0.1".to_owned())];
        match self {
            Self::V1 => ends.push(("classifier", "classifier.1".into())),
            Self::V2 => ends.extend([
                ("conv_head", format!("features.{last}.0")),
                ("bn2", format!("features.{last}.1")),
                ("classifier", "classifier.1".into()),
            ]),
            Self::V3 => ends.extend([("conv_head", "classifier.0".into()), ("classifier", "classifier.3".into())]),
        }
        ends
    }
}

/// Whether these are timm's names.
pub(super) fn is_timm(tensors: &BTreeMap<String, Entry>) -> bool {
    tensors.contains_key("conv_stem.weight")
}

/// Tensors by timm's names under torchvision's. A name that timm does not give stays.
pub(super) fn to_torchvision(tensors: BTreeMap<String, Entry>) -> BTreeMap<String, Entry> {
    let family = match (tensors.contains_key("conv_head.weight"), tensors.contains_key("conv_head.bias")) {
        (false, _) => Family::V1,
        (true, false) => Family::V2,
        (true, true) => Family::V3,
    };
    // The blocks in order, and what is in each.
    let mut blocks: BTreeMap<(usize, usize), (Parts, bool)> = BTreeMap::new();
    for name in tensors.keys() {
        let Some((place, part)) = block(name) else { continue };
        let (parts, plain) = blocks.entry(place).or_default();
        parts.expands |= part.starts_with("conv_pwl.");
        parts.squeezes |= part.starts_with("se.");
        *plain |= part.starts_with("conv.");
    }
    let mut renamed = BTreeMap::new();
    for (i, (place, (parts, plain))) in (1..).zip(&blocks) {
        let pairs = match plain {
            true => vec![("conv", "0".to_owned()), ("bn1", "1".to_owned())],
            false => family.parts(*parts),
        };
        let (stage, at) = place;
        renamed.extend(
            pairs
                .into_iter()
                .map(|(timm, ours)| (format!("blocks.{stage}.{at}.{timm}"), format!("features.{i}.{ours}"))),
        );
    }
    renamed.extend(family.ends(blocks.len() + 1).into_iter().map(|(timm, ours)| (timm.to_owned(), ours)));

    let rename = |(name, mut entry): (String, Entry)| {
        let Some((layer, leaf)) = name.rsplit_once('.') else { return (name, entry) };
        let Some(ours) = renamed.get(layer) else { return (name, entry) };
        if family == Family::V3 {
            match (layer, leaf, &entry.shape[..]) {
                ("conv_head", "weight", &[out, inner, 1, 1]) => entry.shape = vec![out, inner],
                (_, "running_var", _) => entry.variance = V3_VARIANCE,
                _ => {}
            }
        }
        (format!("{ours}.{leaf}"), entry)
    };
    tensors.into_iter().map(rename).collect()
}

/// Tensors by torchvision's names under timm's; none if timm has no such network.
pub(super) fn from_torchvision(
    tensors: BTreeMap<String, Entry>,
    config: &ModelConfig,
) -> Option<BTreeMap<String, Entry>> {
    let families =
        [(Arch::V1, Family::V1), (Arch::V2, Family::V2), (Arch::V3Large, Family::V3), (Arch::V3Small, Family::V3)];
    let (_, family) = families.into_iter().find(|(arch, _)| *arch == config.arch)?;
    let places = places(config.arch)?;
    let last = places.len() + 1;
    let mut renamed: BTreeMap<String, String> =
        family.ends(last).into_iter().map(|(timm, ours)| (ours, timm.to_owned())).collect();
    for (i, (stage, at)) in (1..).zip(&places) {
        let below = format!("features.{i}.");
        let of_block = |part: &str| tensors.contains_key(&format!("{below}{part}"));
        let parts = Parts {
            expands: match family {
                Family::V1 => false,
                Family::V2 => of_block("conv.3.weight"),
                // Without an expansion the first convolution is the depthwise one.
                Family::V3 => tensors.get(&format!("{below}block.0.0.weight")).is_some_and(|first| first.shape[1] != 1),
            },
            squeezes: (1..=2).any(|place| of_block(&format!("block.{place}.fc1.weight"))),
        };
        let pairs = family.parts(parts).into_iter();
        renamed.extend(pairs.map(|(timm, ours)| (format!("{below}{ours}"), format!("blocks.{stage}.{at}.{timm}"))));
    }
    if family == Family::V3 {
        let stage = places.last()?.0 + 1;
        let head = [("0", "conv"), ("1", "bn1")];
        renamed
            .extend(head.map(|(ours, timm)| (format!("features.{last}.{ours}"), format!("blocks.{stage}.0.{timm}"))));
    }
    let rename = |(name, mut entry): (String, Entry)| {
        let (layer, leaf) = name.rsplit_once('.')?;
        if family == Family::V3 {
            match (layer, leaf, &entry.shape[..]) {
                ("classifier.0", "weight", &[out, inner]) => entry.shape = vec![out, inner, 1, 1],
                (_, "running_var", _) => entry.variance -= V3_VARIANCE,
                _ => {}
            }
        }
        Some((format!("{}.{leaf}", renamed.get(layer)?), entry))
    };
    tensors.into_iter().map(rename).collect()
}

/// For each block, timm's stage and its place in it: a stage is a run of blocks with as many published output channels.
fn places(arch: Arch) -> Option<Vec<(usize, usize)>> {
    let plan = Plan::new(&ModelConfig::new(arch, 1, Preset::Imagenet)).ok()?;
    let out = plan.blocks.iter().map(|block| match &block.config {
        BlockConfig::V2(config) => config.c_out,
        BlockConfig::V3(config) => config.c_out,
        BlockConfig::Chain(convs) => convs.last().map_or(0, |conv| conv.c_out),
    });
    let out: Vec<usize> = out.collect();
    let stages = out.chunk_by(|a, b| a == b).enumerate();
    Some(stages.flat_map(|(stage, blocks)| (0..blocks.len()).map(move |at| (stage, at))).collect())
}

/// The stage and place of `blocks.S.B.part`, and the part.
fn block(name: &str) -> Option<((usize, usize), &str)> {
    let (stage, rest) = name.strip_prefix("blocks.")?.split_once('.')?;
    let (at, part) = rest.split_once('.')?;
    Some(((stage.parse().ok()?, at.parse().ok()?), part))
}
