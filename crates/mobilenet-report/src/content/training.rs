//! How the networks were trained, and the curves of it.

use mobilenet_schema::TrainSettings;

use crate::document::{Block, Cell, Inline, Section, Table};
use crate::gather::{Gathered, Run};
use crate::leaves::flatten;
use crate::plots::{self, Training};
use crate::subject::Subject;
use crate::text::{count, thousands};

/// The recipe in a sentence, every setting in a table, the curves.
pub fn section(gathered: &Gathered) -> Section {
    let recipe = &gathered.settings.recipe;
    let text = format!(
        "Both curves of a network come from the same run: {} of {} images, batches of {}, {}, in {}. \
         Nothing was chosen on the test images; the figures are those of the last epoch's weights.",
        count(recipe.epochs, "epoch"),
        thousands(gathered.sizes().train),
        recipe.batch_size,
        recipe.describe(),
        gathered.settings.precision.label()
    );
    let mut blocks = vec![Block::Text(text.into())];
    let columns =
        gathered.models.iter().filter_map(|model| Some((model.network().short(), &model.runs.first()?.settings)));
    blocks.extend(settings(&columns.collect::<Vec<_>>()));
    let curves: Vec<_> = gathered.models.iter().flat_map(|model| trainings(&model.subject, &model.runs)).collect();
    blocks.push(Block::Plots(plots::curves(&curves, gathered.data.classes.len())));
    Section { title: "Training".into(), blocks }
}

/// Runs of a network as their curves show them.
pub fn trainings<'a>(subject: &'a Subject, runs: &'a [Run]) -> impl Iterator<Item = Training<'a>> {
    runs.iter().map(move |run| Training { subject, seed: run.seed, name: &run.name, epochs: &run.epochs })
}

/// Every setting of some runs, a titled column each, as `config.json` has them.
pub fn settings(runs: &[(String, &TrainSettings)]) -> Option<Block> {
    let columns: Vec<Vec<(String, String)>> = runs
        .iter()
        .map(|(_, settings)| {
            let mut fields = Vec::new();
            flatten("", &serde_json::to_value(settings).unwrap_or_default(), &mut fields);
            fields.retain(|(name, _)| name != "seed");
            fields
        })
        .collect();
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in columns.iter().flatten() {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let value = |column: &[(String, String)], name: &str| {
        column.iter().find(|(known, _)| known == name).map_or("–".to_owned(), |(_, value)| value.clone())
    };
    let rows: Vec<Vec<Cell>> = names
        .iter()
        .map(|name| {
            let cells = columns.iter().map(|column| value(column, name).into());
            std::iter::once((*name).to_owned().into()).chain(cells).collect()
        })
        .collect();
    let head =
        std::iter::once(Inline::from("Setting")).chain(runs.iter().map(|(title, _)| title.clone().into())).collect();
    let table = Block::Table(Table { head, numeric: false, rows });
    (!names.is_empty()).then(|| Block::Details("Every setting".into(), vec![table]))
}
