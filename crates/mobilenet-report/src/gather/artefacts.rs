//! Reading what stages have left.

use std::path::Path;

use mobilenet_schema::Artefact;

use crate::plan::Stage;

/// What a stage has left, if it was run. What is there but cannot be used is left out, and named in the notes.
pub fn optional<T: Artefact>(stage: &Stage, out: &Path, notes: &mut Vec<String>) -> Option<T> {
    let path = stage.artefact(out);
    if !path.exists() {
        return None;
    }
    let name = path.strip_prefix(out).unwrap_or(&path).display();
    mobilenet_schema::read(&path).inspect_err(|error| notes.push(format!("{name} is left out: {error}."))).ok()
}

/// Of the rounds of a timing, in the order of time, the one with the middle latency, and the latency of every round.
pub fn middle<T>(mut rounds: Vec<T>, latency: impl Fn(&T) -> f64) -> (Option<T>, Vec<f64>) {
    let all = rounds.iter().map(&latency).collect();
    rounds.sort_by(|a, b| latency(a).total_cmp(&latency(b)));
    let middle = rounds.len().saturating_sub(1) / 2;
    (rounds.into_iter().nth(middle), all)
}
