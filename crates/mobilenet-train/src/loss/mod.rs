//! The loss of a classifier: cross-entropy against labels, smoothed and mixed, and the distance to a teacher.
//!
//! ```text
//! loss = (1 - w) * CE(q, softmax(logits)) + w * T^2 * KL(softmax(teacher / T) || softmax(logits / T))   (batch means)
//! q    = (1 - s) * (lambda * onehot(labels) + (1 - lambda) * onehot(partners' labels)) + s / classes
//! ```
//!
//! With weights of classes, `q` is multiplied by them, and the mean of CE is taken over the weights of the labels, as
//! `torch.nn.CrossEntropyLoss(weight, label_smoothing)` takes it.
//!
//! The first term with label smoothing `s` is `torch.nn.CrossEntropyLoss(label_smoothing = s)`, its mix of two labels
//! that of MixUp and CutMix; the second is knowledge distillation (Hinton et al. 2015, arXiv:1503.02531).

mod term;

use candle_core::Tensor;
use mobilenet_data::Mixed;

pub(crate) use self::term::log_sum_exp;
use self::term::{Term, weighted_sum};
use crate::Error;

/// What logits are compared with. All but the labels may be absent: [`Targets::new`].
#[derive(Clone, Copy, Debug)]
pub struct Targets<'a> {
    /// `u32 [n]`.
    pub labels: &'a Tensor,
    /// What else is in the images: [`Batch::mixed`](mobilenet_data::Batch::mixed).
    pub mixed: Option<&'a Mixed>,
    /// Share of the target probability that is spread evenly over all classes, 0 to 1.
    pub label_smoothing: f64,
    /// How much each class counts, at least 0; classes beyond the last count 1. Empty: all alike.
    pub class_weights: &'a [f64],
    /// A trained network to learn from besides the labels.
    pub teacher: Option<Teacher<'a>>,
}

/// A trained network's answer to the same images, and how much it counts.
#[derive(Clone, Copy, Debug)]
pub struct Teacher<'a> {
    /// `[n, classes]`. No gradient flows to them.
    pub logits: &'a Tensor,
    /// `T`, above 0: what both networks' logits are divided by. The higher, the more the unlikely classes count.
    pub temperature: f64,
    /// `w`, 0 to 1: the share of the distance to the teacher; the labels have the rest.
    pub weight: f64,
}

impl<'a> Targets<'a> {
    /// Labels `u32 [n]` and nothing else.
    #[must_use]
    pub fn new(labels: &'a Tensor) -> Self {
        Self { labels, mixed: None, label_smoothing: 0.0, class_weights: &[], teacher: None }
    }
}

/// The loss, averaged over the batch: logits `[n, classes]` -> scalar. It has a gradient for `logits` alone.
///
/// On the CPU it is one operation under autograd, in `f64` inside; on other devices a composition of Candle's own.
///
/// # Errors
/// [`Error::Label`] for a label that is not less than `classes`, [`Error::Shape`] and [`Error::TeacherShape`] for
/// tensors that do not fit, [`Error::TeacherLogits`] for a teacher's logits that are not finite, [`Error::Config`] for
/// shares that are not between 0 and 1, a temperature that is not above 0, and weights below 0 or of which none counts.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use mobilenet_train::{Targets, Teacher, loss};
///
/// let labels = Tensor::new(&[0u32, 2], &Device::Cpu)?;
/// let logits = Tensor::new(&[[2f32, 0.0, 0.0], [0.0, 0.0, 0.0]], &Device::Cpu)?;
/// let teacher = Tensor::new(&[[4f32, 0.0, 0.0], [0.0, 0.0, 0.0]], &Device::Cpu)?;
/// let of = |weight| {
///     let teacher = Some(Teacher { logits: &teacher, temperature: 2.0, weight });
///     loss(&logits, &Targets { teacher, ..Targets::new(&labels) })?.to_scalar::<f32>().map_err(mobilenet_train::Error::from)
/// };
/// assert!((of(0.0)? - 0.66908).abs() < 1e-5); // cross-entropy
/// assert!((of(1.0)? - 0.19777).abs() < 1e-5); // T^2 * KL
/// assert!((of(0.5)? - 0.43343).abs() < 1e-5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn loss(logits: &Tensor, targets: &Targets<'_>) -> Result<Tensor, Error> {
    let terms = terms(logits, targets)?;
    Ok(weighted_sum(logits, terms)?)
}

/// Cross-entropy, averaged over the batch: logits `[n, classes]` and labels `u32 [n]` -> scalar.
///
/// `label_smoothing` is the share of the target probability that is spread evenly over all classes (0: none).
///
/// # Errors
/// [`Error::Label`] for a label that is not less than `classes`, [`Error::Shape`] for tensors that do not fit,
/// [`Error::Config`] for a smoothing that is not between 0 and 1.
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
    loss(logits, &Targets { label_smoothing, ..Targets::new(labels) })
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

