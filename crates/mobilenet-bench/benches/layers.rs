//! Single layers over the shapes of MobileNetV2 and V3-Large for 32x32 images, each confirmed by a plain loop first.

mod common;
mod tables;

use std::hint::black_box;

use candle_core::Tensor;
use candle_nn::{Module, VarBuilder};
use common::{backward, builder, confirm, criterion, values, variable};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mobilenet_layers::{Activate, Activation, Conv2d, Conv2dConfig, DepthwiseConv2d, SqueezeExcite, Window};
use mobilenet_models::Arch;
use mobilenet_models::plan::LayerPlan;
use tables::{Placed, placed};

/// Images per pass: latency, and a batch as in training.
const BATCHES: [usize; 2] = [1, 32];

/// Channels of a block inside, as its depthwise convolution sees them.
struct Inside {
    input: [usize; 3],
    c_in: usize,
    c_out: usize,
    squeeze: Option<usize>,
    depthwise: Window,
}

/// Every different inside of the two networks' blocks.
fn insides() -> Vec<Inside> {
    let blocks = [Arch::V2, Arch::V3Large].into_iter().flat_map(placed);
    let inside = |block: Placed| {
        let [c_in, h, w] = block.input;
        let LayerPlan::Bottleneck(layer) = block.layer else { return None };
        let (expanded, c_out) = (layer.depthwise.c_in, layer.project.c_out);
        let config = layer.depthwise.config;
        let depthwise = Window::same(config.kernel, config.stride, config.dilation);
        let squeeze = layer.squeeze_excite.map(|se| se.squeeze);
        Some(Inside { input: [expanded, h, w], c_in, c_out, squeeze, depthwise })
    };
    blocks.filter_map(inside).collect()
}

/// Times `layer` at both batch sizes: the forward pass, and for the larger batch also with the backward pass.
fn time(c: &mut Criterion, group: &str, name: &str, input: [usize; 3], layer: &dyn Module) {
    let mut group = c.benchmark_group(group);
    for n in BATCHES {
        let xs = variable(n, input);
        group.throughput(Throughput::Elements(n as u64));
        group.bench_function(BenchmarkId::new(name, format!("{n}, forward")), |b| {
            b.iter(|| black_box(layer.forward(&xs).expect("confirmed before")));
        });
    }
    let xs = variable(BATCHES[1], input);
    group.bench_function(BenchmarkId::new(name, format!("{}, with backward", BATCHES[1])), |b| {
        b.iter(|| black_box(layer.forward(&xs).and_then(|ys| backward(&ys)).expect("confirmed before")));
    });
}

fn depthwise(c: &mut Criterion) {
    let mut seen = Vec::new();
    for Inside { input, depthwise, .. } in insides() {
        if seen.contains(&(input, depthwise)) {
            continue;
        }
        seen.push((input, depthwise));
        let (vb, weight) = (builder(), "weight");
        let layer = DepthwiseConv2d::new(input[0], depthwise, vb.clone()).expect("a shape of the tables");
        let weight = shared(&vb, (input[0], 1, depthwise.kernel, depthwise.kernel), weight);
        let [channels, h, w] = input;
        let name = format!("{channels}x{h}x{w} k{} s{}", depthwise.kernel, depthwise.stride);
        let xs = variable(1, input);
        let expected = plain_depthwise(&values(&xs), &values(&weight), input, depthwise);
        confirm(&name, &values(&layer.forward(&xs).expect("a shape of the tables")), &expected);
        time(c, "depthwise", &name, input, &layer);
    }
}

fn pointwise(c: &mut Criterion) {
    let mut seen = Vec::new();
    for Inside { input: [expanded, h, w], c_in, c_out, depthwise, .. } in insides() {
        let (h_out, w_out) = (depthwise.output_len(h), depthwise.output_len(w));
        for (from, to, size) in [(c_in, expanded, [h, w]), (expanded, c_out, [h_out, w_out])] {
            if from == to || seen.contains(&(from, to, size)) {
                continue;
            }
            seen.push((from, to, size));
            let (vb, weight) = (builder(), "weight");
            let layer = Conv2d::new(from, to, Conv2dConfig::POINTWISE, vb.clone()).expect("a shape of the tables");
            let weight = shared(&vb, (to, from, 1, 1), weight);
            let input = [from, size[0], size[1]];
            let name = format!("{from}x{}x{} to {to}", size[0], size[1]);
            let xs = variable(1, input);
            let expected = plain_pointwise(&values(&xs), &values(&weight), from, to);
            confirm(&name, &values(&layer.forward(&xs).expect("a shape of the tables")), &expected);
            time(c, "pointwise", &name, input, &layer);
        }
    }
}

