//! A network's training step: forward and backward through all stages, over memory that is asked for once.

use mobilenet_arch::graph::operations;
use mobilenet_arch::plan::{LayerPlan, Plan};
use mobilenet_arch::{ModelConfig, Precision};

use crate::arena::Arena;
use crate::backend::{Arg, Backend, Kind, View};
use crate::classifier::Classifier;
use crate::error::{Error, Result};
use crate::grid::steps;
use crate::norm::Gradient;
use crate::program::Program;
use crate::rows::{Rows, Wants};
use crate::run::{Needs, Run, Scratch};
use crate::stages::{Builder, Stage};
use crate::variables::Variables;

/// A network for batches of one size, its variables, and all tensors of a step.
#[derive(Debug)]
pub struct Network {
    n: usize,
    kind: Kind,
    tf32: bool,
    images: Rows,
    stages: Vec<Stage>,
    classifier: Classifier,
    variables: Variables,
    scratch: Scratch,
    /// Gradients of the tensors between stages, in turns.
    gradients: [View; 2],
    gpooled: View,
    dropout: f64,
    /// Where its tensors are, its variables' not among them.
    places: Vec<(usize, usize)>,
}

/// The kind of expanded tensors and of products' operands.
pub(crate) fn kind_of(precision: Precision) -> Kind {
    match precision {
        Precision::F32 | Precision::Tf32 => Kind::F32,
        Precision::Bf16 => Kind::Bf16,
    }
}

/// Whether float32 operands of products may be rounded to TF32: where others are bf16, too.
pub(crate) fn rounds_to_tf32(precision: Precision) -> bool {
    precision != Precision::F32
}

impl Network {
    /// The network of `config` for batches of `n` images of `(height, width)` pixels, its variables 0.
    ///
    /// # Errors
    /// A configuration that does not hold, layers that there is no kernel for, and those of the back end.
    pub fn new<B: Backend>(
        backend: &mut B,
        config: &ModelConfig,
        shape: (usize, (usize, usize)),
        precision: Precision,
    ) -> Result<Self> {
        let operations = operations(&Plan::new(config)?, shape.1)?;
        let variables = Variables::new(backend, &operations, kind_of(precision), true)?;
        Self::over(backend, config, shape, precision, (variables, Vec::new()))
    }

