//! Whether a network's parts fit each other.

use std::collections::BTreeSet;

use mobilenet_kernels::folded::int8::MAX_BYTE_WINDOW;

use crate::network::{Activation, Network, Operation, OperationKind, Quantization, Shape};
use crate::precision::Precision;
use crate::tensors::{Info, Parts};
use crate::{Error, Result};

/// The largest height or width of an image, in pixels.
const MAX_SIDE: usize = 16_384;

/// The most numbers of a value of one image: 1 GiB.
const MAX_VALUE: usize = 1 << 28;

/// The most operations.
const MAX_OPERATIONS: usize = 10_000;

/// The largest window, step, and distance of taps.
const MAX_WINDOW: usize = 64;

impl Network {
    /// The shapes of all values, the image's first, of a network whose parts fit each other.
    ///
    /// # Errors
    /// Names the first part that does not fit.
    pub fn shapes(&self) -> Result<Vec<Shape>> {
        self.parts().shapes()
    }
}

impl Parts<'_> {
    /// [`Network::shapes`]. Of a file, the numbers themselves are looked at when they are read.
    pub(crate) fn shapes(&self) -> Result<Vec<Shape>> {
        let input = &self.description.input;
        for (what, side) in [("input height", input.height), ("input width", input.width)] {
            within(what, side, 1, MAX_SIDE)?;
        }
        let finite = |what, values: &[f32; 3], least: f32| {
            let fits = values.iter().all(|value| value.is_finite() && *value > least);
            let expected = if least == 0. { "finite numbers above 0" } else { "finite numbers" };
            if fits { Ok(()) } else { Err(Error::value(what, expected, format!("{values:?}"))) }
        };
        finite("input mean", &input.mean, f32::NEG_INFINITY)?;
        finite("input std", &input.std, 0.)?;
        if !(input.crop > 0. && input.crop <= 1.) {
            return Err(Error::value("input crop", "a number above 0, at most 1", input.crop.to_string()));
        }
        quantization("the input", input.quantization)?;
        self.image_fits()?;
        within("number of operations", self.operations.len(), 1, MAX_OPERATIONS)?;
        let mut shapes = vec![Shape { h: input.height, w: input.width, c: 3 }];
        let mut names = BTreeSet::new();
        let mut used = BTreeSet::new();
        for operation in self.operations {
            let name = &operation.name;
            if !names.insert(name) {
                return Err(Error::value("operations", "names of their own", format!("{name:?} twice")));
            }
            let shape = self.operation(operation, &shapes, &mut used)?;
            if shape.h.checked_mul(shape.w).and_then(|n| n.checked_mul(shape.c)).is_none_or(|len| len > MAX_VALUE) {
                return Err(Error::value(
                    format!("{name:?}"),
                    format!("at most {MAX_VALUE} numbers"),
                    format!("{shape:?}"),
                ));
            }
            shapes.push(shape);
        }
        if let Some(name) = self.tensors.names().into_iter().find(|name| !used.contains(*name)) {
            return Err(Error::value("tensors", "those of the operations", format!("{name:?}")));
        }
        let (last, classes) = (shapes[shapes.len() - 1], self.description.classes.len());
        if last.pixels() != 1 || last.c != classes {
            return Err(Error::value(
                "classes",
                format!("as many as the network's {} results", last.len()),
                classes.to_string(),
            ));
        }
        Ok(shapes)
    }

    /// The shape of an operation's result.
    fn operation(&self, operation: &Operation, shapes: &[Shape], used: &mut BTreeSet<String>) -> Result<Shape> {
        let name = &operation.name;
        let value = |what: &str, value: usize| {
            let earlier = format!("a value before it, 0 to {}", shapes.len() - 1);
            shapes
                .get(value)
                .copied()
                .ok_or_else(|| Error::value(format!("{what} of {name:?}"), earlier, value.to_string()))
        };
        let input = value("input", operation.input)?;
        activation(name, &operation.activation)?;
        quantization(name, operation.quantization)?;
        let mut product = |name: &str, inner: &[usize], columns: Option<usize>| -> Result<usize> {
            let weight = self.tensor(&format!("{name}.weight"), used)?;
            let columns = columns.or(weight.shape.first().copied()).unwrap_or(0);
            let expected = [&[columns], inner].concat();
            if weight.shape != expected || columns == 0 {
                let shape = inner.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                let found = format!("{:?}", weight.shape);
                return Err(Error::value(
                    format!("tensor \"{name}.weight\""),
                    format!("shape [channels, {shape}]"),
                    found,
                ));
            }
            self.weight_fits(&format!("{name}.weight"), weight)?;
            self.vector(&format!("{name}.bias"), columns, used)?;
            if weight.kept == Precision::Int8 {
                self.vector(&format!("{name}.weight_scale"), columns, used)?;
            }
            Ok(columns)
        };
        let shape = match operation.kind {
            OperationKind::Conv { kernel, stride, dilation, depthwise } => {
                let is_byte_window = depthwise && operation.quantization.is_some();
                let most = if is_byte_window { MAX_BYTE_WINDOW } else { MAX_WINDOW };
                within(&format!("kernel of {name:?}"), kernel, 1, most)?;
                within(&format!("stride of {name:?}"), stride, 1, MAX_WINDOW)?;
                within(&format!("dilation of {name:?}"), dilation, 1, MAX_WINDOW)?;
                if kernel % 2 == 0 {
                    return Err(Error::value(format!("kernel of {name:?}"), "an odd number", kernel.to_string()));
                }
                let size = |length: usize| (length - 1) / stride + 1;
                let (columns, c_in) = if depthwise { (Some(input.c), 1) } else { (None, input.c) };
                let c = product(name, &[c_in, kernel, kernel], columns)?;
                Shape { h: size(input.h), w: size(input.w), c }
            }
            OperationKind::SqueezeExcite => {
                let squeezed = product(&format!("{name}.fc1"), &[input.c, 1, 1], None)?;
                product(&format!("{name}.fc2"), &[squeezed, 1, 1], Some(input.c))?;
                input
            }
            OperationKind::Pool => Shape { h: 1, w: 1, c: input.c },
            OperationKind::Linear => {
                if input.pixels() != 1 {
                    return Err(Error::value(format!("input of {name:?}"), "a vector", format!("{input:?}")));
                }
                Shape { h: 1, w: 1, c: product(name, &[input.c], None)? }
            }
        };
        if let Some(add) = operation.add {
            let added = value("add", add)?;
            if added != shape {
                return Err(Error::value(format!("add of {name:?}"), format!("{shape:?}"), format!("{added:?}")));
            }
        }
        Ok(shape)
    }

    fn tensor(&self, name: &str, used: &mut BTreeSet<String>) -> Result<Info<'_>> {
        used.insert(name.to_owned());
        self.tensors.check(name)?;
        self.tensors.info(name).ok_or_else(|| Error::value("tensors", format!("one named {name:?}"), "none"))
    }

    /// A float32 tensor of one dimension.
    fn vector(&self, name: &str, len: usize, used: &mut BTreeSet<String>) -> Result<()> {
        match self.tensor(name, used)? {
            info if info.kept != Precision::Float32 => {
                Err(Error::value(format!("tensor {name:?}"), "float32", info.words()))
            }
            Info { shape: &[found], .. } if found == len => Ok(()),
            Info { shape, .. } => {
                Err(Error::value(format!("tensor {name:?}"), format!("shape [{len}]"), format!("{shape:?}")))
            }
        }
    }
}

fn within(what: &str, found: usize, least: usize, most: usize) -> Result<()> {
    if (least..=most).contains(&found) {
        return Ok(());
    }
    Err(Error::value(what, format!("{least} to {most}"), found.to_string()))
}

fn quantization(name: &str, quantization: Option<Quantization>) -> Result<()> {
    match quantization {
        Some(Quantization { scale, .. }) if !(scale.is_finite() && scale > 0.) => {
            Err(Error::value(format!("quantization of {name:?}"), "a finite scale above 0", scale.to_string()))
        }
        _ => Ok(()),
    }
}

fn activation(name: &str, activation: &Activation) -> Result<()> {
    activation
        .epilogue()
        .map(|_| ())
        .map_err(|error| Error::value(format!("activation of {name:?}"), "straight pieces", error.to_string()))
}
