//! Networks as ONNX files: opset 17, IR version 8.
//!
//! Nodes have the names of the network's operations. A network in 8 bits becomes a graph of `QuantizeLinear` and
//! `DequantizeLinear`, from which a program that has integer kernels makes its own. Which patterns a program recognizes
//! differs: see [`OnnxProfile`].

mod graph;
mod layers;
mod metadata;
mod proto;
mod quantized;

use mobilenet_common::names::UnknownName;
use mobilenet_runtime::Network;
use prost::Message;
use strum::{VariantArray, VariantNames};

use crate::Result;

/// The program that an ONNX file of a network in 8 bits is for. Files of float32 networks are the same for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::Display, strum::EnumString, VariantArray, VariantNames)]
#[strum(serialize_all = "kebab-case", parse_err_ty = UnknownName, parse_err_fn = unknown)]
pub enum OnnxProfile {
    /// ONNX Runtime on a CPU, OpenVINO: activations are 0 to 255 with a zero point, as in the network; biases are
    /// int32; results of convolutions are quantized, so that they run as integers.
    ///
    /// Where the network keeps only what an h-swish or a shortcut's sum gives, the convolution's own result is
    /// quantized too: over the range that makes a difference to the h-swish, or the sum's. The outcome differs by that
    /// rounding.
    ///
    /// On x86 without VNNI, ONNX Runtime's and OpenVINO's products of `u8` and `i8` saturate at 16 bits, and a network's
    /// answers may become others: see [`CpuUnsigned`](Self::CpuUnsigned).
    #[default]
    Cpu,
    /// The same for processors without VNNI: weights are 1 to 255 with a zero point of 128, and nothing saturates. It takes
    /// ONNX Runtime longer.
    CpuUnsigned,
    /// TensorRT: activations are -127 to 127 without a zero point, biases are float32; quantized are what layers with
    /// weights take, and the shortcut of a sum.
    Trt,
}

impl OnnxProfile {
    /// All of them.
    pub const ALL: &[Self] = <Self as VariantArray>::VARIANTS;

    /// Whether it is one for CPUs.
    fn is_cpu(self) -> bool {
        matches!(self, Self::Cpu | Self::CpuUnsigned)
    }
}

fn unknown(found: &str) -> UnknownName {
    UnknownName::new("ONNX profile", found, <OnnxProfile as VariantNames>::VARIANTS)
}

/// The bytes of an ONNX file, opset 17.
///
/// The graph takes `images` `[n, 3, h, w]`, normalized, and gives `logits` `[n, classes]`, before the softmax; `n` is
/// any number. Classes, and how a picture becomes an image, are in the metadata; lists are JSON there.
///
/// ```
/// use mobilenet_deploy::{OnnxProfile, Result, to_onnx};
/// use mobilenet_runtime::Network;
///
/// fn export(network: &Network) -> Result<Vec<u8>> {
///     to_onnx(network, OnnxProfile::Cpu)
/// }
/// ```
///
/// # Errors
/// The network's parts do not fit each other, or an operation has the name of a value that the graph needs for
/// something else.
pub fn to_onnx(network: &Network, profile: OnnxProfile) -> Result<Vec<u8>> {
    let shapes = network.shapes()?;
    let mut export = layers::Export::new(network, profile);
    for operation in &network.operations {
        export.operation(operation)?;
    }
    let (mut graph, result) = export.finish();
    graph.rename(&result, LOGITS);
    let input = &network.description.input;
    let images = graph::floats(IMAGES, &[3, input.height, input.width]);
    let logits = graph::floats(LOGITS, &[shapes.last().map_or(0, |shape| shape.c)]);
    let model = proto::ModelProto {
        ir_version: 8,
        producer_name: env!("CARGO_PKG_NAME").to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(graph.finish(name(network), images, logits)?),
        opset_import: vec![proto::OperatorSetIdProto { domain: String::new(), version: 17 }],
        metadata_props: metadata::properties(&network.description),
    };
    Ok(model.encode_to_vec())
}

const IMAGES: &str = "images";
const LOGITS: &str = "logits";

/// The graph's name, which must not be empty.
fn name(network: &Network) -> String {
    match &network.description.origin.architecture[..] {
        "" => "network".to_owned(),
        architecture => architecture.to_owned(),
    }
}
