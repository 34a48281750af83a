//! The names of the classes of CIFAR.

use std::path::Path;

use crate::Error;

/// The classes of CIFAR-10 by label.
pub(crate) const CIFAR10: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// The fine classes of CIFAR-100 by label.
#[rustfmt::skip]
pub(crate) const CIFAR100: [&str; 100] = [
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle",
    "bottle", "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle",
    "caterpillar", "cattle", "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab",
    "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest", "fox", "girl",
    "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard",
    "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree",
    "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain",
    "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose",
    "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
    "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone",
    "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale",
    "willow_tree", "wolf", "woman", "worm",
];

/// Owned names.
pub(crate) fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.into()).collect()
}

/// The largest list of names that is read: 1 MiB.
const MAX_LIST_BYTES: u64 = 1 << 20;

/// The names in the text file `list` beside `data`, one a line, or else the built-in ones.
pub(crate) fn named_in(data: &Path, list: &str, built_in: &[&str]) -> Result<Vec<String>, Error> {
    let path = data.with_file_name(list);
    if !path.is_file() {
        return Ok(owned(built_in));
    }
    let bytes = mobilenet_common::files::read(&path, MAX_LIST_BYTES).map_err(Error::io(&path))?;
    let text = String::from_utf8_lossy(&bytes);
    let names: Vec<String> = text.lines().map(|line| line.trim().to_string()).filter(|line| !line.is_empty()).collect();
    if names.len() != built_in.len() {
        return Err(Error::ClassNames { path, expected: built_in.len(), found: names.len() });
    }
    Ok(names)
}
