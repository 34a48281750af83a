//! One comparison beside an earlier one: then and now, and why the two may not compare.

mod snapshot;

use std::path::Path;

use mobilenet_schema::{Against, ComparisonPlan, NetworkChange, Origin, SettingChange, ThenNow};

use self::snapshot::{DataSet, Figures};
use super::gather::Gathered;
use super::origins::{self, Trait};
use super::stats;
use super::text::{list, percent, points, significant, thousands};

pub use snapshot::Snapshot;

/// Compares a comparison with an earlier one.
pub fn against(then: &Snapshot, gathered: &Gathered) -> Against {
    let now = Snapshot::new(Path::new(""), gathered);
    let settings = now
        .settings
        .differences(&then.settings)
        .into_iter()
        .map(|(name, then, now)| SettingChange { name, then, now })
        .collect();
    let find = |all: &[Figures], network| all.iter().find(|figures| figures.network == network).cloned();
    let mut networks = Vec::new();
    let mut unmatched = Vec::new();
    for figures in &now.networks {
        match find(&then.networks, figures.network) {
            Some(earlier) => networks.push(change(&earlier, figures, (&then.settings, &now.settings))),
            None => unmatched.push(figures.network),
        }
    }
    unmatched.extend(then.networks.iter().map(|n| n.network).filter(|&network| find(&now.networks, network).is_none()));
    Against { path: then.path.clone(), warnings: warnings(then, &now), settings, networks, unmatched }
}

fn change(then: &Figures, now: &Figures, (before, after): (&ComparisonPlan, &ComparisonPlan)) -> NetworkChange {
    let figure = |then: u64, now: u64| ThenNow { then: then as f64, now: now as f64 };
    NetworkChange {
        network: now.network,
        test_top1: ThenNow { then: then.top1(), now: now.top1() },
        seeds: (then.runs.len(), now.runs.len()),
        comparison: stats::compare(&then.answers(), &now.answers()),
        latency_ms: then.latency_ms.zip(now.latency_ms).map(|(then, now)| ThenNow { then, now }),
        training_images_per_second: ThenNow { then: then.images_per_second, now: now.images_per_second },
        params: figure(then.params, now.params),
        macs: figure(then.macs, now.macs),
        epochs: figure(before.recipe.epochs, after.recipe.epochs),
    }
}

/// Differences of data, machine and commit.
fn warnings(then: &Snapshot, now: &Snapshot) -> Vec<String> {
    let mut warnings = Vec::new();
    if then.data != now.data {
        let say = |data: &DataSet| format!("{} test images of {}", thousands(data.test_images), data.name);
        warnings.push(format!("Then {}, now {}: accuracies do not compare.", say(&then.data), say(&now.data)));
    }
    for what in Trait::ALL.into_iter().filter(|&what| what != Trait::Date) {
        let values = |origins: &[Origin]| -> Vec<String> {
            let mut values: Vec<_> = origins::values(origins, what).into_iter().map(|(value, _)| value).collect();
            values.sort();
            values
        };
        let (before, after) = (values(&then.origins), values(&now.origins));
        // What is not known does not differ; what was mixed on either side is told even if the mixture is the same.
        if before.is_empty() || after.is_empty() || (before == after && before.len() == 1) {
            continue;
        }
        let consequence = match what {
            Trait::Processor | Trait::Threads => "ratios of times are not one machine's",
            Trait::Commit => "what changed may be the program",
            Trait::Copy => "accuracies compare only if the copies hold the same images",
            Trait::Date => continue,
        };
        warnings.push(format!("{} then {}, now {}: {consequence}.", what.label(), list(&before), list(&after)));
    }
    let answers =
        |snapshot: &Snapshot| snapshot.networks.iter().flat_map(|n| &n.runs).all(|run| !run.labels.is_empty());
    if !answers(then) {
        warnings.push(
            "Of the earlier comparison only results.json is there: its answers cannot be compared with \
            these image by image."
                .to_owned(),
        );
    }
    warnings
}

