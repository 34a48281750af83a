//! What is compared: a network or, where runs of one network have different settings, the network with some of them.

use mobilenet_arch::{Arch, Network};

/// Who has a curve, a row, an accuracy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The network.
    pub network: Network,
    /// Which of its settings; nothing where it has the same in all runs.
    variant: Option<Variant>,
}

/// One of several settings of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Variant {
    /// What its runs are called.
    name: String,
    /// Its place among the network's, from 0.
    place: usize,
    /// The architecture whose color it has.
    color: Arch,
}

impl From<Network> for Subject {
    fn from(network: Network) -> Self {
        Self { network, variant: None }
    }
}

impl Subject {
    /// The subject of each run, of which `runs` has network and name, by `groups`: the same number, the same subject.
    pub fn of_groups(runs: &[(Network, String)], groups: &[usize]) -> Vec<Self> {
        let mut taken: Vec<Arch> = Vec::new();
        for (network, _) in runs {
            if !taken.contains(&network.arch) {
                taken.push(network.arch);
            }
        }
        let mut spare = COLORS.into_iter().filter(|color| !taken.contains(color));
        let mut known: Vec<(usize, Self)> = Vec::new();
        let mut subjects = Vec::new();
        for ((network, name), group) in runs.iter().zip(groups) {
            if let Some((_, subject)) = known.iter().find(|(other, _)| other == group) {
                subjects.push(subject.clone());
                continue;
            }
            let of_network = |(run, of): (&(Network, String), &usize)| (run.0 == *network).then_some(*of);
            let is_alone = runs.iter().zip(groups).filter_map(of_network).all(|of| of == *group);
            let place = known.iter().filter(|(_, subject)| subject.network == *network).count();
            let names = runs.iter().zip(groups).filter(|(_, of)| *of == group).map(|((_, name), _)| name.as_str());
            let shared = shared_name(&names.collect::<Vec<_>>());
            let is_taken = known.iter().any(|(_, subject)| subject.variant() == Some(&shared));
            let variant = (!is_alone).then(|| Variant {
                name: if is_taken { name.clone() } else { shared },
                place,
                color: if place == 0 { network.arch } else { spare.next().unwrap_or(network.arch) },
            });
            let subject = Self { network: *network, variant };
            known.push((*group, subject.clone()));
            subjects.push(subject);
        }
        subjects
    }

    /// As people spell it: `MobileNetV2 ×0.5`, `MobileNetV2 (tuned)`.
    pub fn label(&self) -> String {
        self.with_variant(self.network.label())
    }

    /// For labels in plots and narrow columns: `V2 ×0.5`, `V2 (tuned)`.
    pub fn short(&self) -> String {
        self.with_variant(self.network.short())
    }

    /// Classes of a picture's elements.
    pub fn class(&self) -> String {
        match &self.variant {
            Some(variant) => Network { arch: variant.color, ..self.network }.class(),
            None => self.network.class(),
        }
    }

    /// The stem of file names: `v2`, `v2-2` for the second settings of it.
    pub fn key(&self) -> String {
        match self.variant.as_ref().map_or(0, |variant| variant.place) {
            0 => self.network.key(),
            place => format!("{}-{}", self.network.key(), place + 1),
        }
    }

    /// What its runs are called, where the network alone does not tell.
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_ref().map(|variant| variant.name.as_str())
    }

    fn with_variant(&self, name: String) -> String {
        match &self.variant {
            Some(variant) => format!("{name} ({})", variant.name),
            None => name,
        }
    }
}

/// Hues for further settings of a network, those first that are told apart best.
const COLORS: [Arch; 5] = [Arch::V2, Arch::V3Small, Arch::V2HSwishSe, Arch::V3Large, Arch::V1];

/// What the names of runs have in common before their seeds: `tuned` of `tuned-s1` and `tuned-s2`. Where that is
/// nothing, the first.
fn shared_name(names: &[&str]) -> String {
    let first = names.first().copied().unwrap_or_default();
    let [_, rest @ ..] = names else { return String::new() };
    if rest.is_empty() {
        return first.to_owned();
    }
    let ends = first.char_indices().map(|(at, c)| at + c.len_utf8());
    let common = ends.take_while(|&end| rest.iter().all(|name| name.starts_with(&first[..end]))).last();
    let stem = &first[..common.unwrap_or(0)];
    let separated = |stem: &str, word: &str| stem.strip_suffix(word).map(str::to_owned);
    let stem = stem.trim_end_matches(|c: char| c.is_ascii_digit());
    let cut = ["-seed", "_seed", "-s", "_s"].iter().find_map(|word| separated(stem, word));
    let cut = cut.unwrap_or_else(|| stem.to_owned());
    match cut.trim_end_matches(['-', '_', '.', ' ']) {
        "" => first.to_owned(),
        cut => cut.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_called_by_what_their_names_share() {
        for (names, shared) in [
            (vec!["tuned-s1", "tuned-s2"], "tuned"),
            (vec!["tuned-s1", "tuned-s12"], "tuned"),
            (vec!["tuned-seed1", "tuned-seed2"], "tuned"),
            (vec!["a_1", "a_2"], "a"),
            (vec!["lr-1e-3"], "lr-1e-3"),
            (vec!["über-s1", "übel-s1"], "übe"),
            (vec!["one", "two"], "one"),
            (vec!["1", "2"], "1"),
            (vec!["-s1", "-s2"], "-s1"),
        ] {
            assert_eq!(shared_name(&names), shared, "{names:?}");
        }
    }

    #[test]
    fn only_a_network_with_several_settings_has_them_in_its_name() {
        let runs = ["v2 a", "v3-large b-s1", "v3-large b-s2", "v3-large c", "v3-large d"].map(|run| {
            let (network, name) = run.split_once(' ').unwrap();
            (network.parse().unwrap(), name.to_owned())
        });
        let subjects = Subject::of_groups(&runs, &[0, 1, 1, 2, 3]);
        let of = |text: fn(&Subject) -> String| subjects.iter().map(text).collect::<Vec<_>>();
        let b = "V3-Large (b)";
        assert_eq!(of(Subject::short), ["V2", b, b, "V3-Large (c)", "V3-Large (d)"]);
        assert_eq!(of(Subject::key), ["v2", "v3-large", "v3-large", "v3-large-2", "v3-large-3"]);
        assert_eq!(of(Subject::class), ["v2", "v3-large", "v3-large", "v3-small", "v2-hs-se"]);
        assert_eq!(subjects[3].label(), "MobileNetV3-Large (c)");
        assert_eq!((subjects[0].variant(), subjects[1].variant()), (None, Some("b")));
        // Two settings are never called alike.
        let runs = ["a-s1", "a-s2", "a-s3", "a-s4"].map(|name| (Arch::V2.into(), name.to_owned()));
        let names = Subject::of_groups(&runs, &[0, 1, 0, 1]);
        assert_eq!(
            names.iter().map(Subject::short).collect::<Vec<_>>(),
            ["V2 (a)", "V2 (a-s2)", "V2 (a)", "V2 (a-s2)"]
        );
    }
}
