//! The state and the steps of a training on a back end.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use candle_core::{Tensor, Var};
use candle_nn::{ModuleT, VarMap};
use mobilenet_cuda::arch::{ModelConfig, Precision};
use mobilenet_cuda::augment::{Augment, Change, Mixing};
use mobilenet_cuda::backend::{Backend, Repeated};
use mobilenet_cuda::loss::{Comparison, Loss, StepResult};
use mobilenet_cuda::optimizer::{AdamW, Average, Optimizer, Rule};
use mobilenet_cuda::{Inference, Named, Network};
use mobilenet_data::{Normalization, Padding, PictureBatch, PictureChange, PictureMix};

use super::inference::prepare;
use super::{DeviceInference, DeviceNetwork, StepSettings, check_names, named};
use crate::checkpoint::State;
use crate::optimizer::lr_factor;
use crate::variables::sorted_vars;
use crate::{Distillation, Error, OptimizerConfig, TrainConfig};

/// Steps after which results must have been asked for.
pub(crate) const STEPS_BEFORE_RESULTS: usize = Loss::ROOM;

/// Images of a batch, their height and width.
type Shape = (usize, (usize, usize));

/// A training on a back end.
pub(super) struct OnBackend<B> {
    backend: Rc<RefCell<B>>,
    config: ModelConfig,
    precision: Precision,
    teacher: Option<(ModelConfig, Named)>,
    normalization: Option<Normalization>,
    /// What classes count in the loss, or nothing.
    class_weights: Vec<f32>,
    /// The networks for all shapes that batches had, over the same variables and the same memory.
    shaped: BTreeMap<Shape, Shaped>,
    /// Made with the first network.
    state: Option<DeviceState>,
    evaluation: Option<Rc<DeviceInference<B>>>,
    /// Results of steps whose batches had another shape than the last one's.
    results: Vec<StepResult>,
    last: Option<Shape>,
}

struct DeviceState {
    optimizer: Optimizer,
    average: Option<Average>,
}

/// What the steps of batches of one shape take.
struct Shaped {
    network: Network,
    augment: Augment,
    loss: Loss,
    teacher: Option<Inference>,
    /// What the device knows of how logits are compared.
    configured: Option<Comparison>,
    /// A step without and with mixed images.
    steps: [Repeated; 2],
}

impl<B: Backend + 'static> OnBackend<B> {
    pub fn new(backend: B, config: &ModelConfig, precision: Precision, teacher: Option<(ModelConfig, Named)>) -> Self {
        Self {
            backend: Rc::new(RefCell::new(backend)),
            config: config.clone(),
            precision,
            teacher,
            normalization: None,
            class_weights: Vec::new(),
            shaped: BTreeMap::new(),
            state: None,
            evaluation: None,
            results: Vec::new(),
            last: None,
        }
    }

    /// Makes what batches of this shape take, if it is not there yet.
    fn make(&mut self, shape: Shape) -> Result<(), Error> {
        if self.shaped.contains_key(&shape) {
            return Ok(());
        }
        let backend = &mut *self.backend.borrow_mut();
        // The largest network's memory has room for all smaller ones.
        let largest = self.shaped.iter().max_by_key(|((n, (h, w)), _)| n * h * w).map(|(_, shaped)| &shaped.network);
        let network = match largest {
            Some(network) => network.reshaped(backend, &self.config, shape, self.precision)?,
            None => Network::new(backend, &self.config, shape, self.precision)?,
        };
        let (n, size) = shape;
        let levels = self.normalization.unwrap_or(Normalization { mean: [0.0; 3], std: [1.0; 3] }).table();
        let augment = Augment::new(backend, n, size, &levels)?;
        let mut loss = Loss::new(backend, n, self.config.num_classes)?;
        if !self.class_weights.is_empty() {
            loss = loss.with_class_weights(backend, &self.class_weights)?;
        }
        let mut teacher = None;
        if let Some((config, weights)) = &self.teacher {
            let network = Inference::new(backend, config, shape, Precision::F32)?;
            prepare(backend, &network, weights)?;
            loss = loss.with_teacher(network.logits());
            teacher = Some(network);
        }
        self.shaped.insert(shape, Shaped { network, augment, loss, teacher, configured: None, steps: names() });
        Ok(())
    }

    /// Takes the results of the last shape's steps.
    fn take(&mut self) -> Result<(), Error> {
        if let Some(shaped) = self.last.take().and_then(|shape| self.shaped.get(&shape)) {
            self.results.extend(shaped.loss.take(&mut *self.backend.borrow_mut())?);
        }
        Ok(())
    }
}

