//! A back end that counts.

use mobilenet_arch::graph::{Operation, operations};
use mobilenet_arch::plan::{LayerPlan, Plan as ArchPlan};
use mobilenet_arch::{ModelConfig, Precision};

use crate::backend::{Backend, Launch, Product, View};
use crate::error::Result;
use crate::network::kind_of;
use crate::optimizer::Average;
use crate::{Inference, Step};

/// What a stage launches, and the bytes that its launches move.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stage {
    /// The stage: a layer's path and the direction, or what else it is.
    pub name: String,
    /// Launches, products among them.
    pub launches: usize,
    /// Products of matrices.
    pub products: usize,
    /// Bytes that they read and write, each tensor of a launch once each way.
    pub bytes: usize,
    /// Multiply-adds of the products.
    pub multiply_adds: usize,
}

/// A back end that executes nothing: it counts what would be launched.
#[derive(Debug, Default)]
pub struct Plan {
    stages: Vec<Stage>,
    allocated: Vec<usize>,
}

impl Plan {
    /// The stages, in the order in which they were first entered.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// All stages together, as one of this name.
    pub fn total(&self, name: &str) -> Stage {
        let mut total = Stage { name: name.to_owned(), ..Stage::default() };
        for stage in &self.stages {
            total.launches += stage.launches;
            total.products += stage.products;
            total.bytes += stage.bytes;
            total.multiply_adds += stage.multiply_adds;
        }
        total
    }

    /// Bytes of memory that were asked for.
    pub fn memory(&self) -> usize {
        self.allocated.iter().sum()
    }

    /// Forgets the launches so far.
    pub fn restart(&mut self) {
        self.stages.clear();
    }

    fn stage(&mut self) -> &mut Stage {
        if self.stages.is_empty() {
            self.enter("");
        }
        let last = self.stages.len() - 1;
        &mut self.stages[last]
    }
}

impl Backend for Plan {
    fn alloc(&mut self, bytes: usize) -> Result<usize> {
        self.allocated.push(bytes);
        Ok(self.allocated.len() - 1)
    }

