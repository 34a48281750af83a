//! The most accurate network within limits, and what lies beside it.

use std::fmt;

use serde::Serialize;

use super::results::Candidate;

/// What a network may cost at most and must reach at least.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Limits {
    /// Milliseconds of one image.
    pub max_latency_ms: Option<f64>,
    /// Trainable numbers.
    pub max_params: Option<u64>,
    /// Multiply-adds of one image.
    pub max_macs: Option<u64>,
    /// Megabytes (10^6 bytes) of a process that answers single images.
    pub max_memory_mb: Option<f64>,
    /// Share of the test images.
    pub min_accuracy: Option<f64>,
}

/// A figure that can be limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Figure {
    Latency,
    Parameters,
    MultiplyAdds,
    Memory,
    Accuracy,
}

/// A limit that a network does not keep.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Broken {
    pub figure: Figure,
    /// The network's own; `None` if it was not measured.
    pub found: Option<f64>,
    pub limit: f64,
}

/// The choice of one comparison.
#[derive(Debug)]
pub struct Choice<'a> {
    pub chosen: &'a Candidate,
    /// The second most accurate within the limits.
    pub runner_up: Option<&'a Candidate>,
    /// Networks more accurate than the chosen one, the closest first, with the limits they break.
    pub more_accurate: Vec<(&'a Candidate, Vec<Broken>)>,
    /// How many keep all limits.
    pub within_limits: usize,
}

impl Figure {
    const ALL: [Self; 5] = [Self::Latency, Self::Parameters, Self::MultiplyAdds, Self::Memory, Self::Accuracy];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Parameters => "parameters",
            Self::MultiplyAdds => "multiply-adds",
            Self::Memory => "memory",
            Self::Accuracy => "accuracy",
        }
    }

    /// A network's, in the unit of its limit.
    pub fn of(self, candidate: &Candidate) -> Option<f64> {
        Some(match self {
            Self::Latency => candidate.latency_ms,
            Self::Parameters => candidate.params as f64,
            Self::MultiplyAdds => candidate.macs as f64,
            Self::Memory => candidate.peak_rss_bytes? as f64 / 1e6,
            Self::Accuracy => candidate.test_top1,
        })
    }

    /// A value with its unit.
    pub fn say(self, value: f64) -> String {
        match self {
            Self::Latency => format!("{value:.2} ms"),
            Self::Parameters | Self::MultiplyAdds if value.abs() < 1e6 => format!("{:.0} k", value / 1e3),
            Self::Parameters | Self::MultiplyAdds => format!("{:.2} M", value / 1e6),
            Self::Memory => format!("{value:.0} MB"),
            Self::Accuracy => format!("{:.1} %", 100.0 * value),
        }
    }
}

impl Limits {
    /// One figure's limit.
    pub fn of(&self, figure: Figure) -> Option<f64> {
        match figure {
            Figure::Latency => self.max_latency_ms,
            Figure::Parameters => self.max_params.map(|n| n as f64),
            Figure::MultiplyAdds => self.max_macs.map(|n| n as f64),
            Figure::Memory => self.max_memory_mb,
            Figure::Accuracy => self.min_accuracy,
        }
    }

    /// The limits that a network does not keep; what was not measured keeps none.
    pub fn broken_by(&self, candidate: &Candidate) -> Vec<Broken> {
        let broken = |figure: Figure| {
            let limit = self.of(figure)?;
            let found = figure.of(candidate);
            let kept =
                found.is_some_and(|found| if figure == Figure::Accuracy { found >= limit } else { found <= limit });
            (!kept).then_some(Broken { figure, found, limit })
        };
        Figure::ALL.into_iter().filter_map(broken).collect()
    }
}

impl fmt::Display for Limits {
    /// `latency at most 2.00 ms, accuracy at least 90.0 %`
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let say = |figure: Figure| {
            let word = if figure == Figure::Accuracy { "at least" } else { "at most" };
            self.of(figure).map(|limit| format!("{} {word} {}", figure.name(), figure.say(limit)))
        };
        let said: Vec<_> = Figure::ALL.into_iter().filter_map(say).collect();
        f.write_str(if said.is_empty() { "none" } else { "" })?;
        f.write_str(&said.join(", "))
    }
}

impl fmt::Display for Broken {
    /// `latency 2.62 ms is over 2.00 ms`
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { figure, found, limit } = self;
        let Some(found) = found else { return write!(f, "{} was not measured", figure.name()) };
        let word = if *figure == Figure::Accuracy { "under" } else { "over" };
        write!(f, "{} {} is {word} {}", figure.name(), figure.say(*found), figure.say(*limit))
    }
}

impl Choice<'_> {
    /// Whether another network's accuracy lies within the chosen one's 95 % interval.
    pub fn is_within_noise(&self, other: &Candidate) -> bool {
        let [low, high] = self.chosen.test_top1_interval;
        (low..=high).contains(&other.test_top1)
    }
}

/// The most accurate network that keeps all limits (of equally accurate ones the fastest); `None` if there is none.
pub fn pick<'a>(candidates: &'a [Candidate], limits: &Limits) -> Option<Choice<'a>> {
    let mut ranked: Vec<(&Candidate, Vec<Broken>)> = candidates.iter().map(|c| (c, limits.broken_by(c))).collect();
    ranked.sort_by(|(a, _), (b, _)| b.test_top1.total_cmp(&a.test_top1).then(a.latency_ms.total_cmp(&b.latency_ms)));
    let place = ranked.iter().position(|(_, broken)| broken.is_empty())?;
    let within_limits = ranked.iter().filter(|(_, broken)| broken.is_empty()).count();
    let after = ranked.split_off(place);
    let mut within = after.into_iter().filter(|(_, broken)| broken.is_empty()).map(|(candidate, _)| candidate);
    let chosen = within.next()?;
    ranked.reverse();
    Some(Choice { chosen, runner_up: within.next(), more_accurate: ranked, within_limits })
}

