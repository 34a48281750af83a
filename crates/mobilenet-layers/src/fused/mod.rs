//! Layers as one operation under autograd.
//!
//! Between two operations Candle's backward fills a tensor with zeros and adds the gradient to it, and every operation
//! costs a few allocations: nothing for one layer, a tenth of the time for a network. So neighboring layers run as one
//! operation, which hands on activations and gradients itself.
//!
//! A layer is [`Fusable`]: for images of given sizes it says what [`Part`]s it has, each a [`Stage`](stage::Stage) that
//! kernels compute, or operations of its own where there is no such kernel. The longest runs of stages become one
//! custom op each (`operations`), whatever is between them runs by itself.
//!
//! ```text
//! forward   Stack          forward(layers, xs)
//!             each layer     parts(sizes)                stages, and what has no stage
//!             each run       Handle::new(parameters)     a chain of links to the parameters
//!                            Train op, from (xs, handle)
//!               each stage     forward -> Saved          also moves the running statistics
//!
//! backward  Candle         Train::bwd(gys)
//!               each stage     backward(Saved)           from the last to the first
//!                            Sender::send(gradients)     a parcel of gradients, its number to the handle
//!           Candle         Link::bwd(number)             link by link: each parameter gets its own
//! ```
//!
//! In evaluation the op is `Infer`, which keeps nothing; its backward goes through [`Fusable::by_operations`].

mod handle;
mod operations;
mod parameters;
pub(crate) mod stage;

use std::sync::Arc;

use candle_core::{Result, Tensor, bail};
use mobilenet_kernels::{Precision, profile};

use crate::channels_last::{has_kernels, to_nchw, to_nhwc};
use stage::{AnyStage, Stage};

/// `(n, h, w, c)`
pub(crate) type Dims = (usize, usize, usize, usize);

/// A layer that may run as one operation with its neighbors.
pub(crate) trait Fusable: Send + Sync {
    /// The parameters.
    fn parameters(&self) -> Vec<Tensor>;

    /// The sizes of the output.
    ///
    /// # Errors
    /// The layer does not take images of these sizes.
    fn output(&self, dims: Dims) -> Result<Dims>;

    /// What it consists of for float32 images of these sizes, of which there is one at least, on the CPU.
    ///
    /// # Errors
    /// Those of [`output`](Self::output).
    fn parts(&self, dims: Dims, precision: Precision) -> Result<Vec<Part>>;

    /// `[n, c, h, w] -> [n, c', h', w']` by smaller operations.
    fn by_operations(&self, xs: &Tensor, train: bool) -> Result<Tensor>;
}

/// A piece of a layer.
pub(crate) enum Part {
    Stage(AnyStage),
    Own(Own),
}

impl Part {
    pub(crate) fn stage(stage: impl Stage) -> Self {
        Self::Stage(Arc::new(stage))
    }
}

/// A piece that runs as operations of its own.
pub(crate) struct Own {
    /// The layer's path among the variables
    pub(crate) name: String,
    /// What a kernel for it would have to have.
    pub(crate) why: &'static str,
    pub(crate) operation: Box<dyn Unfused>,
}

/// What a piece without a stage computes.
pub(crate) trait Unfused: Send + Sync {
    /// `[n, h, w, c] -> [n, h', w', c']`
    fn run(&self, xs: &Tensor, train: bool, precision: Precision) -> Result<Tensor>;
}

/// `[n, h, w, c] -> [n, h', w', c']` through the layers, one after the other.
pub(crate) fn forward(layers: &[&dyn Fusable], xs: &Tensor, train: bool, precision: Precision) -> Result<Tensor> {
    let dims = xs.dims4()?;
    if dims.0 == 0 {
        return of_no_images(layers, xs, train);
    }
    let mut ys = xs.clone();
    if !(has_kernels(xs) && layers.iter().all(|layer| layer.parameters().iter().all(has_kernels))) {
        for layer in layers {
            ys = to_nhwc(&layer.by_operations(&to_nchw(&ys)?, train)?)?;
        }
        return Ok(ys);
    }
    let mut run: Vec<AnyStage> = Vec::new();
    for part in parts(layers, dims, precision)? {
        match part {
            Part::Stage(stage) => run.push(stage),
            Part::Own(own) => {
                if !run.is_empty() {
                    ys = operations::apply(std::mem::take(&mut run), &ys, train)?;
                }
                profile::not_fused(&own.name, own.why);
                ys = own.operation.run(&ys, train, precision)?;
            }
        }
    }
    if run.is_empty() { Ok(ys) } else { operations::apply(run, &ys, train) }
}

/// The parts of all layers.
pub(crate) fn parts(layers: &[&dyn Fusable], mut dims: Dims, precision: Precision) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    for layer in layers {
        parts.extend(layer.parts(dims, precision)?);
        dims = layer.output(dims)?;
    }
    Ok(parts)
}

/// What layers give for no images: none. In training the batch would have no statistics.
fn of_no_images(layers: &[&dyn Fusable], xs: &Tensor, train: bool) -> Result<Tensor> {
    if train {
        bail!("expected at least one image in training, found a batch of shape {:?}", to_nchw(xs)?.shape())
    }
    let dims = layers.iter().try_fold(xs.dims4()?, |dims, layer| layer.output(dims))?;
    Tensor::zeros(dims, xs.dtype(), xs.device())
}
