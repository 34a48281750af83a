//! Running a plan in 8 bits.

use mobilenet_kernels::Level;
use mobilenet_kernels::folded::int8::{self, Affine, ByteExpansion, DepthwiseScratch, Scratch as Words, means_of_sums};
use mobilenet_kernels::folded::{AlignedBuffer, Crew, Epilogue, Unfolded, product};

use super::plan::{BytePlan, Step, StepKind};
use crate::observer::Observer;

/// What a run of some images in 8 bits writes to.
#[derive(Default)]
pub(crate) struct ByteScratch {
    image: AlignedBuffer<u8>,
    arena: AlignedBuffer<u8>,
    depthwise: DepthwiseScratch,
    words: Words,
    unfolded: Unfolded<u8>,
    sums: Vec<u32>,
    means: Vec<f32>,
    hidden: Vec<f32>,
    gates: Vec<f32>,
}

impl ByteScratch {
    pub(crate) fn fit(&mut self, plan: &BytePlan, n: usize) {
        self.image.grow(n * plan.image_len);
        self.arena.grow(n * plan.arena);
        let grow = |values: &mut Vec<f32>, len: usize| values.resize(values.len().max(len), 0.);
        self.sums.resize(self.sums.len().max(n * plan.sums), 0);
        grow(&mut self.means, n * plan.gated);
        grow(&mut self.gates, n * plan.gated);
        grow(&mut self.hidden, n * plan.squeezed);
    }

    pub(crate) fn run(
        &mut self,
        plan: &BytePlan,
        level: Level,
        crew: Crew,
        n: usize,
        images: &[f32],
        logits: &mut [f32],
    ) {
        self.observed(plan, level, crew, n, images, logits, &mut None);
    }

    /// [`run`](Self::run), which shows each operation's result.
    #[allow(clippy::too_many_arguments, reason = "what a run needs, and who looks on")]
    pub(crate) fn observed(
        &mut self,
        plan: &BytePlan,
        level: Level,
        crew: Crew,
        n: usize,
        images: &[f32],
        logits: &mut [f32],
        observer: &mut Observer,
    ) {
        self.fit(plan, n);
        int8::quantize(level, images, plan.image, &mut self.image.values_mut()[..images.len()]);
        for step in &plan.steps {
            self.step(level, crew, step, n, images.len(), logits);
            let Some(observer) = observer else { continue };
            match step.kept {
                Some(affine) => {
                    let bytes = &self.arena.values()[step.output.range(n)];
                    let values: Vec<f32> = bytes.iter().map(|byte| affine.value(*byte)).collect();
                    observer(step.operation, &values);
                }
                None => observer(step.operation, logits),
            }
        }
    }

    fn step(&mut self, level: Level, crew: Crew, step: &Step, n: usize, image_len: usize, logits: &mut [f32]) {
        let Self { image, arena, depthwise, words, unfolded, sums, means, hidden, gates } = self;
        let (input, added, output) = operands(arena.values_mut(), step, n, &image.values()[..image_len]);
        match &step.kind {
            StepKind::Stem { shape, zero_point, panels, output: kept } => {
                int8::stem(crew, *shape, input, *zero_point, panels, kept, unfolded, words, output);
            }
            StepKind::Product { panels, output: kept } => {
                int8::product(crew, input, panels, kept, added, words, output);
            }
            StepKind::Depthwise { shape, expansion, windows, output: kept, strips } => {
                let sums = &mut sums[..n * strips * windows.channels()];
                let expansion = match expansion {
                    Some((panels, output)) => ByteExpansion::Product(panels, output),
                    None => ByteExpansion::None,
                };
                int8::depthwise(crew, *shape, input, expansion, windows, kept, depthwise, words, sums, output);
            }
            StepKind::SqueezeExcite { down, up, pixels, strips, from, to } => {
                let (c, squeezed) = (down.inner(), down.columns());
                if !input.is_empty() {
                    output.copy_from_slice(input);
                }
                let means = &mut means[..n * c];
                if *strips > 0 {
                    means_of_sums(&sums[..n * strips * c], *strips, *pixels, c, *from, means);
                } else {
                    int8::means(output, *pixels, c, *from, means);
                }
                let (hidden, gates) = (&mut hidden[..n * squeezed], &mut gates[..n * c]);
                let relu = Epilogue::Clamp { low: 0., high: f32::INFINITY };
                product(crew, means, down, &relu, None, hidden);
                product(crew, hidden, up, &Epilogue::HSigmoid, None, gates);
                int8::scale_channels(crew, level, gates, *pixels, c, *from, *to, output);
            }
            StepKind::Pool { pixels, from, to } => {
                let means = &mut means[..output.len()];
                int8::means(input, *pixels, output.len() / n, *from, means);
                int8::quantize(level, means, *to, output);
            }
            StepKind::Logits { panels, output: kept } => {
                int8::product_to_floats(crew, input, panels, kept, words, logits);
            }
        }
    }
}

/// What a step reads, adds and writes. A step in place reads nothing but what it writes.
#[allow(clippy::type_complexity, reason = "three slices")]
fn operands<'a>(
    arena: &'a mut [u8],
    step: &Step,
    n: usize,
    image: &'a [u8],
) -> (&'a [u8], Option<(&'a [u8], Affine)>, &'a mut [u8]) {
    let output = step.output.range(n);
    let input = step.input.map(|place| place.range(n)).filter(|input| *input != output);
    let image = if step.input.is_none() { image } else { &[] };
    let (before, rest) = arena.split_at_mut(output.start);
    let (out, after) = rest.split_at_mut(output.len());
    let (before, after) = (&*before, &*after);
    // Values that live at the same time lie apart: before or after the output.
    let find = |range: std::ops::Range<usize>| match range.start < output.start {
        true => &before[range],
        false => &after[range.start - output.end..range.end - output.end],
    };
    let added = step.add.map(|(place, affine)| (find(place.range(n)), affine));
    (input.map_or(image, find), added, out)
}
