//! `mobilenet choose`: which network keeps given limits, by what comparisons have measured on this machine.

mod pick;
mod results;

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Result, anyhow, bail};
use serde::Serialize;

use crate::args::ChooseArgs;
use crate::output::{note, print, print_json};

use pick::{Broken, Choice, Figure, Limits, nearest, pick};
use results::{Candidate, Comparison, LeftOut, Machine, find, read};

/// More accurate networks that are named, each with what it would cost.
const NAMED: usize = 3;

#[derive(Serialize)]
struct Report<'a> {
    machine: &'a Machine,
    limits: &'a Limits,
    comparisons: Vec<Answer<'a>>,
    left_out: &'a [LeftOut],
}

/// The choice of one comparison; `None` where none of its networks keeps the limits.
#[derive(Serialize)]
struct Answer<'a> {
    from: &'a Path,
    data: &'a str,
    networks: usize,
    within_limits: usize,
    chosen: Option<&'a Candidate>,
    runner_up: Option<RunnerUp<'a>>,
    more_accurate: Vec<Neighbor<'a>>,
}

#[derive(Serialize)]
struct RunnerUp<'a> {
    #[serde(flatten)]
    network: &'a Candidate,
    /// Whether its accuracy lies within the chosen one's 95 % interval
    within_noise: bool,
}

#[derive(Serialize)]
struct Neighbor<'a> {
    #[serde(flatten)]
    network: &'a Candidate,
    breaks: &'a [Broken],
}

pub fn run(args: &ChooseArgs) -> Result<()> {
    let limits = Limits {
        max_latency_ms: args.max_latency_ms,
        max_params: args.max_params,
        max_macs: args.max_macs,
        max_memory_mb: args.max_memory_mb,
        min_accuracy: args.min_accuracy,
    };
    let machine = Machine::here(&crate::environment::collect());
    let mut left_out = Vec::new();
    let mut comparisons = Vec::new();
    for path in find(&args.from)? {
        match read(&path, &machine, &mut left_out) {
            Ok(found) => comparisons.extend(found),
            // What was not asked for by name may be something else.
            Err(error) if args.from.is_empty() => {
                let from = path.parent().unwrap_or(&path).to_path_buf();
                left_out.push(LeftOut { model: None, from, why: format!("{error:#}") });
            }
            Err(error) => return Err(error),
        }
    }
    if comparisons.is_empty() {
        return Err(nothing_measured(args, &machine, &left_out));
    }
    let choices: Vec<_> = comparisons.iter().map(|c| (c, pick(&c.candidates, &limits))).collect();
    if choices.iter().all(|(_, choice)| choice.is_none()) {
        bail!("{}", nothing_within(&comparisons, &limits));
    }
    for (comparison, _) in choices.iter().filter(|(comparison, _)| comparison.stand_in) {
        note(&format!(
            "warning: {} was trained on {}, shapes drawn by code: its accuracies say nothing about other pictures",
            comparison.from.display(),
            comparison.data
        ));
    }
    if args.json {
        let comparisons = choices.iter().map(|(comparison, choice)| answer(comparison, choice.as_ref())).collect();
        return print_json(&Report { machine: &machine, limits: &limits, comparisons, left_out: &left_out });
    }
    let mut said: Vec<String> =
        choices.iter().map(|(comparison, choice)| say(comparison, choice.as_ref(), &limits, &machine)).collect();
    if !left_out.is_empty() {
        said.push(say_left_out(&left_out));
    }
    print(&said.join("\n"))
}

fn answer<'a>(comparison: &'a Comparison, choice: Option<&'a Choice<'a>>) -> Answer<'a> {
    Answer {
        from: &comparison.from,
        data: &comparison.data,
        networks: comparison.candidates.len(),
        within_limits: choice.map_or(0, |choice| choice.within_limits),
        chosen: choice.map(|choice| choice.chosen),
        runner_up: choice.and_then(|choice| {
            let network = choice.runner_up?;
            Some(RunnerUp { network, within_noise: choice.is_within_noise(network) })
        }),
        more_accurate: choice
            .iter()
            .flat_map(|choice| &choice.more_accurate)
            .map(|(network, breaks)| Neighbor { network, breaks })
            .collect(),
    }
}

/// How to get something to choose from.
fn nothing_measured(args: &ChooseArgs, machine: &Machine, left_out: &[LeftOut]) -> anyhow::Error {
    let place = match args.from.as_slice() {
        [] => "in runs".to_owned(),
        folders => format!("in {}", folders.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(", ")),
    };
    let found = match left_out {
        [] => "no results.json of a comparison is there".to_owned(),
        [first, rest @ ..] => {
            let others = if rest.is_empty() { String::new() } else { format!(" (and {} more left out)", rest.len()) };
            format!("{first}{others}")
        }
    };
    anyhow!(
        "nothing to choose from {place} was measured on this machine ({machine}): {found}; to measure: cargo xtask compare --models widths --out runs/widths"
    )
}

fn nothing_within(comparisons: &[Comparison], limits: &Limits) -> String {
    let near: Vec<_> = comparisons
        .iter()
        .filter_map(|comparison| {
            let (candidate, broken) = nearest(&comparison.candidates, limits)?;
            Some(format!("nearest in {} is {}: {}", comparison.from.display(), candidate.model, list(&broken)))
        })
        .collect();
    format!("no network keeps the limits ({limits}); {}", near.join("; "))
}