    fn write(&mut self, _: View, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn read(&mut self, _: View, bytes: &mut [u8]) -> Result<()> {
        bytes.fill(0);
        Ok(())
    }

    fn address(&self, _: View) -> u64 {
        0
    }

    fn launch(&mut self, launch: &Launch) -> Result<()> {
        let stage = self.stage();
        stage.launches += 1;
        stage.bytes += launch.bytes();
        Ok(())
    }

    fn gemm(&mut self, product: &Product) -> Result<()> {
        let stage = self.stage();
        stage.launches += 1;
        stage.products += 1;
        stage.bytes += product.bytes();
        stage.multiply_adds += product.count * product.rows * product.columns * product.inner;
        Ok(())
    }

    fn moves(&mut self, bytes: usize) {
        self.stage().bytes += bytes;
    }

    fn enter(&mut self, stage: &str) {
        self.stages.push(Stage { name: stage.to_owned(), ..Stage::default() });
    }
}

/// What a training step of batches of `n` images of the preset's size launches: forward, loss, backward, AdamW; and with
/// `average` the moving average.
///
/// # Errors
/// Those of [`Step::new`].
pub fn training(config: &ModelConfig, n: usize, precision: Precision, average: bool) -> Result<Plan> {
    let mut plan = Plan::default();
    let step = Step::new(&mut plan, config, n, precision)?;
    step.run(&mut plan)?;
    if average {
        Average::new(&mut plan, step.network.variables(), 0.999)?.step(&mut plan)?;
    }
    Ok(plan)
}

/// What inference of `n` images of the preset's size launches, once batch norm is folded.
///
/// # Errors
/// Those of [`Inference::new`].
pub fn inference(config: &ModelConfig, n: usize, precision: Precision) -> Result<Plan> {
    let (mut plan, size) = (Plan::default(), config.preset.image_size());
    let network = Inference::new(&mut plan, config, (n, (size, size)), precision)?;
    network.run(&mut plan)?;
    Ok(plan)
}

/// Bytes that a training step moves at least, as long as tensors between convolutions pass through memory and batch norm's
/// sums over the batch separate their uses: of an expanded tensor 2 passes forward and 4 backward before the depthwise
/// convolution, 4 and 6 after it; of other outputs 3 and 6 (`p` and `y`; their gradients, twice `p` and `gp`), of inputs 1
/// and 2, in float32; of parameters 8 (gradients, and AdamW's).
///
/// # Errors
/// Those of [`operations`].
pub fn training_limit(config: &ModelConfig, n: usize, precision: Precision) -> Result<usize> {
    let (plan, side) = (ArchPlan::new(config)?, config.preset.image_size());
    let list = operations(&plan, (side, side))?;
    let parameters = list.iter().map(Operation::params).sum::<u64>() as usize;
    let expanded = kind_of(precision).size();
    let (mut pixels, mut bytes) = (side * side, 8 * 4 * parameters);
    for placed in plan.layers() {
        let before = pixels;
        let of = |side: usize| side.div_ceil(placed.layer.stride());
        let root = (pixels as f64).sqrt().round() as usize;
        pixels = of(root) * of(root);
        bytes += 4 * n * (3 * before * placed.layer.c_in() + 9 * pixels * placed.layer.c_out());
        if let LayerPlan::Bottleneck(block) = &placed.layer {
            let c = block.depthwise.c_out;
            let inside = if block.expand.is_some() { 6 * before } else { 0 };
            bytes += expanded * n * c * (inside + 10 * pixels);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mobilenet_arch::{Arch, Preset};

    #[test]
    fn a_step_and_an_inference_have_few_launches() {
        for preset in Preset::ALL {
            for arch in Arch::all() {
                let config = ModelConfig::new(arch, 10, preset);
                for precision in [Precision::F32, Precision::Bf16] {
                    let step = training(&config, 128, precision, true).unwrap().total("step");
                    let inferred = inference(&config, 1, precision).unwrap().total("inference");
                    assert!(step.launches <= 600, "{arch} {preset} {precision}: {} a step", step.launches);
                    assert!(inferred.launches <= 150, "{arch} {preset} {precision}: {}", inferred.launches);
                    assert!(step.products >= 40 && inferred.products >= 14, "{arch}: {step:?} {inferred:?}");
                }
            }
        }
    }

    #[test]
    fn bytes_grow_with_the_batch_and_stay_near_the_limit() {
        for arch in [Arch::V2, Arch::V3Large] {
            for preset in Preset::ALL {
                let config = ModelConfig::new(arch, 10, preset);
                for precision in [Precision::F32, Precision::Bf16] {
                    let bytes = |n| training(&config, n, precision, false).unwrap().total("step").bytes;
                    let image = bytes(129) - bytes(128);
                    let of = |n| training_limit(&config, n, precision).unwrap();
                    let limit = of(129) - of(128);
                    let ratio = image as f64 / limit as f64;
                    assert!((1.0..1.6).contains(&ratio), "{arch} {preset} {precision}: {image} bytes, limit {limit}");
                }
            }
        }
    }

    #[test]
    fn stages_are_named_and_add_up() {
        let config = ModelConfig::new(Arch::V3Small, 10, Preset::Cifar);
        let plan = training(&config, 2, Precision::Bf16, false).unwrap();
        let names: Vec<&str> = plan.stages().iter().map(|stage| stage.name.as_str()).collect();
        for name in ["features.0.0 forward", "features.1 forward", "features.1 backward", "loss", "optimizer"] {
            assert!(names.contains(&name), "{name}: {names:?}");
        }
        assert_eq!(plan.total("").launches, plan.stages().iter().map(|stage| stage.launches).sum::<usize>());
        assert!(plan.stages().iter().all(|stage| stage.launches > 0 && stage.bytes > 0));
        assert!(plan.memory() > 1 << 20);
    }
}
