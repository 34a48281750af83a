//! The fused operation is the composition of Candle's own ops: outputs, gradients and running statistics of every row
//! of every table.
//!
//! On the CPU float32 runs the fused operation and float64 the composition, through the same public functions: layers
//! are computed in both with the same values. Rounding may put a value on the other side of an activation's kink, where
//! the derivative jumps; so biases are chosen that leave no value close to one (`Values::settle`), though values lie on
//! both sides of each. What is left is rounding alone.

#[path = "../hashed/mod.rs"]
mod hashed;
mod values;

use std::collections::BTreeMap;

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::{ModuleT, VarBuilder};
use hashed::hashed;
use mobilenet_arch::BottleneckConfig;
use mobilenet_layers::{Activation, BatchNormConfig, ConvBnActConfig, Layer, Precision, Stack};
use mobilenet_models::plan::{ConvPlan, LayerPlan, Plan};
use mobilenet_models::{Arch, ModelConfig, Preset};
use values::Values;

/// Of outputs and gradients: the largest difference, as a share of the tensor's largest value.
const TOLERANCE: f64 = 1e-4;
/// The same of running statistics.
const STATISTIC_TOLERANCE: f64 = 1e-5;
/// In bf16: a tensor's root mean square difference, as a share of its root mean square.
const BF16_TOLERANCE: f64 = 0.15;
/// The gradient of a bias before a 1×1 and its batch norm is exactly zero: the same, as a share of the largest
/// gradient.
const ZERO_TOLERANCE: f64 = 1e-5;

/// Each distinct layer from the stem to the last convolution.
#[test]
fn every_row_of_the_published_networks() -> Result<()> {
    Arch::published().try_for_each(|arch| check_all(configs(arch)))
}

/// The steps between V2 and V3-Large: ReLU6 or h-swish, with and without squeeze-and-excite, 3×3 and 5×5 windows.
#[test]
fn every_row_between_v2_and_v3() -> Result<()> {
    let narrow = |arch| ModelConfig { width_mult: 0.35, ..ModelConfig::new(arch, 10, Preset::Cifar) };
    let steps = Arch::LADDER.into_iter().filter(|arch| !arch.is_published());
    check_all(steps.map(|arch| (narrow(arch), (13, 18), &[1, 3][..])))
}

