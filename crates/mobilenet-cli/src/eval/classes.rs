//! A set's classes among a network's: told by name, and not by order.

use std::collections::HashMap;

use anyhow::{Result, ensure};
use mobilenet_models::{IMAGENET_CLASSES, imagenet_classes};

/// Names of classes that an error lists.
const NAMED: usize = 5;

/// Where each class of a set is among the outputs of a network.
#[derive(Debug, PartialEq)]
pub struct Places {
    /// By class of the set.
    outputs: Vec<usize>,
    /// All outputs in the order of the set's classes, those without one last; `None` where that is their own order.
    pub order: Option<Vec<u32>>,
    /// Outputs of the network in all.
    all: usize,
}

impl Places {
    /// Finds the set's classes among the network's, and says how if that is worth a word.
    ///
    /// Names count as they are or, where that does not do, without regard to case, `_`, `-` and spaces. A thousand
    /// folders with WordNet's numbers are ImageNet's classes in their order. A network without names takes the set's.
    ///
    /// # Errors
    /// The set has a class that the network has not.
    pub fn find(network: Option<&[String]>, outputs: usize, set: &[String]) -> Result<(Self, Option<String>)> {
        let Some(network) = network else {
            ensure!(
                set.len() == outputs,
                "the weights are of {outputs} classes and the data has {}; --classes names those of the weights",
                set.len()
            );
            let note = "the weights do not name their classes: those of the data, in its order, are taken for them";
            return Ok((Self::new((0..outputs).collect(), outputs), Some(note.to_owned())));
        };
        let all = network.len();
        if network == set || are_imagenets(network, set) {
            return Ok((Self::new((0..all).collect(), all), None));
        }
        let by = |key: fn(&str) -> String| -> Vec<Option<usize>> {
            let mut places = HashMap::new();
            for (place, name) in network.iter().enumerate() {
                // A name that two have tells neither.
                places.entry(key(name)).and_modify(|place| *place = None).or_insert(Some(place));
            }
            set.iter().map(|name| places.get(&key(name)).copied().flatten()).collect()
        };
        let unknown = |found: &[Option<usize>]| found.iter().filter(|place| place.is_none()).count();
        let exact = by(str::to_owned);
        let loose = by(plain);
        let found = if unknown(&exact) <= unknown(&loose) { exact } else { loose };
        let missing: Vec<&String> =
            set.iter().zip(&found).filter(|(_, place)| place.is_none()).map(|(n, _)| n).collect();
        ensure!(
            missing.is_empty(),
            "the data has other classes than the network: expected some of {}, found {}",
            few(&network.iter().collect::<Vec<_>>()),
            few(&missing)
        );
        let outputs: Vec<usize> = found.into_iter().flatten().collect();
        let mut sorted = outputs.clone();
        sorted.sort_unstable();
        sorted.dedup();
        ensure!(sorted.len() == outputs.len(), "two classes of the data have the name of one of the network");
        let note =
            (outputs.len() < all).then(|| format!("the data has {} of the network's {all} classes", outputs.len()));
        Ok((Self::new(outputs, all), note))
    }

    fn new(outputs: Vec<usize>, all: usize) -> Self {
        let mut has_class = vec![false; all];
        outputs.iter().for_each(|&output| has_class[output] = true);
        let rest = (0..all).filter(|&output| !has_class[output]);
        let order: Vec<u32> = outputs.iter().copied().chain(rest).map(|output| output as u32).collect();
        let is_their_own = order.is_sorted();
        Self { outputs, order: (!is_their_own).then_some(order), all }
    }

    /// The output for a class of the set.
    pub fn of_class(&self, class: u32) -> usize {
        self.outputs.get(class as usize).copied().unwrap_or(self.all)
    }

    /// The output at a place of `order`.
    pub fn of_output(&self, place: u32) -> usize {
        match &self.order {
            Some(order) => order.get(place as usize).map_or(self.all, |&output| output as usize),
            None => place as usize,
        }
    }
}

/// A name without what people write in different ways.
fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, ' ' | '_' | '-')).flat_map(char::to_lowercase).collect()
}

/// Whether these are the folders of ImageNet and its names: `n01440764` and so on, in their order.
fn are_imagenets(network: &[String], set: &[String]) -> bool {
    let is_number = |name: &String| {
        name.strip_prefix('n').is_some_and(|rest| rest.len() == 8 && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    set.len() == IMAGENET_CLASSES
        && set.iter().all(is_number)
        && set.is_sorted()
        && network.iter().map(String::as_str).eq(imagenet_classes())
}

/// The first names and how many more there are.
fn few(names: &[&String]) -> String {
    let first: Vec<&str> = names.iter().take(NAMED).map(|name| name.as_str()).collect();
    match names.len() - first.len() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split(',').map(str::to_owned).collect()
    }

    #[test]
    fn classes_are_found_by_name() {
        let network = names("cat,dog,great white shark,owl");
        let find = |set: &str| Places::find(Some(&network), 4, &names(set));
        let (places, note) = find("owl,cat,dog,great white shark").unwrap();
        assert_eq!((places.outputs.clone(), note), (vec![3, 0, 1, 2], None));
        assert_eq!(places.order, Some(vec![3, 0, 1, 2]));
        assert_eq!((places.of_class(0), places.of_output(3), places.of_class(9)), (3, 2, 4));
        let (places, note) = find("Great_White_Shark,dog").unwrap();
        assert_eq!(
            (places.order, note.unwrap()),
            (Some(vec![2, 1, 0, 3]), "the data has 2 of the network's 4 classes".into())
        );
        assert_eq!(find("cat,dog,great white shark,owl").unwrap().0.order, None);
        for (set, words) in [
            ("cat,wolf", "expected some of cat, dog, great white shark, owl, found wolf"),
            ("owl,OWL", "two classes of the data have the name of one"),
            ("a,b,c,d,e,f,g", "found a, b, c, d, e and 2 more"),
        ] {
            let error = find(set).unwrap_err().to_string();
            assert!(error.contains(words), "{set}: {error}");
        }
    }

    #[test]
    fn what_has_no_names_takes_the_datas() {
        let (places, note) = Places::find(None, 2, &names("b,a")).unwrap();
        assert!(places.order.is_none() && note.is_some());
        assert!(Places::find(None, 3, &names("b,a")).is_err());
        let imagenet: Vec<String> = imagenet_classes().into_iter().map(str::to_owned).collect();
        let folders: Vec<String> = (0..1000).map(|i| format!("n{:08}", 1_440_764 + i)).collect();
        assert_eq!(Places::find(Some(&imagenet), 1000, &folders).unwrap().0.order, None);
        assert!(Places::find(Some(&imagenet), 1000, &folders[..9]).is_err());
    }
}