/// Accuracy and latency of one network in one sentence.
pub fn describe_change(change: &NetworkChange) -> String {
    let judgement = change.comparison.as_ref().map_or(String::new(), |found| {
        let word = if found.is_noise() { "not significant" } else { "significant" };
        format!(", {word} by {}", found.test())
    });
    let top1 = change.test_top1;
    let latency = change.latency_ms.map_or(String::new(), |ms| {
        format!("; an image takes {} ms instead of {}", significant(ms.now), significant(ms.then))
    });
    let speed = change.training_images_per_second;
    format!(
        "{}: {} of the test images instead of {} ({}{judgement}){latency}; it trains at {} instead of {} images \
         per second.",
        change.network.label(),
        percent(top1.now),
        percent(top1.then),
        points(top1.now - top1.then),
        significant(speed.now),
        significant(speed.then)
    )
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use mobilenet_arch::{Arch, Network};
    use serde_json::json;

    use super::super::gather::fixture::fixture;
    use super::*;

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/comparison")
    }

    /// The fixture, some of it changed.
    fn earlier(change: impl FnOnce(&mut Snapshot)) -> Snapshot {
        let mut snapshot = Snapshot::read(&folder()).unwrap();
        change(&mut snapshot);
        snapshot
    }

    #[test]
    fn a_comparison_against_itself_has_no_difference() {
        let found = against(&earlier(|_| {}), &fixture());
        assert_eq!((found.warnings.as_slice(), found.settings.as_slice()), (&[][..], &[][..]));
        assert_eq!((found.networks.len(), found.unmatched.len()), (2, 0));
        for network in &found.networks {
            let comparison = network.comparison.as_ref().unwrap();
            assert_eq!((comparison.difference, comparison.p_value()), (0.0, 1.0));
            assert_eq!(network.latency_ms.unwrap().ratio(), 1.0);
        }
        assert!(
            earlier(|_| {})
                .check_other_than(&folder())
                .unwrap_err()
                .to_string()
                .contains("the comparison that is being reported")
        );
    }

    #[test]
    fn what_keeps_them_from_comparing_is_said() {
        let then = earlier(|then| {
            then.settings.recipe.epochs = 9;
            then.data.test_images = 500;
            then.networks.retain(|figures| figures.network == Arch::V2.into());
            then.networks[0].images_per_second = 20.5;
            for origin in &mut then.origins {
                origin.environment.processor = "an older one".to_owned();
            }
        });
        let found = against(&then, &fixture());
        assert_eq!(found.warnings.len(), 2, "{:?}", found.warnings);
        assert!(found.warnings[1].contains("an older one") && found.warnings[1].contains("not one machine's"));
        assert_eq!(
            found.settings,
            [SettingChange { name: "epochs".to_owned(), then: "9".to_owned(), now: "3".to_owned() }]
        );
        assert_eq!(found.unmatched, [Network::from(Arch::V3Large)]);
        assert_eq!(found.networks[0].training_images_per_second.ratio(), 2.0);
        assert!(describe_change(&found.networks[0]).contains("41.0 instead of 20.5"));
    }

    #[test]
    fn results_alone_are_enough_for_all_but_the_images() {
        let results = json!({
            "settings": fixture().settings,
            "data": {"name": "cifar10", "test_images_used": 1_000},
            "environment": {"commit": "fedcba9", "processor": "AMD EPYC 9R14", "threads": 2},
            "models": [{
                "model": "v2", "params": 2_236_682, "macs": 87_977_984, "test_top1": 0.25, "latency_ms": null,
                "training_images_per_second": 41.0,
                "runs": [{"seed": 1, "test_top1": 0.25}],
            }],
        });
        let then = Snapshot::from_results(Path::new("old.json"), serde_json::from_value(results).unwrap());
        let found = against(&then, &fixture());
        assert_eq!(found.networks.len(), 1);
        assert_eq!((found.networks[0].comparison.as_ref(), found.networks[0].latency_ms), (None, None));
        assert_eq!(found.warnings.len(), 2, "{:?}", found.warnings);
        assert!(found.warnings[0].contains("fedcba9") && found.warnings[1].contains("results.json"));
    }
}