/// Each distinct layer of several networks, with the images' size and how many there are.
fn check_all(networks: impl IntoIterator<Item = (ModelConfig, (usize, usize), &'static [usize])>) -> Result<()> {
    let mut seen = Vec::new();
    for (config, mut size, batches) in networks {
        for layer in layers(&config) {
            let row = (layer.clone(), size);
            size = output(&layer, size);
            if seen.contains(&row) {
                continue;
            }
            for &n in batches {
                for train in [true, false] {
                    Run { n, size: row.1, train, ..RUN }.check(std::slice::from_ref(&row.0))?;
                }
            }
            seen.push(row);
        }
    }
    Ok(())
}

/// With the images' size and how many there are: the networks as published, with odd and unequal sides where the preset
/// has 224, and narrower ones, many of whose channels are odd multiples of 8.
fn configs(arch: Arch) -> Vec<(ModelConfig, (usize, usize), &'static [usize])> {
    let standard = |preset| ModelConfig::new(arch, 10, preset);
    let v3 = arch.is_v3();
    vec![
        (standard(Preset::Cifar), (32, 32), &[3]),
        (standard(Preset::Imagenet), (72, 56), &[1, 3]),
        (ModelConfig { width_mult: 0.75, ..standard(Preset::Cifar) }, (13, 18), &[1, 3]),
        (ModelConfig { reduced_tail: v3, dilated: v3, ..standard(Preset::Imagenet) }, (72, 56), &[1, 3]),
    ]
}

/// MobileNetV2's first expansion: channels are worked on a few at a time.
#[test]
fn a_row_at_224() -> Result<()> {
    let layers = layers(&ModelConfig::new(Arch::V2, 10, Preset::Imagenet));
    for train in [true, false] {
        Run { n: 1, size: (112, 112), train, ..RUN }.check(&layers[2..3])?;
    }
    Ok(())
}

#[test]
fn strided_and_offset_images_and_odd_channels() -> Result<()> {
    const NORM: BatchNormConfig = BatchNormConfig { eps: 1e-3, momentum: 0.01 };
    const BASE: BottleneckConfig = BottleneckConfig {
        kernel: 5,
        c_in: 5,
        expanded: 13,
        c_out: 7,
        squeeze: Some(3),
        activation: Activation::HSwish,
        stride: 2,
        dilation: 1,
        norm: NORM,
    };
    let conv = |c_in, c_out, kernel, stride, activation| -> LayerPlan {
        ConvPlan::new(c_in, c_out, ConvBnActConfig::dense(kernel, stride, NORM, activation)).into()
    };
    let block = |config: BottleneckConfig| LayerPlan::from(config.layer());
    let cases = [
        vec![conv(3, 13, 3, 2, Activation::HSwish)],
        vec![conv(5, 13, 1, 1, Activation::Relu6)],
        vec![block(BASE)],
        vec![block(BottleneckConfig { c_out: 5, squeeze: None, stride: 1, activation: Activation::Relu6, ..BASE })],
        vec![block(BottleneckConfig { expanded: 5, kernel: 3, squeeze: None, ..BASE })],
        vec![conv(3, 5, 3, 1, Activation::HSwish), block(BASE), conv(7, 13, 1, 1, Activation::Relu)],
    ];
    for layers in cases {
        for view in View::ALL {
            for n in [1, 3] {
                for (train, channels_last) in [(true, true), (true, false), (false, true), (false, false)] {
                    Run { n, size: (7, 6), view, train, channels_last, stacked: layers.len() > 1, ..RUN }
                        .check(&layers)?;
                }
            }
        }
    }
    Ok(())
}

/// bf16 is off by what it rounds: some thousandths of each value. That puts one value in a hundred on the other side of
/// a kink, where its derivative is another, and a hundredth of the terms is a tenth of their root mean square. (Without
/// kinks the kernels' own tests ask for more.)
#[test]
fn every_row_in_bf16() -> Result<()> {
    let (mut rounds, mut expected_rounds) = (0, 0);
    for arch in Arch::published().chain([Arch::V2HSwishSe5x5]) {
        let mut size = (32, 32);
        for layer in layers(&ModelConfig::new(arch, 10, Preset::Cifar)) {
            let run = Run { size, stacked: true, precision: Precision::Bf16, ..RUN };
            size = output(&layer, size);
            // All but the stems, whose windows of 27 values stay float32.
            expected_rounds += usize::from(layer.c_in() != 3);
            let layers = [layer];
            // About 0: a mean much larger than the deviation costs the expansion's gradient digits, in any rounding.
            let images = (run.images(&layers)? - 1.)?;
            let mut values = Values::new(&layers, true)?;
            values.settle("0", &layers[0], &images, true)?;
            let rounded = run.outcome(&layers, &values, &images, DType::F32)?;
            let exact = run.outcome(&layers, &values, &images, DType::F64)?;
            for (what, expected) in &exact {
                let difference = root_mean_square(&(rounded[what].to_dtype(DType::F64)? - expected)?)?;
                let share = difference / root_mean_square(expected)?;
                assert!(share < BF16_TOLERANCE, "{what}: {share} off\n{run:?} of {layers:?}");
                rounds += usize::from(what == "output" && share > 1e-4);
            }
        }
    }
    assert_eq!(rounds, expected_rounds, "layers that were rounded");
    Ok(())
}

/// Where each layer is the composition, a stack of them needs no tolerance.
#[test]
fn a_network_as_one_operation_is_its_layers_to_the_bit() -> Result<()> {
    for arch in Arch::published() {
        for (config, size, _) in &configs(arch)[..2] {
            let layers = layers(config);
            let values = Values::new(&layers, true)?;
            let run = Run { size: *size, ..RUN };
            let images = run.images(&layers)?;
            let chained = run.outcome(&layers, &values, &images, DType::F32)?;
            for (what, found) in (Run { stacked: true, ..run }).outcome(&layers, &values, &images, DType::F32)? {
                assert_eq!(largest(&(found - &chained[&what])?)?, 0., "{arch} {size:?}: {what}");
            }
        }
    }
    Ok(())
}

/// The layers of a network's features.
fn layers(config: &ModelConfig) -> Vec<LayerPlan> {
    Plan::new(config).unwrap().layers().into_iter().map(|placed| placed.layer).collect()
}

/// Height and width of a layer's output.
fn output(layer: &LayerPlan, (h, w): (usize, usize)) -> (usize, usize) {
    (h.div_ceil(layer.stride()), w.div_ceil(layer.stride()))
}

/// How layers are run.
#[derive(Clone, Copy, Debug)]
struct Run {
    n: usize,
    size: (usize, usize),
    view: View,
    train: bool,
    /// By `forward_channels_last` instead of `forward_t`.
    channels_last: bool,
    /// As one operation instead of one after the other.
    stacked: bool,
    /// Of the one operation.
    precision: Precision,
}

const RUN: Run = Run {
    n: 3,
    size: (32, 32),
    view: View::Whole,
    train: true,
    channels_last: false,
    stacked: false,
    precision: Precision::F32,
};

/// What is done to the images before the layers see them.
#[derive(Clone, Copy, Debug)]
enum View {
    Whole,
    /// Stored as the kernels need them.
    ChannelsLast,
    /// Some of the images, stored as the kernels need them: contiguous, but not from the start of the storage.
    Later,
    /// Some of the channels.
    Channels,
    /// Some of the rows and columns.
    Crop,
    /// Rows for columns.
    Transposed,
    /// One image many times: a stride of 0.
    Repeated,
}

impl View {
    const ALL: [Self; 7] =
        [Self::Whole, Self::ChannelsLast, Self::Later, Self::Channels, Self::Crop, Self::Transposed, Self::Repeated];

    /// The shape of a tensor that it makes `[n, c, h, w]` of.
    fn shape(self, n: usize, c: usize, (h, w): (usize, usize)) -> [usize; 4] {
        match self {
            Self::Whole => [n, c, h, w],
            Self::ChannelsLast => [n, h, w, c],
            Self::Later => [n + 2, h, w, c],
            Self::Channels => [n, c + 3, h, w],
            Self::Crop => [n, c, h + 2, w + 3],
            Self::Transposed => [n, c, w, h],
            Self::Repeated => [1, c, h, w],
        }
    }

    fn of(self, xs: &Tensor, n: usize) -> Result<Tensor> {
        let (a, b, c, d) = xs.dims4()?;
        match self {
            Self::Whole => Ok(xs.clone()),
            Self::ChannelsLast => xs.permute((0, 3, 1, 2)),
            Self::Later => xs.narrow(0, 1, n)?.permute((0, 3, 1, 2)),
            Self::Channels => xs.narrow(1, 2, b - 3),
            Self::Crop => xs.narrow(2, 1, c - 2)?.narrow(3, 2, d - 3),
            Self::Transposed => xs.transpose(2, 3),
            Self::Repeated => xs.broadcast_as((n * a, b, c, d)),
        }
    }
}

impl Run {
    /// Compares the fused operation with the composition.
    fn check(&self, layers: &[LayerPlan]) -> Result<()> {
        let images = self.images(layers)?;
        let mut values = Values::new(layers, self.train)?;
        let mut xs = self.view.of(&images, self.n)?;
        for (i, layer) in layers.iter().enumerate() {
            xs = values.settle(&i.to_string(), layer, &xs, self.train)?;
        }
        let fused = self.outcome(layers, &values, &images, DType::F32)?;
        let composed = self.outcome(layers, &values, &images, DType::F64)?;

        assert!(fused.keys().eq(composed.keys()));
        let mut largest_gradient = 0f64;
        for (_, expected) in composed.iter().filter(|(what, _)| what.starts_with("gradient")) {
            largest_gradient = largest_gradient.max(largest(expected)?);
        }
        for (what, expected) in &composed {
            let difference = largest(&(fused[what].to_dtype(DType::F64)? - expected)?)?;
            let scale = largest(expected)?;
            let zero = self.stacked && what.ends_with(".bias") && scale < 1e-9 * largest_gradient;
            let allowed = match what {
                _ if zero => ZERO_TOLERANCE * largest_gradient,
                _ if what.contains("running_") => STATISTIC_TOLERANCE * scale,
                _ => TOLERANCE * scale,
            };
            assert!(
                difference <= allowed && scale > 0. && scale.is_finite(),
                "{what}: {difference:e} off, the largest value being {scale:e}\n{self:?} of {layers:?}"
            );
        }
        Ok(())
    }

    /// What the view is of, in float64.
    fn images(&self, layers: &[LayerPlan]) -> Result<Tensor> {
        let shape = self.view.shape(self.n, layers[0].c_in(), self.size);
        let pixels = hashed("images", shape.iter().product()).map(|u| 0.5 + u).collect::<Vec<_>>();
        Tensor::from_vec(pixels, &shape, &Device::Cpu)
    }

    /// The output, every gradient and every running statistic, by name.
    fn outcome(
        &self,
        layers: &[LayerPlan],
        values: &Values,
        images: &Tensor,
        dtype: DType,
    ) -> Result<BTreeMap<String, Tensor>> {
        let variable = |value: &Tensor| Var::from_tensor(&value.to_dtype(dtype)?);
        let images = variable(images)?;
        let vars = values.0.iter().map(|(name, value)| Ok((name, variable(value)?))).collect::<Result<Vec<_>>>()?;
        let tensors = vars.iter().map(|(name, var)| (name.to_string(), var.as_tensor().clone())).collect();
        let vb = VarBuilder::from_tensors(tensors, dtype, &Device::Cpu);
        let layers = layers
            .iter()
            .enumerate()
            .map(|(i, layer)| Layer::from_plan(layer, &vb.pp(i)))
            .collect::<Result<Vec<_>>>()?;
        let ys = self.forward(layers, &self.view.of(&images, self.n)?)?;

        // A loss that weighs every output differently.
        let weights = hashed("loss", ys.elem_count()).collect::<Vec<_>>();
        let weights = Tensor::from_vec(weights, ys.shape(), &Device::Cpu)?.to_dtype(dtype)?;
        let gradients = (&ys * weights)?.sum_all()?.backward()?;
        let gradient = |name: &str, var: &Var| {
            let gradient = gradients.get(var).unwrap_or_else(|| panic!("no gradient of {name}"));
            (format!("gradient of {name}"), gradient.clone())
        };
        let mut outcome = BTreeMap::from([("output".to_string(), ys), gradient("images", &images)]);
        outcome.extend(vars.iter().map(|(name, var)| {
            if name.contains("running_") { (name.to_string(), var.as_detached_tensor()) } else { gradient(name, var) }
        }));
        Ok(outcome)
    }

    /// `[n, c_in, h, w] -> [n, c_out, h', w']`
    fn forward(&self, layers: Vec<Layer>, xs: &Tensor) -> Result<Tensor> {
        let Self { train, channels_last, .. } = *self;
        let mut xs = if channels_last { xs.permute((0, 2, 3, 1))? } else { xs.clone() };
        if self.stacked {
            let stack = Stack::new(layers)?.with_precision(self.precision);
            xs = if channels_last { stack.forward_channels_last(&xs, train) } else { stack.forward_t(&xs, train) }?;
        } else {
            for layer in layers {
                xs = match layer {
                    Layer::ConvBnAct(layer) if channels_last => layer.forward_channels_last(&xs, train),
                    Layer::ConvBnAct(layer) => layer.forward_t(&xs, train),
                    Layer::LinearBottleneck(block) if channels_last => block.forward_channels_last(&xs, train),
                    Layer::LinearBottleneck(block) => block.forward_t(&xs, train),
                }?;
            }
        }
        if channels_last { xs.permute((0, 3, 1, 2)) } else { Ok(xs) }
    }
}

fn root_mean_square(t: &Tensor) -> Result<f64> {
    Ok(t.to_dtype(DType::F64)?.sqr()?.mean_all()?.to_scalar::<f64>()?.sqrt())
}

fn largest(t: &Tensor) -> Result<f64> {
    t.abs()?.flatten_all()?.max(0)?.to_dtype(DType::F64)?.to_scalar()
}
