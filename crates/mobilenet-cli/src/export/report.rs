//! What an export says of the network: before and after each change.

use std::path::Path;

use anyhow::Result;
use mobilenet_bench::Protocol;
use mobilenet_common::numbers::thousands;
use mobilenet_deploy::{LayerNoise, Tried};
use mobilenet_runtime::{Model, Network, Precision, Session};
use mobilenet_schema::RunConfig;
use serde::Serialize;

use super::images::Images;
use crate::model_file::{evaluated, timed};
use crate::progress::{Progress, percent};

/// Passes of one image that tell its latency.
const PASSES: Protocol = Protocol { warmup: 30, iterations: 200 };

#[derive(Serialize)]
pub struct Report<'a> {
    pub run: &'a Path,
    pub file: &'a Path,
    pub bytes: u64,
    pub precision: Precision,
    pub changes: &'a [String],
    /// The network before and after each change, in order.
    pub steps: Vec<Step>,
    /// Ways to make it one in 8 bits, and what the logits differ by on held-out images, in shares of their own size.
    pub tried: Vec<Way>,
    pub noise: Vec<Noise>,
}

/// A network on the way to the file, by the runtime.
#[derive(Serialize)]
pub struct Step {
    /// The last change.
    what: String,
    /// `test` or `validation`.
    images: &'static str,
    image_count: usize,
    top1: f64,
    loss: f64,
    /// Median time of one image.
    latency_ms_p50: f64,
    threads: usize,
    /// Size of its file for the runtime.
    bytes: usize,
}

#[derive(Serialize)]
pub struct Way {
    calibration: String,
    /// How many channels were brought to the same range.
    equalized: usize,
    error: f64,
}

#[derive(Serialize)]
pub struct Noise {
    operation: String,
    signal_to_noise_db: f64,
}

impl Step {
    pub fn measure(network: &Network, images: &Images) -> Result<Self> {
        let what = network.description.origin.changes.last().cloned().unwrap_or_else(|| "as trained".to_owned());
        let mut session = Session::new(&Model::new(network)?, candle_core::utils::get_num_threads())?;
        let mut progress = Progress::new();
        let judges = images.judges();
        let found = evaluated(&mut session, &images.0.eval, &|label| label as usize, &mut |done, total| {
            progress.at(done as u64, total as u64, || format!("{what}: {done} of {total} {judges} images evaluated"));
        })?;
        progress.finish();
        let timing = timed(&mut session, 1, PASSES)?;
        Ok(Self {
            what,
            images: judges,
            image_count: images.0.eval.len(),
            top1: found.top1,
            loss: found.loss,
            latency_ms_p50: timing.latency_ms.p50,
            threads: session.threads(),
            bytes: network.to_bytes()?.len(),
        })
    }
}

impl From<Tried> for Way {
    fn from(Tried { calibration, equalized, error }: Tried) -> Self {
        Self { calibration: calibration.to_string(), equalized, error }
    }
}

impl From<LayerNoise> for Noise {
    fn from(LayerNoise { name, signal_to_noise_db }: LayerNoise) -> Self {
        Self { operation: name, signal_to_noise_db }
    }
}

pub fn said(report: &Report, config: &RunConfig) -> String {
    let mut text = format!(
        "{}: {} in {}, {:.2} MB\n",
        report.file.display(),
        config.model.title(),
        report.precision,
        report.bytes as f64 / 1e6
    );
    for change in report.changes {
        text += &format!("{change}\n");
    }
    for Way { calibration, equalized, error } in &report.tried {
        let equalized = if *equalized > 0 { format!(", {equalized} channels equalized") } else { String::new() };
        let error = 100.0 * error;
        text += &format!("ranges by {calibration:<10}  logits differ by {error:.2} % on held-out images{equalized}\n");
    }
    if let Some(Step { images, image_count, threads, .. }) = report.steps.first() {
        let width = report.steps.iter().map(|step| step.what.len()).max().unwrap_or(0);
        text += &format!(
            "\nby the runtime: top-1 and cross-entropy of {} {images} images; median time of one image, {threads} thread{}\n",
            thousands(*image_count as u64),
            if *threads == 1 { "" } else { "s" }
        );
        for Step { what, top1, loss, latency_ms_p50, bytes, .. } in &report.steps {
            let (top1, megabytes) = (percent(*top1), *bytes as f64 / 1e6);
            text += &format!("{what:<width$}  {top1:>7}  {loss:.4}  {latency_ms_p50:>7.3} ms  {megabytes:>6.2} MB\n");
        }
    }
    if !report.noise.is_empty() {
        text += "\nsignal to noise of each result in 8 bits\n";
    }
    let width = report.noise.iter().map(|noise| noise.operation.len()).max().unwrap_or(0);
    for Noise { operation, signal_to_noise_db } in &report.noise {
        text += &format!("{operation:<width$}  {signal_to_noise_db:>6.1} dB\n");
    }
    text
}
