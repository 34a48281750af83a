//! Cross-entropy against a distribution, at a temperature: what every loss of a classifier is a weighted sum of.
//!
//! ```text
//! term = weight * (mean over the batch of -w * sum over the classes of t * log p - entropy),  p = softmax(logits / T)
//! d term / d logits = weight * w * (p - t) / (n * T)
//! ```
//!
//! `w` is what a row counts, 1 unless said. The entropy of the targets is a constant. Without it the term is a cross-entropy, with it a Kullback-Leibler
//! divergence.

use candle_core::{CpuStorage, CustomOp1, D, DType, Layout, Result as CandleResult, Shape, Tensor, bail};

/// One term of a loss, as the module's documentation defines it.
#[derive(Clone, Debug)]
pub(super) struct Term {
    pub weight: f64,
    temperature: f64,
    /// `t`, `[n, classes]`; each row sums to 1.
    targets: Vec<f64>,
    /// Mean entropy of the rows of `targets`, or 0.
    entropy: f64,
    /// What each row counts; `None`: 1.
    row_weights: Option<Vec<f64>>,
}

impl Term {
    /// Against `targets`, `[n, classes]`, whose rows sum to 1.
    pub fn cross_entropy(weight: f64, targets: Vec<f64>) -> Self {
        Self { weight, temperature: 1.0, targets, entropy: 0.0, row_weights: None }
    }

    /// The same with rows that count more or less than others.
    pub fn with_row_weights(self, row_weights: Option<Vec<f64>>) -> Self {
        Self { row_weights, ..self }
    }

    fn row_weight(&self, row: usize) -> f64 {
        self.row_weights.as_ref().and_then(|weights| weights.get(row)).copied().unwrap_or(1.0)
    }

    /// From the softmax of `logits / temperature`, `[n, classes]`, finite.
    pub fn divergence(weight: f64, temperature: f64, logits: &[f32], classes: usize) -> Self {
        let targets = Vec::with_capacity(logits.len());
        let mut term = Self { weight, temperature, targets, entropy: 0.0, row_weights: None };
        for row in logits.chunks_exact(classes) {
            let log_sum = log_sum_exp_at(row, temperature);
            term.targets.extend(row.iter().map(|&x| (f64::from(x) / temperature - log_sum).exp()));
        }
        term.entropy = term.mean_cross_entropy(logits, classes);
        term
    }

    /// Mean over the rows of `-w * sum of t * log p`.
    fn mean_cross_entropy(&self, logits: &[f32], classes: usize) -> f64 {
        let rows = logits.chunks_exact(classes).zip(self.targets.chunks_exact(classes));
        let n = rows.len() as f64;
        // As t sums to 1, sum of t * log p = sum of t * x / T - log_sum. A logit of minus infinity is no harm where t
        // is 0.
        let of_row = |(i, (row, targets)): (usize, (&[f32], &[f64]))| {
            let scores = row.iter().zip(targets).filter(|&(_, &t)| t > 0.0);
            let score = scores.map(|(&x, &t)| t * f64::from(x)).sum::<f64>() / self.temperature;
            // A row that does not count may rule out its own class.
            let weight = self.row_weight(i);
            if weight == 0.0 { 0.0 } else { weight * (log_sum_exp_at(row, self.temperature) - score) }
        };
        rows.enumerate().map(of_row).sum::<f64>() / n
    }

    /// Adds `scale * d term / d logits` to `grad`; all are `[n, classes]`.
    fn add_gradient(&self, logits: &[f32], classes: usize, scale: f64, grad: &mut [f64]) {
        let n = (logits.len() / classes) as f64;
        let factor = scale * self.weight / (n * self.temperature);
        let rows = logits.chunks_exact(classes).zip(self.targets.chunks_exact(classes));
        for (i, ((row, targets), grad)) in rows.zip(grad.chunks_exact_mut(classes)).enumerate() {
            let log_sum = log_sum_exp_at(row, self.temperature);
            let factor = factor * self.row_weight(i);
            for ((grad, &t), &x) in grad.iter_mut().zip(targets).zip(row) {
                *grad += factor * ((f64::from(x) / self.temperature - log_sum).exp() - t);
            }
        }
    }

