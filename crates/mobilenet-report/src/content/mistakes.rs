//! Where the networks go wrong, and where only one of them does.

use mobilenet_schema::ClassCounts;
use mobilenet_schema::Eval;

use super::pictures;
use crate::agreement::Agreement;
use crate::document::{Block, Cell, Inline, Section, Table};
use crate::gather::{Gathered, Model};
use crate::plots;
use crate::subject::Subject;
use crate::text::{percent, thousands};

/// With more classes the table is folded away.
const OPEN_CLASSES: usize = 20;

/// Most frequent mistakes, disagreements by class, confusion matrices.
pub fn section(gathered: &Gathered) -> Section {
    let mut blocks = Vec::new();
    let words: Vec<_> = gathered.few().iter().filter_map(|m| worst(&m.subject, &m.runs[0].eval)).collect();
    if !words.is_empty() {
        blocks.push(Block::Text(words.join(" ").into()));
    }
    blocks.push(Block::Plots(
        gathered.few().iter().map(|model| plots::confusion(&model.subject, &model.runs[0])).collect(),
    ));
    if let Some((first, second)) = gathered.pair()
        && let Some(agreement) = Agreement::new(&first.evals_beside(second), Some(&second.evals_beside(first)))
    {
        blocks.extend(disagreement(&agreement, first, second));
        blocks.extend(pictures::list(gathered, &agreement));
    }
    Section { title: "Where they go wrong".into(), blocks }
}

/// Who is right where only one is, class by class.
fn disagreement(agreement: &Agreement, first: &Model, second: &Model) -> Vec<Block> {
    let (a, b) = (first.network().short(), second.network().short());
    let counted = [first.evals_beside(second).len(), second.evals_beside(first).len()];
    let several = counted.iter().any(|&seeds| seeds > 1);
    let mut head = ["Class", "Test images"].map(str::to_owned).to_vec();
    head.extend([format!("Only {a} right"), format!("Only {b} right")]);
    head.extend(["Both right", "Both wrong"].map(str::to_owned));
    if several {
        head.push("Depends on the seed".to_owned());
    }
    let row = |counts: &ClassCounts| -> Vec<Cell> {
        let mut numbers =
            vec![counts.images, counts.only_first, counts.only_second, counts.both_right, counts.both_wrong];
        if several {
            numbers.push(counts.unsettled);
        }
        let mut row: Vec<Cell> = vec![counts.class.clone().into()];
        row.extend(numbers.into_iter().map(|n| Cell::from(thousands(n as u64))));
        row
    };
    let counts = agreement.by_class();
    let Some((sum, classes)) = counts.split_last() else {
        return Vec::new();
    };
    let left_out = if counted == [first.runs.len(), second.runs.len()] {
        ""
    } else {
        " Only the seeds that both have are counted."
    };
    let ground = if several {
        format!(
            " Counted are images on which a network is right in all of its seeds or wrong in all of them; {} depend \
             on the seed.",
            percent(sum.unsettled as f64 / sum.images as f64)
        )
    } else {
        String::new()
    };
    let widest = classes.iter().max_by_key(|c| c.only_first.abs_diff(c.only_second));
    let widest = widest.filter(|c| c.only_first != c.only_second).map_or(String::new(), |c| {
        let (name, more, less) = if c.only_first > c.only_second {
            (&a, c.only_first, c.only_second)
        } else {
            (&b, c.only_second, c.only_first)
        };
        format!(
            " The class that tells them apart most is {}: {more} images only {name} classifies correctly, {less} \
            only the other.",
            c.class
        )
    });
    let text = format!(
        "They disagree on {} of {} test images: only {a} is right on {}, only {b} on {}.{widest}{ground}{left_out}",
        thousands((sum.only_first + sum.only_second) as u64),
        thousands(sum.images as u64),
        thousands(sum.only_first as u64),
        thousands(sum.only_second as u64)
    );
    let table = Block::Table(Table {
        head: head.into_iter().map(Inline::from).collect(),
        numeric: true,
        rows: counts.iter().map(row).collect(),
    });
    let table = if classes.len() > OPEN_CLASSES { Block::Details("Class by class".into(), vec![table]) } else { table };
    vec![Block::Text(text.into()), table]
}

/// The most frequent mistake of one network.
pub fn worst(subject: &Subject, eval: &Eval) -> Option<String> {
    let class = |i: usize| eval.classes.get(i).map(String::as_str);
    let answers = |j: usize| eval.confusion.iter().filter_map(|row| row.get(j)).sum::<u64>();
    let favorite = (0..eval.classes.len()).max_by_key(|&j| answers(j))?;
    if 5 * answers(favorite) > 4 * eval.test_images {
        return Some(format!(
            "{} answers {} to {} of {} images: it has hardly learned yet, or its batch norm statistics have not \
             settled.",
            subject.label(),
            class(favorite)?,
            thousands(answers(favorite)),
            thousands(eval.test_images)
        ));
    }
    let cells = eval.confusion.iter().enumerate().flat_map(|(i, row)| (0..row.len()).map(move |j| (i, j)));
    let (truth, answer) = cells.filter(|(i, j)| i != j).max_by_key(|&(i, j)| eval.confusion[i][j])?;
    let images = eval.confusion[truth][answer];
    let total: u64 = eval.confusion[truth].iter().sum();
    (images > 0).then_some(())?;
    Some(format!(
        "{} most often takes {} for {} ({images} of {total}).",
        subject.label(),
        class(truth)?,
        class(answer)?
    ))
}
