//! Which test images the report shows: those on which the two networks agree and those on which they do not.

use std::collections::BTreeSet;

use super::artefacts::Eval;

/// Pictures per group.
const GROUP_SIZE: usize = 4;

/// Test images of one kind.
#[derive(Debug, PartialEq, Eq)]
pub struct Group {
    /// Whether the first network is right
    pub first_right: bool,
    /// Whether the second network is right (as the first, if there is only one)
    pub second_right: bool,
    /// Places in the test set
    pub indices: Vec<usize>,
}

/// Four groups by which of the first two networks is right, the same for the same evaluations; a group
/// prefers classes it has not shown yet. With one network there are two groups.
pub fn choose(evals: &[Eval]) -> Vec<Group> {
    let Some(first) = evals.first() else {
        return Vec::new();
    };
    let second = evals.get(1);
    let count = evals.iter().map(|eval| eval.labels.len().min(eval.predicted.len())).min().unwrap_or(0);
    let right = |eval: &Eval, i: usize| eval.labels[i] == eval.predicted[i];
    [(true, true), (true, false), (false, true), (false, false)]
        .into_iter()
        .filter(|(a, b)| second.is_some() || a == b)
        .map(|(a, b)| {
            let members: Vec<_> =
                (0..count).filter(|&i| right(first, i) == a && second.is_none_or(|e| right(e, i) == b)).collect();
            Group { first_right: a, second_right: b, indices: spread(&members, &first.labels) }
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
    use super::*;

    fn eval(labels: &[usize], predicted: &[usize]) -> Eval {
        Eval {
            test_images: labels.len() as u64,
            test_loss: 0.0,
            test_top1: 0.0,
            test_top5: 0.0,
            train_images: 0,
            train_top1: 0.0,
            classes: Vec::new(),
            confusion: Vec::new(),
            labels: labels.to_vec(),
            predicted: predicted.to_vec(),
            confidence: vec![0.5; labels.len()],
        }
    }

    #[test]
    fn groups_hold_what_their_name_says() {
        let labels = [0, 0, 1, 1, 2, 0, 0];
        let first = eval(&labels, &[0, 1, 1, 0, 2, 0, 0]);
        let second = eval(&labels, &[0, 0, 0, 0, 2, 0, 0]);
        let groups = choose(&[first.clone(), second]);
        let indices: Vec<_> = groups.iter().map(|g| g.indices.clone()).collect();
        assert_eq!(indices, [vec![0, 4, 5, 6], vec![2], vec![1], vec![3]]);
        assert_eq!(choose(&[first]).len(), 2);
        assert_eq!(choose(&[]), []);
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
