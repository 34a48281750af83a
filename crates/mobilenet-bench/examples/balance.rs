//! How well the kernels' work divides among threads, more of them than this machine need have:
//! `RAYON_NUM_THREADS=1 cargo run --release -p mobilenet-bench --example balance -- [BATCH] [SIZE]`.
//!
//! A training step runs on one thread and records how long each part of each phase takes. From that follows how long
//! the step would take on more threads of the same speed, with nothing else in their way: parts are handed out in order
//! to whoever is free, and where there are few of them, threads share what is inside. The efficiency is one thread's
//! time by the number of threads times theirs. `16 parts` is the same with parts put together until there are no more
//! than 16, and nothing shared.
#![expect(clippy::print_stdout, reason = "an example shows its figures")]

use std::error::Error;
use std::time::Duration;

use candle_core::{DType, Device, Tensor};
use candle_nn::{VarBuilder, VarMap};
use mobilenet_kernels::profile::{Part, Profile, Record, record};
use mobilenet_models::{Arch, MobileNet, ModelConfig, Preset};

const THREADS: [usize; 10] = [1, 2, 4, 8, 12, 16, 24, 32, 48, 64];
/// Of so many steps, each phase's fastest counts.
const STEPS: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>());
    let batch = arguments.next().transpose()?.unwrap_or(128);
    let size = arguments.next().transpose()?.unwrap_or(96);
    if rayon::current_num_threads() != 1 {
        return Err("parts are timed on one thread: set RAYON_NUM_THREADS=1".into());
    }
    for arch in [Arch::V2, Arch::V3Large] {
        let phases = step(arch, batch, size)?;
        let ms = phases.iter().map(|phase| phase.time).sum::<Duration>().as_secs_f64() * 1e3;
        println!("{arch}, {batch} images of {size}x{size}: {ms:.0} ms on one thread");
        println!("{:>8} {:>16} {:>16}", "threads", "16 parts", "now");
        for threads in THREADS {
            let efficiency = |together: &dyn Fn(&Record) -> f64| {
                let time = phases.iter().map(together).sum::<f64>();
                phases.iter().map(|phase| phase.time.as_secs_f64()).sum::<f64>() / (time * threads as f64)
            };
            let before = efficiency(&|phase| makespan(&merged(phase), threads, &|parts| in_turn(parts, threads)));
            let now = efficiency(&|phase| makespan(phase, threads, &|parts| shared(parts, threads)));
            println!("{threads:>8} {:>15.1}% {:>15.1}%", 100. * before, 100. * now);
        }
    }
    Ok(())
}

/// The phases of a training step, forward and backward.
fn step(arch: Arch, batch: usize, size: usize) -> Result<Vec<Record>, Box<dyn Error>> {
    let device = Device::Cpu;
    let vb = VarBuilder::from_varmap(&VarMap::new(), DType::F32, &device);
    let model = MobileNet::new(&ModelConfig::new(arch, 10, Preset::Imagenet), vb)?;
    let images = Tensor::randn(0f32, 1., (batch, 3, size, size), &device)?;
    let mut fastest: Vec<Record> = Vec::new();
    for _ in 0..STEPS {
        let (result, Profile { records, .. }) = record(|| model.features(&images, true)?.sqr()?.sum_all()?.backward());
        result?;
        if fastest.is_empty() {
            fastest = records;
        } else {
            fastest.iter_mut().zip(records).filter(|(old, new)| new.time < old.time).for_each(|(old, new)| *old = new);
        }
    }
    Ok(fastest)
}

/// A phase's time on so many threads, given that of a stretch of parts.
fn makespan(phase: &Record, threads: usize, stretch: &dyn Fn(&[Part]) -> f64) -> f64 {
    let parallel: f64 = phase.stretches.iter().flatten().map(|part| part.time.as_secs_f64()).sum();
    let alone = (phase.time.as_secs_f64() - parallel).max(0.);
    let stretches = phase.stretches.iter().map(|parts| if threads == 1 { total(parts) } else { stretch(parts) });
    alone + stretches.sum::<f64>()
}

fn total(parts: &[Part]) -> f64 {
    parts.iter().map(|part| part.time.as_secs_f64()).sum()
}

/// Every thread takes the next part when it has done one.
fn in_turn(parts: &[Part], threads: usize) -> f64 {
    let mut busy = vec![0f64; threads];
    for part in parts {
        if let Some(first) = busy.iter_mut().min_by(|a, b| a.total_cmp(b)) {
            *first += part.time.as_secs_f64();
        }
    }
    busy.into_iter().fold(0., f64::max)
}

/// Threads share what is inside parts where these are few: no less than an even share, nor than the longest part's
/// remainder.
fn shared(parts: &[Part], threads: usize) -> f64 {
    let in_turn = in_turn(parts, threads);
    if parts.len() >= 4 * threads {
        return in_turn;
    }
    let longest = parts.iter().map(|part| part.shared.as_secs_f64()).fold(0., f64::max);
    (total(parts) / threads as f64).max(longest).min(in_turn)
}

/// The phase in no more than 16 parts, of neighbors put together; but for passes over rows, which have as many parts as
/// there are rows for them.
fn merged(phase: &Record) -> Record {
    let mut phase = phase.clone();
    let passes_over_rows = match phase.phase {
        "forward output" | "backward input" | "backward activation" => phase.stretches.len(),
        "backward project" => 1,
        _ => 0,
    };
    for parts in phase.stretches.iter_mut().skip(passes_over_rows) {
        let merge = |parts: &[Part]| Part { time: parts.iter().map(|part| part.time).sum(), ..Part::default() };
        *parts = parts.chunks(parts.len().div_ceil(16)).map(merge).collect();
    }
    phase
}
