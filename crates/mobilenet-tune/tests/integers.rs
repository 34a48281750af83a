//! What is trained is what is shipped: the runtime answers as the module does, in float32 and in integers.

use candle_core::{DType, Device, Tensor};
use candle_nn::{AdamW, ModuleT, Optimizer, loss};
use mobilenet_tune::Tuned;
use mobilenet_tune::deploy::arch::plan::Plan;
use mobilenet_tune::deploy::arch::{Arch, ModelConfig, Preset, graph};
use mobilenet_tune::deploy::runtime::{Description, Input, Model, Network, Session, Tensor as Parameter};
use mobilenet_tune::deploy::{QuantizeOptions, Swap, Weights, fold, quantize, requantize, swap};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const SIZE: usize = 16;
const CLASSES: usize = 5;

/// A folded network with random weights.
fn network(arch: Arch) -> Network {
    let config = ModelConfig { width_mult: 0.5, ..ModelConfig::new(arch, CLASSES, Preset::Cifar) };
    let mut random = StdRng::seed_from_u64(1);
    let planned = graph::operations(&Plan::new(&config).unwrap(), (SIZE, SIZE)).unwrap();
    let parameters = planned.into_iter().flat_map(|operation| operation.parameters).map(|parameter| {
        let fan_in: usize = parameter.shape.iter().skip(1).product();
        let is_scale = parameter.name.ends_with("weight") || parameter.name.ends_with("var");
        let (center, width) = match parameter.shape.len() {
            1 if is_scale => (1., 0.5),
            1 => (0., 0.4),
            _ => (0., (24. / fan_in as f32).sqrt()),
        };
        let count = parameter.shape.iter().product();
        let values = (0..count).map(|_| center + (random.random::<f32>() - 0.5) * width).collect();
        (parameter.name, Parameter::f32(parameter.shape, values))
    });
    let input = Input { height: SIZE, width: SIZE, crop: 1., mean: [0.; 3], std: [1.; 3], quantization: None };
    let classes = (0..CLASSES).map(|class| class.to_string()).collect();
    fold(&config, &Weights::new(parameters), Description { input, classes, ..Description::default() }).unwrap()
}

/// Images `[n, h, w, 3]`, and as Candle takes them.
fn images(n: usize, seed: u64) -> (Vec<f32>, Tensor) {
    let mut random = StdRng::seed_from_u64(seed);
    let values: Vec<f32> = (0..n * SIZE * SIZE * 3).map(|_| random.random::<f32>() * 4. - 2.).collect();
    let tensor = Tensor::from_slice(&values, (n, SIZE, SIZE, 3), &Device::Cpu).unwrap();
    (values, tensor.permute((0, 3, 1, 2)).unwrap())
}

fn run(network: &Network, images: &[f32]) -> Vec<f32> {
    Session::new(&Model::new(network).unwrap(), 1).unwrap().run(images).unwrap().to_vec()
}

/// The root mean square of the difference in shares of that of what is expected.
fn error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x).powi(2)).sum::<f64>();
    (square(&mut found.iter().zip(expected).map(|(a, b)| a - b)) / square(&mut expected.iter().copied())).sqrt()
}

