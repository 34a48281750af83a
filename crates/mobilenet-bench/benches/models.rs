//! The three networks: one image, and a training pass without the optimizer.

mod common;

use std::hint::black_box;

use candle_nn::ModuleT;
use common::{backward, builder, confirm, criterion, values, variable};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mobilenet_models::{Arch, MobileNet, ModelConfig, Preset};

/// Images of a training step.
const BATCH: usize = 32;

fn models(c: &mut Criterion) {
    for arch in Arch::published() {
        for preset in Preset::ALL {
            let size = preset.image_size();
            let input = [3, size, size];
            let model = MobileNet::new(&ModelConfig::new(arch, 10, preset), builder()).expect("a standard model");
            let name = format!("{arch} {preset}");

            // Two images together and one by one must come to the same.
            let xs = variable(2, input);
            let logits = |from, n| xs.narrow(0, from, n).and_then(|xs| model.forward_t(&xs, false));
            let alone = [0, 1].map(|i| values(&logits(i, 1).expect("a standard model"))).concat();
            confirm(&name, &alone, &values(&logits(0, 2).expect("a standard model")));

            let mut group = c.benchmark_group("model");
            let xs = variable(1, input);
            group.bench_function(BenchmarkId::new(&name, "1, inference"), |b| {
                b.iter(|| black_box(model.forward_t(&xs, false).expect("confirmed before")));
            });
            // 32 images of 224x224 would take gigabytes.
            if preset == Preset::Cifar {
                let xs = variable(BATCH, input);
                group.throughput(Throughput::Elements(BATCH as u64));
                group.bench_function(BenchmarkId::new(&name, format!("{BATCH}, forward and backward")), |b| {
                    b.iter(|| model.forward_t(&xs, true).and_then(|ys| backward(&ys)).expect("confirmed before"));
                });
            }
        }
    }
}

criterion_group! {
    name = benches;
    config = criterion();
    targets = models
}
criterion_main!(benches);