    /// The same network, over the same variables, for batches of another shape. Its tensors are where this one's are, as far
    /// as they fit: what either has of a step is lost with the other's next one.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub fn reshaped<B: Backend>(
        &self,
        backend: &mut B,
        config: &ModelConfig,
        shape: (usize, (usize, usize)),
        precision: Precision,
    ) -> Result<Self> {
        Self::over(backend, config, shape, precision, (self.variables.clone(), self.places.clone()))
    }

    fn over<B: Backend>(
        backend: &mut B,
        config: &ModelConfig,
        (n, size): (usize, (usize, usize)),
        precision: Precision,
        (variables, places): (Variables, Vec<(usize, usize)>),
    ) -> Result<Self> {
        let plan = Plan::new(config)?;
        let kind = kind_of(precision);
        if n == 0 {
            return Err(Error::Length { what: String::from("a batch"), expected: 1, found: 0 });
        }
        let mut arena = Arena::new(backend, places);
        let backend = &mut arena;
        let (h, w) = size;
        let images = backend.values(Kind::F32, n * h * w * 3)?;
        let images = Rows { n, h, w, c: 3, operand: images, exact: Some(images), origin: None, sums: None };

        let mut needs = Needs::default();
        let layers = plan.layers();
        let mut stages: Vec<Stage> = Vec::with_capacity(layers.len());
        let mut largest = 0;
        for (i, placed) in layers.iter().enumerate() {
            let next = layers.get(i + 1).map(|placed| &placed.layer);
            let input = stages.last().map_or(&images, |stage| &stage.output);
            let mut build = Builder { backend: &mut *backend, variables: &variables, needs: &mut needs, kind };
            let stage = Stage::new(&mut build, (&placed.layer, &placed.path), input, wants(next))?;
            if !wants(next).pooled {
                largest = largest.max(stage.output.len());
            }
            stages.push(stage);
        }
        let pooled = stages.last().map_or(&images, |stage| &stage.output).len();
        let classifier = Classifier::new(backend, &variables, &plan.classifier, n, true)?;
        let scratch = Scratch::new(backend, &needs, kind)?;
        let gradients = [backend.values(Kind::F32, largest)?, backend.values(Kind::F32, largest)?];
        let gpooled = backend.values(Kind::F32, pooled)?;
        let (places, dropout) = (arena.into_places(), plan.classifier.dropout);
        let tf32 = rounds_to_tf32(precision);
        Ok(Self { n, kind, tf32, images, stages, classifier, variables, scratch, gradients, gpooled, dropout, places })
    }

    /// Images of a batch.
    pub fn batch(&self) -> usize {
        self.n
    }

    /// Where the images are written, float32 `[n, h, w, 3]`.
    pub fn images(&self) -> View {
        self.images.operand
    }

    /// The variables.
    pub fn variables(&self) -> &Variables {
        &self.variables
    }

    /// Dropout's mask of the next step, float32 `[n, c]`: 0 or 1 / (1 - p); all 1 at first. `None` without a dropout.
    pub fn mask(&self) -> Option<View> {
        self.classifier.mask()
    }

    /// With which probability dropout takes a value out.
    pub fn dropout(&self) -> f64 {
        self.dropout
    }

    /// Where the logits are, float32 `[n, classes]`.
    pub fn logits(&self) -> View {
        self.classifier.logits
    }

    /// Computes the logits with the batch's statistics, and moves the running ones.
    ///
    /// # Errors
    /// Those of the back end.
    pub fn forward<B: Backend>(&self, backend: &mut B) -> Result<()> {
        let mut run = Run { backend, scratch: &self.scratch, kind: self.kind, tf32: self.tf32 };
        let (values, operands) = self.variables.all();
        if values != operands {
            run.backend.enter("weights");
            let args = [Arg::In(values), Arg::Out(operands), Arg::Long(values.len)];
            run.plain(Program::new("finish").t(self.kind), "to_operand", steps(values.len), [256, 1], &args)?;
        }
        let mut input = &self.images;
        for stage in &self.stages {
            stage.forward(&mut run, input)?;
            input = &stage.output;
        }
        self.classifier.forward(&mut run, input.operand)
    }

    /// The gradients of all variables, given those of the logits. It needs what the last [`forward`](Self::forward) left.
    ///
    /// # Errors
    /// Those of the back end.
    pub fn backward<B: Backend>(&self, backend: &mut B, glogits: View) -> Result<()> {
        let mut run = Run { backend, scratch: &self.scratch, kind: self.kind, tf32: self.tf32 };
        let pooled = self.stages.last().map_or(&self.images, |stage| &stage.output);
        self.classifier.backward(&mut run, pooled.operand, glogits, self.gpooled)?;
        let last_input = self.input_of(self.stages.len().saturating_sub(1));
        // The last stage gives a mean over its pixels, a 1×1 convolution's: as many as its input has.
        let mut gy = Gradient { view: self.gpooled, pixels: last_input.pixels() };
        for (i, stage) in self.stages.iter().enumerate().rev() {
            let input = self.input_of(i);
            let gx = (i > 0).then(|| self.gradients[i % 2].first(input.len()));
            stage.backward(&mut run, input, gy, gx)?;
            if let Some(view) = gx {
                gy = Gradient { view, pixels: 0 };
            }
        }
        Ok(())
    }

    fn input_of(&self, stage: usize) -> &Rows {
        stage.checked_sub(1).and_then(|before| self.stages.get(before)).map_or(&self.images, |stage| &stage.output)
    }

    /// One stage of [`forward`](Self::forward), and its batch norms before activations.
    #[cfg(all(test, any(feature = "emulate", feature = "cuda")))]
    pub(crate) fn forward_stage<B: Backend>(&self, backend: &mut B, stage: usize) -> Result<Vec<crate::stages::Kink>> {
        let mut run = Run { backend, scratch: &self.scratch, kind: self.kind, tf32: self.tf32 };
        self.stages[stage].forward(&mut run, self.input_of(stage))?;
        Ok(self.stages[stage].kinks())
    }

    #[cfg(all(test, any(feature = "emulate", feature = "cuda")))]
    pub(crate) fn depth(&self) -> usize {
        self.stages.len()
    }
}

/// What a layer asks of the one before it; the classifier takes the mean over the pixels.
fn wants(next: Option<&LayerPlan>) -> Wants {
    match next {
        None => Wants { pooled: true, ..Wants::default() },
        Some(LayerPlan::Conv(conv)) => {
            let pointwise = !conv.config.depthwise && conv.config.kernel == 1 && conv.config.stride == 1;
            Wants { centered: pointwise, ..Wants::default() }
        }
        Some(LayerPlan::Bottleneck(block)) => {
            let expands = block.expand.is_some();
            Wants { exact: block.residual, centered: expands, sums: expands, ..Wants::default() }
        }
    }
}
