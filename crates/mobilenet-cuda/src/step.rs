//! One training step over one batch that stays: what is counted and timed. Trainings have `mobilenet-train`'s loop.

use mobilenet_arch::{ModelConfig, Precision};

use crate::Network;
use crate::backend::Backend;
use crate::error::Result;
use crate::loss::{Comparison, Loss};
use crate::optimizer::{AdamW, Optimizer, Rule};

/// Cross-entropy of labels as they are.
const PLAIN: Comparison = Comparison { label_smoothing: 0., lambda: None, teacher: None };

/// PyTorch's defaults.
const ADAMW: AdamW = AdamW { betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.01 };

/// Forward, loss, backward and AdamW, over the images that the network holds and the labels of the loss.
#[derive(Debug)]
pub struct Step {
    /// Its variables and images are whatever memory holds until they are written.
    pub network: Network,
    /// Its labels likewise.
    pub loss: Loss,
    optimizer: Optimizer,
}

impl Step {
    /// Steps of batches of `n` images of the preset's size.
    ///
    /// # Errors
    /// Those of [`Network::new`].
    pub fn new<B: Backend>(backend: &mut B, config: &ModelConfig, n: usize, precision: Precision) -> Result<Self> {
        let size = config.preset.image_size();
        let network = Network::new(backend, config, (n, (size, size)), precision)?;
        let loss = Loss::new(backend, n, config.num_classes)?;
        loss.configure(backend, &PLAIN)?;
        let optimizer = Optimizer::new(backend, network.variables(), Rule::AdamW(ADAMW), true)?;
        Ok(Self { network, loss, optimizer })
    }

    /// Begins a step of this learning rate: uploads what [`run`](Self::run) needs.
    ///
    /// # Errors
    /// Those of the back end.
    pub fn prepare<B: Backend>(&mut self, backend: &mut B, lr: f64) -> Result<()> {
        self.optimizer.prepare(backend, lr)
    }

    /// Launches the step, the same launches each time; nothing is uploaded and nothing read.
    ///
    /// # Errors
    /// Those of the back end.
    pub fn run<B: Backend>(&self, backend: &mut B) -> Result<()> {
        self.network.forward(backend)?;
        self.loss.run(backend, self.network.logits(), &PLAIN)?;
        self.network.backward(backend, self.loss.glogits())?;
        self.optimizer.update(backend)
    }
}
