//! What is timed, and who runs it.

use super::settings::PeersPlan;

/// What is timed.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Forward, cross-entropy, backward, AdamW
    Training,
    /// A batch through the network in evaluation mode
    Evaluation,
    /// The same with a single image
    Latency,
    /// Training with half, with twice as many images; on one thread. Ours alone: how its cost grows.
    HalfBatch,
    DoubleBatch,
    OneThread,
}

impl Task {
    pub const ALL: [Self; 6] =
        [Self::Training, Self::Evaluation, Self::Latency, Self::HalfBatch, Self::DoubleBatch, Self::OneThread];

    /// As the worker spells it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Evaluation => "evaluation",
            Self::Latency => "latency",
            Self::HalfBatch => "training, half the batch",
            Self::DoubleBatch => "training, twice the batch",
            Self::OneThread => "training on one thread",
        }
    }

    /// Whether training steps are timed.
    pub fn trains(self) -> bool {
        !matches!(self, Self::Evaluation | Self::Latency)
    }

    /// Images per pass.
    pub fn batch(self, settings: &PeersPlan) -> u64 {
        match self {
            Self::Latency => 1,
            Self::HalfBatch => settings.batch.div_ceil(2),
            Self::DoubleBatch => settings.batch * 2,
            Self::Training | Self::Evaluation | Self::OneThread => settings.batch,
        }
    }

    /// Threads of the process.
    pub fn threads(self, settings: &PeersPlan) -> u64 {
        if self == Self::OneThread { 1 } else { settings.threads }
    }

    /// Untimed and timed passes.
    pub fn passes(self, settings: &PeersPlan) -> (u64, u64) {
        if self == Self::Latency { (10, 20 * settings.iterations) } else { (2, settings.iterations) }
    }
}

/// Who runs it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Program {
    Ours,
    OursBf16,
    TorchNchw,
    TorchChannelsLast,
    TorchBf16,
    OnnxRuntime,
}

impl Program {
    /// In the order in which they take their turns.
    pub const ALL: [Self; 6] =
        [Self::Ours, Self::OursBf16, Self::TorchNchw, Self::TorchChannelsLast, Self::TorchBf16, Self::OnnxRuntime];

    /// As the worker spells it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::OursBf16 => "ours-bf16",
            Self::TorchNchw => "torch-nchw",
            Self::TorchChannelsLast => "torch-channels-last",
            Self::TorchBf16 => "torch-bf16",
            Self::OnnxRuntime => "onnxruntime",
        }
    }

    /// As people spell it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ours => "this project",
            Self::OursBf16 => "this project, bf16",
            Self::TorchNchw => "PyTorch, NCHW",
            Self::TorchChannelsLast => "PyTorch, channels_last",
            Self::TorchBf16 => "PyTorch, channels_last, bf16",
            Self::OnnxRuntime => "ONNX Runtime",
        }
    }

    /// Whether it is this project.
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Ours | Self::OursBf16)
    }

    /// Whether it has such a task.
    pub fn can(self, task: Task) -> bool {
        match task {
            Task::Training => self != Self::OnnxRuntime,
            Task::Evaluation | Task::Latency => self != Self::OursBf16,
            Task::HalfBatch | Task::DoubleBatch | Task::OneThread => self.is_ours(),
        }
    }
}
