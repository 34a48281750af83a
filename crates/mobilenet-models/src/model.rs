//! The networks: a plan's layers, one after the other.

use candle_core::{Module, Result as CandleResult, Tensor};
use candle_nn::{ModuleT, VarBuilder};
use mobilenet_layers::{Activate, Activation, Dropout, DropoutRng, Layer, Linear, Precision, Stack, global_avg_pool};

use crate::plan::{ClassifierPlan, PlacedLayer, Plan};
use crate::{Error, ModelConfig};

/// A network of the registry with torchvision's variable names and initial values. In the steps from MobileNetV2 to
/// MobileNetV3-Large, V3's blocks have V3's names.
///
/// Images of any size are accepted; the strides are laid out for the preset's.
#[derive(Clone, Debug)]
pub struct MobileNet {
    config: ModelConfig,
    /// The stem, the blocks and the last convolution.
    features: Stack,
    /// Whether they are left as they are in training.
    frozen: bool,
    /// V3's hidden layer.
    hidden: Option<Linear>,
    dropout: Dropout,
    last: Linear,
    dropout_rng: DropoutRng,
}

impl MobileNet {
    /// The model of `config`, its variables `features.*` and `classifier.*` below `vb`.
    ///
    /// # Errors
    /// Those of [`ModelConfig::validate`], and variables of another shape in `vb`.
    pub fn new(config: &ModelConfig, vb: VarBuilder) -> Result<Self, Error> {
        let plan = Plan::new(config)?;
        let layer = |placed: PlacedLayer| Layer::from_plan(&placed.layer, &vb.pp(&placed.path));
        let layers = plan.layers().into_iter().map(layer).collect::<CandleResult<Vec<_>>>()?;

        let ClassifierPlan { c_in, hidden, num_classes, dropout } = plan.classifier;
        let dropout_rng = DropoutRng::new();
        Ok(Self {
            config: config.clone(),
            features: Stack::new(layers)?,
            frozen: false,
            hidden: hidden.map(|units| Linear::new(c_in, units, vb.pp(ClassifierPlan::HIDDEN_PATH))).transpose()?,
            dropout: Dropout::new(dropout, dropout_rng.clone())?,
            last: Linear::new(hidden.unwrap_or(c_in), num_classes, vb.pp(plan.classifier.last_path()))?,
            dropout_rng,
        })
    }

    /// The same model, trained at this precision on a CPU in float32; elsewhere nothing changes. The variables stay as
    /// they are.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { features: self.features.with_precision(precision), ..self }
    }

    /// The same model, of which only the classifier is trained: everything below it works as in evaluation, also in
    /// training. No gradient reaches its variables, and batch norm's running statistics stay.
    #[must_use]
    pub fn with_frozen_features(self) -> Self {
        Self { frozen: true, ..self }
    }

    /// What the model was made from.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The generator of the dropout masks; reseeding it makes the next training step's mask a function of the seed.
    pub fn dropout_rng(&self) -> &DropoutRng {
        &self.dropout_rng
    }

    /// The last feature map: `[n, 3, h, w] -> [n, c, h / r, w / r]`, rounded up, `r` being the product of all strides.
    pub fn features(&self, xs: &Tensor, train: bool) -> CandleResult<Tensor> {
        self.unless_frozen(train, |train| self.features.forward_t(xs, train))
    }

    /// [`features`](Self::features), averaged over the pixels: `[n, 3, h, w] -> [n, c]`.
    fn pooled(&self, xs: &Tensor, train: bool) -> CandleResult<Tensor> {
        self.unless_frozen(train, |train| self.features.forward_pooled(xs, train))
    }

    /// Runs the features as told; frozen, in evaluation mode and without a gradient.
    fn unless_frozen(&self, train: bool, run: impl Fn(bool) -> CandleResult<Tensor>) -> CandleResult<Tensor> {
        if self.frozen { Ok(run(false)?.detach()) } else { run(train) }
    }

    /// What follows [`features`](Self::features): `[n, c, h, w] -> [n, num_classes]`, the mean over the pixels and the
    /// classifier.
    pub fn classify(&self, features: &Tensor, train: bool) -> CandleResult<Tensor> {
        self.classify_pooled(global_avg_pool(features)?, train)
    }

    fn classify_pooled(&self, mut xs: Tensor, train: bool) -> CandleResult<Tensor> {
        if let Some(hidden) = &self.hidden {
            xs = Activate(Activation::HSwish).forward(&hidden.forward(&xs)?)?;
        }
        self.last.forward(&self.dropout.forward_t(&xs, train)?)
    }
}

impl ModuleT for MobileNet {
    /// `[n, 3, h, w] -> [n, num_classes]`, the logits.
    fn forward_t(&self, xs: &Tensor, train: bool) -> CandleResult<Tensor> {
        self.classify_pooled(self.pooled(xs, train)?, train)
    }
}
