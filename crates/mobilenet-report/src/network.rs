//! The networks of a comparison.

use mobilenet_arch::{Arch, Network};

use crate::text::list;

/// The places of the networks the verdict and the example pictures are about: V2 and V3-Large at width 1 where both are
/// there, else the first two. `None` for the second if there is only one.
pub fn pair(networks: &[Network]) -> (usize, Option<usize>) {
    let place = |arch: Arch| networks.iter().position(|&network| network == arch.into());
    match (place(Arch::V2), place(Arch::V3Large)) {
        (Some(v2), Some(v3)) => (v2, Some(v3)),
        _ => (0, (networks.len() > 1).then_some(1)),
    }
}

/// The networks' names in a heading: each architecture once, with the range of widths.
pub fn title(networks: &[Network]) -> String {
    let mut archs = Vec::new();
    for network in networks {
        if !archs.contains(&network.arch) {
            archs.push(network.arch);
        }
    }
    let mut widths: Vec<_> = networks.iter().map(|network| network.width).collect();
    widths.sort_unstable();
    widths.dedup();
    match widths[..] {
        [first, .., last] if networks.len() > 3 => {
            let labels: Vec<_> = archs.iter().map(|arch| arch.label().to_owned()).collect();
            format!("{}, widths {first} to {last}", list(&labels))
        }
        _ => list(&networks.iter().map(|network| network.label()).collect::<Vec<_>>()),
    }
}

#[cfg(test)]
mod tests {
    use mobilenet_arch::Selection;

    use super::*;

    #[test]
    fn the_pair_is_v2_and_v3_large_where_both_are_there() {
        let of = |words: &str| pair(&words.split(' ').map(|word| word.parse().unwrap()).collect::<Vec<_>>());
        assert_eq!(of("v2 v2-hs v3-large"), (0, Some(2)));
        assert_eq!(of("v3-large v2"), (1, Some(0)));
        assert_eq!(of("v2@0.5 v3-large v2-hs"), (0, Some(1)));
        assert_eq!(of("v3-small"), (0, None));
    }

    #[test]
    fn titles() {
        let of = |words: &str| {
            title(&words.split(' ').flat_map(|word| word.parse::<Selection>().unwrap().0).collect::<Vec<_>>())
        };
        assert_eq!(of("v2 v3-large"), "MobileNetV2 and MobileNetV3-Large");
        assert_eq!(of("v2 v2@0.5"), "MobileNetV2 and MobileNetV2 ×0.5");
        assert_eq!(of("widths"), "MobileNetV2, MobileNetV3-Large and MobileNetV3-Small, widths 0.35 to 1.4");
    }
}
