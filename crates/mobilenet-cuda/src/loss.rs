//! The loss of a classifier: cross-entropy against labels, smoothed and mixed, and the distance to a teacher. The formulas
//! are `mobilenet-train`'s, and at the head of the kernel. What a step comes to stays on the device until it is asked for:
//! a step waits for no reader.

use crate::backend::{Arg, Backend, Kind, View};
use crate::error::{Error, Result};
use crate::program::Program;

/// What a batch's logits are compared with, and what the steps so far come to.
#[derive(Clone, Debug)]
pub struct Loss {
    n: usize,
    classes: usize,
    labels: View,
    partners: View,
    teacher: View,
    weights: Option<ClassWeights>,
    scalars: View,
    rows: View,
    results: View,
    glogits: View,
}

/// What each class counts: on the device, where one more number follows them, and here.
#[derive(Clone, Debug)]
struct ClassWeights {
    view: View,
    values: Vec<f32>,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepResult {
    /// Mean loss of the batch.
    pub loss: f32,
    /// Images whose label has the largest logit.
    pub top1: f32,
    /// Images whose label is among the five largest logits.
    pub top5: f32,
}

/// How logits are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Share of the target probability that is spread evenly over all classes.
    pub label_smoothing: f32,
    /// The share of an image's own label where the batch is mixed; the partner's has the rest.
    pub lambda: Option<f32>,
    /// A teacher's temperature, and its share of the loss.
    pub teacher: Option<(f32, f32)>,
}

impl Loss {
    /// Steps whose results the device keeps.
    pub const ROOM: usize = 64;

    /// For batches of `n` images.
    ///
    /// # Errors
    /// Those of the back end.
    pub fn new<B: Backend>(backend: &mut B, n: usize, classes: usize) -> Result<Self> {
        Ok(Self {
            n,
            classes,
            labels: backend.values(Kind::U32, n)?,
            partners: backend.values(Kind::U32, n)?,
            teacher: backend.values(Kind::F32, n * classes)?,
            weights: None,
            scalars: backend.values(Kind::F32, 4)?,
            rows: backend.values(Kind::F32, 3 * n)?,
            results: backend.zeros(1 + 3 * Self::ROOM)?,
            glogits: backend.values(Kind::F32, n * classes)?,
        })
    }

    /// The same loss, which takes a teacher's logits, float32 `[n, classes]`, from where they are.
    #[must_use]
    pub fn with_teacher(self, teacher: View) -> Self {
        Self { teacher, ..self }
    }

    /// The same loss, in which classes count as much as these say, `[classes]`, above 0, and images as their labels.
    ///
    /// # Errors
    /// Another number of weights than classes, and those of the back end.
    pub fn with_class_weights<B: Backend>(self, backend: &mut B, weights: &[f32]) -> Result<Self> {
        if weights.len() != self.classes {
            return Err(Error::Length {
                what: "weights of classes".into(),
                expected: self.classes,
                found: weights.len(),
            });
        }
        let view = backend.values(Kind::F32, self.classes + 1)?;
        backend.write_f32(view.first(self.classes), weights)?;
        Ok(Self { weights: Some(ClassWeights { view, values: weights.to_vec() }), ..self })
    }

    /// Where a teacher's logits are written, float32 `[n, classes]`.
    pub fn teacher(&self) -> View {
        self.teacher
    }

    /// The gradient of the logits.
    pub fn glogits(&self) -> View {
        self.glogits
    }

