//! Weights in bf16: a file of half the size, arithmetic that stays float32.

use mobilenet_runtime::{Network, Precision, Tensor, Values};

use crate::{Error, Result};

/// `network` with its weights rounded to bf16, each to the nearest value, of two as near to the even one. Biases stay float32,
/// and so does all that is computed: the result answers as the float32 network of the rounded weights, to the last bit.
///
/// # Errors
/// The network is not in float32, its parts do not fit each other, or a weight is larger than a bf16 can be.
pub fn to_bf16(network: &Network) -> Result<Network> {
    network.shapes()?;
    let precision = network.precision();
    if precision != Precision::Float32 {
        return Err(Error::Bf16(format!("expected a float32 network, found one in {precision}")));
    }
    // Whatever is called so is the weight of a product or a convolution, of those in squeeze-and-excite too.
    let is_weight = |name: &str| name.ends_with(".weight");
    let rounded = network.tensors.iter().map(|(name, tensor)| match &tensor.values {
        Values::F32(values) if is_weight(name) => (name.clone(), Tensor::bf16(tensor.shape.clone(), values)),
        _ => (name.clone(), tensor.clone()),
    });
    let (operations, mut description) = (network.operations.clone(), network.description.clone());
    description.origin.changes.push("rounded to bf16".to_owned());
    let network = Network { operations, tensors: rounded.collect(), description };
    // What became an infinity is refused.
    network.shapes().map_err(|error| Error::Bf16(error.to_string()))?;
    Ok(network)
}
