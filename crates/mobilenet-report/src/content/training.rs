//! How the networks were trained, and the curves of it.

use crate::document::{Block, Cell, Inline, Section, Table};
use crate::gather::{Gathered, Model};
use crate::plan::flatten;
use crate::plots;
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
    blocks.extend(settings(&gathered.models));
    blocks.push(Block::Plots(plots::curves(gathered)));
    Section { title: "Training".into(), blocks }
}

/// Every setting of each network's first run, as its `config.json` has it.
fn settings(models: &[Model]) -> Option<Block> {
    let columns: Vec<Vec<(String, String)>> = models
        .iter()
        .map(|model| {
            let mut fields = Vec::new();
            model.runs.first().into_iter().for_each(|run| flatten("", &run.settings, &mut fields));
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
        std::iter::once(Inline::from("Setting")).chain(models.iter().map(|m| m.network.short().into())).collect();
    let table = Block::Table(Table { head, numeric: false, rows });
    (!names.is_empty()).then(|| Block::Details("Every setting".into(), vec![table]))
}