fn activations(c: &mut Criterion) {
    let input = [96, 32, 32];
    let xs = variable(1, input);
    type Plain = fn(f32) -> f32;
    let plain: [(&str, Activation, Plain); 4] = [
        ("relu", Activation::Relu, |x| x.max(0.0)),
        ("relu6", Activation::Relu6, |x| x.clamp(0.0, 6.0)),
        ("h-sigmoid", Activation::HSigmoid, |x| (x + 3.0).clamp(0.0, 6.0) / 6.0),
        ("h-swish", Activation::HSwish, |x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0),
    ];
    for (name, activation, plain) in plain {
        let expected: Vec<f32> = values(&xs).into_iter().map(plain).collect();
        let layer = Activate(activation);
        confirm(name, &values(&layer.forward(&xs).expect("any shape will do")), &expected);
        time(c, "activation", &format!("{name} 96x32x32"), input, &layer);
    }
}

fn squeeze_excite(c: &mut Criterion) {
    let mut seen = Vec::new();
    for Inside { input: [channels, h, w], squeeze, depthwise, .. } in insides() {
        let Some(squeeze) = squeeze else { continue };
        let input = [channels, depthwise.output_len(h), depthwise.output_len(w)];
        if seen.contains(&(input, squeeze)) {
            continue;
        }
        seen.push((input, squeeze));
        let vb = builder();
        let layer = SqueezeExcite::new(channels, squeeze, vb.clone()).expect("a shape of the tables");
        let name = format!("{channels}x{}x{} squeeze {squeeze}", input[1], input[2]);
        let xs = variable(1, input);
        let fc1 = values(&shared(&vb.pp("fc1"), (squeeze, channels, 1, 1), "weight"));
        let fc2 = values(&shared(&vb.pp("fc2"), (channels, squeeze, 1, 1), "weight"));
        let expected = plain_squeeze_excite(&values(&xs), &fc1, &fc2, channels);
        confirm(&name, &values(&layer.forward(&xs).expect("a shape of the tables")), &expected);
        time(c, "squeeze-excite", &name, input, &layer);
    }
}

/// The variable that a layer made in `vb`.
fn shared(vb: &VarBuilder, shape: (usize, usize, usize, usize), name: &str) -> Tensor {
    vb.get(shape, name).expect("the layer has made it")
}

/// `[c, h, w]` and `[c, 1, k, k]`, as the definition says.
fn plain_depthwise(xs: &[f32], weight: &[f32], [c, h, w]: [usize; 3], config: Window) -> Vec<f32> {
    let Window { kernel, stride, dilation, padding } = config;
    let (h_out, w_out) = (config.output_len(h), config.output_len(w));
    let mut ys = Vec::with_capacity(c * h_out * w_out);
    for channel in 0..c {
        for y in 0..h_out {
            for x in 0..w_out {
                let mut sum = 0.0;
                for (tap, value) in weight[channel * kernel * kernel..][..kernel * kernel].iter().enumerate() {
                    let row = (y * stride + tap / kernel * dilation).wrapping_sub(padding);
                    let col = (x * stride + tap % kernel * dilation).wrapping_sub(padding);
                    if row < h && col < w {
                        sum += value * xs[(channel * h + row) * w + col];
                    }
                }
                ys.push(sum);
            }
        }
    }
    ys
}

/// `[from, pixels]` and `[to, from]`, as the definition says.
fn plain_pointwise(xs: &[f32], weight: &[f32], from: usize, to: usize) -> Vec<f32> {
    let pixels = xs.len() / from;
    let mut ys = vec![0.0; to * pixels];
    for (i, y) in ys.iter_mut().enumerate() {
        let (row, pixel) = (i / pixels, i % pixels);
        *y = (0..from).map(|c| weight[row * from + c] * xs[c * pixels + pixel]).sum();
    }
    ys
}

/// `[c, pixels]` as the definition says; fresh biases are 0.
fn plain_squeeze_excite(xs: &[f32], fc1: &[f32], fc2: &[f32], channels: usize) -> Vec<f32> {
    let pixels = xs.len() / channels;
    let means: Vec<f32> = xs.chunks(pixels).map(|channel| channel.iter().sum::<f32>() / pixels as f32).collect();
    let hidden: Vec<f32> = plain_pointwise(&means, fc1, channels, fc1.len() / channels);
    let hidden: Vec<f32> = hidden.into_iter().map(|x| x.max(0.0)).collect();
    let gates = plain_pointwise(&hidden, fc2, hidden.len(), channels);
    let gate = |i: usize| (gates[i / pixels] + 3.0).clamp(0.0, 6.0) / 6.0;
    xs.iter().enumerate().map(|(i, x)| x * gate(i)).collect()
}

criterion_group! {
    name = benches;
    config = criterion();
    targets = depthwise, pointwise, activations, squeeze_excite
}
criterion_main!(benches);