/// The choice with its figures, what is more accurate, and what comes second.
fn say(comparison: &Comparison, choice: Option<&Choice>, limits: &Limits, machine: &Machine) -> String {
    let n = comparison.candidates.len();
    let epochs = comparison.candidates.iter().find_map(|c| c.epochs);
    let trained = epochs.map_or(String::new(), |epochs| format!(", {epochs} epoch{}", plural(epochs)));
    let mut text = format!(
        "{}: {n} network{} on {}{trained}, measured on this machine ({machine})\n",
        comparison.from.display(),
        plural(n as u64),
        comparison.data
    );
    let Some(choice) = choice else {
        let near = nearest(&comparison.candidates, limits).map_or(String::new(), |(candidate, broken)| {
            format!(" The nearest is {}: {}.", candidate.model, list(&broken))
        });
        let _ = writeln!(text, "  None of them keeps the limits ({limits}).{near}");
        return text;
    };
    let chosen = choice.chosen;
    let [low, high] = chosen.test_top1_interval.map(|end| 100.0 * end);
    let what = match choice.within_limits {
        1 => "the only one within the limits".to_owned(),
        within if within == n => format!("the most accurate of all {n}"),
        within => format!("the most accurate of the {within} within the limits"),
    };
    let _ = writeln!(text, "\n  {} ({}), {what}", chosen.label, chosen.model);
    for figure in [Figure::Accuracy, Figure::Latency, Figure::Parameters, Figure::MultiplyAdds, Figure::Memory] {
        let found = figure.of(chosen).map_or("not measured".to_owned(), |value| figure.say(value));
        let aside = match (figure, limits.of(figure)) {
            (Figure::Accuracy, None) => format!("95 % interval {low:.1} to {high:.1}"),
            (Figure::Accuracy, Some(limit)) => {
                format!("95 % interval {low:.1} to {high:.1}, at least {}", figure.say(limit))
            }
            (_, None) => "no limit".to_owned(),
            (_, Some(limit)) => format!("at most {}", figure.say(limit)),
        };
        let _ = writeln!(text, "    {:<14} {found:<10} ({aside})", figure.name());
    }
    text += &say_more_accurate(choice);
    text += &say_runner_up(choice);
    text
}

fn say_more_accurate(choice: &Choice) -> String {
    if choice.more_accurate.is_empty() {
        return "\n  None of the others is more accurate.\n".to_owned();
    }
    let mut text = "\n  More accurate, but over a limit:\n".to_owned();
    for (candidate, broken) in choice.more_accurate.iter().take(NAMED) {
        let _ = writeln!(
            text,
            "    {}: {} ({}{}), but {}",
            candidate.model,
            Figure::Accuracy.say(candidate.test_top1),
            points(candidate, choice.chosen),
            if choice.is_within_noise(candidate) { ", within noise" } else { "" },
            list(broken)
        );
    }
    if choice.more_accurate.len() > NAMED {
        let _ = writeln!(text, "    and {} more", choice.more_accurate.len() - NAMED);
    }
    text
}

fn say_runner_up(choice: &Choice) -> String {
    let Some(other) = choice.runner_up else { return String::new() };
    let chosen = choice.chosen;
    let costs = [Figure::Latency, Figure::Parameters, Figure::MultiplyAdds, Figure::Memory];
    let differences: Vec<(bool, String)> = costs
        .into_iter()
        .filter_map(|figure| {
            let saved = figure.of(chosen)? - figure.of(other)?;
            let said = figure.say(saved.abs());
            // What rounds to nothing is not worth a word.
            (said != figure.say(0.0)).then(|| (saved > 0.0, format!("{said} of {}", figure.name())))
        })
        .collect();
    let of = |saves: bool| {
        differences
            .iter()
            .filter(|(saved, _)| *saved == saves)
            .map(|(_, said)| said.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let effect = match (of(true), of(false)) {
        (saved, more) if saved.is_empty() && more.is_empty() => "costs the same".to_owned(),
        (saved, more) if more.is_empty() => format!("saves {saved}"),
        (saved, more) if saved.is_empty() => format!("saves nothing and costs {more} more"),
        (saved, more) => format!("saves {saved}, but costs {more} more"),
    };
    let mut text = format!(
        "\n  Second: {} ({}): {} ({}); {effect}\n",
        other.label,
        other.model,
        Figure::Accuracy.say(other.test_top1),
        points(other, chosen)
    );
    if choice.is_within_noise(other) {
        text += "  Its accuracy lies within the 95 % interval of the first: which of the two is more accurate is within noise.\n";
    }
    text
}

/// One line for each reason.
fn say_left_out(left_out: &[LeftOut]) -> String {
    let mut lines: Vec<(String, Vec<&str>)> = Vec::new();
    for one in left_out {
        let line = format!("{}: {}", one.from.display(), one.why);
        let models = match lines.iter_mut().find(|(known, _)| *known == line) {
            Some((_, models)) => models,
            None => {
                lines.push((line, Vec::new()));
                let Some((_, models)) = lines.last_mut() else { continue };
                models
            }
        };
        models.extend(one.model.as_deref());
    }
    let mut text = "Left out:\n".to_owned();
    for (line, models) in lines {
        let models = if models.is_empty() { String::new() } else { format!(" ({})", models.join(", ")) };
        let _ = writeln!(text, "  {line}{models}");
    }
    text
}

impl std::fmt::Display for LeftOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { model, from, why } = self;
        match model {
            Some(model) => write!(f, "{model} in {}: {why}", from.display()),
            None => write!(f, "{}: {why}", from.display()),
        }
    }
}

fn list(broken: &[Broken]) -> String {
    broken.iter().map(Broken::to_string).collect::<Vec<_>>().join(", ")
}

/// `+0.9 points`
fn points(candidate: &Candidate, chosen: &Candidate) -> String {
    format!("{:+.1} points", 100.0 * (candidate.test_top1 - chosen.test_top1))
}

fn plural(n: u64) -> &'static str {
    if n == 1 { "" } else { "s" }
}
