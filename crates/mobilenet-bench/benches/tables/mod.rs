//! Shapes from the architecture tables.

use mobilenet_models::plan::{LayerPlan, Part, Plan};
use mobilenet_models::{Arch, ModelConfig, Preset};

/// A layer of a block of a network and the `[c, h, w]` that reaches it.
#[derive(Clone, PartialEq)]
pub struct Placed {
    /// Its place: `v2/features.1`.
    pub name: String,
    pub layer: LayerPlan,
    pub input: [usize; 3],
}

/// The layers of a network's blocks for 32x32 images, those equal to one before left out.
pub fn placed(arch: Arch) -> Vec<Placed> {
    let plan = Plan::new(&ModelConfig::new(arch, 10, Preset::Cifar)).expect("a valid configuration");
    let mut size = Preset::Cifar.image_size();
    let mut found: Vec<Placed> = Vec::new();
    for placed in plan.layers() {
        let layer = placed.layer;
        let input = [layer.c_in(), size, size];
        size = size.div_ceil(layer.stride());
        let in_block = matches!(placed.part, Part::Block(_));
        if in_block && !found.iter().any(|other| other.layer == layer && other.input == input) {
            found.push(Placed { name: format!("{arch}/{}", placed.path), layer, input });
        }
    }
    found
}
