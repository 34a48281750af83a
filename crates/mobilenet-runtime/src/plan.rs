//! What a model does, step by step: operations that run as one are one step, and each has its weights packed.

use mobilenet_kernels::folded::{Epilogue, Panels, Pieces, PiecesError, StemShape, WindowShape, Windows, strips};
use mobilenet_kernels::{Activation as Named, Level};

use crate::arena::{Lifetime, place};
use crate::network::{Activation, Network, Operation, OperationKind, Shape, Values};
use crate::{Error, Result};

/// One step.
#[derive(Debug)]
pub(crate) struct Step {
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

#[derive(Debug)]
pub(crate) enum StepKind {
    /// A dense convolution by unfolded windows.
    Stem { shape: StemShape, panels: Panels, epilogue: Epilogue },
    /// A 1×1 convolution or a linear layer.
    Product { panels: Panels, epilogue: Epilogue },
    /// A depthwise convolution and the expansion before it. `strips` is how many sums it leaves for each channel, 0 where
    /// nobody asks for them.
    Depthwise { shape: WindowShape, expansion: Option<(Panels, Epilogue)>, windows: Windows, epilogue: Epilogue, strips: usize },
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

/// An operation's place in the list, and those that run with it.
struct Group {
    operation: usize,
    expansion: Option<usize>,
}

impl Plan {
    pub(crate) fn new(network: &Network, level: Level) -> Result<Self> {
        let shapes = network.shapes()?;
        let groups = groups(&network.operations);
        let aliases = aliases(&network.operations, &groups);
        let (starts, arena) = places(&network.operations, &groups, &shapes, &aliases);
        let place = |value: usize| Place { start: starts[aliases[value]], len: shapes[value].len() };
        let mut plan = Self { steps: Vec::new(), arena, sums: 0, gated: 0, squeezed: 0 };
        for (i, group) in groups.iter().enumerate() {
            let first = &network.operations[group.expansion.unwrap_or(group.operation)];
            let operation = &network.operations[group.operation];
            let next = groups.get(i + 1).map(|next| &network.operations[next.operation]);
            let input = shapes[first.input];
            let mut kind = kind(network, level, group, input, shapes[group.operation + 1])?;
            let is_gated = next.is_some_and(|next| {
                next.kind == OperationKind::SqueezeExcite && next.input == group.operation + 1
            });
            match &mut kind {
                StepKind::Depthwise { shape, windows, strips: wanted, .. } if is_gated && operation.add.is_none() => {
                    *wanted = strips(*shape, windows);
                    plan.sums = plan.sums.max(*wanted * windows.channels());
                }
                StepKind::SqueezeExcite { down, strips: left, .. } => {
                    if let Some(Step { kind: StepKind::Depthwise { strips, .. }, output, .. }) = plan.steps.last() {
                        if *output == place(group.operation + 1) {
                            *left = *strips;
                        }
                    }
                    plan.gated = plan.gated.max(down.inner());
                    plan.squeezed = plan.squeezed.max(down.columns());
                }
                _ => {}
            }
            plan.steps.push(Step {
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

/// An expansion whose result only the depthwise convolution after it needs runs with it.
fn groups(operations: &[Operation]) -> Vec<Group> {
    let is_expansion = |i: usize| {
        let [first, second] = [&operations[i], &operations[i + 1]];
        let pointwise = OperationKind::Conv { kernel: 1, stride: 1, dilation: 1, depthwise: false };
        let is_depthwise = matches!(second.kind, OperationKind::Conv { depthwise: true, .. });
        let value = i + 1;
        let others = operations.iter().enumerate().filter(|&(j, op)| j != i + 1 && (op.input == value || op.add == Some(value)));
        matches!(first.kind, kind if matches!(kind, OperationKind::Conv { kernel: 1, stride: 1, depthwise: false, .. }) || kind == pointwise)
            && first.add.is_none()
            && is_depthwise
            && second.input == value
            && second.add != Some(value)
            && others.count() == 0
    };
    let mut groups = Vec::new();
    let mut i = 0;
    while i < operations.len() {
        if i + 1 < operations.len() && is_expansion(i) {
            groups.push(Group { operation: i + 1, expansion: Some(i) });
            i += 2;
        } else {
            groups.push(Group { operation: i, expansion: None });
            i += 1;
        }
    }
    groups
}

/// For each value the one whose memory it takes: squeeze-and-excite works in place where nobody else needs what it takes.
fn aliases(operations: &[Operation], groups: &[Group]) -> Vec<usize> {
    let mut aliases: Vec<usize> = (0..=operations.len()).collect();
    for group in groups {
        let operation = &operations[group.operation];
        let readers = operations.iter().filter(|op| op.input == operation.input || op.add == Some(operation.input));
        let is_in_place = operation.kind == OperationKind::SqueezeExcite && operation.input > 0 && readers.count() == 1;
        if is_in_place {
            aliases[group.operation + 1] = aliases[operation.input];
        }
    }
    aliases
}

/// Where each value begins, by lifetimes counted in groups.
fn places(operations: &[Operation], groups: &[Group], shapes: &[Shape], aliases: &[usize]) -> (Vec<usize>, usize) {
    let mut lifetimes = vec![None::<Lifetime>; shapes.len()];
    let mut read = |lifetimes: &mut Vec<Option<Lifetime>>, value: usize, at: usize| {
        if let Some(lifetime) = &mut lifetimes[aliases[value]] {
            lifetime.read = at;
        }
    };
    for (at, group) in groups.iter().enumerate() {
        let operation = &operations[group.operation];
        let value = group.operation + 1;
        let first = &operations[group.expansion.unwrap_or(group.operation)];
        read(&mut lifetimes, first.input, at);
        if let Some(add) = operation.add {
            read(&mut lifetimes, add, at);
        }
        if aliases[value] == value {
            lifetimes[value] = Some(Lifetime { len: shapes[value].len(), made: at, read: at });
        }
    }
    read(&mut lifetimes, operations.len(), groups.len());
    let values: Vec<usize> = (0..shapes.len()).filter(|&i| lifetimes[i].is_some()).collect();
    let listed: Vec<Lifetime> = values.iter().filter_map(|&i| lifetimes[i]).collect();
    let (starts, total) = place(&listed);
    let mut all = vec![0; shapes.len()];
    values.iter().zip(starts).for_each(|(&value, start)| all[value] = start);
    (all, total)
}

/// Packs an operation's weights.
fn kind(network: &Network, level: Level, group: &Group, input: Shape, output: Shape) -> Result<StepKind> {
    let operation = &network.operations[group.operation];
    let name = &operation.name;
    let epilogue = operation.activation.epilogue().map_err(|error| Error::value(name, "straight pieces", error.to_string()))?;
    let panels = |name: &str| -> Result<Panels> {
        let (weight, bias) = (network.floats(&format!("{name}.weight"))?, network.floats(&format!("{name}.bias"))?);
        Ok(Panels::new(level, weight, weight.len() / bias.len(), bias))
    };
    let unsupported = |what: &str| Err(Error::value(format!("{name:?}"), "an operation that this runtime has", what));
    Ok(match operation.kind {
        OperationKind::Conv { kernel, stride, dilation, depthwise: true } => {
            let weight = network.floats(&format!("{name}.weight"))?;
            let windows = Windows::new(level, weight, kernel, network.floats(&format!("{name}.bias"))?);
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
            let weight = shape.reordered(network.floats(&format!("{name}.weight"))?);
            let panels = Panels::new(level, &weight, shape.window(), network.floats(&format!("{name}.bias"))?);
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

impl Network {
    /// A float32 tensor.
    fn floats(&self, name: &str) -> Result<&[f32]> {
        match self.tensors.get(name).map(|tensor| &tensor.values) {
            Some(Values::F32(values)) => Ok(values),
            Some(Values::I8(_)) => Err(Error::value(format!("tensor {name:?}"), "float32", "8 bits")),
            None => Err(Error::value("tensors", format!("one named {name:?}"), "none")),
        }
    }
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
