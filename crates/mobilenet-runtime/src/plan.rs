//! What a model does, step by step: operations that run as one are one step, and each has its weights packed.

use mobilenet_kernels::folded::{Epilogue, Panels, Pieces, PiecesError, StemShape, WindowShape, Windows, strips};
use mobilenet_kernels::{Activation as Named, Level};

use crate::groups::{Group, aliases, groups, places};
use crate::network::{Activation, OperationKind, Shape};
use crate::tensors::Parts;
use crate::{Error, Result};

/// One step.
#[derive(Debug)]
pub(crate) struct Step {
    /// Its last operation's place in the list.
    pub operation: usize,
    pub kind: StepKind,
    /// What it takes; `None` is the image.
    pub input: Option<Place>,
    pub add: Option<Added>,
    pub output: Place,
}

/// What a step adds to its result.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Added {
    Image,
    Value(Place),
}

/// Where a value lies, for one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub start: usize,
    pub len: usize,
}

impl Place {
    /// Where it lies for `n` images.
    pub(crate) fn range(&self, n: usize) -> std::ops::Range<usize> {
        self.start * n..(self.start + self.len) * n
    }
}

#[derive(Debug)]
pub(crate) enum StepKind {
    /// A dense convolution by unfolded windows.
    Stem { shape: StemShape, panels: Panels, epilogue: Epilogue },
    /// A 1×1 convolution or a linear layer.
    Product { panels: Panels, epilogue: Epilogue },
    /// A depthwise convolution and the expansion before it. `strips` is how many sums it leaves for each channel, 0 where
    /// nobody asks for them.
    Depthwise {
        shape: WindowShape,
        expansion: Option<(Panels, Epilogue)>,
        windows: Windows,
        epilogue: Epilogue,
        strips: usize,
    },
    /// Squeeze-and-excite, in place. `strips` is how many sums the step before left for each channel, 0 if none.
    SqueezeExcite { down: Panels, up: Panels, pixels: usize, strips: usize },
    /// The mean over the pixels.
    Pool { pixels: usize },
}

/// All steps, and the memory they need for one image.
#[derive(Debug)]
pub(crate) struct Plan {
    pub steps: Vec<Step>,
    /// Numbers of the values that a step makes.
    pub arena: usize,
    /// Numbers of the largest sums, of the most channels that are gated, and of the widest hidden layer of a gate.
    pub sums: usize,
    pub gated: usize,
    pub squeezed: usize,
}

impl Plan {
    pub(crate) fn new(network: Parts, level: Level, together: bool) -> Result<Self> {
        let shapes = network.shapes()?;
        let groups = groups(network.operations, together);
        let aliases = aliases(network.operations, &groups);
        let (starts, arena) = places(network.operations, &groups, &shapes, &aliases);
        let place = |value: usize| Place { start: starts[aliases[value]], len: shapes[value].len() };
        let mut plan = Self { steps: Vec::new(), arena, sums: 0, gated: 0, squeezed: 0 };
        for (i, group) in groups.iter().enumerate() {
            let first = &network.operations[group.expansion.unwrap_or(group.operation)];
            let operation = &network.operations[group.operation];
            let next = groups.get(i + 1).map(|next| &network.operations[next.operation]);
            let input = shapes[first.input];
            let mut kind = kind(network, level, group, input, shapes[group.operation + 1])?;
            let is_gated =
                next.is_some_and(|next| next.kind == OperationKind::SqueezeExcite && next.input == group.operation + 1);
            match &mut kind {
                StepKind::Depthwise { shape, windows, strips: wanted, .. } if is_gated && operation.add.is_none() => {
                    *wanted = strips(*shape, windows);
                    plan.sums = plan.sums.max(*wanted * windows.channels());
                }
                StepKind::SqueezeExcite { down, strips: left, .. } => {
                    if let Some(Step { kind: StepKind::Depthwise { strips, .. }, output, .. }) = plan.steps.last()
                        && *output == place(group.operation + 1)
                    {
                        *left = *strips;
                    }
                    plan.gated = plan.gated.max(down.inner());
                    plan.squeezed = plan.squeezed.max(down.columns());
                }
                _ => {}
            }
            plan.steps.push(Step {
                operation: group.operation,
                kind,
                input: first.input.checked_sub(1).map(|_| place(first.input)),
                add: operation.add.map(|add| if add == 0 { Added::Image } else { Added::Value(place(add)) }),
                output: place(group.operation + 1),
            });
        }
        Ok(plan)
    }