fn logits(tuned: &Tuned, images: &Tensor, train: bool) -> Vec<f32> {
    tuned.forward_t(images, train).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The loss of images whose classes are given by their order.
fn loss_of(tuned: &Tuned, images: &Tensor) -> Tensor {
    let n = images.dims()[0] as u32;
    let classes = Tensor::from_iter((0..n).map(|i| i % CLASSES as u32), &Device::Cpu).unwrap();
    loss::cross_entropy(&tuned.forward_t(images, true).unwrap(), &classes).unwrap()
}

/// A few steps; the loss before each.
fn train(tuned: &Tuned, images: &Tensor) -> Vec<f32> {
    let mut optimizer = AdamW::new_lr(tuned.vars().all_vars(), 1e-3).unwrap();
    let step = |_| {
        let loss = loss_of(tuned, images);
        optimizer.backward_step(&loss).unwrap();
        loss.to_scalar().unwrap()
    };
    (0..8).map(step).collect()
}

#[test]
fn in_float32_the_module_is_what_the_runtime_runs() {
    for arch in [Arch::V1, Arch::V2, Arch::V3Large, Arch::V3Small] {
        let mut network = network(arch);
        if arch == Arch::V3Large {
            swap(&mut network, Swap::HSwishToPieces(4)).unwrap();
        }
        let tuned = Tuned::new(&network).unwrap();
        assert_eq!(tuned.network().unwrap(), network);
        let (values, tensor) = images(5, 2);
        let expected = run(&network, &values);
        for train in [false, true] {
            let found = error(&logits(&tuned, &tensor, train), &expected);
            assert!(found < 1e-5, "{arch}: {found}");
        }
        assert_eq!(logits(&tuned, &images(0, 2).1, true), [0f32; 0]);
    }
}

/// To the last bit; where there are gates of squeeze-and-excite, for nine images of ten: the gates' float32 products are summed in
/// another order, a value next to a half of a step may be rounded to the other side, and such a step is many in the last layer.
#[test]
fn in_8_bits_the_integers_answer_as_the_module_does_before_and_after_training() {
    for arch in [Arch::V1, Arch::V2, Arch::V3Large, Arch::V3Small] {
        let network = network(arch);
        let quantized = quantize(&network, &images(16, 3).0, QuantizeOptions::default()).unwrap();
        let tuned = Tuned::new(&quantized.float).unwrap().with_ranges_of(&quantized.network).unwrap();
        let (values, tensor) = images(40, 4);
        let other = |expected: &[f32]| {
            let found = logits(&tuned, &tensor, false);
            assert_eq!(found.len(), expected.len());
            found.chunks(CLASSES).zip(expected.chunks(CLASSES)).filter(|(found, expected)| found != expected).count()
        };
        let first = run(&quantized.network, &values);
        let before = other(&first);

        let losses = train(&tuned, &tensor);
        assert!(losses[7] < 0.98 * losses[0], "{arch}: {losses:?}");
        let trained = requantize(&tuned.network().unwrap(), &quantized.network).unwrap();
        let expected = run(&trained, &values);
        let after = other(&expected);
        let most = if [Arch::V1, Arch::V2].contains(&arch) { 0 } else { 4 };
        assert!(before <= most && after <= most, "{arch}: {before} before and {after} after, of 40 images");
        assert!(error(&expected, &first) > 0.01, "{arch}: nothing was trained");
    }
}

/// Along its gradient the loss of a float32 network falls as fast as the gradient says.
#[test]
fn the_gradient_of_the_whole_network_is_its_slope() {
    for arch in [Arch::V2, Arch::V3Small] {
        let tuned = Tuned::new(&network(arch)).unwrap();
        let (_, tensor) = images(10, 5);
        let gradients = loss_of(&tuned, &tensor).backward().unwrap();
        let all: Vec<_> = tuned.vars().all_vars();
        let squares = all.iter().map(|var| {
            let gradient = gradients.get(var).unwrap_or_else(|| panic!("{arch}: a variable without a gradient"));
            gradient.sqr().unwrap().sum_all().unwrap().to_dtype(DType::F64).unwrap().to_scalar::<f64>().unwrap()
        });
        let squares: f64 = squares.sum();
        let moved = |step: f64| -> f64 {
            for var in &all {
                var.set(&(var.as_tensor() + (gradients.get(var).unwrap() * step).unwrap()).unwrap()).unwrap();
            }
            f64::from(loss_of(&tuned, &tensor).to_scalar::<f32>().unwrap())
        };
        // So far that the loss changes by about a hundredth.
        let step = 0.01 / squares;
        let (high, low) = (moved(step), moved(-2. * step));
        let slope = (high - low) / (2. * step * squares);
        assert!((slope - 1.).abs() < 0.05, "{arch}: {slope}");
    }
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let network = network(Arch::V3Small);
    let quantized = quantize(&network, &images(8, 3).0, QuantizeOptions::default()).unwrap();
    let error = |result: mobilenet_tune::Result<Tuned>| result.err().unwrap().to_string();
    assert!(error(Tuned::new(&quantized.network)).contains("in int8"));
    let other = "expected the ranges of the same operations";
    assert!(error(Tuned::new(&network).unwrap().with_ranges_of(&network)).ends_with(other));
    let v2 = Tuned::new(&crate::network(Arch::V2)).unwrap();
    assert!(error(v2.with_ranges_of(&quantized.network)).ends_with(other));
    let tuned = Tuned::new(&network).unwrap();
    let small = Tensor::zeros((1, 3, SIZE, SIZE - 1), DType::F32, &Device::Cpu).unwrap();
    assert!(tuned.forward_t(&small, true).unwrap_err().to_string().contains("expected images of 3 × 16 × 16"));
}
