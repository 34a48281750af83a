//! What a model in 8 bits does, step by step.

use mobilenet_kernels::Level;
use mobilenet_kernels::folded::int8::{self, Affine, BytePanels, ByteWindows, Output};
use mobilenet_kernels::folded::{Panels, StemShape, WindowShape};

use crate::groups::{Group, aliases, groups, places};
use crate::network::{Operation, OperationKind, Quantization, Shape};
use crate::plan::Place;
use crate::precision::Precision;
use crate::tensors::Parts;
use crate::{Error, Result};

/// All steps, and the memory they need for one image.
#[derive(Debug)]
pub(crate) struct BytePlan {
    pub(super) steps: Vec<Step>,
    pub(super) image: Affine,
    pub(super) image_len: usize,
    pub(super) arena: usize,
    pub(super) sums: usize,
    pub(super) gated: usize,
    pub(super) squeezed: usize,
}

#[derive(Debug)]
pub(super) struct Step {
    /// Its last operation's place in the list, and how its result is kept.
    pub(super) operation: usize,
    pub(super) kept: Option<Affine>,
    pub(super) kind: StepKind,
    /// `None` is the image.
    pub(super) input: Option<Place>,
    pub(super) add: Option<(Place, Affine)>,
    pub(super) output: Place,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a plan has a few dozen of them")]
pub(super) enum StepKind {
    Stem {
        shape: StemShape,
        zero_point: u8,
        panels: BytePanels,
        output: Output,
    },
    Product {
        panels: BytePanels,
        output: Output,
    },
    Depthwise {
        shape: WindowShape,
        expansion: Option<(BytePanels, Output)>,
        windows: ByteWindows,
        output: Output,
        /// Sums that are left for each channel, 0 where nobody asks for them.
        strips: usize,
    },
    /// In place; `strips` is how many sums the step before left for each channel, 0 if none.
    SqueezeExcite {
        down: Panels,
        up: Panels,
        pixels: usize,
        strips: usize,
        from: Affine,
        to: Affine,
    },
    Pool {
        pixels: usize,
        from: Affine,
        to: Affine,
    },
    /// The last one: its results are float32.
    Logits {
        panels: BytePanels,
        output: Output,
    },
}

impl From<Quantization> for Affine {
    fn from(quantization: Quantization) -> Self {
        Self { scale: quantization.scale, zero_point: quantization.zero_point }
    }
}

impl BytePlan {
    pub(crate) fn new(network: Parts, level: Level, image: Affine, together: bool) -> Result<Self> {
        let shapes = network.shapes()?;
        let groups = groups(network.operations, together);
        let aliases = aliases(network.operations, &groups);
        let (starts, arena) = places(network.operations, &groups, &shapes, &aliases);
        let place = |value: usize| Place { start: starts[aliases[value]], len: shapes[value].len() };
        let image_len = shapes[0].len();
        let mut plan = Self { steps: Vec::new(), image, image_len, arena, sums: 0, gated: 0, squeezed: 0 };
        let packer = Packer { network, level, shapes: &shapes, image };
        for (i, group) in groups.iter().enumerate() {
            let first = &network.operations[group.expansion.unwrap_or(group.operation)];
            let operation = &network.operations[group.operation];
            let next = groups.get(i + 1).map(|next| &network.operations[next.operation]);
            let mut kind = packer.kind(group, i + 1 == groups.len())?;
            match &mut kind {
                StepKind::Depthwise { shape, windows, strips, .. } => {
                    let is_gated = next.is_some_and(|next| {
                        next.kind == OperationKind::SqueezeExcite && next.input == group.operation + 1
                    });
                    if is_gated {
                        *strips = int8::strips(*shape, windows);
                        plan.sums = plan.sums.max(*strips * windows.channels());
                    }
                }
                StepKind::SqueezeExcite { down, strips: left, .. } => {
                    if let Some(Step { kind: StepKind::Depthwise { strips, .. }, output, .. }) = plan.steps.last()
                        && *output == place(group.operation + 1)
                    {
                        *left = *strips;
                    }
                    plan.squeezed = plan.squeezed.max(down.columns());
                }
                _ => {}
            }
            plan.gated = plan.gated.max(shapes[group.operation + 1].c);
            let add = match operation.add {
                Some(0) => return Err(unsupported(operation, "a sum with the image")),
                Some(add) => Some((place(add), packer.affine(add)?)),
                None => None,
            };
            plan.steps.push(Step {
                operation: group.operation,
                kept: operation.quantization.map(Affine::from),
                kind,
                input: first.input.checked_sub(1).map(|_| place(first.input)),
                add,
                output: place(group.operation + 1),
            });
        }
        Ok(plan)
    }

