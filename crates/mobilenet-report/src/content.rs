//! What the report says, section by section.

mod against;
mod blocks;
mod ladder;
mod mistakes;
mod pictures;
mod provenance;
mod significance;
mod tables;
mod time;
mod training;
mod widths;

use crate::against::Against;
use crate::audit::{Claim, Verdict};
use crate::document::{Block, Cell, Document, Section, Table};
use crate::gather::Gathered;
use crate::network;
use crate::text::list;
use crate::{plots, verdict};

pub use significance::of_model as figures;

/// The whole report.
pub fn document(gathered: &Gathered, claims: &[Claim], against: Option<&Against>, created: &str) -> Document {
    let seeds: Vec<_> = gathered.settings.seeds.iter().map(u64::to_string).collect();
    let subtitle = format!(
        "{}, profile `{}`, {} {}; {created}",
        gathered.data.label(),
        gathered.settings.profile.key(),
        if seeds.len() == 1 { "seed" } else { "seeds" },
        list(&seeds),
    );
    let mut sections = vec![at_a_glance(gathered), tables::section(gathered), significance::section(gathered)];
    sections.extend(against.map(against::section));
    sections.push(training::section(gathered));
    sections.extend(ladder::section(gathered));
    sections.push(widths::section(gathered).unwrap_or_else(|| accuracy_against_cost(gathered)));
    sections.push(mistakes::section(gathered));
    sections.extend(pictures::section(gathered));
    sections.extend(blocks::section(gathered));
    sections.extend(time::section(gathered));
    sections.push(audit(claims));
    sections.push(provenance::section(gathered));
    Document {
        title: network::title(&gathered.networks()),
        subtitle,
        warning: verdict::warning(gathered),
        verdict: verdict::sentences(gathered),
        caveats: verdict::caveats(gathered),
        sections,
    }
}

fn at_a_glance(gathered: &Gathered) -> Section {
    let mut blocks = vec![Block::Plots(vec![plots::glance(gathered)])];
    for note in &gathered.notes {
        blocks.push(Block::Text(format!("**Note.** {note}")));
    }
    Section { title: "At a glance".to_owned(), blocks }
}

fn accuracy_against_cost(gathered: &Gathered) -> Section {
    Section { title: "Accuracy against cost".to_owned(), blocks: vec![Block::Plots(plots::trade_offs(gathered))] }
}

fn audit(claims: &[Claim]) -> Section {
    let of = |verdict: Verdict| claims.iter().filter(|c| c.verdict == verdict).count();
    let text = format!(
        "Of {} claims of the article **{} are reproduced, {} are not, and {} cannot be measured here**. Counts agree if they are within about one percent, accuracies under the article's protocol if they are within one point, after another training if they are reached.",
        claims.len(),
        of(Verdict::Reproduced),
        of(Verdict::NotReproduced),
        of(Verdict::NotMeasurable)
    );
    let rows = claims
        .iter()
        .map(|c| vec![c.claim.as_str().into(), Cell::Verdict(c.verdict), c.reason.as_str().into()])
        .collect();
    let head = ["The article says", "Verdict", "Why"];
    Section {
        title: "The article's claims".to_owned(),
        blocks: vec![
            Block::Text(text),
            Block::Table(Table { head: head.map(str::to_owned).into(), numeric: false, rows }),
        ],
    }
}