    /// Uploads a batch's labels and, where it is mixed, those of the images' partners with the share that an image's own has.
    ///
    /// # Errors
    /// Another number of labels than images, a label that is no class, and those of the back end.
    pub fn upload<B: Backend>(&self, backend: &mut B, labels: &[u32], partners: Option<(&[u32], f32)>) -> Result<()> {
        for (view, labels) in [(self.labels, Some(labels)), (self.partners, partners.map(|(labels, _)| labels))] {
            let Some(labels) = labels else { continue };
            if labels.len() != self.n {
                return Err(Error::Length { what: "labels".into(), expected: self.n, found: labels.len() });
            }
            if let Some(label) = labels.iter().find(|label| **label as usize >= self.classes) {
                let what = String::from("a label's class, counted from 1");
                return Err(Error::Length { what, expected: self.classes, found: *label as usize + 1 });
            }
            let bytes: Vec<u8> = labels.iter().flat_map(|label| label.to_le_bytes()).collect();
            backend.write(view, &bytes)?;
        }
        if let Some(ClassWeights { view, values }) = &self.weights {
            let sum = |labels: &[u32]| labels.iter().map(|label| f64::from(values[*label as usize])).sum::<f64>();
            let total = match partners {
                None => sum(labels),
                Some((partners, lambda)) => f64::from(lambda) * sum(labels) + (1. - f64::from(lambda)) * sum(partners),
            };
            backend.write_f32(view.part(self.classes, 1), &[(self.n as f64 / total) as f32])?;
        }
        Ok(())
    }

    /// Uploads how logits are compared from now on.
    ///
    /// # Errors
    /// Those of the back end.
    pub fn configure<B: Backend>(&self, backend: &mut B, comparison: &Comparison) -> Result<()> {
        let (temperature, weight) = comparison.teacher.unwrap_or((1., 0.));
        let lambda = comparison.lambda.unwrap_or(1.);
        backend.write_f32(self.scalars, &[comparison.label_smoothing, lambda, temperature, weight])
    }

    /// Computes the gradient of the logits, and notes loss and right answers for [`take`](Self::take).
    ///
    /// # Errors
    /// Those of the back end.
    pub fn run<B: Backend>(&self, backend: &mut B, logits: View, comparison: &Comparison) -> Result<()> {
        backend.enter("loss");
        let args = [
            Arg::In(logits),
            Arg::In(self.labels),
            Arg::maybe_in(comparison.lambda.map(|_| self.partners)),
            Arg::maybe_in(comparison.teacher.map(|_| self.teacher)),
            Arg::maybe_in(self.weights.as_ref().map(|weights| weights.view)),
            Arg::In(self.scalars),
            Arg::Out(self.glogits),
            Arg::Out(self.rows),
            Arg::Int(self.n),
            Arg::Int(self.classes),
        ];
        let program = Program::new("classifier");
        plain(backend, program, "loss", self.n.div_ceil(8), 256, &args)?;
        let args = [Arg::In(self.rows), Arg::InOut(self.results), Arg::Int(Self::ROOM), Arg::Int(self.n)];
        plain(backend, program, "tally", 1, 32, &args)
    }

    /// What the steps since the last call came to, in their order. Waits for them.
    ///
    /// # Errors
    /// More steps than [`ROOM`](Self::ROOM), and those of the back end.
    pub fn take<B: Backend>(&self, backend: &mut B) -> Result<Vec<StepResult>> {
        let results = backend.read_f32(self.results)?;
        backend.write_f32(self.results.first(1), &[0.])?;
        let steps = results.first().map_or(0, |steps| *steps as usize);
        if steps > Self::ROOM {
            let what = String::from("results of steps that were not taken");
            return Err(Error::Length { what, expected: Self::ROOM, found: steps });
        }
        let result = |values: &[f32]| StepResult { loss: values[0], top1: values[1], top5: values[2] };
        Ok(results.get(1..).unwrap_or_default().chunks_exact(3).take(steps).map(result).collect())
    }
}

/// Launches a kernel of one form on a row of blocks.
pub(crate) fn plain<B: Backend>(
    backend: &mut B,
    program: Program,
    kernel: &'static str,
    blocks: usize,
    threads: usize,
    args: &[Arg],
) -> Result<()> {
    let (grid, block) = ([blocks, 1], [threads, 1]);
    backend.launch(&crate::backend::Launch { program, kernel, width: 0, grid, block, args })
}
