//! The names of the classes of weights that were trained on ImageNet.

/// A name a line, by label: `torchvision/models/_meta.py` of torchvision 0.29 (BSD 3-Clause), `_IMAGENET_CATEGORIES`.
const NAMES: &str = include_str!("imagenet_classes.txt");

/// How many classes ImageNet's challenge has (ILSVRC 2012).
pub const IMAGENET_CLASSES: usize = 1_000;

/// The names of ImageNet's 1,000 classes by label, as torchvision's weights give them: `tench`, `goldfish`, …
///
/// ```
/// let names = mobilenet_models::imagenet_classes();
/// assert_eq!((names.len(), names[0], names[285]), (1_000, "tench", "Egyptian cat"));
/// ```
pub fn imagenet_classes() -> Vec<&'static str> {
    NAMES.lines().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_thousand_names_and_none_twice() {
        let names = imagenet_classes();
        assert_eq!((names.len(), names.iter().collect::<BTreeSet<_>>().len()), (IMAGENET_CLASSES, IMAGENET_CLASSES));
        assert!(names.iter().all(|name| !name.is_empty() && name.trim() == *name));
        assert_eq!([names[1], names[207], names[999]], ["goldfish", "golden retriever", "toilet tissue"]);
    }
}
