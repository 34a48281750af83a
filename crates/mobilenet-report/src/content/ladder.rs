//! From V2 to V3-Large, one change at a time.

use mobilenet_arch::Arch;

use super::tables::over_seeds;
use crate::document::{Block, Column, Section, Table};
use crate::gather::{Gathered, Model};
use crate::text::{count, list, millions, points, significant, thousands};
use crate::{stats, verdict};

/// The networks from V2 to V3-Large that were compared, if one between the two is among them.
pub fn rungs(gathered: &Gathered) -> Vec<&Model> {
    let rungs: Vec<_> = Arch::LADDER.into_iter().filter_map(|arch| gathered.model(arch)).collect();
    let between = |model: &&Model| !model.network().arch.is_published();
    if rungs.len() > 1 && rungs.iter().any(between) { rungs } else { Vec::new() }
}

/// A row for each rung; nothing if there are none.
pub fn section(gathered: &Gathered) -> Option<Section> {
    let rungs = rungs(gathered);
    if rungs.is_empty() {
        return None;
    }
    let before = std::iter::once(None).chain(rungs.iter().copied().map(Some));
    let steps = rungs.iter().zip(before).map(|(&model, before)| (model, step(before, model)));
    let columns: [Column<'_, (&Model, (String, String))>; 8] = [
        ("Network", &|(model, _)| model.network().label()),
        ("What is added", &|(model, _)| model.network().arch.description().adds.to_owned()),
        ("Parameters (M)", &|(model, _)| millions(model.params)),
        ("Multiply-adds (M)", &|(model, _)| millions(model.macs)),
        ("Latency (ms)", &|(model, _)| model.latency().map_or("–".to_owned(), significant)),
        ("Test accuracy", &|(model, _)| over_seeds(model, |run| run.eval.test_top1)),
        ("Step", &|(_, (step, _))| step.clone()),
        ("Significance", &|(_, (_, significance))| significance.clone()),
    ];
    let table = Table::of(steps, &columns);
    let missing: Vec<_> = Arch::LADDER
        .into_iter()
        .filter(|&arch| gathered.model(arch).is_none())
        .map(|arch| arch.label().to_owned())
        .collect();
    let missing = match missing.len() {
        0 => String::new(),
        1 => format!(" {} was not compared: the row after it adds what it would have added, too.", missing[0]),
        _ => format!(" {} were not compared: the rows after them add what they would have added, too.", list(&missing)),
    };
    let recipe = &gathered.settings.recipe;
    let text = format!(
        "Each row is the network above with one change, put where V3-Large has it (in the stage in the same place), \
         and trained by the same recipe: {} of {} images, {}. \
         h-swish goes into stem, last convolution and the stages from 64 channels on, squeeze-and-excite into the \
         stages of 32, 96, 160 and 320 channels, 5×5 windows into those of 32, 160 and 320. \
         What the last row changes is everything else that tells V3-Large from V2 (channels and number of blocks, \
         head, batch norm's numbers, ReLU), so its step is that of the searched layer settings together. \
         A step is the difference to the row above; it is an effect of that part on top of those before it, not of \
         the part alone, and of this budget, not of training to the end.{missing}",
        count(recipe.epochs, "epoch"),
        thousands(gathered.sizes().train),
        count(gathered.settings.seeds.len() as u64, "seed"),
    );
    Some(Section {
        title: "The ladder from V2 to V3-Large".into(),
        blocks: vec![Block::Text(text.into()), Block::Table(table)],
    })
}

/// The difference to the row above, and whether it is more than noise.
fn step(before: Option<&Model>, model: &Model) -> (String, String) {
    let none = || "–".to_owned();
    let Some(before) = before else { return (none(), none()) };
    let difference = points(model.test_top1() - before.test_top1());
    let weight = match stats::compare(&before.answers(), &model.answers()) {
        Some(d) if d.is_noise() => "within noise".to_owned(),
        Some(d) => format!("significant (p {})", verdict::p_value(d.p_value())),
        None => none(),
    };
    (difference, weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Cell;
    use crate::gather::fixture::{fixture, fixture_of};

    fn rows(section: &Section) -> Vec<Vec<String>> {
        let text = |cell: &Cell| if let Cell::Text(text) = cell { text.plain() } else { String::new() };
        let tables = section.blocks.iter().filter_map(|b| if let Block::Table(table) = b { Some(table) } else { None });
        tables.flat_map(|table| &table.rows).map(|row| row.iter().map(text).collect()).collect()
    }

    #[test]
    fn each_rung_is_held_against_the_one_before() {
        let rows = rows(&section(&fixture_of("ladder")).unwrap());
        assert_eq!(rows.len(), 5);
        assert_eq!((rows[0][6].as_str(), rows[0][7].as_str()), ("–", "–"));
        // The fixture's networks lose a twentieth of 50 points each, and answer alike image by image.
        assert!(rows[1..].iter().all(|row| row[6] == "−2.5 points" && row[7] == "within noise"), "{rows:?}");
        assert_eq!(rows[4][0], "MobileNetV3-Large");
    }

    #[test]
    fn a_missing_rung_is_named_and_the_published_ones_alone_are_none() {
        let section = section(&fixture_of("v2,v2-hs-se,v3-large")).unwrap();
        assert_eq!(rows(&section).len(), 3);
        let Block::Text(text) = &section.blocks[0] else { panic!("no text") };
        let text = text.plain();
        assert!(
            text.contains("MobileNetV2 + h-swish and MobileNetV2 + h-swish + SE + 5×5 were not compared"),
            "{text}"
        );
        assert!(super::section(&fixture()).is_none());
    }
}