/// The terms of the loss that have a weight, after all checks.
fn terms(logits: &Tensor, targets: &Targets<'_>) -> Result<Vec<Term>, Error> {
    let labels = checked_labels(logits, targets.labels)?;
    let partners = match targets.mixed {
        Some(mixed) => Some((checked_labels(logits, &mixed.labels)?, share("lambda", mixed.lambda)?)),
        None => None,
    };
    let (_, classes) = logits.dims2()?;
    let partners = partners.as_ref().map(|(labels, lambda)| (labels.as_slice(), *lambda));
    let smoothing = share("label_smoothing", targets.label_smoothing)?;
    let mut distribution = distribution(classes, &labels, partners, smoothing);
    let rows = match targets.class_weights {
        [] => None,
        weights => Some(weigh(&mut distribution, classes, &labels, partners, weights)?),
    };
    let of_labels = |weight| Term::cross_entropy(weight, distribution).with_row_weights(rows);
    let Some(teacher) = targets.teacher else { return Ok(vec![of_labels(1.0)]) };

    let weight = share("distillation weight", teacher.weight)?;
    let temperature = teacher.temperature;
    if !(temperature > 0.0 && temperature.is_finite()) {
        let (field, found) = ("distillation temperature".into(), temperature.to_string());
        return Err(Error::Config { field, found, expected: "a number above 0".into() });
    }
    let of_teacher =
        Term::divergence(weight * temperature * temperature, temperature, &teacher_logits(logits, teacher)?, classes);
    let terms = [of_labels(1.0 - weight), of_teacher];
    Ok(terms.into_iter().filter(|term| term.weight != 0.0).collect())
}

/// Checks that `found` is from 0 to 1.
fn share(field: &'static str, found: f64) -> Result<f64, Error> {
    match (0.0..=1.0).contains(&found) {
        true => Ok(found),
        false => Err(Error::Config { field: field.into(), found: found.to_string(), expected: "0 to 1".into() }),
    }
}

/// `q` as `[n, classes]`, from labels, perhaps the partners' labels with lambda, and the smoothing.
fn distribution(classes: usize, labels: &[u32], partners: Option<(&[u32], f64)>, smoothing: f64) -> Vec<f64> {
    let mut q = vec![smoothing / classes as f64; labels.len() * classes];
    let mut add = |labels: &[u32], share: f64| {
        for (row, &label) in q.chunks_exact_mut(classes).zip(labels) {
            row[label as usize] += (1.0 - smoothing) * share;
        }
    };
    match partners {
        None => add(labels, 1.0),
        Some((partners, lambda)) => {
            add(labels, lambda);
            add(partners, 1.0 - lambda);
        }
    }
    q
}

/// Multiplies `q` by the classes' weights and brings its rows back to a sum of 1; returns what each row counts then, on
/// average 1 without smoothing.
fn weigh(
    q: &mut [f64],
    classes: usize,
    labels: &[u32],
    partners: Option<(&[u32], f64)>,
    weights: &[f64],
) -> Result<Vec<f64>, Error> {
    let wrong = |found: String| {
        let expected = "numbers of at least 0, one of the batch's above 0".into();
        Err(Error::Config { field: "class_weights".into(), found, expected })
    };
    if let Some(bad) = weights.iter().find(|weight| !(**weight >= 0.0 && weight.is_finite())) {
        return wrong(bad.to_string());
    }
    let weight = |class: usize| weights.get(class).copied().unwrap_or(1.0);
    let sum = |labels: &[u32]| labels.iter().map(|&label| weight(label as usize)).sum::<f64>();
    let total = match partners {
        None => sum(labels),
        Some((partners, lambda)) => lambda * sum(labels) + (1.0 - lambda) * sum(partners),
    };
    if total <= 0.0 {
        return wrong("0 for all labels of a batch".into());
    }
    let mean = total / labels.len() as f64;
    let of_row = |row: &mut [f64]| {
        row.iter_mut().enumerate().for_each(|(class, share)| *share *= weight(class));
        let mass: f64 = row.iter().sum();
        if mass > 0.0 {
            row.iter_mut().for_each(|share| *share /= mass);
        }
        mass / mean
    };
    Ok(q.chunks_exact_mut(classes).map(of_row).collect())
}

/// The teacher's logits as numbers, row after row.
fn teacher_logits(logits: &Tensor, teacher: Teacher<'_>) -> Result<Vec<f32>, Error> {
    if teacher.logits.dims() != logits.dims() {
        return Err(Error::TeacherShape { logits: logits.dims().to_vec(), teacher: teacher.logits.dims().to_vec() });
    }
    let values = teacher.logits.to_dtype(candle_core::DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    let (n, _) = logits.dims2()?;
    match values.iter().position(|x| !x.is_finite()) {
        Some(at) => Err(Error::TeacherLogits { index: at * n / values.len(), found: values[at] }),
        None => Ok(values),
    }
}
