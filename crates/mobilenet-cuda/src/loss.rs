//! The loss of a classifier: cross-entropy against labels, smoothed and mixed, and the distance to a teacher. The formulas
//! are `mobilenet-train`'s, and at the head of the kernel.

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
    scalars: View,
    rows: View,
    total: View,
    glogits: View,
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
            scalars: backend.values(Kind::F32, 4)?,
            rows: backend.values(Kind::F32, 2 * n)?,
            total: backend.zeros(3)?,
            glogits: backend.values(Kind::F32, n * classes)?,
        })
    }

    /// Where a teacher's logits are written, float32 `[n, classes]`.
    pub fn teacher(&self) -> View {
        self.teacher
    }

    /// The gradient of the logits.
    pub fn glogits(&self) -> View {
        self.glogits
    }

    /// Uploads a batch's labels and, where it is mixed, those of the images' partners.
    ///
    /// # Errors
    /// Another number of labels than images, a label that is no class, and those of the back end.
    pub fn upload<B: Backend>(&self, backend: &mut B, labels: &[u32], partners: Option<&[u32]>) -> Result<()> {
        for (view, labels) in [(self.labels, Some(labels)), (self.partners, partners)] {
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

    /// Computes the gradient of the logits, and adds loss and right answers to the totals.
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
            Arg::In(self.scalars),
            Arg::Out(self.glogits),
            Arg::Out(self.rows),
            Arg::Int(self.n),
            Arg::Int(self.classes),
        ];
        let program = Program::new("classifier");
        plain(backend, program, "loss", self.n.div_ceil(8), 256, &args)?;
        let args = [Arg::In(self.rows), Arg::InOut(self.total), Arg::Int(self.n)];
        plain(backend, program, "tally", 1, 32, &args)
    }

    /// What the steps since the last call come to: the sum of the batches' mean losses, right answers, images.
    ///
    /// # Errors
    /// Those of the back end.
    pub fn take<B: Backend>(&self, backend: &mut B) -> Result<[f32; 3]> {
        let total = backend.read_f32(self.total)?;
        backend.write_f32(self.total, &[0.; 3])?;
        Ok([total[0], total[1], total[2]])
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