    /// The definition in Candle's own operations.
    fn composition(&self, logits: &Tensor) -> CandleResult<Tensor> {
        let (n, classes) = logits.dims2()?;
        let log_p = candle_nn::ops::log_softmax(&(logits / self.temperature)?, D::Minus1)?;
        let weighted = self.targets.iter().enumerate().map(|(i, &t)| (t * self.row_weight(i / classes)) as f32);
        let targets: Vec<f32> = weighted.collect();
        let targets = Tensor::from_vec(targets, (n, classes), logits.device())?.to_dtype(logits.dtype())?;
        ((targets * log_p)?.sum_all()? * (-1.0 / n as f64))?.affine(self.weight, -self.weight * self.entropy)
    }
}

/// The sum of `terms`, of which there is at least one, for logits `[n, classes]` -> scalar.
pub(super) fn weighted_sum(logits: &Tensor, terms: Vec<Term>) -> CandleResult<Tensor> {
    if logits.device().is_cpu() && logits.dtype() == DType::F32 {
        return logits.contiguous()?.apply_op1(WeightedSum { terms });
    }
    composition(logits, &terms)
}

fn composition(logits: &Tensor, terms: &[Term]) -> CandleResult<Tensor> {
    let terms: Vec<Tensor> = terms.iter().map(|term| term.composition(logits)).collect::<CandleResult<_>>()?;
    Tensor::stack(&terms, 0)?.sum_all()
}

/// All terms as one operation under autograd, on the CPU, in `f64` inside.
struct WeightedSum {
    terms: Vec<Term>,
}

impl CustomOp1 for WeightedSum {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> CandleResult<(CpuStorage, Shape)> {
        let (logits, classes) = rows(storage, layout)?;
        let value = |term: &Term| term.weight * (term.mean_cross_entropy(logits, classes) - term.entropy);
        let loss = self.terms.iter().map(value).sum::<f64>() as f32;
        Ok((CpuStorage::F32(vec![loss]), Shape::from(())))
    }

