//! A network's variables on the device, under torchvision's names: all values in one allocation, all gradients in another.

use std::collections::BTreeMap;

use mobilenet_arch::graph::Operation;

use crate::backend::{Backend, Kind, View};
use crate::error::{Error, Result};

/// Values after which the next variable begins: rows of any width stay aligned.
const ALIGNMENT: usize = 64;

/// A trained variable.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its values.
    pub values: View,
    /// Their gradients.
    pub gradients: View,
    /// The values as the operand of a product: themselves in float32, a copy in bf16.
    pub operand: View,
    /// Whether it is a weight, which optimizers shrink, and not a bias or a batch norm's.
    pub is_weight: bool,
    /// Rows and columns of a 1×1 convolution's weight, which Muon takes as a matrix.
    pub matrix: Option<(usize, usize)>,
}

/// The variables of a network.
#[derive(Clone, Debug)]
pub struct Variables {
    trained: BTreeMap<String, Variable>,
    running: BTreeMap<String, View>,
    values: View,
    operands: View,
}

impl Variables {
    /// The variables of all operations, all 0; in training with gradients.
    ///
    /// # Errors
    /// Those of the back end.
    pub fn new<B: Backend>(backend: &mut B, operations: &[Operation], kind: Kind, train: bool) -> Result<Self> {
        let parameters = || operations.iter().flat_map(|operation| &operation.parameters);
        let len = |shape: &[usize]| shape.iter().product::<usize>();
        let mut places = BTreeMap::new();
        let (mut trained, mut running) = (0, 0);
        for parameter in parameters() {
            let end = if parameter.trainable { &mut trained } else { &mut running };
            places.insert(parameter.name.as_str(), *end);
            *end += len(&parameter.shape).next_multiple_of(ALIGNMENT);
        }
        let values = backend.zeros(trained)?;
        let gradients = if train { backend.zeros(trained)? } else { values.first(0) };
        let operands = if kind == Kind::F32 { values } else { backend.values(kind, trained)? };
        let statistics = backend.zeros(running)?;
        let mut variables = Self { trained: BTreeMap::new(), running: BTreeMap::new(), values, operands };
        for parameter in parameters() {
            let (at, len) = (places[parameter.name.as_str()], len(&parameter.shape));
            if parameter.trainable {
                let matrix = match parameter.shape[..] {
                    [rows, columns, 1, 1] if rows > 1 && columns > 1 => Some((rows, columns)),
                    _ => None,
                };
                let variable = Variable {
                    values: values.part(at, len),
                    gradients: gradients.part(at, len),
                    operand: operands.part(at, len),
                    is_weight: parameter.shape.len() > 1,
                    matrix,
                };
                variables.trained.insert(parameter.name.clone(), variable);
            } else {
                variables.running.insert(parameter.name.clone(), statistics.part(at, len));
            }
        }
        Ok(variables)
    }

    /// The trained variables, in the order of their names.
    pub fn trained(&self) -> impl Iterator<Item = (&str, &Variable)> {
        self.trained.iter().map(|(name, variable)| (name.as_str(), variable))
    }

    /// Batch norm's running statistics, in the order of their names.
    pub fn running(&self) -> impl Iterator<Item = (&str, View)> {
        self.running.iter().map(|(name, view)| (name.as_str(), *view))
    }

    /// A trained variable.
    ///
    /// # Errors
    /// [`Error::Variable`]
    pub fn get(&self, name: &str) -> Result<Variable> {
        self.trained.get(name).copied().ok_or_else(|| Error::Variable(name.to_owned()))
    }

    /// A running statistic.
    ///
    /// # Errors
    /// [`Error::Variable`]
    pub fn statistic(&self, name: &str) -> Result<View> {
        self.running.get(name).copied().ok_or_else(|| Error::Variable(name.to_owned()))
    }

    /// All values, and the same as operands, which differ in bf16.
    pub(crate) fn all(&self) -> (View, View) {
        (self.values, self.operands)
    }
}
