//! Which of a file's tensors are a network's, and what they are called there: a prefix is taken off and timm's names
//! become torchvision's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::file::WeightsFile;
use super::storage::Number;
use super::timm;

/// What wrappers put into a name: data-parallel training, compilation, checkpointing, sharding.
const WRAPPERS: [&str; 4] = ["module", "_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"];
/// The first tensor of each network under torchvision's names and timm's.
const ANCHORS: [&str; 2] = ["features.0.0.weight", "conv_stem.weight"];
/// The most prefixes that are looked into.
const MAX_PREFIXES: usize = 32;

/// How a file names a network's tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// As torchvision does, and MobileNets made from its source.
    Torchvision,
    /// As timm does.
    Timm,
}

impl fmt::Display for Naming {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(match self {
            Self::Torchvision => "torchvision",
            Self::Timm => "timm",
        })
    }
}

/// A tensor of the network and what it is made of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// Its name in the file.
    pub source: String,
    /// Its shape in the network, which holds as many numbers as the file's.
    pub shape: Vec<usize>,
    /// What is added to its numbers.
    pub variance: f64,
    pub number: Number,
}

/// One way to understand a file.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    /// What the names begin with in the file: `state_dict.model.`, or nothing.
    pub prefix: String,
    pub naming: Naming,
    /// By torchvision's names.
    pub tensors: BTreeMap<String, Entry>,
    /// Tensors of the file that do not begin so.
    pub aside: usize,
}

/// Every way to understand a file whose network may have the variables `anchors`, the likeliest first. There is at least
/// one.
pub(super) fn readings(file: &WeightsFile, anchors: &[&str]) -> Vec<Reading> {
    let names: Vec<&str> =
        file.tensors.keys().map(String::as_str).filter(|name| !name.ends_with("num_batches_tracked")).collect();
    let mut prefixes: BTreeSet<&str> = BTreeSet::new();
    for anchor in ANCHORS.iter().chain(anchors) {
        prefixes.extend(names.iter().filter_map(|name| prefix_before(name, anchor)));
    }
    if prefixes.is_empty() {
        prefixes.extend([common_prefix(&names), ""]);
    }
    let mut prefixes: Vec<&str> = prefixes.into_iter().collect();
    prefixes.sort_by_key(|prefix| (!is_average(prefix), prefix.len(), *prefix));
    prefixes.truncate(MAX_PREFIXES);
    prefixes.into_iter().map(|prefix| reading(file, &names, prefix)).collect()
}

fn reading(file: &WeightsFile, names: &[&str], prefix: &str) -> Reading {
    let mut tensors = BTreeMap::new();
    for name in names {
        let (Some(rest), Some(stored)) = (name.strip_prefix(prefix), file.tensors.get(*name)) else { continue };
        let entry = Entry {
            source: (*name).to_owned(),
            shape: stored.shape.clone(),
            variance: 0.0,
            number: stored.number.clone(),
        };
        // Of two tensors that only a wrapper tells apart, both keep their names.
        let bare = without_wrappers(rest);
        let taken = tensors.contains_key(&bare);
        tensors.insert(if taken { rest.to_owned() } else { bare }, entry);
    }
    let aside = names.len() - tensors.len();
    let naming = if timm::is_timm(&tensors) { Naming::Timm } else { Naming::Torchvision };
    if naming == Naming::Timm {
        tensors = timm::to_torchvision(tensors);
    }
    Reading { prefix: prefix.to_owned(), naming, tensors, aside }
}

/// What is before `anchor` in a name, wrappers within the anchor left out.
fn prefix_before<'a>(name: &'a str, anchor: &str) -> Option<&'a str> {
    let mut rest = name;
    let mut wanted = anchor.rsplit('.').peekable();
    while let Some(segment) = wanted.peek() {
        let (before, last) = rest.rsplit_once('.').map_or(("", rest), |(before, last)| (before, last));
        if last == *segment {
            wanted.next();
        } else if !WRAPPERS.contains(&last) {
            return None;
        }
        if before.is_empty() {
            return wanted.peek().is_none().then_some("");
        }
        rest = before;
    }
    // With its dot.
    Some(&name[..rest.len() + 1])
}

fn without_wrappers(name: &str) -> String {
    name.split('.').filter(|segment| !WRAPPERS.contains(segment)).collect::<Vec<_>>().join(".")
}

/// The dotted prefix that all names share.
fn common_prefix<'a>(names: &[&'a str]) -> &'a str {
    let Some((first, rest)) = names.split_first() else { return "" };
    let shared = rest.iter().fold(first.len(), |length, name| {
        first.bytes().zip(name.bytes()).take(length).take_while(|(a, b)| a == b).count()
    });
    let dot = first.bytes().take(shared).collect::<Vec<_>>().iter().rposition(|byte| *byte == b'.');
    &first[..dot.map_or(0, |dot| dot + 1)]
}

/// Whether a prefix is that of a moving average of the weights, which is what was evaluated.
fn is_average(prefix: &str) -> bool {
    prefix.split(['.', '_']).any(|word| matches!(word, "ema" | "averaged" | "swa"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_end_where_the_network_begins() {
        let anchor = "features.0.0.weight";
        for (name, expected) in [
            ("features.0.0.weight", Some("")),
            ("module.features.0.0.weight", Some("module.")),
            ("state_dict.model._orig_mod.features.0.0.weight", Some("state_dict.model._orig_mod.")),
            ("net.features.module.0.0._orig_mod.weight", Some("net.")),
            ("module.0.0.weight", None),
            ("my_features.0.0.weight", None),
            ("0.0.weight", None),
            ("", None),
        ] {
            assert_eq!(prefix_before(name, anchor), expected, "{name}");
        }
    }

    #[test]
    fn common_prefixes_end_at_a_dot() {
        for (names, expected) in [
            (&["a.b.c", "a.b.d"][..], "a.b."),
            (&["a.bc.c", "a.bd.c"], "a."),
            (&["ab", "ac"], ""),
            (&["a.b"], "a."),
            (&[], ""),
        ] {
            assert_eq!(common_prefix(names), expected);
        }
    }

    #[test]
    fn averages_are_told_by_their_prefix() {
        for prefix in ["model_ema.", "ema_state_dict.module.", "ema.", "state_dict_ema.", "ema_model."] {
            assert!(is_average(prefix), "{prefix}");
        }
        for prefix in ["", "model.", "schema.", "lemma.model."] {
            assert!(!is_average(prefix), "{prefix}");
        }
    }
}
