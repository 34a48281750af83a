//! The article's advice on training: a network with and without each piece of it.

use mobilenet_schema::Comparison;

use super::significance::p_value;
use crate::document::{Block, Column, Section, Table, rich};
use crate::gather::{Gathered, Twin};
use crate::plan::Advice;
use crate::text::{count, percent, points, points_interval, significant, thousands};

/// What was trained, and a row for each training; nothing if none was.
pub fn section(gathered: &Gathered) -> Option<Section> {
    let tried = gathered.tried.as_ref()?;
    let plain = &tried.plain.training;
    let rate = |advice: Advice| Some(tried.twin(advice)?.training.config.train.config.optimizer.lr());
    let rates = rate(Advice::HigherRate).map(|high| {
        let usual = plain.config.train.config.optimizer.lr();
        format!(" Of the learning rates, {usual} is the usual and {high} the higher one.")
    });
    let text = rich!(
        "{}, {} with seed {} each: without any of the advice, hence without smoothed labels whatever the recipe does, \
         and with one piece of it at a time; all else is the same. Differences are to the one without, on the same {} \
         test images. McNemar's test knows how they hang on the images drawn, not how far another seed would land.{}",
        plain.network().label(),
        count(plain.record.epochs, "epoch"),
        plain.seed,
        thousands(tried.plain.eval.test_images),
        rates.unwrap_or_default(),
    );
    let none = || "–".to_owned();
    let beside = |twin: &Twin, say: &dyn Fn(&Comparison) -> Option<String>| {
        twin.beside_plain.as_ref().and_then(say).unwrap_or_else(none)
    };
    let columns: [Column<'_, &Twin>; 7] = [
        ("Advice", &|twin| tried.label(twin.advice).plain()),
        ("Test accuracy", &|twin| percent(twin.eval.test_top1)),
        ("Training accuracy", &|twin| percent(twin.eval.train_top1)),
        ("Test loss", &|twin| significant(twin.eval.test_loss)),
        ("To none", &|twin| beside(twin, &|found| Some(points(found.difference)))),
        ("95% interval", &|twin| beside(twin, &|found| found.interval().map(points_interval))),
        ("McNemar's p", &|twin| beside(twin, &|found| Some(p_value(found.mcnemar.first()?.p_value)))),
    ];
    Some(Section {
        title: "The article's advice on training".into(),
        blocks: vec![Block::Text(text), Block::Table(Table::of(tried.twins(), &columns))],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Cell;
    use crate::gather::fixture::{advise, copy_of_fixture, fixture};
    use crate::gather::{Scope, gather};

    #[test]
    fn every_training_has_a_row_beside_the_one_without_advice() {
        let out = copy_of_fixture("advice-section");
        for (advice, right) in [(Advice::Plain, 6), (Advice::Distillation, 9), (Advice::HigherRate, 5)] {
            advise(&out, advice, (12, right), &|_| ());
        }
        let gathered = gather(&out, Scope { every_run: true, ..Scope::default() }).unwrap();
        std::fs::remove_dir_all(&out).unwrap();
        let section = section(&gathered).unwrap();
        let [Block::Text(text), Block::Table(table)] = &section.blocks[..] else { panic!("other blocks") };
        let text = text.plain();
        assert!(text.starts_with("MobileNetV2, 3 epochs with seed 1 each: without any"), "{text}");
        assert!(text.ends_with("Of the learning rates, 0.002 is the usual and 0.004 the higher one."), "{text}");
        let cell = |cell: &Cell| if let Cell::Text(text) = cell { text.plain() } else { String::new() };
        let rows: Vec<Vec<String>> = table.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
        assert_eq!(rows[0], ["none", "50.0%", "36.3%", "1.60", "–", "–", "–"]);
        assert_eq!(rows[1][..5], ["distillation from V3-Large", "75.0%", "36.3%", "1.60", "+25.0 points"]);
        assert_eq!((rows[2][0].as_str(), rows[2][6].as_str()), ("twice the learning rate", "1.00"));
    }

    #[test]
    fn without_such_trainings_there_is_no_section() {
        assert!(section(&fixture()).is_none());
    }
}
