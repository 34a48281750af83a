//! Cross-entropy with label smoothing, as `torch.nn.CrossEntropyLoss(label_smoothing = s)` defines it:
//!
//! ```text
//! loss = mean over the batch of (1 - s) * -log p[label] + s * mean over the classes of -log p,    p = softmax(logits)
//! d loss / d logits = (p - target) / n,    target = s / classes + (1 - s) at the label
//! ```
//!
//! On the CPU it is one operation under autograd, in `f64` inside; on other devices a composition of Candle's own.

use candle_core::{CpuStorage, CustomOp1, D, DType, Layout, Result as CandleResult, Shape, Tensor, bail};

use crate::Error;

/// Cross-entropy, averaged over the batch: logits `[n, classes]` and labels `u32 [n]` -> scalar.
///
/// `label_smoothing` is the share of the target probability that is spread evenly over all classes (0: none).
///
/// # Errors
/// [`Error::Label`] for a label that is not less than `classes`, [`Error::Shape`] for tensors that do not fit.
///
/// ```
/// use candle_core::{Device, Tensor};
///
/// let logits = Tensor::new(&[[2f32, 0.0, 0.0], [0.0, 0.0, 0.0]], &Device::Cpu)?;
/// let labels = Tensor::new(&[0u32, 2], &Device::Cpu)?;
/// let loss = mobilenet_train::cross_entropy(&logits, &labels, 0.0)?.to_scalar::<f32>()?;
/// assert!((loss - 0.66908).abs() < 1e-5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn cross_entropy(logits: &Tensor, labels: &Tensor, label_smoothing: f64) -> Result<Tensor, Error> {
    let labels_host = checked_labels(logits, labels)?;
    if logits.device().is_cpu() && logits.dtype() == DType::F32 {
        let op = CrossEntropy { labels: labels_host, smoothing: label_smoothing };
        return Ok(logits.contiguous()?.apply_op1(op)?);
    }
    Ok(composition(logits, labels, label_smoothing)?)
}

/// The labels as numbers, each less than the number of classes.
pub(crate) fn checked_labels(logits: &Tensor, labels: &Tensor) -> Result<Vec<u32>, Error> {
    let classes = match (logits.dims(), labels.dims()) {
        (&[n, classes], &[m]) if n == m && n > 0 => classes,
        (l, m) => return Err(Error::Shape { logits: l.to_vec(), labels: m.to_vec() }),
    };
    let labels = labels.to_vec1::<u32>()?;
    match labels.iter().enumerate().find(|&(_, &label)| label as usize >= classes) {
        Some((index, &label)) => Err(Error::Label { label, index, classes }),
        None => Ok(labels),
    }
}

fn composition(logits: &Tensor, labels: &Tensor, smoothing: f64) -> CandleResult<Tensor> {
    let log_p = candle_nn::ops::log_softmax(logits, D::Minus1)?;
    let nll = log_p.gather(&labels.unsqueeze(1)?, 1)?.mean_all()?.neg()?;
    if smoothing == 0.0 {
        return Ok(nll);
    }
    (nll * (1.0 - smoothing))? + (log_p.mean_all()?.neg()? * smoothing)?
}

