//! The moving average of the weights.

use super::{Table, chunks, table};
use crate::backend::{Backend, View};
use crate::error::Result;
use crate::variables::{Named, Variables};

/// An exponential moving average of all variables and running statistics.
#[derive(Debug)]
pub struct Average {
    table: Option<Table>,
    variables: Variables,
    /// Laid out as all values are, and as all running statistics are.
    averages: [View; 2],
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
        let [values, statistics] = variables.lengths();
        let averages = [backend.zeros(values)?, backend.zeros(statistics)?];
        let trained = variables.trained().map(|(_, of)| (variables.in_values(of, averages[0]), of.values));
        let running = variables.running().map(|(_, of)| (variables.in_statistics(of, averages[1]), of));
        let (mut rows, mut len) = (Vec::new(), 0);
        for (average, view) in trained.chain(running) {
            rows.extend(chunks(backend, [Some(average), Some(view), None, None], false, 0));
            len += view.len;
        }
        let mut table = table(backend, &rows, 1)?;
        if let Some(table) = &mut table {
            table.moved = 4 * 3 * len;
        }
        Ok(Self { table, variables: variables.clone(), averages, decay, warm_up: false, updates: 0 })
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
    pub fn step<B: Backend>(&mut self, backend: &mut B) -> Result<()> {
        self.prepare(backend)?;
        self.update(backend)
    }

    /// Writes the numbers of the next update.
    ///
    /// # Errors
    /// Those of the back end.
    pub fn prepare<B: Backend>(&mut self, backend: &mut B) -> Result<()> {
        let n = self.updates as f64;
        let most = if self.warm_up { (1. + n) / (10. + n) } else { 1. };
        let step = if self.updates == 0 { 1. } else { 1. - self.decay.min(most) };
        self.updates += 1;
        self.table.as_ref().map_or(Ok(()), |table| backend.write_f32(table.scalars, &[step as f32]))
    }

    /// Takes the present values into the average, with the numbers that were written last.
    ///
    /// # Errors
    /// Those of the back end.
    pub fn update<B: Backend>(&self, backend: &mut B) -> Result<()> {
        backend.enter("moving average");
        self.table.as_ref().map_or(Ok(()), |table| table.launch(backend, "multi_average", &[]))
    }

    /// Updates so far.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Copies the averages of all variables and running statistics to the host.
    ///
    /// # Errors
    /// Those of the back end.
    pub fn read<B: Backend>(&self, backend: &mut B) -> Result<Named> {
        let [values, statistics] = self.averages;
        Ok(self.variables.named(backend.read_f32(values)?, backend.read_f32(statistics)?))
    }

    /// Takes over averages after so many updates; one that `of` does not have becomes 0.
    ///
    /// # Errors
    /// [`Error::Length`](crate::Error::Length), and those of the back end.
    pub fn restore<'a, B: Backend>(
        &mut self,
        backend: &mut B,
        updates: u64,
        of: impl Fn(&str) -> Option<&'a [f32]>,
    ) -> Result<()> {
        for (view, values) in self.averages.into_iter().zip(self.variables.laid_out(of)?) {
            backend.write_f32(view, &values)?;
        }
        self.updates = updates;
        Ok(())
    }
}
