//! The colors of the networks: a hue for each architecture, and a tone of it for each width, lighter for narrower,
//! darker for wider networks ([`Network::class`](mobilenet_arch::Network::class)).

use mobilenet_arch::Arch;

use crate::charts::style::{self, Hue};

fn hues() -> Vec<Hue> {
    Arch::all()
        .map(|arch| {
            let mobilenet_arch::Hue { light, dark } = arch.description().hue;
            Hue { name: arch.name(), light, dark }
        })
        .collect()
}

/// Colors and type of all plots.
pub fn style() -> String {
    style::style(&hues())
}

/// The variables of [`style`], light then dark.
pub fn colors() -> String {
    style::colors(&hues())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_has_its_colors() {
        let (style, colors) = (style(), colors());
        for arch in Arch::all() {
            assert!(style.contains(&format!("\n.{arch}{{--b:var(--{arch});--c:var(--b)}}\n")), "{arch}");
            assert_eq!(colors.matches(&format!("--{arch}:#")).count(), 2, "{arch}");
        }
    }
}
