//! Shapes from the architecture tables.

use mobilenet_models::plan::{BlockConfig, Plan};
use mobilenet_models::{Arch, ModelConfig, Preset};

/// A block of a network and the `[c, h, w]` that reaches it.
#[derive(Clone, PartialEq)]
pub struct Placed {
    /// Its place: `v2/features.1`.
    pub name: String,
    pub config: BlockConfig,
    pub input: [usize; 3],
}

/// The blocks of a network for 32x32 images, those equal to one before left out.
pub fn placed(arch: Arch) -> Vec<Placed> {
    let plan = Plan::new(&ModelConfig::new(arch, 10, Preset::Cifar)).expect("a valid configuration");
    let stem = plan.stem.config.stride;
    let mut size = (Preset::Cifar.image_size() - 1) / stem + 1;
    let mut found: Vec<Placed> = Vec::new();
    for (i, block) in plan.blocks.into_iter().enumerate() {
        let config = block.config;
        let (c, stride) = match &config {
            BlockConfig::V2(block) => (block.c_in, block.stride),
            BlockConfig::V3(block) => (block.c_in, block.stride),
        };
        let input = [c, size, size];
        size = (size - 1) / stride + 1;
        if !found.iter().any(|other| other.config == config && other.input == input) {
            found.push(Placed { name: format!("{arch}/features.{}", i + 1), config, input });
        }
    }
    found
}
