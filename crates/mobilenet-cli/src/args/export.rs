//! `mobilenet export`

use std::path::PathBuf;

use clap::Args;
use mobilenet_deploy::{MAX_PIECES, OnnxProfile, Swap};

use super::values::{above_0, at_least_1, parse, up_to};

/// Most images that ranges are measured on.
const MAX_CALIBRATION: usize = 50_000;

/// More epochs are another training.
const MAX_EPOCHS: usize = 1_000;

/// AdamW's learning rate after other activations, which change more.
const FINETUNE_LR: f64 = 5e-4;

/// AdamW's learning rate in 8 bits.
const QAT_LR: f64 = 1e-4;

/// Make a trained network ready to ship: one file for mobilenet-runtime, or ONNX
///
/// Batch norm is folded into the weights. With --bf16, these are rounded to bf16, which halves the file. With --int8,
/// weights and values get 8 bits: ranges come from training images, their ends from what a quarter of these images,
/// held out, shows to be best. What other activations or 8 bits cost, a little more training wins back:
/// --finetune-epochs after --activation, --qat-epochs with the numbers that 8 bits leave. It takes the run's images,
/// augmentation and batches, on the CPU; interrupted, the same command goes on. FILE.safetensors is what `predict`,
/// `eval` and `bench` take as --model-file, and the crate mobilenet-runtime runs without Candle; FILE.onnx is for other
/// programs.
#[derive(Args)]
#[command(after_help = "\
Examples:
  mobilenet export --run runs/v2 --out v2.safetensors
  mobilenet export --run runs/v2 --out v2-bf16.safetensors --bf16
  mobilenet export --run runs/v2 --out v2-int8.safetensors --int8 --report
  mobilenet export --run runs/v2 --out v2-int8.safetensors --int8 --qat-epochs 2 --report
  mobilenet export --run runs/v3-large --out v3.onnx --activation pieces:4
  mobilenet export --run runs/v3-large --out v3.safetensors --activation relu6 --finetune-epochs 2")]
pub struct ExportArgs {
    /// Folder that `mobilenet train --out` wrote
    #[arg(long, value_name = "RUN")]
    pub run: PathBuf,
    /// File to write: FILE.safetensors or FILE.onnx
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Round weights to bf16: half the size; what is computed stays float32
    #[arg(long, conflicts_with = "int8")]
    pub bf16: bool,
    /// Give weights and values 8 bits
    #[arg(long)]
    pub int8: bool,
    /// Training images that the ranges of values are measured on [default: 512]
    #[arg(long, value_name = "N", value_parser = at_least_4, requires = "int8")]
    pub calibrate: Option<usize>,
    /// Other activations: relu6 or pieces:N for h-swish, relu for ReLU6
    #[arg(long, value_name = "ACTIVATION", value_parser = swap)]
    pub activation: Option<Swap>,
    /// Train so many epochs with the other activations
    #[arg(long, value_name = "N", value_parser = up_to::<MAX_EPOCHS>, requires = "activation")]
    pub finetune_epochs: Option<usize>,
    /// Their learning rate at the beginning, of AdamW; it falls to 0
    #[arg(long, value_name = "LR", value_parser = above_0, default_value_t = FINETUNE_LR, requires = "finetune_epochs")]
    pub finetune_lr: f64,
    /// Train so many epochs with what 8 bits leave of weights and values (quantization-aware training)
    #[arg(long, value_name = "N", value_parser = up_to::<MAX_EPOCHS>, requires = "int8")]
    pub qat_epochs: Option<usize>,
    /// Their learning rate at the beginning, of AdamW; it falls to 0
    #[arg(long, value_name = "LR", value_parser = above_0, default_value_t = QAT_LR, requires = "qat_epochs")]
    pub qat_lr: f64,
    /// What an ONNX file in 8 bits is for: cpu (ONNX Runtime, OpenVINO), cpu-unsigned (the same on processors without
    /// VNNI, where products of the first saturate) or trt (TensorRT)
    #[arg(long, value_name = "PROFILE", value_parser = parse::<OnnxProfile>, default_value_t)]
    pub onnx_profile: OnnxProfile,
    /// Print accuracy, latency and size before and after each change, and what 8 bits lose, operation by operation
    #[arg(long)]
    pub report: bool,
    /// Folder with the data, if it is not where it was during training
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
}

fn at_least_4(text: &str) -> Result<usize, String> {
    let n = at_least_1(text)?;
    let fits = (4..=MAX_CALIBRATION).contains(&n);
    if fits { Ok(n) } else { Err(format!("expected 4 to {MAX_CALIBRATION}, found {n}")) }
}

fn swap(text: &str) -> Result<Swap, String> {
    let unknown = || format!("expected relu6, relu or pieces:N with N from 1 to {MAX_PIECES}, found {text:?}");
    match text {
        "relu6" => Ok(Swap::HSwishToRelu6),
        "relu" => Ok(Swap::Relu6ToRelu),
        _ => {
            let pieces = text.strip_prefix("pieces:").and_then(|n| n.parse().ok());
            pieces.filter(|n| (1..=MAX_PIECES).contains(n)).map(Swap::HSwishToPieces).ok_or_else(unknown)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_and_numbers_of_images() {
        assert_eq!(swap("relu6"), Ok(Swap::HSwishToRelu6));
        assert_eq!(swap("pieces:4"), Ok(Swap::HSwishToPieces(4)));
        for text in ["", "pieces", "pieces:0", "pieces:8", "pieces:x", "gelu"] {
            assert!(swap(text).unwrap_err().ends_with(&format!("found {text:?}")), "{text}");
        }
        assert_eq!(at_least_4("4"), Ok(4));
        assert!(at_least_4("3").is_err() && at_least_4("50001").is_err());
    }
}
