//! `mobilenet report`

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mobilenet_report::{lock, read_runs, write_runs};

use crate::args::ReportArgs;
use crate::output::{note, print};

/// How long a report waits for another that is being written into the same folder.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn run(args: &ReportArgs) -> Result<()> {
    let out = match (&args.out, args.runs.as_slice()) {
        (Some(out), _) => out,
        (None, [run]) => run,
        (None, _) => bail!("a report of several runs needs --out DIR"),
    };
    let runs = read_runs(&args.runs)?;
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let _lock = lock(out, "another report is being written", PATIENCE)?;
    write_runs(out, &runs)?;
    for said in &runs.notes {
        note(&format!("note: {said}"));
    }
    let files = ["report.html", "report.md", "results.json"].map(|file| out.join(file).display().to_string());
    print(&files.join("\n"))
}
