//! A model's loss, accuracies and predictions on a split.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use candle_core::{D, Device, Result as CandleResult, Tensor};
use candle_nn::ModuleT;
use mobilenet_data::{BatchConfig, Normalization, Split, batches};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::loss::{checked_labels, log_sum_exp};
use crate::metrics::Tally;

/// What [`evaluate`] finds. Accuracies are fractions; the lists are in the order of the split.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Evaluation {
    /// Mean cross-entropy, without label smoothing.
    pub loss: f64,
    /// Share of the images whose label has the largest logit.
    pub top1: f64,
    /// Share of the images whose label is among the five largest logits.
    pub top5: f64,
    /// The label of every image.
    pub labels: Vec<u32>,
    /// The class with the largest logit of every image.
    pub predicted: Vec<u32>,
    /// The probability (softmax) of that class.
    pub confidence: Vec<f32>,
    /// `[label][predicted]`: number of images.
    pub confusion: Vec<Vec<u32>>,
    /// Speed, with loading.
    pub images_per_second: f64,
}

/// Runs `model` in evaluation mode over every image of `split`, as it is (no augmentation).
///
/// `progress` is called after every batch with the images done and their total, and may stop the evaluation.
///
/// # Errors
/// [`Error::EmptySplit`], [`Error::Config`] for a batch size of 0, [`Error::Label`] for a label that the model has no
/// output for, [`Error::EvaluationStopped`].
pub fn evaluate<M: ModuleT + ?Sized>(
    model: &M,
    split: &Arc<Split>,
    norm: Normalization,
    batch_size: usize,
    device: &Device,
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Evaluation, Error> {
    if batch_size == 0 {
        return Err(Error::Config { field: "batch_size".into(), found: "0".into(), expected: "at least 1".into() });
    }
    if split.is_empty() {
        return Err(Error::EmptySplit("evaluation"));
    }
    let start = Instant::now();
    let mut tally = Tally::default();
    let (mut predicted, mut confidence) = (Vec::with_capacity(split.len()), Vec::with_capacity(split.len()));
    let mut confusion = Vec::new();
    for batch in batches(Arc::clone(split), norm, &BatchConfig::eval(batch_size), device) {
        let batch = batch?;
        let logits = model.forward_t(&batch.images, false)?;
        let labels = checked_labels(&logits, &batch.labels)?;
        let (_, classes) = logits.dims2()?;
        let logits = logits.flatten_all()?.to_vec1::<f32>()?;
        confusion.resize(classes, vec![0; classes]);

        let mut loss = 0.0;
        for (row, &label) in logits.chunks_exact(classes).zip(&labels) {
            let (log_sum, best) = (log_sum_exp(row), argmax(row));
            loss += log_sum - f64::from(row[label as usize]);
            predicted.push(best as u32);
            confidence.push((f64::from(row[best]) - log_sum).exp() as f32);
            confusion[label as usize][best] += 1;
        }
        tally.add(loss / labels.len() as f64, &logits, classes, &labels);
        if progress(predicted.len(), split.len()).is_break() {
            return Err(Error::EvaluationStopped);
        }
    }
    Ok(Evaluation {
        loss: tally.loss(),
        top1: tally.top1(),
        top5: tally.top5(),
        labels: split.labels().to_vec(),
        predicted,
        confidence,
        confusion,
        images_per_second: split.len() as f64 / start.elapsed().as_secs_f64(),
    })
}

/// A model that answers with the mean of its logits for an image and for its mirror image: test-time augmentation, at
/// twice the cost. Its accuracy is not that of the plain model and belongs beside it, not in its place.
#[derive(Copy, Clone, Debug)]
pub struct MirrorAveraged<'a, M: ?Sized>(pub &'a M);

impl<M: ModuleT + ?Sized> ModuleT for MirrorAveraged<'_, M> {
    /// `[n, c, h, w] -> [n, classes]`
    fn forward_t(&self, xs: &Tensor, train: bool) -> CandleResult<Tensor> {
        let width = xs.dim(D::Minus1)? as u32;
        let backwards = Tensor::from_iter((0..width).rev(), xs.device())?;
        let mirrored = xs.contiguous()?.index_select(&backwards, 3)?;
        (self.0.forward_t(xs, train)? + self.0.forward_t(&mirrored, train)?)? * 0.5
    }
}

/// The first of the largest elements; 0 if all are NaN.
fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (class, &x) in row.iter().enumerate() {
        if x > row[best] || row[best].is_nan() {
            best = class;
        }
    }
    if row[best].is_nan() { 0 } else { best }
}
