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
    /// Rows and columns of the weight of a 1×1 convolution without a bias, which Muon takes as a matrix.
    pub matrix: Option<(usize, usize)>,
}

/// The variables of a network.
#[derive(Clone, Debug)]
pub struct Variables {
    trained: BTreeMap<String, Variable>,
    running: BTreeMap<String, View>,
    values: View,
    operands: View,
    statistics: View,
}

/// Numbers by their names.
pub type Named = BTreeMap<String, Vec<f32>>;

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
        let mut variables = Self { trained: BTreeMap::new(), running: BTreeMap::new(), values, operands, statistics };
        let biased =
            |name: &str| name.strip_suffix("weight").is_some_and(|of| places.contains_key(&*format!("{of}bias")));
        for parameter in parameters() {
            let (at, len) = (places[parameter.name.as_str()], len(&parameter.shape));
            if parameter.trainable {
                let matrix = match parameter.shape[..] {
                    [rows, columns, 1, 1] if rows > 1 && columns > 1 && !biased(&parameter.name) => {
                        Some((rows, columns))
                    }
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

    /// Copies all values and running statistics to the host.
    ///
    /// # Errors
    /// Those of the back end.
    pub fn read<B: Backend>(&self, backend: &mut B) -> Result<Named> {
        Ok(self.named(backend.read_f32(self.values)?, backend.read_f32(self.statistics)?))
    }

    /// Copies values and running statistics to the device: all that `of` has under their names. The others become 0.
    ///
    /// # Errors
    /// [`Error::Length`], and those of the back end.
    pub fn write<'a, B: Backend>(&self, backend: &mut B, of: impl Fn(&str) -> Option<&'a [f32]>) -> Result<()> {
        let [values, statistics] = self.laid_out(of)?;
        backend.write_f32(self.values, &values)?;
        backend.write_f32(self.statistics, &statistics)
    }

    /// All values, and the same as operands, which differ in bf16.
    pub(crate) fn all(&self) -> (View, View) {
        (self.values, self.operands)
    }

    /// How many numbers all values take with what lies between them, and all running statistics.
    pub(crate) fn lengths(&self) -> [usize; 2] {
        [self.values.len, self.statistics.len]
    }

    /// Where a trained variable is in a tensor that is laid out as all values are.
    pub(crate) fn in_values(&self, variable: &Variable, tensor: View) -> View {
        tensor.part((variable.values.at - self.values.at) / Kind::F32.size(), variable.values.len)
    }

    /// Where a running statistic is in a tensor that is laid out as all of them are.
    pub(crate) fn in_statistics(&self, statistic: View, tensor: View) -> View {
        tensor.part((statistic.at - self.statistics.at) / Kind::F32.size(), statistic.len)
    }

    /// Numbers that are laid out as all values and statistics are, by names.
    pub(crate) fn named(&self, values: Vec<f32>, statistics: Vec<f32>) -> Named {
        let part = |of: &[f32], view: &View, start: View| {
            let at = (view.at - start.at) / Kind::F32.size();
            of.get(at..at + view.len).unwrap_or_default().to_vec()
        };
        let trained = self.trained.iter().map(|(name, variable)| (name, part(&values, &variable.values, self.values)));
        let running = self.running.iter().map(|(name, view)| (name, part(&statistics, view, self.statistics)));
        trained.chain(running).map(|(name, values)| (name.clone(), values)).collect()
    }

    /// Numbers by names, laid out as all values and statistics are.
    pub(crate) fn laid_out<'a>(&self, of: impl Fn(&str) -> Option<&'a [f32]>) -> Result<[Vec<f32>; 2]> {
        let mut all = self.lengths().map(|len| vec![0.; len]);
        let trained = self.trained.iter().map(|(name, variable)| (0, name, variable.values, self.values));
        let running = self.running.iter().map(|(name, view)| (1, name, *view, self.statistics));
        for (which, name, view, start) in trained.chain(running) {
            let Some(values) = of(name) else { continue };
            if values.len() != view.len {
                return Err(Error::Length { what: name.clone(), expected: view.len, found: values.len() });
            }
            let at = (view.at - start.at) / Kind::F32.size();
            all[which][at..at + view.len].copy_from_slice(values);
        }
        Ok(all)
    }
}