struct CrossEntropy {
    labels: Vec<u32>,
    smoothing: f64,
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        let (logits, classes) = rows(storage, layout)?;
        let mut sum = 0.0;
        for (row, &label) in logits.chunks_exact(classes).zip(&self.labels) {
            let log_sum = log_sum_exp(row);
            let nll = log_sum - f64::from(row[label as usize]);
            let mean = log_sum - row.iter().map(|&x| f64::from(x)).sum::<f64>() / classes as f64;
            sum += (1.0 - self.smoothing) * nll + self.smoothing * mean;
        }
        let loss = (sum / self.labels.len() as f64) as f32;
        Ok((CpuStorage::F32(vec![loss]), Shape::from(())))
    }

    fn bwd(&self, logits: &Tensor, _loss: &Tensor, grad: &Tensor) -> CandleResult<Option<Tensor>> {
        let scale = f64::from(grad.to_scalar::<f32>()?) / self.labels.len() as f64;
        let (storage, layout) = logits.storage_and_layout();
        let candle_core::Storage::Cpu(storage) = &*storage else { bail!("cross-entropy: the logits left the CPU") };
        let (values, classes) = rows(storage, layout)?;
        let spread = self.smoothing / classes as f64;
        let mut out = Vec::with_capacity(values.len());
        for (row, &label) in values.chunks_exact(classes).zip(&self.labels) {
            let log_sum = log_sum_exp(row);
            for (class, &x) in row.iter().enumerate() {
                let hit = if class == label as usize { 1.0 - self.smoothing } else { 0.0 };
                out.push((scale * ((f64::from(x) - log_sum).exp() - spread - hit)) as f32);
            }
        }
        Tensor::from_vec(out, logits.shape(), logits.device()).map(Some)
    }
}

/// A contiguous `[n, classes]` as one slice, and the number of classes.
fn rows<'a>(storage: &'a CpuStorage, layout: &Layout) -> CandleResult<(&'a [f32], usize)> {
    let (_, classes) = layout.shape().dims2()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok((&storage.as_slice::<f32>()?[start..end], classes)),
        None => bail!("cross-entropy: the logits must be contiguous"),
    }
}

/// `log(sum(exp(row)))`, without overflow.
pub(crate) fn log_sum_exp(row: &[f32]) -> f64 {
    let max = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    max + row.iter().map(|&x| (f64::from(x) - max).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    fn case() -> (Var, Tensor) {
        let values: Vec<f32> = (0..28).map(|i| ((i * i) as f32 * 0.7).sin() * 3.0).collect();
        let logits = Var::from_vec(values, (4, 7), &Device::Cpu).unwrap();
        (logits, Tensor::new(&[6u32, 0, 3, 3], &Device::Cpu).unwrap())
    }

    fn close(a: &Tensor, b: &Tensor) {
        let (a, b) = (a.flatten_all().unwrap().to_vec1::<f32>().unwrap(), b.flatten_all().unwrap().to_vec1().unwrap());
        assert!(a.iter().zip(&b).all(|(a, b): (&f32, &f32)| (a - b).abs() < 1e-6), "{a:?} {b:?}");
    }

    #[test]
    fn is_the_composition_with_its_gradient() {
        let (logits, labels) = case();
        for smoothing in [0.0, 0.1, 0.9] {
            // Scaled, so that the gradient that comes in is not 1; and through a transposed view.
            let scaled = |loss: Tensor| (loss * 3.0).unwrap();
            let transposed = logits.t().unwrap().contiguous().unwrap().t().unwrap();
            let ours = scaled(cross_entropy(&transposed, &labels, smoothing).unwrap());
            let theirs = scaled(composition(&logits, &labels, smoothing).unwrap());
            close(&ours, &theirs);
            let grad = |loss: &Tensor| loss.backward().unwrap().remove(&logits).unwrap();
            close(&grad(&ours), &grad(&theirs));
        }
    }

    #[test]
    fn gradient_is_the_finite_difference() {
        let (logits, labels) = case();
        let loss = |x: &Tensor| f64::from(cross_entropy(x, &labels, 0.1).unwrap().to_scalar::<f32>().unwrap());
        let grads = cross_entropy(&logits, &labels, 0.1).unwrap().backward().unwrap();
        let grad = grads.get(&logits).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let start = logits.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (i, &expected) in grad.iter().enumerate() {
            let at = |delta: f32| {
                let mut values = start.clone();
                values[i] += delta;
                loss(&Tensor::from_vec(values, (4, 7), &Device::Cpu).unwrap())
            };
            let got = (at(0.05) - at(-0.05)) / 0.1;
            assert!((got - f64::from(expected)).abs() < 2e-4, "{i}: {got} {expected}");
        }
    }
}
