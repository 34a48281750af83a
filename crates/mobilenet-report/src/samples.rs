//! Which test images the report shows: those on which the two networks agree and those on which they do not.

use std::collections::BTreeSet;
use std::path::Path;

use mobilenet_schema::{ComparisonPlan, Eval};

use crate::agreement::{Agreement, Kind};
use crate::error::{Error, Result};
use crate::network;
use crate::plan::Stage;

/// Pictures per group.
const GROUP_SIZE: usize = 4;

/// Test images of one kind.
#[derive(Debug, PartialEq, Eq)]
pub struct Group {
    /// How the two networks did on them
    pub kind: Kind,
    /// Places in the test set
    pub indices: Vec<usize>,
}

/// The test images that a comparison in `out` shows: places in the test set. All its evaluations must be there.
///
/// # Errors
/// An evaluation that cannot be read; evaluations on different images.
pub fn example_images(settings: &ComparisonPlan, out: &Path) -> Result<Vec<usize>> {
    let read = |place: usize| -> Result<Vec<Eval>> {
        let network = settings.models[place];
        let seeds = settings.seeds.iter();
        seeds.map(|&seed| Ok(mobilenet_schema::read(&Stage::Eval(network, seed).artefact(out))?)).collect()
    };
    let (first, second) = network::pair(&settings.models);
    let first = read(first)?;
    let second = second.map(read).transpose()?;
    let second: Option<Vec<&Eval>> = second.as_ref().map(|evals| evals.iter().collect());
    let agreement =
        Agreement::new(&first.iter().collect::<Vec<_>>(), second.as_deref()).ok_or(Error::DifferentImages)?;
    Ok(choose(&agreement, |_| true).into_iter().flat_map(|group| group.indices).collect())
}

/// Four groups by which of the two networks is right, the same for the same evaluations; a group prefers classes it has
/// not shown yet. Where too few images are settled in all seeds, a group of disagreement is filled with those on which
/// the networks' shares of seeds lie farthest apart. `shown` says which images may be taken.
pub fn choose(agreement: &Agreement, shown: impl Fn(usize) -> bool) -> Vec<Group> {
    [Kind::BothRight, Kind::OnlyFirst, Kind::OnlySecond, Kind::BothWrong]
        .into_iter()
        .map(|kind| {
            let mut firm = agreement.images(kind);
            firm.retain(|&image| shown(image));
            let mut indices = spread(&firm, &agreement.labels);
            let sign = match kind {
                Kind::OnlyFirst => -1.0,
                Kind::OnlySecond => 1.0,
                Kind::BothRight | Kind::BothWrong | Kind::Unsettled => 0.0,
            };
            let lead = |image: &usize| sign * agreement.lead_of_second(*image);
            let mut leaning = agreement.images(Kind::Unsettled);
            leaning.retain(|image| shown(*image) && lead(image) > 0.0);
            leaning.sort_by(|a, b| lead(b).total_cmp(&lead(a)));
            indices.extend(leaning.into_iter().take(GROUP_SIZE - indices.len()));
            Group { kind, indices }
        })
        .collect()
}

/// The first member of each class, then the rest, in order.
fn spread(members: &[usize], labels: &[usize]) -> Vec<usize> {
    let mut classes = BTreeSet::new();
    let (fresh, again): (Vec<usize>, Vec<usize>) = members.iter().partition(|&&i| classes.insert(labels[i]));
    let mut chosen: Vec<_> = fresh.into_iter().chain(again).take(GROUP_SIZE).collect();
    chosen.sort_unstable();
    chosen
}

/// Decodes standard base64; `None` if the text is not that.
pub fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let digits = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(digits.len() * 3 / 4);
    for chunk in digits.chunks(4) {
        let mut word = 0_u32;
        for &byte in chunk {
            word = word << 6 | u32::from(value(byte)?);
        }
        word <<= 6 * (4 - chunk.len());
        let [_, a, b, c] = word.to_be_bytes();
        match chunk.len() {
            4 => bytes.extend([a, b, c]),
            3 => bytes.extend([a, b]),
            2 => bytes.push(a),
            _ => return None,
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::agreement::tests::eval;
    use super::*;

    fn indices(groups: &[Group]) -> Vec<Vec<usize>> {
        groups.iter().map(|group| group.indices.clone()).collect()
    }

    #[test]
    fn groups_hold_what_their_name_says() {
        let labels = [0, 0, 1, 1, 2, 0, 0];
        let first = eval(&labels, &[0, 1, 1, 0, 2, 0, 0]);
        let second = eval(&labels, &[0, 0, 0, 0, 2, 0, 0]);
        let both = Agreement::new(&[&first], Some(&[&second])).unwrap();
        assert_eq!(indices(&choose(&both, |_| true)), [vec![0, 4, 5, 6], vec![2], vec![1], vec![3]]);
        assert_eq!(indices(&choose(&both, |image| image > 3)), [vec![4, 5, 6], vec![], vec![], vec![]]);
        let alone = Agreement::new(&[&first], None).unwrap();
        assert_eq!(indices(&choose(&alone, |_| true)), [vec![0, 2, 4, 5], vec![], vec![], vec![1, 3]]);
    }

    #[test]
    fn firm_disagreements_come_before_those_of_some_seeds() {
        let labels = [0; 4];
        let first = [eval(&labels, &[0, 0, 0, 1]), eval(&labels, &[1, 0, 0, 1])];
        let second = [eval(&labels, &[1, 1, 0, 0]), eval(&labels, &[1, 1, 0, 1])];
        let (first, second): (Vec<_>, Vec<_>) = (first.iter().collect(), second.iter().collect());
        let both = Agreement::new(&first, Some(&second)).unwrap();
        assert_eq!(indices(&choose(&both, |_| true)), [vec![2], vec![1, 0], vec![3], vec![]]);
    }

    #[test]
    fn base64() {
        for (text, want) in [("", ""), ("TQ==", "M"), ("TWE=", "Ma"), ("TWFu", "Man")] {
            assert_eq!(decode_base64(text).unwrap(), want.as_bytes());
        }
        assert_eq!(decode_base64("T!=="), None);
        assert_eq!(decode_base64("TWFuT"), None);
    }
}