impl<B: Backend + 'static> DeviceNetwork for OnBackend<B> {
    fn load(
        &mut self,
        state: &State<'_>,
        config: &TrainConfig,
        normalization: Normalization,
        class_weights: &[f64],
        shape: Shape,
    ) -> Result<(), Error> {
        // Of a run that ended in the middle.
        self.take()?;
        self.results.clear();
        let mut class_weights: Vec<f32> = class_weights.iter().map(|weight| *weight as f32).collect();
        if !class_weights.is_empty() {
            // Classes without a training image.
            class_weights.resize(self.config.num_classes, 1.);
        }
        if self.class_weights != class_weights {
            self.class_weights = class_weights;
            self.shaped.clear();
        }
        if self.normalization.replace(normalization).is_some_and(|before| before != normalization) {
            let levels = normalization.table();
            for ((n, size), shaped) in &mut self.shaped {
                shaped.augment = Augment::new(&mut *self.backend.borrow_mut(), *n, *size, &levels)?;
            }
        }
        self.make(shape)?;
        let Some(Shaped { network, .. }) = self.shaped.get(&shape) else { return Ok(()) };
        let variables = network.variables();
        let backend = &mut *self.backend.borrow_mut();
        let values = named(state.vars)?;
        check_names(
            &values,
            variables.trained().map(|(name, _)| name).chain(variables.running().map(|(name, _)| name)),
        )?;
        variables.write(backend, |name| values.get(name).map(Vec::as_slice))?;

        let (rule, decay_norm_and_bias) = rule(&config.optimizer);
        let vars: BTreeMap<String, Var> = sorted_vars(state.vars)?.into_iter().collect();
        let factor = |name: &str| vars.get(name).map_or(1., |var| lr_factor(&config.lr_factors, name, var));
        let mut optimizer = Optimizer::with_lr_factors(backend, variables, rule, decay_norm_and_bias, factor)?;
        optimizer.restore(backend, state.optimizer.steps(), &state.optimizer.named_state()?)?;
        let average = match (&state.ema, config.ema) {
            (Some(ema), Some(decay)) => {
                let values = ema.named_state()?;
                let mut average = Average::new(backend, variables, decay)?.with_warm_up();
                average.restore(backend, ema.updates(), |name| values.get(name).map(Vec::as_slice))?;
                Some(average)
            }
            _ => None,
        };
        self.state = Some(DeviceState { optimizer, average });
        // The optimizer is another one.
        self.shaped.values_mut().for_each(|shaped| shaped.steps = names());
        Ok(())
    }

    fn has_teacher(&self) -> bool {
        self.teacher.is_some()
    }

    fn store(&mut self, state: &mut State<'_>) -> Result<(), Error> {
        let (Some(DeviceState { optimizer, average }), Some(shaped)) = (&self.state, self.shaped.values().next())
        else {
            return Ok(());
        };
        let backend = &mut *self.backend.borrow_mut();
        let mut values = shaped.network.variables().read(backend)?;
        for (name, var) in sorted_vars(state.vars)? {
            if let Some(values) = values.remove(&name) {
                var.set(&Tensor::from_vec(values, var.shape(), var.device())?)?;
            }
        }
        let mut of_optimizer = optimizer.state(backend)?.into_iter().collect();
        state.optimizer.restore(optimizer.steps(), &mut of_optimizer)?;
        if let (Some(ema), Some(average)) = (&mut state.ema, average) {
            let mut averages = average.read(backend)?.into_iter().collect();
            ema.restore(average.updates(), "", &mut averages)?;
        }
        Ok(())
    }

    fn step(&mut self, batch: &PictureBatch, settings: &StepSettings<'_>) -> Result<(), Error> {
        let classes = self.config.num_classes;
        if let Some((index, &label)) = batch.labels.iter().enumerate().find(|(_, label)| **label as usize >= classes) {
            return Err(Error::Label { label, index, classes });
        }
        let shape = (batch.labels.len(), batch.size);
        self.make(shape)?;
        if self.last.is_some_and(|last| last != shape) {
            self.take()?;
        }
        let (Some(Shaped { network, augment, loss, teacher, configured, steps }), Some(state)) =
            (self.shaped.get_mut(&shape), &mut self.state)
        else {
            return Ok(());
        };
        let backend = &mut *self.backend.borrow_mut();
        let changes: Vec<Change> = batch.changes.iter().map(change).collect();
        let mixing = batch.mixing.as_ref().map(mixing);
        augment.run(backend, &batch.pixels, &changes, mixing, network.images())?;
        let lambda = batch.mixing.map(|mix| mix.lambda() as f32);
        let mut partners = batch.labels.clone();
        partners.rotate_right(1);
        loss.upload(backend, &batch.labels, lambda.map(|lambda| (partners.as_slice(), lambda)))?;
        if let Some(mask) = network.mask() {
            backend.write_f32(mask, &settings.dropout.mask(network.dropout(), mask.len))?;
        }
        if let Some(teacher) = teacher {
            augment.again(backend, mixing, teacher.images())?;
        }
        let of_teacher = |Distillation { temperature, weight }| (temperature as f32, weight as f32);
        let comparison = Comparison {
            label_smoothing: settings.label_smoothing as f32,
            lambda,
            teacher: settings.distillation.filter(|_| teacher.is_some()).map(of_teacher),
        };
        if *configured != Some(comparison) {
            loss.configure(backend, &comparison)?;
            *configured = Some(comparison);
        }
        let DeviceState { optimizer, average } = state;
        optimizer.prepare(backend, settings.lr)?;
        average.iter_mut().try_for_each(|average| average.prepare(backend))?;
        backend.repeat(&steps[usize::from(mixing.is_some())], &mut |backend| {
            teacher.iter().try_for_each(|teacher| teacher.run(backend))?;
            network.forward(backend)?;
            loss.run(backend, network.logits(), &comparison)?;
            network.backward(backend, loss.glogits())?;
            optimizer.update(backend)?;
            average.iter().try_for_each(|average| average.update(backend))
        })?;
        self.last = Some(shape);
        Ok(())
    }

    fn results(&mut self) -> Result<Vec<StepResult>, Error> {
        self.take()?;
        Ok(std::mem::take(&mut self.results))
    }

    fn evaluation(&mut self, vars: &VarMap) -> Result<Rc<dyn ModuleT>, Error> {
        let evaluation = Rc::new(match &self.evaluation {
            Some(evaluation) => evaluation.with_values_of(vars)?,
            None => DeviceInference::over(Rc::clone(&self.backend), &self.config, vars)?,
        });
        self.evaluation = Some(Rc::clone(&evaluation));
        Ok(evaluation)
    }
}