    /// Bytes of the packed weights.
    pub(crate) fn weight_bytes(&self) -> usize {
        let of = |kind: &StepKind| match kind {
            StepKind::Stem { panels, .. } | StepKind::Product { panels, .. } => panels.bytes(),
            StepKind::Depthwise { expansion, windows, .. } => {
                windows.bytes() + expansion.as_ref().map_or(0, |(panels, _)| panels.bytes())
            }
            StepKind::SqueezeExcite { down, up, .. } => down.bytes() + up.bytes(),
            StepKind::Pool { .. } => 0,
        };
        self.steps.iter().map(|step| of(&step.kind)).sum()
    }
}

/// Packs an operation's weights.
fn kind(network: Parts, level: Level, group: &Group, input: Shape, output: Shape) -> Result<StepKind> {
    let operation = &network.operations[group.operation];
    let name = &operation.name;
    let epilogue =
        operation.activation.epilogue().map_err(|error| Error::value(name, "straight pieces", error.to_string()))?;
    let panels = |name: &str| -> Result<Panels> {
        let (weight, bias) = (format!("{name}.weight"), network.floats(&format!("{name}.bias"))?);
        let inner = network.len(&weight)? / bias.len();
        Panels::read(level, inner, &bias, |column, to| network.tensors.floats(&weight, column * inner, to))
    };
    let unsupported = |what: &str| Err(Error::value(format!("{name:?}"), "an operation that this runtime has", what));
    Ok(match operation.kind {
        OperationKind::Conv { kernel, stride, dilation, depthwise: true } => {
            let weight = network.floats(&format!("{name}.weight"))?;
            let windows = Windows::new(level, &weight, kernel, &network.floats(&format!("{name}.bias"))?);
            let expansion = match group.expansion.map(|i| &network.operations[i]) {
                Some(first) => {
                    let error = |error: PiecesError| Error::value(&first.name, "straight pieces", error.to_string());
                    Some((panels(&first.name)?, first.activation.epilogue().map_err(error)?))
                }
                None => None,
            };
            let shape = WindowShape { h: input.h, w: input.w, kernel, stride, dilation };
            if operation.add.is_some() {
                return unsupported("a depthwise convolution with a sum");
            }
            StepKind::Depthwise { shape, expansion, windows, epilogue, strips: 0 }
        }
        OperationKind::Conv { kernel: 1, stride: 1, .. } => StepKind::Product { panels: panels(name)?, epilogue },
        OperationKind::Conv { kernel, stride, dilation, .. } => {
            if dilation != 1 && kernel > 1 {
                return unsupported("a dense convolution with dilation");
            }
            if operation.add.is_some() {
                return unsupported("a dense convolution over several pixels with a sum");
            }
            let shape = StemShape { h: input.h, w: input.w, c_in: input.c, kernel, stride };
            let weight = shape.reordered(&network.floats(&format!("{name}.weight"))?);
            let panels = Panels::new(level, &weight, shape.window(), &network.floats(&format!("{name}.bias"))?);
            StepKind::Stem { shape, panels, epilogue }
        }
        OperationKind::Linear => StepKind::Product { panels: panels(name)?, epilogue },
        OperationKind::SqueezeExcite if operation.add.is_some() || !operation.activation.is_identity() => {
            return unsupported("squeeze-and-excite with a sum or an activation");
        }
        OperationKind::SqueezeExcite => {
            let (down, up) = (panels(&format!("{name}.fc1"))?, panels(&format!("{name}.fc2"))?);
            StepKind::SqueezeExcite { down, up, pixels: output.pixels(), strips: 0 }
        }
        OperationKind::Pool if operation.add.is_some() || !operation.activation.is_identity() => {
            return unsupported("a pool with a sum or an activation");
        }
        OperationKind::Pool => StepKind::Pool { pixels: input.pixels() },
    })
}

impl Activation {
    /// As the kernels have it.
    pub(crate) fn epilogue(&self) -> Result<Epilogue, PiecesError> {
        Ok(match self {
            Self::Identity => Named::Identity.into(),
            Self::Relu => Named::Relu.into(),
            Self::Relu6 => Named::Relu6.into(),
            Self::HSwish => Named::HSwish.into(),
            Self::HSigmoid => Named::HSigmoid.into(),
            Self::Pieces { kinks, slopes } => Epilogue::Pieces(Pieces::new(kinks, slopes)?),
        })
    }
}
