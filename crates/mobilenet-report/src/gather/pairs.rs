//! Two networks of a comparison beside each other.

use mobilenet_schema::Comparison;

use super::model::Model;
use crate::network;
use crate::stats;
use crate::subject::Subject;

/// Two networks and how their accuracies compare; nothing if they saw different images.
#[derive(Debug)]
pub struct Pair {
    /// The network that is subtracted
    pub first: Subject,
    /// The network it is subtracted from
    pub second: Subject,
    /// Nothing if they cannot be compared
    pub comparison: Option<Comparison>,
}

/// Every pair of networks, that of the verdict first.
pub fn compare(models: &[Model]) -> Vec<Pair> {
    let mut pairs: Vec<(&Model, &Model)> =
        models.iter().enumerate().flat_map(|(i, a)| models[i + 1..].iter().map(move |b| (a, b))).collect();
    let networks: Vec<_> = models.iter().map(|model| model.network()).collect();
    if let (first, Some(second)) = network::pair(&networks) {
        let (first, second) = (networks[first], networks[second]);
        let is_verdicts = |a: &Model, b: &Model| {
            (a.network(), b.network()) == (first, second) || (b.network(), a.network()) == (first, second)
        };
        pairs.sort_by_key(|(a, b)| !is_verdicts(a, b));
        pairs
            .iter_mut()
            .filter(|(a, b)| is_verdicts(a, b) && a.network() != first)
            .for_each(|(a, b)| std::mem::swap(a, b));
    }
    pairs
        .into_iter()
        .map(|(a, b)| Pair {
            first: a.subject.clone(),
            second: b.subject.clone(),
            comparison: stats::compare(&a.answers(), &b.answers()),
        })
        .collect()
}
