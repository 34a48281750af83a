//! The parts of a set: what people call them, and a part made where there is none.

use mobilenet_common::random::SplitMix64;

use crate::{Error, ReadOptions};

/// What images to train on are called.
const TRAIN: [&str; 2] = ["train", "training"];

/// What images to test with are called. The first of these that a set has is taken.
const TEST: [&str; 6] = ["test", "testing", "val", "valid", "validation", "eval"];

/// First word of the key of the images that are held out.
const HOLD_OUT: u64 = u64::from_le_bytes(*b"hold out");

/// The share of the images that is held out to test with, unless another is asked for.
pub(crate) const TEST_SHARE: f64 = 0.2;

/// The rank of images to train on; those to test with have higher ones, the best the lowest.
pub(crate) const TRAIN_RANK: usize = 0;

/// What the part of this name is: [`TRAIN_RANK`], or a rank above it. Upper and lower case are alike.
pub(crate) fn rank(name: &str, options: &ReadOptions) -> Option<usize> {
    let is = |other: &str| other.eq_ignore_ascii_case(name);
    match (&options.train_part, &options.test_part) {
        (Some(train), _) if is(train) => return Some(TRAIN_RANK),
        (_, Some(test)) if is(test) => return Some(TRAIN_RANK + 1),
        _ => {}
    }
    let test = TEST.iter().position(|other| is(other)).map(|at| TRAIN_RANK + 1 + at);
    match TRAIN.iter().any(|other| is(other)) {
        true => Some(TRAIN_RANK).filter(|_| options.train_part.is_none()),
        false => test.filter(|_| options.test_part.is_none()),
    }
}

/// The same for the name of a file that begins with a part's.
pub(crate) fn rank_of_file(stem: &str, options: &ReadOptions) -> Option<usize> {
    let named = options.train_part.iter().chain(&options.test_part).map(String::as_str);
    let begins = |part: &&str| {
        let start = stem.get(..part.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(part))
    };
    // The longest one, since some begin with others.
    let name = named.chain(TRAIN).chain(TEST).filter(begins).max_by_key(|part| part.len())?;
    rank(name, options)
}

/// Of so many images with these labels, which are held out to test with: the same share of each class, drawn by
/// `options.split_seed`. Returns the others and those, both in their order.
///
/// # Errors
///
/// [`Error::Config`] for a set that is too small to hold any out.
pub(crate) fn hold_out(labels: &[u32], options: &ReadOptions) -> Result<(Vec<usize>, Vec<usize>), Error> {
    let share = options.test_share.unwrap_or(TEST_SHARE);
    let classes = labels.iter().max().map_or(0, |&most| most as usize + 1);
    let mut members = vec![Vec::new(); classes];
    for (i, &label) in labels.iter().enumerate() {
        members[label as usize].push(i);
    }
    let mut held_out = vec![false; labels.len()];
    for (class, members) in members.iter_mut().enumerate() {
        // One of each class at least stays, and one is held out, as far as there are two.
        let most = members.len().saturating_sub(1);
        let count = ((members.len() as f64 * share).round() as usize).max(1).min(most);
        SplitMix64::keyed(&[HOLD_OUT, options.split_seed, class as u64]).shuffle(members);
        members.iter().take(count).for_each(|&i| held_out[i] = true);
    }
    let (test, train): (Vec<usize>, Vec<usize>) = (0..labels.len()).partition(|&i| held_out[i]);
    match test.is_empty() {
        false => Ok((train, test)),
        true => Err(Error::Config {
            name: "images of a set without a test part".into(),
            expected: "two of a class at least".into(),
            found: labels.len().to_string(),
        }),
    }
}

/// What was held out, in one line.
pub(crate) fn held_out(options: &ReadOptions) -> String {
    let share = 100.0 * options.test_share.unwrap_or(TEST_SHARE);
    format!("{share} % of each class held out as test images, seed {}", options.split_seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts() {
        let plain = ReadOptions::default();
        for (name, expected) in
            [("train", Some(0)), ("Training", Some(0)), ("TEST", Some(1)), ("val", Some(3)), ("Validation", Some(5))]
        {
            assert_eq!(rank(name, &plain), expected, "{name}");
        }
        assert_eq!((rank("cat", &plain), rank("trainer", &plain)), (None, None));
        for (stem, expected) in [
            ("train-00000-of-00001", Some(0)),
            ("training", Some(0)),
            ("validation-00000-of-00002", Some(5)),
            ("val_1", Some(3)),
            ("data", None),
            ("T", None),
        ] {
            assert_eq!(rank_of_file(stem, &plain), expected, "{stem}");
        }
        let named = ReadOptions { train_part: Some("fit".into()), test_part: Some("Val".into()), ..plain };
        for (name, expected) in [("FIT", Some(0)), ("val", Some(1)), ("train", None), ("test", None)] {
            assert_eq!(rank(name, &named), expected, "{name}");
        }
        assert_eq!(rank_of_file("fit-0", &named), Some(0));
    }

    #[test]
    fn a_share_of_each_class_is_held_out() {
        let labels: Vec<u32> = [(0, 50), (1, 10), (2, 3), (3, 2), (4, 1)].map(|(c, n)| vec![c; n]).concat();
        let options = ReadOptions::default();
        let (train, test) = hold_out(&labels, &options).unwrap();
        let mut all = [train.clone(), test.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..labels.len()).collect::<Vec<_>>());
        let of = |class| test.iter().filter(|&&i| labels[i] == class).count();
        assert_eq!([0, 1, 2, 3, 4].map(of), [10, 2, 1, 1, 0]);
        assert_eq!(hold_out(&labels, &options).unwrap().1, test);
        let other = ReadOptions { split_seed: 1, ..options.clone() };
        assert_ne!(hold_out(&labels, &other).unwrap().1, test);
        let half = ReadOptions { test_share: Some(0.5), ..options.clone() };
        assert_eq!(hold_out(&labels, &half).unwrap().1.len(), 25 + 5 + 2 + 1);
        assert!(hold_out(&[0, 1, 2], &options).is_err());
    }
}