fn names() -> [Repeated; 2] {
    [Repeated::new(), Repeated::new()]
}

/// The optimizer's rule, and whether it shrinks what is no weight.
fn rule(config: &OptimizerConfig) -> (Rule, bool) {
    let rule = match *config {
        OptimizerConfig::AdamW(c) => Rule::AdamW(AdamW { betas: c.betas, eps: c.eps, weight_decay: c.weight_decay }),
        OptimizerConfig::Sgd(c) => {
            Rule::Sgd { momentum: c.momentum, nesterov: c.nesterov, weight_decay: c.weight_decay }
        }
        OptimizerConfig::Muon(c) => Rule::Muon {
            momentum: c.momentum,
            nesterov: c.nesterov,
            adamw: AdamW { betas: c.betas, eps: c.eps, weight_decay: c.weight_decay },
        },
    };
    (rule, config.decay_norm_and_bias())
}

/// What was drawn for a picture, as the kernel takes it.
fn change(PictureChange { shift, mirror, padding, erase }: &PictureChange) -> Change {
    let erase = erase.map_or([0; 4], |area| [area.top, area.left, area.height, area.width].map(|side| side as i32));
    let shift = (shift.0 as i32, shift.1 as i32);
    Change { shift, mirror: *mirror, reflect: *padding == Padding::Reflect, erase }
}

fn mixing(mix: &PictureMix) -> Mixing {
    match *mix {
        PictureMix::Blend { lambda } => Mixing::Blend(lambda as f32, (1.0 - lambda) as f32),
        PictureMix::Paste { area, .. } => Mixing::Paste([area.top, area.left, area.height, area.width]),
    }
}
