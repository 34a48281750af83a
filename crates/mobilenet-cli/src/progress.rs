//! How far the work is: a bar on a terminal, a line now and then in a log.

use std::fmt::Write;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mobilenet_train::{EpochMetrics, Observer, StepReport};

use crate::interrupt;
use crate::output::{note, visible};

/// Least time between two lines in a log.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Tells on stderr how far the work is.
pub struct Progress {
    bar: ProgressBar,
    last_line: Instant,
}

impl Progress {
    pub fn new() -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {msg}") {
            bar.set_style(style);
        }
        Self { bar, last_line: Instant::now() }
    }

    /// `done` of `total`; `message` is only made if it is shown.
    pub fn at(&mut self, done: u64, total: u64, message: impl FnOnce() -> String) {
        if !self.bar.is_hidden() {
            self.bar.set_length(total);
            self.bar.set_position(done);
            self.bar.set_message(visible(&message()).into_owned());
        } else if self.last_line.elapsed() >= LOG_INTERVAL {
            self.line(&message());
        }
    }

    /// A line that stays.
    pub fn line(&mut self, text: &str) {
        self.last_line = Instant::now();
        self.bar.suspend(|| note(text));
    }

    /// Shows the progress of loading a data set.
    pub fn loading(&mut self, progress: mobilenet_data::Progress) {
        use mobilenet_data::Progress::{Downloading, FallingBack, Reading};
        match progress {
            Downloading { file, done, total } => self
                .at(done, total, || format!("{file}: {:.1} of {:.1} MB downloaded", megabytes(done), megabytes(total))),
            Reading { file, done, total } => self.at(done, total, || format!("{file}: {done} of {total} images read")),
            FallingBack { reason } => self.line(&format!(
                "warning: {reason}. Using shapes10 instead: pictures drawn by code, whose accuracies say nothing about \
                 CIFAR-10"
            )),
            _ => {}
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Follows a training.
pub struct Training {
    progress: Progress,
    /// When the first step seen here ended, and how many of the whole run's steps were done then.
    start: Option<(Instant, usize)>,
}

impl Training {
    pub fn new() -> Self {
        Self { progress: Progress::new(), start: None }
    }

    pub fn finish(&self) {
        self.progress.finish();
    }
}

impl Observer for Training {
    fn on_step(&mut self, report: &StepReport) -> ControlFlow<()> {
        let StepReport { epoch, epochs, step, steps, mean_loss, mean_top1, lr, images_per_second, .. } = *report;
        let (done, total) = ((epoch - 1) * steps + step, epochs * steps);
        let (start, done_then) = *self.start.get_or_insert_with(|| (Instant::now(), done));
        self.progress.at(done as u64, total as u64, || {
            let mut text = format!(
                "epoch {epoch}/{epochs}, step {step}/{steps}: loss {mean_loss:.3}, top-1 {}, lr {lr:.2e}, \
                 {images_per_second:.0} images/s",
                percent(mean_top1)
            );
            if done > done_then {
                let per_step = start.elapsed().as_secs_f64() / (done - done_then) as f64;
                let _ = write!(text, ", {} left", duration(per_step * (total - done) as f64));
            }
            text
        });
        interrupt::flow()
    }

    fn on_evaluation(&mut self, done: usize, total: usize) -> ControlFlow<()> {
        self.progress.at(done as u64, total as u64, || format!("{done} of {total} images evaluated"));
        interrupt::flow()
    }

    fn on_epoch(&mut self, m: &EpochMetrics) -> ControlFlow<()> {
        let split = match m.eval {
            mobilenet_train::EvalMetrics::Test { .. } => "test",
            mobilenet_train::EvalMetrics::Validation { .. } => "validation",
        };
        self.progress.line(&format!(
            "epoch {}: training loss {:.3}, top-1 {}; {split} loss {:.3}, top-1 {}, top-5 {}; {:.0} images/s, {} so far",
            m.epoch,
            m.train_loss,
            percent(m.train_top1),
            m.eval.loss(),
            percent(m.eval.top1()),
            percent(m.eval.top5()),
            m.images_per_second,
            duration(m.elapsed_seconds)
        ));
        interrupt::flow()
    }
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// A fraction as people read it: `43.2 %`.
pub fn percent(fraction: f64) -> String {
    format!("{:.1} %", 100.0 * fraction)
}

/// Seconds as people read them: `9 s`, `4 min 05 s`, `2 h 07 min`.
pub fn duration(seconds: f64) -> String {
    let s = seconds.round().max(0.0) as u64;
    match (s / 3600, s / 60 % 60, s % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, min, s) => format!("{min} min {s:02} s"),
        (h, min, _) => format!("{h} h {min:02} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (seconds, text) in
            [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (245.0, "4 min 05 s"), (7620.0, "2 h 07 min")]
        {
            assert_eq!(duration(seconds), text);
        }
    }
}
