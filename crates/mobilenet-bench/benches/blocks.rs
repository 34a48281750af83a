//! Every different block of the published networks at its place for 32x32 images.

mod common;
mod tables;

use std::hint::black_box;

use candle_core::{Result, Tensor};
use candle_nn::ModuleT;
use common::{backward, builder, confirm, criterion, values, variable};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mobilenet_layers::{Layer, Stack};
use mobilenet_models::Arch;
use mobilenet_models::plan::LayerPlan;
use tables::{Placed, placed};

/// Images of a training step.
const BATCH: usize = 32;

fn new(layer: &LayerPlan) -> Result<Stack> {
    Stack::new(vec![Layer::from_plan(layer, &builder())?])
}

/// Two images together and one by one must come to the same.
fn confirm_batch(name: &str, block: &dyn ModuleT, xs: &Tensor) -> Result<()> {
    let together = block.forward_t(xs, false)?;
    for i in 0..2 {
        let alone = block.forward_t(&xs.narrow(0, i, 1)?, false)?;
        confirm(name, &values(&alone), &values(&together.narrow(0, i, 1)?));
    }
    Ok(())
}

fn blocks(c: &mut Criterion) {
    for Placed { name, layer, input } in Arch::published().flat_map(placed) {
        let block = new(&layer).expect("a block of the tables");
        confirm_batch(&name, &block, &variable(2, input)).expect("a block of the tables");
        let mut group = c.benchmark_group("block");
        let xs = variable(1, input);
        group.bench_function(BenchmarkId::new(&name, "1, inference"), |b| {
            b.iter(|| black_box(block.forward_t(&xs, false).expect("confirmed before")));
        });
        let xs = variable(BATCH, input);
        group.throughput(Throughput::Elements(BATCH as u64));
        group.bench_function(BenchmarkId::new(&name, format!("{BATCH}, forward and backward")), |b| {
            b.iter(|| black_box(block.forward_t(&xs, true).and_then(|ys| backward(&ys)).expect("confirmed before")));
        });
    }
}

criterion_group! {
    name = benches;
    config = criterion();
    targets = blocks
}
criterion_main!(benches);
