//! One caller's memory and threads.

use mobilenet_kernels::folded::{
    AlignedBuffer, Crew, Epilogue, Expansion, Frames, Team, Unfolded, depthwise, means, means_of_sums, product,
    scale_channels, stem,
};
use mobilenet_kernels::{Activation, Level};

use crate::bytes::ByteScratch;
use crate::model::Plans;
use crate::model::{Inner, Model};
use crate::observer::Observer;
use crate::plan::{Added, Plan, Step, StepKind};
use crate::preprocess::Preprocessor;
use crate::{Error, Result};

/// Images that a thread takes at once from a large batch, at most: later layers have few pixels, and more images make more
/// use of a weight that was read.
const GROUP: usize = 4;

/// Bytes of values that such a group may have, so that they stay near: a few times a core's L2.
const GROUP_BYTES: usize = 4 << 20;

/// One caller's memory: runs a [`Model`] without allocating once it has seen a batch of some size.
pub struct Session {
    model: Model,
    team: Team,
    /// The first is also what all threads share for a small batch.
    scratch: Vec<Scratch>,
    logits: Vec<f32>,
    preprocessor: Preprocessor,
    classes: Vec<Class>,
}

/// A class that was found in a picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Class {
    /// Its place among the model's classes.
    pub index: usize,
    /// How likely it is, from 0 to 1: the softmax of the results.
    pub probability: f32,
}

/// What a run of some images writes to.
#[derive(Default)]
struct Scratch {
    floats: FloatScratch,
    bytes: ByteScratch,
}

impl Scratch {
    fn fit(&mut self, inner: &Inner, n: usize) {
        match &inner.plan {
            Plans::Floats(plan) => self.floats.fit(plan, n),
            Plans::Bytes(plan) => self.bytes.fit(plan, n),
        }
    }

    fn run(&mut self, inner: &Inner, crew: Crew, images: &[f32], logits: &mut [f32]) {
        let n = logits.len() / inner.description.classes.len();
        match &inner.plan {
            Plans::Floats(plan) => self.floats.run(plan, inner.level, crew, n, images, logits),
            Plans::Bytes(plan) => self.bytes.run(plan, inner.level, crew, n, images, logits),
        }
    }
}

/// What a run of some images in float32 writes to.
#[derive(Default)]
struct FloatScratch {
    arena: AlignedBuffer,
    frames: Frames,
    unfolded: Unfolded,
    sums: Vec<f32>,
    means: Vec<f32>,
    hidden: Vec<f32>,
    gates: Vec<f32>,
}

impl Session {
    /// A session whose calls run on `threads` threads, the caller's among them; 0 stands for as many as the machine has.
    ///
    /// # Errors
    /// The system does not start a thread.
    pub fn new(model: &Model, threads: usize) -> Result<Self> {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let team = Team::new(threads).map_err(Error::Thread)?;
        let mut scratch = Vec::new();
        scratch.resize_with(team.threads(), Scratch::default);
        let preprocessor = Preprocessor::new(&model.0.description.input);
        let mut session =
            Self { model: model.clone(), team, scratch, logits: Vec::new(), preprocessor, classes: Vec::new() };
        session.scratch[0].fit(&session.model.0, 1);
        Ok(session)
    }

    /// The model that it runs.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// How many threads run it.
    pub fn threads(&self) -> usize {
        self.team.threads()
    }

    /// Runs images `[n, h, w, 3]`, normalized as the model's description says, and returns `[n, classes]`, before the
    /// softmax.
    ///
    /// # Errors
    /// The number of values is no multiple of an image's.
    pub fn run(&mut self, images: &[f32]) -> Result<&[f32]> {
        let inner = &*self.model.0;
        let (n, classes) = (inner.count(images)?, inner.description.classes.len());
        let len = images.len() / n.max(1);
        self.logits.resize(n * classes, 0.);
        if n == 0 {
            return Ok(&self.logits);
        }
        let threads = self.team.threads();
        let group = (GROUP_BYTES / self.model.arena_bytes().max(1)).clamp(1, GROUP);
        if n < 2 * threads && threads > 1 || n <= group {
            self.scratch[0].run(inner, Crew::Team(&self.team), images, &mut self.logits);
        } else {
            let crew = Crew::Team(&self.team);
            crew.chunks(&mut self.scratch, &mut self.logits, group * classes, &|scratch, first, logits| {
                let first = first / classes;
                let images = &images[first * len..(first + logits.len() / classes) * len];
                scratch.run(inner, Crew::Solo, images, logits);
            });
        }
        Ok(&self.logits)
    }

    /// [`run`](Self::run), which shows each operation's result to `observer`: its place in the network's list, and the values
    /// `[n, h, w, c]`, as float32 numbers also where they are kept in 8 bits. Only the results that are kept are shown: of a
    /// model that was made to be [observed](Model::observable), all of them.
    ///
    /// # Errors
    /// The number of values is no multiple of an image's.
    pub fn observe(&mut self, images: &[f32], observer: &mut dyn FnMut(usize, &[f32])) -> Result<&[f32]> {
        let inner = &*self.model.0;
        let n = inner.count(images)?;
        self.logits.resize(n * inner.description.classes.len(), 0.);
        if n == 0 {
            return Ok(&self.logits);
        }
        let (crew, logits) = (Crew::Team(&self.team), &mut self.logits);
        match &inner.plan {
            Plans::Floats(plan) => {
                self.scratch[0].floats.observed(plan, inner.level, crew, n, images, logits, &mut Some(observer));
            }
            Plans::Bytes(plan) => {
                self.scratch[0].bytes.observed(plan, inner.level, crew, n, images, logits, &mut Some(observer));
            }
        }
        Ok(&self.logits)
    }

