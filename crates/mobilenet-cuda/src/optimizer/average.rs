//! The moving average of the weights.

use std::collections::BTreeMap;

use super::{Table, chunks, table};
use crate::backend::{Backend, View};
use crate::error::Result;
use crate::variables::Variables;

/// An exponential moving average of all variables and running statistics.
#[derive(Debug)]
pub struct Average {
    table: Option<Table>,
    averages: BTreeMap<String, View>,
    decay: f64,
    warm_up: bool,
    updates: u64,
}

impl Average {
    /// An average that begins with the first update.
    ///
    /// # Errors
    /// Those of the back end.
    pub fn new<B: Backend>(backend: &mut B, variables: &Variables, decay: f64) -> Result<Self> {
        let trained = variables.trained().map(|(name, variable)| (name, variable.values));
        let (mut rows, mut averages, mut len) = (Vec::new(), BTreeMap::new(), 0);
        for (name, view) in trained.chain(variables.running()) {
            let average = backend.zeros(view.len)?;
            rows.extend(chunks(backend, [Some(average), Some(view), None, None], false));
            averages.insert(name.to_owned(), average);
            len += view.len;
        }
        let mut table = table(backend, &rows, 1)?;
        if let Some(table) = &mut table {
            table.moved = 4 * 3 * len;
        }
        Ok(Self { table, averages, decay, warm_up: false, updates: 0 })
    }

    /// The same average with a warm-up: the decay of update `n`, from 0, is at most `(1 + n) / (10 + n)`.
    #[must_use]
    pub fn with_warm_up(self) -> Self {
        Self { warm_up: true, ..self }
    }

    /// Takes the present values into the average.
    ///
    /// # Errors
    /// Those of the back end.
    pub fn update<B: Backend>(&mut self, backend: &mut B) -> Result<()> {
        let n = self.updates as f64;
        let most = if self.warm_up { (1. + n) / (10. + n) } else { 1. };
        let step = if self.updates == 0 { 1. } else { 1. - self.decay.min(most) };
        self.updates += 1;
        backend.enter("moving average");
        let Some(table) = &self.table else { return Ok(()) };
        backend.write_f32(table.scalars, &[step as f32])?;
        table.launch(backend, "multi_average", &[])
    }

    /// The average of a variable or running statistic.
    pub fn get(&self, name: &str) -> Option<View> {
        self.averages.get(name).copied()
    }
}
