//! Everything that can go wrong, one variant per cause.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use mobilenet_schema::Problem;

use crate::EvalSplit;

/// Errors of training, evaluation and checkpoints.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting has a value that no training can be done with.
    #[error("{field} is {found}, expected {expected}")]
    Config {
        /// The setting's name, as in [`TrainConfig`](crate::TrainConfig).
        field: Cow<'static, str>,
        /// Its value.
        found: String,
        /// What would be accepted.
        expected: Cow<'static, str>,
    },
    /// A split without images.
    #[error("the {0} split holds no images")]
    EmptySplit(&'static str),
    /// The training split is too small for a single batch.
    #[error(
        "{images} training images make no batch of {batch_size}: a lone last image is dropped, and so is every incomplete batch with drop_last"
    )]
    NoBatches {
        /// Images in the training split.
        images: usize,
        /// Images per batch.
        batch_size: usize,
    },
    /// A label that the model has no output for.
    #[error("label {label} of image {index} in the batch is out of range: the model has {classes} classes")]
    Label {
        /// The label found.
        label: u32,
        /// Its place in the batch.
        index: usize,
        /// Number of classes, that is the width of the logits.
        classes: usize,
    },
    /// Logits or labels of the wrong shape.
    #[error("logits {logits:?} and labels {labels:?} do not fit: expected [n, classes] and [n]")]
    Shape {
        /// Shape of the logits.
        logits: Vec<usize>,
        /// Shape of the labels.
        labels: Vec<usize>,
    },
    /// A teacher's logits of another shape than the student's.
    #[error("logits {logits:?} and the teacher's logits {teacher:?} do not fit: expected the same shape")]
    TeacherShape {
        /// Shape of the student's logits.
        logits: Vec<usize>,
        /// Shape of the teacher's logits.
        teacher: Vec<usize>,
    },
    /// A teacher's logit that is NaN or infinite.
    #[error("the teacher's logits of image {index} in the batch hold {found}, expected finite numbers")]
    TeacherLogits {
        /// The image's place in the batch.
        index: usize,
        /// The logit.
        found: f32,
    },
    /// The loss became NaN or infinite. The step did not update the weights, but its forward pass has already moved
    /// batch norm's running statistics, which may not be finite any more.
    #[error(
        "the training loss is {loss} in epoch {epoch}, step {step} of {steps}, at learning rate {lr:e}: stopped. A lower learning rate or a warm-up may help"
    )]
    NonFiniteLoss {
        /// The loss.
        loss: f64,
        /// Epoch, from 1.
        epoch: usize,
        /// Step in the epoch, from 1.
        step: usize,
        /// Steps per epoch.
        steps: usize,
        /// Learning rate of the step.
        lr: f64,
    },
    /// The loss on the held-out images became NaN or infinite.
    #[error(
        "the {split} loss is {loss} after epoch {epoch}, at learning rate {lr:e}: stopped. A lower learning rate or a warm-up may help"
    )]
    NonFiniteEvalLoss {
        /// The loss.
        loss: f64,
        /// The images that the loss was measured on.
        split: EvalSplit,
        /// Epoch, from 1.
        epoch: usize,
        /// Learning rate of the epoch's last step.
        lr: f64,
    },
    /// The observer asked to stop.
    #[error("stopped on request in epoch {epoch}, step {step}")]
    Stopped {
        /// Epoch, from 1.
        epoch: usize,
        /// Steps of the epoch that are done.
        step: usize,
    },
    /// The observer asked to stop during an evaluation.
    #[error("stopped on request during an evaluation")]
    EvaluationStopped,
    /// The folder already holds a run, and resuming was not asked for.
    #[error("{} already holds a training run: resume it, or choose another folder", path.display())]
    RunExists {
        /// The run's checkpoint.
        path: PathBuf,
    },
    /// The checkpoint was made by a run with other settings.
    #[error("{} was made with other settings: {}", path.display(), differences.join("; "))]
    ConfigChanged {
        /// The checkpoint.
        path: PathBuf,
        /// One entry per setting that differs: its name, the checkpoint's value, the present value.
        differences: Vec<String>,
    },
    /// The file is not a checkpoint of this crate.
    #[error("{} is not a training checkpoint: {reason}", path.display())]
    NotACheckpoint {
        /// The file.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// The file is cut short or damaged.
    #[error("{} is cut short or damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the reader ran into.
        reason: String,
    },
    /// The checkpoint is of a newer format than this version of the crate knows.
    #[error("{} has checkpoint format {found}, expected {expected}", path.display())]
    FormatVersion {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The format that this version reads and writes.
        expected: u32,
    },
    /// The file's tensors are not those of the model. Every difference is listed.
    #[error("{} is of another model: missing [{}], extra [{}], misshapen [{}]", path.display(), missing.join(", "), extra.join(", "), misshapen.join(", "))]
    ModelMismatch {
        /// The file.
        path: PathBuf,
        /// Tensors that the model has and the file has not.
        missing: Vec<String>,
        /// Tensors that the file has and the model has not.
        extra: Vec<String>,
        /// Tensors of another shape or type: name, the file's shape, the model's shape.
        misshapen: Vec<String>,
    },
    /// A variable that is not `f32`.
    #[error("variable {name} has type {found}, expected f32")]
    VariableType {
        /// Its name.
        name: String,
        /// Its type.
        found: &'static str,
    },
    /// Reading or writing a file failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: `read`, `write`, ...
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A value could not be turned into JSON.
    #[error("cannot write the settings as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Candle could not do an operation.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// A device failed, or cannot do what it should.
    #[error(transparent)]
    Device(#[from] mobilenet_cuda::Error),
    /// The data pipeline failed.
    #[error(transparent)]
    Data(#[from] mobilenet_data::Error),
}

impl From<Problem> for Error {
    fn from(Problem { field, expected, found }: Problem) -> Self {
        Self::Config { field: field.into(), found, expected: expected.into() }
    }
}

impl Error {
    /// For `map_err`: what was tried, and of which file.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action, path: path.into(), source }
    }
}

/// Fails unless a setting `holds`.
pub(crate) fn check(
    holds: bool,
    field: &'static str,
    found: impl ToString,
    expected: &'static str,
) -> Result<(), Error> {
    if holds {
        Ok(())
    } else {
        Err(Error::Config { field: field.into(), found: found.to_string(), expected: expected.into() })
    }
}
