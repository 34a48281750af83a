//! What the report says, section by section.

mod advice;
mod against;
mod blocks;
mod ladder;
mod mistakes;
mod pictures;
mod provenance;
pub mod runs;
mod shipped;
mod significance;
mod tables;
mod time;
mod training;
mod widths;

use mobilenet_schema::{Against, Verdict};

use crate::audit::Claim;
use crate::document::{Block, Cell, Document, Inline, Section, Table, rich};
use crate::gather::Gathered;
use crate::network;
use crate::text::list;
use crate::{plots, verdict};

pub use significance::of_model as figures;

/// The whole report.
pub fn document(gathered: &Gathered, claims: &[Claim], against: Option<&Against>, created: &str) -> Document {
    let seeds: Vec<_> = gathered.settings.seeds.iter().map(u64::to_string).collect();
    let subtitle = rich!(
        "{}, profile `{}`, {} {}; {}",
        gathered.data.label(),
        gathered.settings.profile.name(),
        if seeds.len() == 1 { "seed" } else { "seeds" },
        list(&seeds),
        created,
    );
    let mut sections = vec![at_a_glance(gathered), tables::section(gathered), significance::section(gathered)];
    sections.extend(against.map(against::section));
    sections.push(training::section(gathered));
    sections.extend(ladder::section(gathered));
    sections.push(widths::section(gathered).unwrap_or_else(|| accuracy_against_cost(gathered)));
    sections.extend(advice::section(gathered));
    sections.extend(shipped::section(gathered));
    sections.push(mistakes::section(gathered));
    sections.extend(pictures::section(gathered));
    sections.extend(blocks::section(gathered));
    sections.extend(time::section(gathered));
    sections.push(audit(gathered, claims));
    sections.push(provenance::section(gathered));
    Document {
        title: network::title(&gathered.networks()).into(),
        subtitle,
        warning: verdict::warning(&gathered.data),
        verdict: verdict::sentences(gathered).into(),
        caveats: verdict::caveats(gathered),
        sections,
    }
}

fn at_a_glance(gathered: &Gathered) -> Section {
    let mut blocks = vec![Block::Plots(vec![plots::glance(gathered)])];
    for note in &gathered.notes {
        blocks.push(Block::Text(rich!("**Note.** {}", note)));
    }
    Section { title: "At a glance".into(), blocks }
}

fn accuracy_against_cost(gathered: &Gathered) -> Section {
    Section { title: "Accuracy against cost".into(), blocks: vec![Block::Plots(plots::trade_offs(gathered))] }
}

/// How claims about what is shipped are judged.
const SHIPPED: &str = " What 8 bits or another activation cost is a difference on the same images, without any \
    training after the change: a claim about it is judged by that difference's 95% interval, on any pictures but \
    drawn ones.";

fn audit(gathered: &Gathered, claims: &[Claim]) -> Section {
    let of = |verdict: Verdict| claims.iter().filter(|c| c.verdict == verdict).count();
    let counted: Vec<_> = Verdict::ALL
        .into_iter()
        .map(|verdict| (of(verdict), verdict))
        .filter(|(n, _)| *n > 0)
        .map(|(n, verdict)| format!("{n} {}", verdict.label()))
        .collect();
    let text = rich!(
        "Of the article's {} claims: **{}**. Counts agree if they are within about one percent, accuracies by their 95% \
         interval (Student's t over seeds where several scatter, else Wilson's over images): under the article's \
         protocol if the whole interval lies within one point of its figure; after another training, or on a copy of \
         its pictures that is compressed at a loss, which make a figure harder to reach, if the whole interval lies at \
         or above it, and what lies below is undecided. On other pictures no accuracy is judged.{}",
        claims.len(),
        list(&counted),
        if gathered.models.iter().any(|model| !model.shipped.is_empty()) { SHIPPED } else { "" },
    );
    let rows = claims
        .iter()
        .map(|c| vec![c.claim.clone().into(), Cell::Verdict(c.verdict), c.reason.clone().into()])
        .collect();
    let head = ["The article says", "Verdict", "Why"];
    Section {
        title: "The article's claims".into(),
        blocks: vec![
            Block::Text(text),
            Block::Table(Table { head: head.map(Inline::from).into(), numeric: false, rows }),
        ],
    }
}