    /// Classifies a picture `[height, width, 3]` of any size, red, green, blue from 0 to 255: scaled, cut and normalized as
    /// the model's description says. Returns all classes, the likeliest first.
    ///
    /// # Errors
    /// The picture has no pixels, or not as many values as its size says.
    pub fn classify(&mut self, picture: &[u8], height: usize, width: usize) -> Result<&[Class]> {
        let mut image = std::mem::take(&mut self.preprocessor.image);
        let classified =
            self.preprocessor.apply(picture, height, width, &mut image).and_then(|()| self.run(&image).map(|_| ()));
        self.preprocessor.image = image;
        classified?;
        let most = self.logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = self.logits.iter().map(|logit| (logit - most).exp()).sum();
        self.classes.clear();
        self.classes.extend(
            self.logits
                .iter()
                .enumerate()
                .map(|(index, logit)| Class { index, probability: (logit - most).exp() / sum }),
        );
        self.classes.sort_unstable_by(|a, b| b.probability.total_cmp(&a.probability).then(a.index.cmp(&b.index)));
        Ok(&self.classes)
    }
}

/// `values`, at least `len` of them.
fn grow(values: &mut Vec<f32>, len: usize) {
    if values.len() < len {
        values.resize(len, 0.);
    }
}

impl FloatScratch {
    fn fit(&mut self, plan: &Plan, n: usize) {
        self.arena.grow(n * plan.arena);
        grow(&mut self.sums, n * plan.sums);
        grow(&mut self.means, n * plan.gated);
        grow(&mut self.gates, n * plan.gated);
        grow(&mut self.hidden, n * plan.squeezed);
    }

    fn run(&mut self, plan: &Plan, level: Level, crew: Crew, n: usize, images: &[f32], logits: &mut [f32]) {
        self.observed(plan, level, crew, n, images, logits, &mut None);
    }

    /// [`run`](Self::run), which shows each operation's result.
    #[allow(clippy::too_many_arguments, reason = "what a run needs, and who looks on")]
    fn observed(
        &mut self,
        plan: &Plan,
        level: Level,
        crew: Crew,
        n: usize,
        images: &[f32],
        logits: &mut [f32],
        observer: &mut Observer,
    ) {
        self.fit(plan, n);
        for step in &plan.steps {
            self.step(level, crew, step, n, images);
            if let Some(observer) = observer {
                observer(step.operation, &self.arena.values()[step.output.range(n)]);
            }
        }
        if let Some(last) = plan.steps.last() {
            logits.copy_from_slice(&self.arena.values()[last.output.range(n)]);
        }
    }

    fn step(&mut self, level: Level, crew: Crew, step: &Step, n: usize, images: &[f32]) {
        let Self { arena, frames, unfolded, sums, means: mean, hidden, gates } = self;
        let (input, added, output) = operands(arena.values_mut(), step, n, images);
        match &step.kind {
            StepKind::Stem { shape, panels, epilogue } => {
                stem(crew, *shape, input, panels, epilogue, unfolded, output);
            }
            StepKind::Product { panels, epilogue } => product(crew, input, panels, epilogue, added, output),
            StepKind::Depthwise { shape, expansion, windows, epilogue, strips } => {
                let sums = &mut sums[..n * strips * windows.channels()];
                let expansion = match expansion {
                    Some((panels, epilogue)) => Expansion::Product(panels, epilogue),
                    None => Expansion::None,
                };
                depthwise(crew, *shape, input, expansion, windows, epilogue, frames, sums, output);
            }
            StepKind::SqueezeExcite { down, up, pixels, strips } => {
                let (c, squeezed) = (down.inner(), down.columns());
                if !input.is_empty() {
                    output.copy_from_slice(input);
                }
                let mean = &mut mean[..n * c];
                if *strips > 0 {
                    means_of_sums(&sums[..n * strips * c], *strips, *pixels, c, mean);
                } else {
                    means(level, output, *pixels, c, mean);
                }
                let (hidden, gates) = (&mut hidden[..n * squeezed], &mut gates[..n * c]);
                product(crew, mean, down, &Epilogue::from(Activation::Relu), None, hidden);
                product(crew, hidden, up, &Epilogue::from(Activation::HSigmoid), None, gates);
                scale_channels(crew, level, gates, *pixels, c, output);
            }
            StepKind::Pool { pixels } => means(level, input, *pixels, output.len() / n, output),
        }
    }
}

/// What a step reads, adds and writes. A step in place reads nothing but what it writes.
fn operands<'a>(
    arena: &'a mut [f32],
    step: &Step,
    n: usize,
    images: &'a [f32],
) -> (&'a [f32], Option<&'a [f32]>, &'a mut [f32]) {
    let output = step.output.range(n);
    let input = step.input.map(|place| place.range(n)).filter(|input| *input != output);
    let add = match step.add {
        Some(Added::Value(place)) => Some(place.range(n)),
        _ => None,
    };
    let image = match step.input {
        None => images,
        Some(_) => &[],
    };
    let (before, rest) = arena.split_at_mut(output.start);
    let (out, after) = rest.split_at_mut(output.len());
    let (before, after) = (&*before, &*after);
    // Values that live at the same time lie apart: before or after the output.
    let find = |range: std::ops::Range<usize>| match range.start < output.start {
        true => &before[range],
        false => &after[range.start - output.end..range.end - output.end],
    };
    let added = match step.add {
        Some(Added::Image) => Some(images),
        _ => add.map(find),
    };
    (input.map_or(image, find), added, out)
}
