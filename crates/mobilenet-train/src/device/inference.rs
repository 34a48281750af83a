//! A network in evaluation mode on a device.

use std::cell::RefCell;
use std::rc::Rc;

use candle_core::{Device, Result as CandleResult, Tensor, bail};
use candle_nn::{ModuleT, VarMap};
use mobilenet_cuda::arch::{ModelConfig, Precision};
use mobilenet_cuda::backend::{Backend, Repeated};
use mobilenet_cuda::plan::Plan;
use mobilenet_cuda::{Inference, Named};

use super::{check_names, named};
use crate::Error;

/// A network of the registry, in evaluation mode: batch norm is folded into the convolutions, all is float32. Images come
/// from the host, and logits go back there.
pub struct DeviceInference<B> {
    backend: Rc<RefCell<B>>,
    config: ModelConfig,
    weights: Named,
    made: RefCell<Option<Made>>,
}

/// The network for batches of up to so many images of one size.
struct Made {
    n: usize,
    size: (usize, usize),
    network: Inference,
    run: Repeated,
}

impl<B: Backend> DeviceInference<B> {
    /// The network of `config` with the values that `vars` have now.
    ///
    /// # Errors
    /// [`Error::VariableType`], and errors from Candle.
    pub fn new(backend: B, config: &ModelConfig, vars: &VarMap) -> Result<Self, Error> {
        Self::over(Rc::new(RefCell::new(backend)), config, vars)
    }

    /// Why the network of `config` cannot be evaluated on a device in batches of so many images of this size, if it cannot.
    /// It is found out without a device.
    #[must_use]
    pub fn problem(config: &ModelConfig, n: usize, size: (usize, usize)) -> Option<String> {
        let made = Inference::new(&mut Plan::default(), config, (n.max(1), size), Precision::F32);
        made.err().map(|error| error.to_string())
    }

    pub(super) fn over(backend: Rc<RefCell<B>>, config: &ModelConfig, vars: &VarMap) -> Result<Self, Error> {
        Ok(Self { backend, config: config.clone(), weights: named(vars)?, made: RefCell::new(None) })
    }

    /// The same network with other values; what was made for it stays.
    pub(super) fn with_values_of(&self, vars: &VarMap) -> Result<Self, Error> {
        let weights = named(vars)?;
        let made = self.made.take();
        if let Some(made) = &made {
            prepare(&mut *self.backend.borrow_mut(), &made.network, &weights)?;
        }
        let (backend, config) = (Rc::clone(&self.backend), self.config.clone());
        Ok(Self { backend, config, weights, made: RefCell::new(made) })
    }

    /// Pictures `[n, h, w, 3]` to logits `[n, classes]`.
    fn logits(&self, images: &[f32], n: usize, size: (usize, usize)) -> Result<Vec<f32>, Error> {
        let backend = &mut *self.backend.borrow_mut();
        let mut place = self.made.borrow_mut();
        let made = match place.take().filter(|made| made.n >= n && made.size == size) {
            Some(made) => made,
            None => {
                let network = Inference::new(backend, &self.config, (n, size), Precision::F32)?;
                // All of the images are read, those that a smaller batch leaves alone too.
                backend.write_f32(network.images(), &vec![0.0; network.images().len])?;
                prepare(backend, &network, &self.weights)?;
                Made { n, size, network, run: Repeated::new() }
            }
        };
        let network = &made.network;
        backend.write_f32(network.images().first(images.len()), images)?;
        backend.repeat(&made.run, &mut |backend| network.run(backend))?;
        let logits = backend.read_f32(network.logits().first(n * self.config.num_classes))?;
        *place = Some(made);
        Ok(logits)
    }
}

/// Gives a network its values and folds them.
pub(super) fn prepare<B: Backend>(backend: &mut B, network: &Inference, weights: &Named) -> Result<(), Error> {
    let variables = network.variables();
    let names = variables.trained().map(|(name, _)| name).chain(variables.running().map(|(name, _)| name));
    check_names(weights, names)?;
    variables.write(backend, |name| weights.get(name).map(Vec::as_slice))?;
    network.prepare(backend)?;
    Ok(())
}

impl<B: Backend> ModuleT for DeviceInference<B> {
    /// `[n, 3, h, w] -> [n, classes]`, on the host.
    fn forward_t(&self, xs: &Tensor, train: bool) -> CandleResult<Tensor> {
        if train {
            bail!("a network for inference cannot be trained")
        }
        let (n, c, h, w) = xs.dims4()?;
        if c != 3 || n == 0 {
            bail!("expected images [n, 3, h, w], found {:?}", xs.dims())
        }
        let images = xs.permute((0, 2, 3, 1))?.flatten_all()?.to_vec1::<f32>()?;
        let logits = self.logits(&images, n, (h, w)).map_err(candle_core::Error::wrap)?;
        Tensor::from_vec(logits, (n, self.config.num_classes), &Device::Cpu)
    }
}
