//! Where an inference's time goes, block by block.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Result;
use candle_core::Tensor;
use candle_nn::ModuleT;
use mobilenet_bench::{PartsResult, PartsTiming, Protocol, Timing, time_parts};
use mobilenet_kernels::profile::{Profile, record};
use mobilenet_models::{BlockSummary, MobileNet};
use mobilenet_schema::BlockTime;

/// The blocks of a network in order, with what each takes and what it has to do.
#[derive(Debug)]
pub struct BlockTimes {
    /// The blocks' medians added up, in milliseconds.
    pub sum_ms: f64,
    pub blocks: Vec<BlockTime>,
    /// The whole network's median, in milliseconds.
    pub whole_ms: f64,
}

impl BlockTimes {
    /// Times passes of `model` over `xs: [n, c, h, w]`; `blocks` are the model's. Each but the classifier is a run of
    /// layers, whose paths are in `layers`.
    pub fn measure(
        model: &MobileNet,
        blocks: &[BlockSummary],
        layers: &[Vec<String>],
        xs: &Tensor,
        protocol: Protocol,
    ) -> Result<(Timing, Self)> {
        let batch = xs.dim(0)?;
        let last = |logits: Tensor| Ok(logits.flatten_all()?.to_vec1::<f32>()?.last().copied().unwrap_or(f32::NAN));
        let whole = || last(model.forward_t(xs, false)?);
        let parts = || -> PartsResult {
            let (features, profile) = record(|| model.features(xs, false));
            let features = features?;
            let start = Instant::now();
            last(model.classify(&features, false)?)?;
            let classifier = start.elapsed();
            let mut times = layers.iter().map(|paths| time_of(paths, &profile)).collect::<Result<Vec<_>, _>>()?;
            times.push(classifier);
            Ok(times)
        };
        let timing = time_parts(protocol, batch, whole, parts)?;
        Ok((timing.whole, Self::new(blocks, batch, &timing)))
    }

    fn new(blocks: &[BlockSummary], batch: usize, timing: &PartsTiming) -> Self {
        let sum_ms = timing.sum_ms();
        let macs: u64 = blocks.iter().map(|block| block.macs).sum();
        let time = |(block, ms): (&BlockSummary, f64)| {
            let flops = 2. * block.macs as f64 * batch as f64;
            let bytes = block.bytes(batch);
            BlockTime {
                name: block.name.clone(),
                input: block.input.iter().map(|&extent| extent as u64).collect(),
                output: block.output.iter().map(|&extent| extent as u64).collect(),
                params: block.params,
                macs: block.macs,
                bytes,
                p50_ms: ms,
                latency_share: ms / sum_ms,
                macs_share: block.macs as f64 / macs as f64,
                gflop_per_second: flops / ms / 1e6,
                flop_per_byte: flops / bytes as f64,
            }
        };
        let medians = timing.parts.iter().map(|part| part.p50);
        Self { sum_ms, blocks: blocks.iter().zip(medians).map(time).collect(), whole_ms: timing.whole.latency_ms.p50 }
    }
}

/// The time of the layers at these paths: of all that was recorded of each of them.
fn time_of(paths: &[String], profile: &Profile) -> Result<Duration, String> {
    paths
        .iter()
        .map(|path| {
            let is_of_layer =
                |name: &str| name.strip_prefix(&path[..]).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
            let mut times =
                profile.records.iter().filter(|record| is_of_layer(&record.scope)).map(|record| record.time).peekable();
            let is_whole = times.peek().is_some() && !profile.not_fused.iter().any(|layer| is_of_layer(&layer.layer));
            if is_whole {
                Ok(times.sum::<Duration>())
            } else {
                Err(format!("--blocks times the CPU's kernels, and {path} did not run by them alone; try --device cpu"))
            }
        })
        .sum()
}

impl fmt::Display for BlockTimes {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(
            f,
            "{:<10} {:>11} {:>9} {:>7} {:>9} {:>7} {:>8} {:>9} {:>10}",
            "block", "output", "ms", "share", "MACs (M)", "share", "GFLOP/s", "MB", "FLOP/byte"
        )?;
        for b in &self.blocks {
            let output = b.output.iter().map(u64::to_string).collect::<Vec<_>>().join("x");
            let shares = [b.latency_share, b.macs_share].map(|share| format!("{:.1}%", share * 100.));
            writeln!(
                f,
                "{:<10} {output:>11} {:>9.4} {:>7} {:>9.3} {:>7} {:>8.1} {:>9.3} {:>10.1}",
                b.name,
                b.p50_ms,
                shares[0],
                b.macs as f64 / 1e6,
                shares[1],
                b.gflop_per_second,
                b.bytes as f64 / 1e6,
                b.flop_per_byte
            )?;
        }
        let between = self.whole_ms - self.sum_ms;
        writeln!(
            f,
            "sum of the medians {:.3} ms; the whole network {:.3} ms (median): {between:+.3} ms ({:+.1}%) between the blocks",
            self.sum_ms,
            self.whole_ms,
            between / self.whole_ms * 100.
        )?;
        writeln!(f, "MB: input, output and parameters, each once; shares are of the sum")
    }
}

#[cfg(test)]
mod tests {
    use mobilenet_kernels::profile::{NotFused, Record, Work};

    use super::*;

    #[test]
    fn a_blocks_time_is_that_of_all_records_of_its_layers() {
        let record = |scope: &str, ms| Record {
            scope: scope.to_owned(),
            phase: "inference",
            time: Duration::from_millis(ms),
            work: Work::default(),
            stretches: Vec::new(),
        };
        let records = ["features.1", "features.10", "features.2.0", "features.2.conv", "features.2.0"];
        let records = records.into_iter().zip([1, 2, 4, 8, 16]).map(|(scope, ms)| record(scope, ms)).collect();
        let not_fused = vec![NotFused { layer: "features.10.1".to_owned(), why: "a reason" }];
        let profile = Profile { records, not_fused };
        let time = |paths: &[&str]| {
            time_of(&paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>(), &profile)
                .map(|time| time.as_millis())
        };
        assert_eq!(time(&["features.1"]), Ok(1));
        assert_eq!(time(&["features.2"]), Ok(28));
        assert_eq!(time(&["features.1", "features.2.0"]), Ok(21));
        for path in ["features.3", "features.10"] {
            assert!(time(&["features.1", path]).is_err_and(|error| error.contains(&format!("{path} "))));
        }
    }

    #[test]
    fn shares_and_rates_follow_from_the_medians() {
        let block =
            |name: &str, macs| BlockSummary { name: name.into(), input: vec![2], output: vec![3], params: 5, macs };
        let blocks = [block("a", 1_000_000), block("b", 3_000_000)];
        let parts = || Ok(vec![Duration::from_millis(6), Duration::from_millis(2)]);
        let timing = time_parts(Protocol { warmup: 0, iterations: 3 }, 10, || Ok(1.), parts).unwrap();
        let times = BlockTimes::new(&blocks, 10, &timing);
        assert_eq!(times.sum_ms, 8.);
        let found = |b: &BlockTime| (b.latency_share, b.macs_share, b.gflop_per_second, b.bytes);
        assert_eq!(found(&times.blocks[0]), (0.75, 0.25, 20. / 6., 4 * (10 * 5 + 5)));
        assert_eq!(found(&times.blocks[1]), (0.25, 0.75, 30., 220));
        let text = times.to_string();
        assert!(text.contains("sum of the medians 8.000 ms") && text.contains("75.0%"), "{text}");
    }
}
