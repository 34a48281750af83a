//! Training and evaluation by the kernels of `mobilenet-cuda` instead of a model's layers: a network of the registry, on
//! whatever is a [`Backend`].
//!
//! The variables stay in the host's `VarMap`, from which a training begins and to which it comes back whenever something is
//! saved or judged. In between they live on the device with the optimizer's state and the moving average; a step sends a
//! batch's bytes, labels and what was drawn for it, and waits for nothing.

#[cfg(all(test, any(feature = "emulate", feature = "cuda")))]
mod emulated_tests;
mod inference;
mod network;

use std::cell::{RefCell, RefMut};
use std::rc::Rc;

use candle_nn::{ModuleT, VarMap};
use mobilenet_cuda::arch::{ModelConfig, Precision};
use mobilenet_cuda::backend::Backend;
use mobilenet_cuda::loss::StepResult;
use mobilenet_cuda::plan::Plan;
use mobilenet_cuda::{Inference, Named, Network};
use mobilenet_data::{Normalization, PictureBatch};
use mobilenet_layers::DropoutRng;

pub use inference::DeviceInference;
use network::OnBackend;
pub(crate) use network::STEPS_BEFORE_RESULTS;

use crate::checkpoint::State;
use crate::variables::{host_values, sorted_vars};
use crate::{Distillation, Error, TrainConfig};

/// A network's training on a device, for [`Trainer::on_device`](crate::Trainer::on_device).
pub struct DeviceTraining(RefCell<Box<dyn DeviceNetwork>>);

/// What a step is computed with, beside its batch.
pub(crate) struct StepSettings<'a> {
    pub lr: f64,
    pub label_smoothing: f64,
    pub distillation: Option<Distillation>,
    /// Seeded for this step.
    pub dropout: &'a DropoutRng,
}

/// A network that learns on a device, whatever runs its kernels.
pub(crate) trait DeviceNetwork {
    /// Takes over variables, optimizer's state and average, for batches of so many images of this size. `class_weights` are
    /// what classes count in the loss, or nothing.
    fn load(
        &mut self,
        state: &State<'_>,
        config: &TrainConfig,
        normalization: Normalization,
        class_weights: &[f64],
        shape: (usize, (usize, usize)),
    ) -> Result<(), Error>;

    /// Whether there is a network to learn from.
    fn has_teacher(&self) -> bool;

    /// Brings them back.
    fn store(&mut self, state: &mut State<'_>) -> Result<(), Error>;

    /// Computes a step. Its result stays on the device, as those of at most [`STEPS_BEFORE_RESULTS`] steps.
    fn step(&mut self, batch: &PictureBatch, settings: &StepSettings<'_>) -> Result<(), Error>;

    /// Waits for all steps so far, and returns what those since the last call came to.
    fn results(&mut self) -> Result<Vec<StepResult>, Error>;

    /// The network with these variables, in evaluation mode.
    fn evaluation(&mut self, vars: &VarMap) -> Result<Rc<dyn ModuleT>, Error>;
}

impl DeviceTraining {
    /// Of the network of `config`; `precision` is that of expanded tensors and products.
    pub fn new<B: Backend + 'static>(backend: B, config: &ModelConfig, precision: Precision) -> Self {
        Self(RefCell::new(Box::new(OnBackend::new(backend, config, precision, None))))
    }

    /// The same, taught by the network of `teacher` whose variables are `vars`, as
    /// [`TrainConfig::distillation`](crate::TrainConfig::distillation) says.
    ///
    /// # Errors
    /// [`Error::VariableType`], and errors from Candle.
    pub fn taught<B: Backend + 'static>(
        backend: B,
        config: &ModelConfig,
        precision: Precision,
        (teacher, vars): (&ModelConfig, &VarMap),
    ) -> Result<Self, Error> {
        let teacher = Some((teacher.clone(), named(vars)?));
        Ok(Self(RefCell::new(Box::new(OnBackend::new(backend, config, precision, teacher)))))
    }

    /// Why a training cannot be done on a device, if it cannot: settings or layers that there are no kernels for. It is found
    /// out without a device.
    #[must_use]
    pub fn problem(
        config: &ModelConfig,
        precision: Precision,
        train: &TrainConfig,
        teacher: Option<&ModelConfig>,
        size: (usize, usize),
    ) -> Option<String> {
        if let Some(problem) = setting(train) {
            return Some(problem.into());
        }
        let shape = (train.batch_size.max(1), size);
        let inference =
            |config: &ModelConfig| Inference::new(&mut Plan::default(), config, shape, Precision::F32).map(drop);
        let network = Network::new(&mut Plan::default(), config, shape, precision).map(drop);
        let all = network.and_then(|()| inference(config)).and_then(|()| teacher.map_or(Ok(()), inference));
        all.err().map(|error| error.to_string())
    }

    pub(crate) fn steps(&self) -> Result<RefMut<'_, Box<dyn DeviceNetwork>>, Error> {
        self.0.try_borrow_mut().map_err(|_| {
            Error::Device(mobilenet_cuda::Error::Device("the device is in the middle of a training's step".into()))
        })
    }
}

/// The setting that kernels know nothing of, if there is one.
pub(crate) fn setting(train: &TrainConfig) -> Option<&'static str> {
    (train.accumulate > 1).then_some("gradients of several batches for one update")
}

/// The values of variables, by name: what a back end's variables are written from.
///
/// # Errors
/// [`Error::VariableType`], and errors from Candle.
pub fn named(vars: &VarMap) -> Result<Named, Error> {
    let values = |(name, var): (String, candle_core::Var)| Ok((name, host_values(&var)?.into_owned()));
    sorted_vars(vars)?.into_iter().map(values).collect()
}

/// Fails unless these are a network's variables, no more and no fewer.
fn check_names<'a>(found: &Named, expected: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    let mut count = 0;
    for name in expected {
        count += 1;
        if !found.contains_key(name) {
            return Err(Error::Device(mobilenet_cuda::Error::Variable(name.into())));
        }
    }
    match found.len() == count {
        true => Ok(()),
        false => Err(Error::Device(mobilenet_cuda::Error::Length {
            what: "variables of the network".into(),
            expected: count,
            found: found.len(),
        })),
    }
}
