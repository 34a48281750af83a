//! Where the artefacts of one comparison come from: by commit, machine, day and copy of the data. Runs may be added days
//! later, or be copied from another machine; what differs among them is told, because it decides what compares.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::text::list;

/// What one artefact says of its own making.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Origin {
    /// Name of the run, or of the benchmark
    pub what: String,
    /// As `config.json` and `bench-*.json` hold it
    pub environment: Value,
    /// The copy of the data a run was trained on
    #[serde(default)]
    pub copy: Option<String>,
}

/// What an origin is asked for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Trait {
    Commit,
    Processor,
    Threads,
    Date,
    Copy,
}

impl Trait {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 5] = [Self::Date, Self::Commit, Self::Processor, Self::Threads, Self::Copy];

    /// As a column's title.
    pub fn label(self) -> &'static str {
        match self {
            Self::Commit => "Commit",
            Self::Processor => "Processor",
            Self::Threads => "Threads",
            Self::Date => "Date",
            Self::Copy => "Copy of the data",
        }
    }

    /// In a sentence.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Processor => "processor",
            Self::Threads => "number of threads",
            Self::Date => "date",
            Self::Copy => "copy of the data",
        }
    }

    /// What follows for the figures if it differs.
    pub fn consequence(self) -> &'static str {
        match self {
            Self::Commit => "what they measure may have changed between them",
            Self::Processor | Self::Threads => "their times do not compare",
            Self::Date => "the machine need not have been equally quiet",
            Self::Copy => "their accuracies compare only if the copies hold the same images",
        }
    }
}

impl Origin {
    /// One trait in words; `None` if the artefact does not say.
    pub fn get(&self, what: Trait) -> Option<String> {
        let text = |key: &str| Some(self.environment.get(key)?.as_str()?.to_owned());
        match what {
            Trait::Commit => text("commit").map(|commit| commit.chars().take(10).collect()),
            Trait::Processor => text("processor"),
            Trait::Threads => self.environment.get("threads")?.as_u64().map(|n| n.to_string()),
            Trait::Date => text("date").map(|date| date.chars().take(10).collect()),
            Trait::Copy => self.copy.clone(),
        }
    }
}

/// The values of a trait in the order in which they come up, each with those that have it.
pub fn values(origins: &[Origin], what: Trait) -> Vec<(String, Vec<&str>)> {
    let mut found: Vec<(String, Vec<&str>)> = Vec::new();
    for origin in origins {
        let Some(value) = origin.get(what) else { continue };
        match found.iter_mut().find(|(known, _)| *known == value) {
            Some((_, names)) => names.push(&origin.what),
            None => found.push((value, vec![&origin.what])),
        }
    }
    found
}

/// The traits in which artefacts of one comparison differ, one sentence each. Days are no reason for a sentence: the
/// table of origins shows them.
pub fn differences(origins: &[Origin]) -> Vec<String> {
    Trait::ALL
        .into_iter()
        .filter(|&what| what != Trait::Date)
        .filter_map(|what| {
            let found = values(origins, what);
            let groups: Vec<_> = found.iter().map(|(value, names)| format!("{value} ({})", names.join(", "))).collect();
            (found.len() > 1).then(|| {
                format!("Not everything here has the same {}: {}; {}.", what.noun(), list(&groups), what.consequence())
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn origin(what: &str, commit: &str, threads: u64, date: &str) -> Origin {
        let environment = json!({"commit": commit, "processor": "P", "threads": threads, "date": date});
        Origin { what: what.to_owned(), environment, copy: None }
    }

    #[test]
    fn what_differs_is_told_with_who_has_it() {
        let alike = [origin("a", "c1", 2, "2026-01-01"), origin("b", "c1", 2, "2026-01-02T09:00:00Z")];
        assert_eq!(differences(&alike), [""; 0]);
        assert_eq!(values(&alike, Trait::Date).len(), 2);
        let mixed = [origin("a", "c1", 2, "d"), origin("b", "c2", 4, "d"), origin("c", "c1", 2, "d")];
        let found = differences(&mixed);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("c1 (a, c) and c2 (b)"), "{found:?}");
        assert!(found[1].contains("threads") && found[1].contains("times do not compare"), "{found:?}");
    }

    #[test]
    fn what_is_not_said_does_not_differ() {
        let silent = Origin { what: "old".to_owned(), environment: Value::Null, copy: None };
        assert_eq!(differences(&[silent, origin("new", "c", 2, "d")]), [""; 0]);
    }
}