    /// Bytes of the packed weights.
    pub(crate) fn weight_bytes(&self) -> usize {
        let of = |kind: &StepKind| match kind {
            StepKind::Stem { panels, .. } | StepKind::Product { panels, .. } | StepKind::Logits { panels, .. } => {
                panels.bytes()
            }
            StepKind::Depthwise { expansion, windows, .. } => {
                windows.bytes() + expansion.as_ref().map_or(0, |(panels, _)| panels.bytes())
            }
            StepKind::SqueezeExcite { down, up, .. } => down.bytes() + up.bytes(),
            StepKind::Pool { .. } => 0,
        };
        self.steps.iter().map(|step| of(&step.kind)).sum()
    }

    /// Bytes of the values that one image needs.
    pub(crate) fn arena_bytes(&self) -> usize {
        self.arena + self.image_len
    }
}

fn unsupported(operation: &Operation, what: &str) -> Error {
    let expected = "an operation that this runtime has in 8 bits";
    Error::value(format!("{:?}", operation.name), expected, what)
}

/// Packs operations' weights.
struct Packer<'a> {
    network: Parts<'a>,
    level: Level,
    shapes: &'a [Shape],
    image: Affine,
}

impl Packer<'_> {
    /// How a value is kept.
    fn affine(&self, value: usize) -> Result<Affine> {
        let Some(place) = value.checked_sub(1) else { return Ok(self.image) };
        let operation = &self.network.operations[place];
        let quantization = operation.quantization.map(Affine::from);
        quantization.ok_or_else(|| Error::value(format!("{:?}", operation.name), "a result in 8 bits", "float32"))
    }

    /// What an operation does with its sums.
    fn output(&self, operation: &Operation, affine: Affine) -> Result<Output> {
        let epilogue = operation.activation.epilogue();
        let epilogue = epilogue.map_err(|error| Error::value(&operation.name, "straight pieces", error.to_string()))?;
        Ok(Output { epilogue, affine })
    }

    /// A weight in 8 bits, its scales, and the bias.
    fn parts(&self, name: &str) -> Result<(Vec<i8>, Vec<f32>, Vec<f32>)> {
        let weight = format!("{name}.weight");
        let (scales, bias) = (format!("{weight}_scale"), format!("{name}.bias"));
        Ok((self.network.bytes(&weight)?, self.network.floats(&scales)?, self.network.floats(&bias)?))
    }

    fn panels(&self, name: &str, input: Affine) -> Result<BytePanels> {
        let (weight, scales, bias) = self.parts(name)?;
        Ok(BytePanels::new(self.level, &weight, weight.len() / bias.len(), &scales, &bias, input))
    }

    /// The float32 product of a gate: kept in 8 bits to be small, computed in float32.
    fn gate(&self, name: &str) -> Result<Panels> {
        let (weight, bias) = (self.network.numbers(name)?, self.network.floats(&format!("{name}.bias"))?);
        Ok(Panels::new(self.level, &weight, weight.len() / bias.len(), &bias))
    }

    fn kind(&self, group: &Group, is_last: bool) -> Result<StepKind> {
        let operation = &self.network.operations[group.operation];
        let first = &self.network.operations[group.expansion.unwrap_or(group.operation)];
        let (name, value) = (&operation.name, group.operation + 1);
        let (input, from) = (self.shapes[first.input], self.affine(first.input)?);
        if is_last {
            return match operation.kind {
                OperationKind::Linear if operation.add.is_none() && operation.quantization.is_none() => {
                    let panels = self.panels(name, from)?;
                    if panels.padded() != input.c {
                        return Err(unsupported(operation, &format!("{} channels, not a multiple of 4", input.c)));
                    }
                    Ok(StepKind::Logits { panels, output: self.output(operation, from)? })
                }
                _ => Err(unsupported(operation, "a last one that is no linear layer with float32 results")),
            };
        }
        let to = self.affine(value)?;
        let output = self.output(operation, to)?;
        let plain = operation.add.is_none() && operation.activation.is_identity();
        let whole = |panels: BytePanels, c: usize| match panels.padded() == c {
            true => Ok(panels),
            false => Err(unsupported(operation, &format!("{c} channels, not a multiple of 4"))),
        };
        Ok(match operation.kind {
            OperationKind::Conv { kernel, stride, dilation, depthwise: true } => {
                if operation.add.is_some() {
                    return Err(unsupported(operation, "a depthwise convolution with a sum"));
                }
                let shape = WindowShape { h: input.h, w: input.w, kernel, stride, dilation };
                let (expansion, middle) = match group.expansion {
                    Some(i) => {
                        let middle = self.affine(i + 1)?;
                        let panels = whole(self.panels(&first.name, from)?, input.c)?;
                        (Some((panels, self.output(first, middle)?)), middle)
                    }
                    None => (None, from),
                };
                let (weight, scales, bias) = self.parts(name)?;
                let windows = ByteWindows::new(self.level, &weight, kernel, &scales, &bias, middle);
                StepKind::Depthwise { shape, expansion, windows, output, strips: 0 }
            }
            OperationKind::Linear | OperationKind::Conv { kernel: 1, stride: 1, .. } => {
                StepKind::Product { panels: whole(self.panels(name, from)?, input.c)?, output }
            }
            OperationKind::Conv { kernel, stride, dilation, .. } => {
                if (dilation != 1 && kernel > 1) || operation.add.is_some() {
                    return Err(unsupported(operation, "a dense convolution with dilation or a sum"));
                }
                let shape = StemShape { h: input.h, w: input.w, c_in: input.c, kernel, stride };
                let (weight, scales, bias) = self.parts(name)?;
                let weight = shape.reordered(&weight);
                let panels = BytePanels::new(self.level, &weight, shape.window(), &scales, &bias, from);
                StepKind::Stem { shape, zero_point: from.zero_point, panels, output }
            }
            OperationKind::SqueezeExcite if plain => {
                let (down, up) = (self.gate(&format!("{name}.fc1"))?, self.gate(&format!("{name}.fc2"))?);
                StepKind::SqueezeExcite { down, up, pixels: input.pixels(), strips: 0, from, to }
            }
            OperationKind::Pool if plain => StepKind::Pool { pixels: input.pixels(), from, to },
            OperationKind::SqueezeExcite | OperationKind::Pool => {
                return Err(unsupported(operation, "a pool or squeeze-and-excite with a sum or an activation"));
            }
        })
    }
}

impl Parts<'_> {
    /// A weight as float32 numbers, however it is kept.
    fn numbers(&self, name: &str) -> Result<Vec<f32>> {
        let weight = format!("{name}.weight");
        if !self.tensors.info(&weight).is_some_and(|info| info.kept == Precision::Int8) {
            return self.floats(&weight);
        }
        let (values, scales) = (self.bytes(&weight)?, self.floats(&format!("{weight}_scale"))?);
        let inner = values.len() / scales.len();
        Ok(values.iter().enumerate().map(|(i, value)| f32::from(*value) * scales[i / inner]).collect())
    }
}
