//! The grid of example images.

use crate::compare::artefacts::Eval;
use crate::compare::document::{Answer, Block, GalleryRow, Section, Shown};
use crate::compare::gather::Gathered;
use crate::compare::samples;

/// Example images with what each network said; nothing if there are no pictures.
pub fn section(gathered: &Gathered) -> Option<Section> {
    if gathered.pictures.is_empty() {
        return None;
    }
    let evals: Vec<Eval> = gathered.models.iter().map(|m| m.runs[0].eval.clone()).collect();
    let (first, second) = (gathered.models.first()?, gathered.models.get(1));
    let rows = samples::choose(&evals)
        .into_iter()
        .filter_map(|group| {
            let title = match (second, group.first_right, group.second_right) {
                (None, true, _) => "Right".to_owned(),
                (None, false, _) => "Wrong".to_owned(),
                (Some(second), true, true) => format!("{} and {} right", first.arch.short(), second.arch.short()),
                (Some(second), false, false) => format!("{} and {} wrong", first.arch.short(), second.arch.short()),
                (Some(_), true, false) => format!("Only {} right", first.arch.short()),
                (Some(second), false, true) => format!("Only {} right", second.arch.short()),
            };
            let pictures: Vec<_> = group.indices.iter().filter_map(|&index| shown(gathered, &evals, index)).collect();
            (!pictures.is_empty()).then_some(GalleryRow { title, pictures })
        })
        .collect();
    Some(Section {
        title: "What each one saw".to_owned(),
        blocks: vec![
            Block::Text("Test images with their true class and each network's answer with its confidence. They are picked by rule, the first of each kind with different classes, not by hand.".to_owned()),
            Block::Gallery(rows),
        ],
    })
}

fn shown(gathered: &Gathered, evals: &[Eval], index: usize) -> Option<Shown> {
    let picture = gathered.pictures.iter().find(|picture| picture.index == index)?;
    let class = |eval: &Eval, i: usize| eval.classes.get(i).cloned().unwrap_or_else(|| i.to_string());
    let answers = gathered
        .models
        .iter()
        .zip(evals)
        .filter_map(|(model, eval)| {
            let predicted = *eval.predicted.get(index)?;
            Some(Answer {
                arch: model.arch,
                class: class(eval, predicted),
                confidence: *eval.confidence.get(index)?,
                right: predicted == *eval.labels.get(index)?,
            })
        })
        .collect();
    let truth = *evals.first()?.labels.get(index)?;
    Some(Shown { index, png_base64: picture.png_base64.clone(), truth: class(&evals[0], truth), answers })
}
