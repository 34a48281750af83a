//! Labels of any type, and the classes that they make.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::names;
use crate::{Error, Place};

/// A label as it is in a file. Numbers come before texts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Label {
    Int(i64),
    Text(Vec<u8>),
}

impl Label {
    pub fn name(&self) -> String {
        match self {
            Self::Int(value) => value.to_string(),
            Self::Text(text) => names::text(text),
        }
    }
}

/// The labels of a file.
pub(super) struct FileLabels {
    pub path: PathBuf,
    /// The labels that there are, and the row of each in which it comes first.
    pub known: BTreeMap<Label, (u32, usize)>,
    /// For each row, the number of its label: the place at which it was first seen.
    pub rows: Vec<u32>,
}

impl FileLabels {
    pub fn new(path: PathBuf) -> Self {
        Self { path, known: BTreeMap::new(), rows: Vec::new() }
    }

    pub fn push(&mut self, label: Label) {
        let next = self.known.len() as u32;
        let row = self.rows.len();
        let (number, _) = *self.known.entry(label).or_insert((next, row));
        self.rows.push(number);
    }

    /// Whether no row has a label: the hub's test sets of competitions have -1 in each.
    pub fn are_unknown(&self) -> bool {
        !self.rows.is_empty() && self.known.keys().all(|label| *label == Label::Int(-1))
    }
}

/// The classes of a set.
pub(super) struct Classes {
    pub names: Vec<String>,
    index: BTreeMap<Label, u32>,
    /// Whether labels are places in a list of names.
    by_place: bool,
}

impl Classes {
    /// Labels that are places in `names`.
    pub fn named(names: Vec<String>) -> Self {
        let place = |at: usize| (Label::Int(at as i64), at as u32);
        let text = |(at, name): (usize, &String)| (Label::Text(name.clone().into_bytes()), at as u32);
        let index = (0..names.len()).map(place).chain(names.iter().enumerate().map(text)).collect();
        Self { names, index, by_place: true }
    }

    /// The labels of the files to train on, in their order.
    pub fn of(train: &[FileLabels]) -> Self {
        let mut labels: Vec<&Label> = train.iter().flat_map(|file| file.known.keys()).collect();
        labels.sort_unstable();
        labels.dedup();
        let names = labels.iter().map(|label| label.name()).collect();
        let index = labels.iter().enumerate().map(|(at, &label)| (label.clone(), at as u32)).collect();
        Self { names, index, by_place: false }
    }

    /// The class of each row of a file.
    ///
    /// # Errors
    ///
    /// The first row whose label is none of the classes.
    pub fn of_rows(&self, file: &FileLabels) -> Result<Vec<u32>, Error> {
        let mut numbers = vec![0; file.known.len()];
        let mut unknown: Option<(usize, &Label)> = None;
        for (label, &(number, row)) in &file.known {
            match self.index.get(label) {
                Some(&class) => numbers[number as usize] = class,
                None if unknown.is_none_or(|(first, _)| row < first) => unknown = Some((row, label)),
                None => {}
            }
        }
        match unknown {
            None => Ok(file.rows.iter().map(|&number| numbers[number as usize]).collect()),
            Some((row, label)) => {
                let place = Place::row(&file.path, row);
                Err(match label {
                    Label::Int(found) if self.by_place => {
                        Error::LabelRange { place, found: *found, classes: self.names.len() }
                    }
                    label => Error::UnknownClass { place, found: label.name() },
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(labels: &[Label]) -> FileLabels {
        let mut file = FileLabels::new("x.parquet".into());
        labels.iter().for_each(|label| file.push(label.clone()));
        file
    }

    #[test]
    fn classes_are_in_order_whatever_comes_first() {
        let int = |values: &[i64]| file(&values.iter().map(|&v| Label::Int(v)).collect::<Vec<_>>());
        let text = |values: &[&str]| file(&values.iter().map(|v| Label::Text(v.as_bytes().into())).collect::<Vec<_>>());
        let (a, b) = (int(&[10, 9, 10]), int(&[7, 9]));
        let classes = Classes::of(&[a, b]);
        assert_eq!(classes.names, ["7", "9", "10"]);
        assert_eq!(classes.of_rows(&int(&[10, 7, 7])).unwrap(), [2, 0, 0]);
        let error = classes.of_rows(&int(&[7, 8])).unwrap_err().to_string();
        assert!(error.starts_with("x.parquet: row 1: ") && error.contains('8'), "{error}");

        let classes = Classes::of(&[text(&["dog", "cat"])]);
        assert_eq!((classes.names.join(" "), classes.of_rows(&text(&["dog"])).unwrap()), ("cat dog".into(), vec![1]));

        let classes = Classes::named(vec!["x".into(), "a".into()]);
        assert_eq!(classes.of_rows(&int(&[1, 0])).unwrap(), [1, 0]);
        assert_eq!(classes.of_rows(&text(&["a"])).unwrap(), [1]);
        assert!(matches!(classes.of_rows(&int(&[0, -1])), Err(Error::LabelRange { found: -1, classes: 2, .. })));
        assert!(int(&[-1, -1]).are_unknown() && !int(&[-1, 0]).are_unknown());
    }
}
