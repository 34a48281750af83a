//! The grid of example images, and in their absence a list of those the networks disagree on.

use crate::agreement::{Agreement, Kind, answer};
use crate::document::{Answer, Block, Cell, GalleryRow, Inline, Section, Shown, Table, rich};
use crate::gather::{Gathered, Model};
use crate::samples;
use crate::text::{count, whole_percent};

/// Images of each kind in the list.
const LISTED: usize = 20;

/// Example images with what each network said; nothing if there are no pictures.
pub fn section(gathered: &Gathered) -> Option<Section> {
    if gathered.pictures.is_empty() {
        return None;
    }
    let (first, second) = pair(gathered);
    let evals = second.map(|second| second.evals_beside(first));
    let agreement =
        Agreement::new(&second.map_or(first.evals(), |second| first.evals_beside(second)), evals.as_deref())?;
    let has_picture = |image| gathered.pictures.iter().any(|picture| picture.index == image);
    let rows = samples::choose(&agreement, has_picture)
        .into_iter()
        .filter_map(|group| {
            let pictures: Vec<_> =
                group.indices.iter().filter_map(|&index| shown(gathered, &agreement, index)).collect();
            (!pictures.is_empty()).then(|| GalleryRow { title: title(group.kind, first, second).into(), pictures })
        })
        .collect();
    let over_seeds = if gathered.models.iter().any(|model| model.runs.len() > 1) {
        " Right and wrong mean in every seed; where too few images are as clear as that, those follow on which the \
         seeds lean farthest to one side. The answer shown is that of most seeds."
    } else {
        ""
    };
    Some(Section {
        title: "What each one saw".into(),
        blocks: vec![
            Block::Text(format!(
                "Test images with their true class and each network's answer with its confidence. They are picked by \
                 rule, the first of each kind with different classes, not by hand.{over_seeds}"
            ).into()),
            Block::Gallery(rows),
        ],
    })
}

/// Where the pictures are left out: which images the two networks disagree on, folded away.
pub fn list(gathered: &Gathered, agreement: &Agreement) -> Option<Block> {
    let (first, second) = gathered.pair()?;
    if !gathered.pictures.is_empty() {
        return None;
    }
    let class = |i: usize| agreement.classes.get(i).cloned().unwrap_or_else(|| i.to_string());
    let mut blocks = Vec::new();
    for kind in [Kind::OnlyFirst, Kind::OnlySecond] {
        let images = agreement.images(kind);
        if images.is_empty() {
            continue;
        }
        let says = |model: &Model, image| {
            let (predicted, confidence, _) = answer(&model.evals(), image)?;
            Some(format!("{} ({})", class(predicted), whole_percent(confidence)))
        };
        let rows: Vec<Vec<Cell>> = images
            .iter()
            .take(LISTED)
            .filter_map(|&image| {
                let truth = class(*agreement.labels.get(image)?);
                Some([image.to_string(), truth, says(first, image)?, says(second, image)?].map(Cell::from).into())
            })
            .collect();
        let part = if rows.len() < images.len() { format!("the first {} of ", rows.len()) } else { String::new() };
        blocks.push(Block::Text(rich!(
            "**{}**: {}{}.",
            title(kind, first, Some(second)),
            part,
            count(images.len() as u64, "image")
        )));
        let head = ["Test image".to_owned(), "Class".to_owned(), says_head(first), says_head(second)];
        blocks.push(Block::Table(Table { head: head.map(Inline::from).into(), numeric: false, rows }));
    }
    (!blocks.is_empty()).then(|| Block::Details("Test images on which they disagree, by their place".into(), blocks))
}

fn says_head(model: &Model) -> String {
    format!("{} says", model.network().short())
}

/// The networks of the verdict, or the only one.
fn pair(gathered: &Gathered) -> (&Model, Option<&Model>) {
    match gathered.pair() {
        Some((first, second)) => (first, Some(second)),
        None => (&gathered.models[0], None),
    }
}

fn title(kind: Kind, first: &Model, second: Option<&Model>) -> String {
    let (a, b) = (first.network().short(), second.map(|model| model.network().short()));
    match (kind, b) {
        (Kind::BothRight, Some(b)) => format!("{a} and {b} right"),
        (Kind::BothWrong, Some(b)) => format!("{a} and {b} wrong"),
        (Kind::OnlySecond, Some(b)) => format!("Only {b} right"),
        (Kind::OnlyFirst, _) => format!("Only {a} right"),
        (Kind::BothRight, None) => "Right".to_owned(),
        (Kind::BothWrong | Kind::OnlySecond, None) => "Wrong".to_owned(),
        (Kind::Unsettled, _) => "Depends on the seed".to_owned(),
    }
}

fn shown(gathered: &Gathered, agreement: &Agreement, index: usize) -> Option<Shown> {
    let picture = gathered.pictures.iter().find(|picture| picture.index == index)?;
    let class = |i: usize| agreement.classes.get(i).cloned().unwrap_or_else(|| i.to_string());
    let answers = gathered
        .few()
        .iter()
        .filter_map(|model| {
            let (predicted, confidence, tally) = answer(&model.evals(), index)?;
            Some(Answer { network: Some(model.network()), class: class(predicted).into(), confidence, tally })
        })
        .collect();
    let truth = class(*agreement.labels.get(index)?).into();
    Some(Shown { index, png_base64: picture.png_base64.clone(), file: None, truth, answers })
}