    fn bwd(&self, logits: &Tensor, _loss: &Tensor, grad: &Tensor) -> CandleResult<Option<Tensor>> {
        let scale = f64::from(grad.to_scalar::<f32>()?);
        let (storage, layout) = logits.storage_and_layout();
        let candle_core::Storage::Cpu(storage) = &*storage else { bail!("cross-entropy: the logits left the CPU") };
        let (values, classes) = rows(storage, layout)?;
        let mut sum = vec![0.0; values.len()];
        for term in &self.terms {
            term.add_gradient(values, classes, scale, &mut sum);
        }
        let sum: Vec<f32> = sum.into_iter().map(|x| x as f32).collect();
        Tensor::from_vec(sum, logits.shape(), logits.device()).map(Some)
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
    log_sum_exp_at(row, 1.0)
}

/// `log(sum(exp(row / temperature)))`, without overflow.
fn log_sum_exp_at(row: &[f32], temperature: f64) -> f64 {
    let max = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    max / temperature + row.iter().map(|&x| ((f64::from(x) - max) / temperature).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    const N: usize = 4;
    const CLASSES: usize = 7;

    fn values(seed: f32) -> Vec<f32> {
        (0..N * CLASSES).map(|i| ((i * i) as f32 * seed).sin() * 3.0).collect()
    }

    fn logits() -> Var {
        Var::from_vec(values(0.7), (N, CLASSES), &Device::Cpu).unwrap()
    }

    /// Each kind of term, and all at once.
    fn cases() -> Vec<Vec<Term>> {
        let one_hot = (0..N * CLASSES).map(|i| if i % CLASSES == i / CLASSES { 1.0 } else { 0.0 }).collect();
        let soft = |i: usize| if i % CLASSES < 2 { 0.3 } else { 0.4 / (CLASSES - 2) as f64 };
        let terms = [
            Term::cross_entropy(1.0, one_hot),
            Term::cross_entropy(0.3, (0..N * CLASSES).map(soft).collect()),
            Term::cross_entropy(0.7, (0..N * CLASSES).map(soft).collect())
                .with_row_weights(Some(vec![2.0, 0.0, 0.5, 1.5])),
            Term::divergence(0.9, 1.0, &values(0.4), CLASSES),
            Term::divergence(8.0, 4.0, &values(0.4), CLASSES),
        ];
        terms.iter().map(|term| vec![term.clone()]).chain([terms.to_vec()]).collect()
    }

    fn close(a: &Tensor, b: &Tensor) {
        let (a, b) = (a.flatten_all().unwrap().to_vec1::<f32>().unwrap(), b.flatten_all().unwrap().to_vec1().unwrap());
        assert!(a.iter().zip(&b).all(|(a, b): (&f32, &f32)| (a - b).abs() < 3e-6 * b.abs().max(1.0)), "{a:?} {b:?}");
    }

    #[test]
    fn is_the_composition_with_its_gradient() {
        let logits = logits();
        for terms in cases() {
            // Scaled, so that the gradient that comes in is not 1; and through a transposed view.
            let scaled = |loss: Tensor| (loss * 3.0).unwrap();
            let transposed = logits.t().unwrap().contiguous().unwrap().t().unwrap();
            let ours = scaled(weighted_sum(&transposed, terms.clone()).unwrap());
            let theirs = scaled(composition(&logits, &terms).unwrap());
            close(&ours, &theirs);
            let grad = |loss: &Tensor| loss.backward().unwrap().remove(&logits).unwrap();
            close(&grad(&ours), &grad(&theirs));
        }
    }

    #[test]
    fn gradient_is_the_finite_difference() {
        let logits = logits();
        for terms in cases() {
            let loss = |x: &Tensor| f64::from(weighted_sum(x, terms.clone()).unwrap().to_scalar::<f32>().unwrap());
            let grads = weighted_sum(&logits, terms.clone()).unwrap().backward().unwrap();
            let grad = grads.get(&logits).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let start = values(0.7);
            for (i, &expected) in grad.iter().enumerate() {
                let at = |delta: f32| {
                    let mut values = start.clone();
                    values[i] += delta;
                    loss(&Tensor::from_vec(values, (N, CLASSES), &Device::Cpu).unwrap())
                };
                let got = (at(0.05) - at(-0.05)) / 0.1;
                assert!((got - f64::from(expected)).abs() < 3e-4, "{i}: {got} {expected}");
            }
        }
    }

    #[test]
    fn a_divergence_is_zero_from_itself_and_positive_from_others() {
        for temperature in [0.5, 1.0, 4.0] {
            let value = |logits: &[f32]| {
                let term = Term::divergence(1.0, temperature, &values(0.7), CLASSES);
                let logits = Tensor::new(logits, &Device::Cpu).unwrap().reshape((N, CLASSES)).unwrap();
                weighted_sum(&logits, vec![term]).unwrap().to_scalar::<f32>().unwrap()
            };
            // Moving all logits of a row moves no probability.
            let moved: Vec<f32> = values(0.7).iter().map(|x| x + 100.0).collect();
            assert!(value(&values(0.7)).abs() < 1e-14, "{}", value(&values(0.7)));
            assert!(value(&moved).abs() < 1e-10, "{}", value(&moved));
            // Of logits that are nearly the same: about the last digit of the entropy in f32.
            let near: Vec<f32> = values(0.7).iter().enumerate().map(|(i, x)| x + 1e-3 * (i % 3) as f32).collect();
            let divergence = value(&near);
            assert!(divergence > 1e-9 && divergence < 1e-5, "{divergence}");
            assert!(value(&values(0.4)) > 0.1);
        }
    }

    #[test]
    fn a_class_ruled_out_is_no_harm_where_it_is_not_the_target() {
        let logits = Tensor::new(&[[0f32, f32::NEG_INFINITY, 0.0]], &Device::Cpu).unwrap();
        let loss = |targets: [f64; 3]| {
            let terms = vec![Term::cross_entropy(1.0, targets.to_vec())];
            weighted_sum(&logits, terms).unwrap().to_scalar::<f32>().unwrap()
        };
        assert_eq!(loss([1.0, 0.0, 0.0]), std::f32::consts::LN_2);
        assert_eq!(loss([0.0, 1.0, 0.0]), f32::INFINITY);
    }
}