/// Of networks that all break a limit, the one that breaks the fewest, and those least far.
pub fn nearest<'a>(candidates: &'a [Candidate], limits: &Limits) -> Option<(&'a Candidate, Vec<Broken>)> {
    let excess = |broken: &[Broken]| {
        let one = |b: &Broken| b.found.map_or(f64::INFINITY, |found| (found / b.limit).ln().abs());
        broken.iter().map(one).fold(0.0, f64::max)
    };
    let all = candidates.iter().map(|candidate| (candidate, limits.broken_by(candidate)));
    all.min_by(|(_, a), (_, b)| a.len().cmp(&b.len()).then(excess(a).total_cmp(&excess(b))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(model: &str, test_top1: f64, latency_ms: f64, params: u64) -> Candidate {
        Candidate {
            model: model.to_owned(),
            label: model.to_owned(),
            width_mult: 1.0,
            test_top1,
            test_top1_interval: [test_top1 - 0.01, test_top1 + 0.01],
            epochs: Some(4),
            latency_ms,
            params,
            macs: 10 * params,
            peak_rss_bytes: None,
        }
    }

    fn some() -> Vec<Candidate> {
        vec![
            candidate("small", 0.80, 1.0, 1_000_000),
            candidate("large", 0.90, 4.0, 4_000_000),
            candidate("middle", 0.85, 2.0, 2_500_000),
            candidate("slow", 0.855, 3.0, 2_000_000),
        ]
    }

    fn chosen(limits: &Limits) -> Option<String> {
        pick(&some(), limits).map(|choice| choice.chosen.model.clone())
    }

    #[test]
    fn the_most_accurate_within_all_limits_is_chosen() {
        let none = Limits::default;
        for (limits, want) in [
            (none(), Some("large")),
            (Limits { max_latency_ms: Some(3.5), ..none() }, Some("slow")),
            // A limit may be reached.
            (Limits { max_latency_ms: Some(2.0), ..none() }, Some("middle")),
            (Limits { max_params: Some(2_000_000), ..none() }, Some("slow")),
            (Limits { max_params: Some(2_000_000), max_latency_ms: Some(2.0), ..none() }, Some("small")),
            (Limits { max_macs: Some(9_000_000), ..none() }, None),
            (Limits { min_accuracy: Some(0.9), ..none() }, Some("large")),
            (Limits { min_accuracy: Some(0.86), max_latency_ms: Some(3.0), ..none() }, None),
            // What was not measured keeps no limit.
            (Limits { max_memory_mb: Some(1e6), ..none() }, None),
        ] {
            assert_eq!(chosen(&limits).as_deref(), want, "{limits}");
        }
        assert!(pick(&[], &none()).is_none());
    }

    #[test]
    fn neighbors_are_named_with_what_they_break() {
        let candidates = some();
        let limits = Limits { max_latency_ms: Some(2.5), max_params: Some(3_000_000), ..Limits::default() };
        let choice = pick(&candidates, &limits).unwrap();
        assert_eq!((choice.chosen.model.as_str(), choice.within_limits), ("middle", 2));
        assert_eq!(choice.runner_up.unwrap().model, "small");
        let said: Vec<_> = choice
            .more_accurate
            .iter()
            .map(|(c, broken)| (c.model.as_str(), broken.iter().map(Broken::to_string).collect::<Vec<_>>()))
            .collect();
        assert_eq!(said[0], ("slow", vec!["latency 3.00 ms is over 2.50 ms".to_owned()]));
        assert_eq!(said[1].0, "large");
        assert_eq!(said[1].1[1], "parameters 4.00 M is over 3.00 M");
        assert_eq!(limits.to_string(), "latency at most 2.50 ms, parameters at most 3.00 M");
    }

    #[test]
    fn a_runner_up_inside_the_interval_is_noise() {
        let candidates = some();
        let noise = |max| {
            let limits = Limits { max_latency_ms: Some(max), ..Limits::default() };
            let choice = pick(&candidates, &limits).unwrap();
            choice.runner_up.map(|other| choice.is_within_noise(other))
        };
        assert_eq!(noise(3.5), Some(true), "85.5 against 85.0, ±1");
        assert_eq!(noise(2.5), Some(false), "85.0 against 80.0, ±1");
        assert_eq!(noise(1.5), None, "nothing to confuse it with");
    }

    #[test]
    fn of_equally_accurate_ones_the_fastest_is_taken() {
        let pair = [candidate("slow", 0.9, 2.0, 1), candidate("fast", 0.9, 1.0, 1)];
        assert_eq!(pick(&pair, &Limits::default()).unwrap().chosen.model, "fast");
    }

    #[test]
    fn the_nearest_breaks_the_fewest_limits_and_least() {
        let near = |limits: &Limits| nearest(&some(), limits).map(|(c, broken)| (c.model.clone(), broken.len()));
        let limits = Limits { max_latency_ms: Some(0.5), ..Limits::default() };
        assert_eq!(near(&limits), Some(("small".to_owned(), 1)));
        let limits = Limits { max_latency_ms: Some(0.5), min_accuracy: Some(0.89), ..Limits::default() };
        assert_eq!(near(&limits), Some(("large".to_owned(), 1)), "it breaks only the one");
    }
}
