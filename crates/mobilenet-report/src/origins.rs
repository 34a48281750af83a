//! Where the artefacts of one comparison come from: by commit, machine, day and copy of the data. Runs may be added
//! days later, or be copied from another machine; what differs among them is told, because it decides what compares.

use mobilenet_schema::Origin;

use super::text::list;

/// What an origin is asked for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Trait {
    /// The commit of the program
    Commit,
    /// The kind of processor
    Processor,
    /// How many threads computed
    Threads,
    /// The day
    Date,
    /// Which copy of the data was read
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
            Self::Processor => {
                "their times do not compare, and the same seed trains to other weights on another kind of processor"
            }
            Self::Threads => "their times do not compare",
            Self::Date => "the machine need not have been equally quiet",
            Self::Copy => "their accuracies compare only if the copies hold the same images",
        }
    }

    /// What an origin says of it, in words; `None` if its artefact does not.
    pub fn of(self, origin: &Origin) -> Option<String> {
        let environment = &origin.environment;
        let begin = |text: &str| text.chars().take(10).collect();
        let said = match self {
            Self::Commit => begin(environment.commit.as_deref()?),
            Self::Processor => match &environment.gpu {
                Some(gpu) => format!("{gpu} and {}", environment.processor),
                None => environment.processor.clone(),
            },
            Self::Threads if environment.threads == 0 => return None,
            Self::Threads => environment.threads.to_string(),
            Self::Date => begin(&environment.date),
            Self::Copy => origin.copy.clone()?,
        };
        (!said.is_empty()).then_some(said)
    }
}

/// The values of a trait in the order in which they come up, each with those that have it.
pub fn values(origins: &[Origin], what: Trait) -> Vec<(String, Vec<&str>)> {
    let mut found: Vec<(String, Vec<&str>)> = Vec::new();
    for origin in origins {
        let Some(value) = what.of(origin) else { continue };
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
    use mobilenet_schema::Environment;

    use super::*;

    fn origin(what: &str, commit: &str, threads: usize, date: &str) -> Origin {
        let environment = Environment {
            commit: Some(commit.to_owned()),
            processor: "P".to_owned(),
            threads,
            date: date.to_owned(),
            ..Environment::default()
        };
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
    fn seeds_of_different_processors_are_told_apart() {
        let on = |what: &str, processor: &str| {
            let environment = Environment { processor: processor.to_owned(), ..Environment::default() };
            Origin { what: what.to_owned(), environment, copy: None }
        };
        let found = differences(&[on("v2-s1", "AMD EPYC"), on("v2-s2", "Intel Xeon")]);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("AMD EPYC (v2-s1) and Intel Xeon (v2-s2)"), "{found:?}");
        assert!(found[0].contains("the same seed trains to other weights"), "{found:?}");
    }

    #[test]
    fn what_is_not_said_does_not_differ() {
        let silent = Origin { what: "old".to_owned(), environment: Environment::default(), copy: None };
        assert_eq!(differences(&[silent, origin("new", "c", 2, "d")]), [""; 0]);
    }
}
