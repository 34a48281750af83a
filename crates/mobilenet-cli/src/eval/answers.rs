//! What a network answers to the images of one part or several.

use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::Result;
use candle_core::{D, Result as CandleResult, Tensor};
use candle_nn::ModuleT;
use mobilenet_data::{Normalization, Split};
use mobilenet_train::evaluate;

use super::BATCH;
use super::classes::Places;
use crate::classifier::{Classifier, Engine};
use crate::model_file::{Evaluated, evaluated};
use crate::progress::Progress;

/// Answers in the order of the images; classes are the network's.
#[derive(Default)]
pub struct Answers {
    pub labels: Vec<usize>,
    pub predicted: Vec<usize>,
    /// The probability of each answer.
    pub confidence: Vec<f32>,
    /// Images by true class (row) and answer (column).
    pub confusion: Vec<Vec<u64>>,
    /// Mean cross-entropy.
    pub loss: f64,
    pub top1: f64,
    pub top5: f64,
    pub images_per_second: f64,
}

impl Answers {
    /// Judges all of `parts`, which hold classes at `places` among the network's.
    pub fn of(classifier: &mut Classifier, parts: &[Arc<Split>], norm: Normalization, places: &Places) -> Result<Self> {
        let total: usize = parts.iter().map(|part| part.len()).sum();
        let mut all = Self { confusion: vec![vec![0; classifier.outputs]; classifier.outputs], ..Self::default() };
        let (mut progress, mut seconds) = (Progress::new(), 0.0);
        for part in parts {
            let before = all.labels.len();
            let mut shown = |done: usize, _: usize| {
                let done = before + done;
                progress.at(done as u64, total as u64, || format!("{done} of {total} images evaluated"));
                ControlFlow::Continue(())
            };
            let found = match &mut classifier.engine {
                Engine::Runtime(session) => {
                    evaluated(session, part, &|label| places.of_class(label), &mut |done, total| {
                        let _ = shown(done, total);
                    })?
                }
                Engine::Candle { model, device } => {
                    let arranged = Arranged { model: model.as_ref(), order: places.order.as_deref() };
                    let found = evaluate(&arranged, part, norm, BATCH, device, &mut shown)?;
                    Evaluated {
                        predicted: found.predicted.iter().map(|&answer| places.of_output(answer)).collect(),
                        confidence: found.confidence,
                        loss: found.loss,
                        top1: found.top1,
                        top5: found.top5,
                        seconds: part.len() as f64 / found.images_per_second,
                    }
                }
            };
            let share = part.len() as f64 / total.max(1) as f64;
            all.loss += share * found.loss;
            all.top1 += share * found.top1;
            all.top5 += share * found.top5;
            seconds += found.seconds;
            all.labels.extend(part.labels().iter().map(|&label| places.of_class(label)));
            all.predicted.extend(found.predicted);
            all.confidence.extend(found.confidence);
        }
        progress.finish();
        for (&label, &answer) in all.labels.iter().zip(&all.predicted) {
            if let Some(cell) = all.confusion.get_mut(label).and_then(|row| row.get_mut(answer)) {
                *cell += 1;
            }
        }
        all.images_per_second = total as f64 / seconds.max(1e-9);
        Ok(all)
    }
}

/// A model whose outputs come in the order of a set's classes, those that the set lacks last.
struct Arranged<'a, M: ?Sized> {
    model: &'a M,
    order: Option<&'a [u32]>,
}

impl<M: ModuleT + ?Sized> ModuleT for Arranged<'_, M> {
    /// `[n, c, h, w] -> [n, outputs]`
    fn forward_t(&self, xs: &Tensor, train: bool) -> CandleResult<Tensor> {
        let logits = self.model.forward_t(xs, train)?;
        let Some(order) = self.order else { return Ok(logits) };
        logits.index_select(&Tensor::new(order, logits.device())?, D::Minus1)
    }
}
