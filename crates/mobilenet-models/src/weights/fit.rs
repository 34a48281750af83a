//! Whether a reading's tensors are those of a network, and which network they are.

use std::collections::BTreeMap;

use super::FreshClassifier;
use super::reading::Reading;
use super::storage::Number;
use crate::graph::operations;
use crate::plan::{ClassifierPlan, Plan};
use crate::{Arch, ModelConfig, Preset, TensorProblem};

/// A network's tensors by name.
pub(super) type Shapes = BTreeMap<String, Vec<usize>>;

/// What does not fit, and the last layer if it is all that differs there.
#[derive(Clone, Debug)]
pub(super) struct Fit {
    pub problems: Vec<TensorProblem>,
    pub fresh: Option<FreshClassifier>,
}

impl Fit {
    /// Compares a reading with a network.
    pub fn of(reading: &Reading, expected: &Shapes) -> Self {
        let fresh = fresh_classifier(reading, expected);
        let problems = problems(reading, expected, |name| is_fresh(fresh.as_ref(), name));
        Self { problems, fresh }
    }

    /// Whether the reading has a last layer, be it for another number of classes.
    pub fn has_classifier(&self) -> bool {
        !matches!(self.fresh, Some(FreshClassifier { file_classes: 0, .. }))
    }

    /// Whether a tensor keeps its initial values.
    pub fn is_fresh(&self, name: &str) -> bool {
        is_fresh(self.fresh.as_ref(), name)
    }
}

fn is_fresh(fresh: Option<&FreshClassifier>, name: &str) -> bool {
    fresh.is_some_and(|fresh| name.rsplit_once('.').is_some_and(|(layer, _)| layer == fresh.name))
}

/// The last linear layer, if the reading has it for another number of classes or not at all.
fn fresh_classifier(reading: &Reading, expected: &Shapes) -> Option<FreshClassifier> {
    let name = ClassifierPlan::LAST_PATHS.into_iter().find(|path| expected.contains_key(&format!("{path}.weight")))?;
    let [weight, bias] = ["weight", "bias"].map(|part| format!("{name}.{part}"));
    let &[model_classes, model_in] = &expected.get(&weight)?[..] else { return None };
    let file_classes = match (reading.tensors.get(&weight), reading.tensors.get(&bias)) {
        (None, None) => 0,
        (Some(weight), Some(bias)) => match weight.shape[..] {
            [classes, inner] if inner == model_in && bias.shape == [classes] => classes,
            _ => return None,
        },
        _ => return None,
    };
    let name = name.to_string();
    (file_classes != model_classes).then_some(FreshClassifier { name, model_classes, file_classes })
}

/// Missing tensors, then unexpected ones, then those that differ, each sorted by name.
fn problems(reading: &Reading, expected: &Shapes, is_fresh: impl Fn(&str) -> bool) -> Vec<TensorProblem> {
    let (mut missing, mut differing) = (Vec::new(), Vec::new());
    for (name, shape) in expected.iter().filter(|(name, _)| !is_fresh(name)) {
        let (name, expected) = (name.clone(), shape.clone());
        match reading.tensors.get(&name) {
            None => missing.push(TensorProblem::Missing { name, expected }),
            Some(entry) if entry.shape != expected => {
                differing.push(TensorProblem::Shape { name, expected, found: entry.shape.clone() });
            }
            Some(entry) => {
                if let Number::Other(found, _) = &entry.number {
                    differing.push(TensorProblem::Dtype { name, found: found.clone() });
                }
            }
        }
    }
    let unexpected = reading
        .tensors
        .iter()
        .filter(|(name, _)| !expected.contains_key(*name))
        .map(|(name, entry)| TensorProblem::Unexpected { name: name.clone(), found: entry.shape.clone() });
    missing.into_iter().chain(unexpected).chain(differing).collect()
}

/// The tensors of a network.
pub(super) fn shapes(config: &ModelConfig) -> Option<Shapes> {
    let size = config.preset.image_size();
    let operations = operations(&Plan::new(config).ok()?, (size, size)).ok()?;
    Some(operations.into_iter().flat_map(|op| op.parameters).map(|p| (p.name, p.shape)).collect())
}

/// The network that a reading's tensors come closest to, and what they differ by. Strides are in no weights: the preset
/// is the one with the published ones.
pub(super) fn closest(reading: &Reading) -> Option<(ModelConfig, Fit)> {
    let classes = ClassifierPlan::LAST_PATHS.iter().find_map(|path| reading.tensors.get(&format!("{path}.weight")));
    let classes = classes.and_then(|weight| weight.shape.first()).copied().unwrap_or(1);
    let mut best: Option<(usize, ModelConfig, Fit)> = None;
    for arch in archs_by_names(reading) {
        for (width_mult, reduced_tail) in variants(arch) {
            let config = ModelConfig { width_mult, reduced_tail, ..ModelConfig::new(arch, classes, Preset::Imagenet) };
            let Some(fit) = shapes(&config).map(|shapes| Fit::of(reading, &shapes)) else { continue };
            let problems = fit.problems.len();
            if best.as_ref().is_none_or(|(fewest, ..)| problems < *fewest) {
                best = Some((problems, config, fit));
            }
            if problems == 0 {
                break;
            }
        }
    }
    // Of another network's tensors, nearly all are problems.
    best.filter(|(problems, ..)| *problems < reading.tensors.len()).map(|(_, config, fit)| (config, fit))
}

/// The networks whose tensors have most names in common with a reading's.
fn archs_by_names(reading: &Reading) -> Vec<Arch> {
    let different = |arch: Arch| {
        let expected = shapes(&ModelConfig::new(arch, 1, Preset::Imagenet)).unwrap_or_default();
        let shared = expected.keys().filter(|name| reading.tensors.contains_key(*name)).count();
        expected.len() + reading.tensors.len() - 2 * shared
    };
    let counted: Vec<(usize, Arch)> = Arch::all().map(|arch| (different(arch), arch)).collect();
    let least = counted.iter().map(|(different, _)| *different).min();
    counted.into_iter().filter(|(different, _)| Some(*different) == least).map(|(_, arch)| arch).collect()
}

/// Widths and tails that are tried, the likeliest first.
fn variants(arch: Arch) -> impl Iterator<Item = (f64, bool)> {
    let published = [1.0, 0.35, 0.5, 0.75, 1.4];
    let others = (1..=40).map(|twentieths| f64::from(twentieths) / 20.0);
    let widths = published.into_iter().chain(others);
    let tails: &[bool] = if arch.is_v3() { &[false, true] } else { &[false] };
    widths.flat_map(move |width| tails.iter().map(move |&tail| (width, tail)))
}
