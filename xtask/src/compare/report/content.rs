//! What the report says, section by section.

mod against;
mod blocks;
mod mistakes;
mod pictures;
mod provenance;
mod significance;
mod tables;

use crate::compare::against::Against;
use crate::compare::audit::{Claim, Verdict};
use crate::compare::document::{Block, Cell, Document, Section, Table};
use crate::compare::gather::Gathered;
use crate::compare::text::{count, list, thousands};
use crate::compare::{plots, verdict};

pub use significance::of_model as figures;

/// The whole report.
pub fn document(gathered: &Gathered, claims: &[Claim], against: Option<&Against>, created: &str) -> Document {
    let models: Vec<_> = gathered.models.iter().map(|m| m.arch.label().to_owned()).collect();
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
    sections.extend([
        training(gathered),
        Section { title: "Accuracy against cost".to_owned(), blocks: vec![Block::Plots(plots::trade_offs(gathered))] },
        mistakes::section(gathered),
    ]);
    sections.extend(pictures::section(gathered));
    sections.extend(blocks::section(gathered));
    sections.push(audit(claims));
    sections.push(provenance::section(gathered));
    Document {
        title: list(&models),
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

fn training(gathered: &Gathered) -> Section {
    let recipe = &gathered.settings.recipe;
    let text = format!(
        "Both curves of a network come from the same run: {} of {} images, batches of {}, {} with a peak learning rate of {} ({} schedule) and weight decay {}, in {}, with random flips and crops. \
         Nothing was chosen on the test images; the figures are those of the last epoch's weights.",
        count(recipe.epochs, "epoch"),
        thousands(gathered.sizes().train),
        recipe.batch_size,
        recipe.optimizer.replace("adamw", "AdamW"),
        recipe.lr,
        recipe.schedule,
        recipe.weight_decay,
        gathered.settings.precision.label()
    );
    Section { title: "Training".to_owned(), blocks: vec![Block::Text(text), Block::Plots(plots::curves(gathered))] }
}

fn audit(claims: &[Claim]) -> Section {
    let of = |verdict: Verdict| claims.iter().filter(|c| c.verdict == verdict).count();
    let text = format!(
        "Of {} claims of the article **{} are reproduced, {} are not, and {} cannot be measured here**. Counts agree if they are within about one percent, accuracies under the article's protocol if they are within one point.",
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
