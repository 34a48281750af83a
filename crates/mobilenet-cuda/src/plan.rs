//! A back end that counts.

use crate::backend::{Backend, Launch, Product, View};
use crate::error::Result;

/// What a stage launches, and the bytes that its launches move.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stage {
    /// The stage: a layer's path and the direction, or what else it is.
    pub name: String,
    /// Launches, products among them.
    pub launches: usize,
    /// Products of matrices.
    pub products: usize,
    /// Bytes that they read and write, each tensor of a launch once each way.
    pub bytes: usize,
    /// Multiply-adds of the products.
    pub multiply_adds: usize,
}

/// A back end that executes nothing: it counts what would be launched.
#[derive(Debug, Default)]
pub struct Plan {
    stages: Vec<Stage>,
    allocated: Vec<usize>,
}

impl Plan {
    /// The stages, in the order in which they were first entered.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// All stages together, as one of this name.
    pub fn total(&self, name: &str) -> Stage {
        let mut total = Stage { name: name.to_owned(), ..Stage::default() };
        for stage in &self.stages {
            total.launches += stage.launches;
            total.products += stage.products;
            total.bytes += stage.bytes;
            total.multiply_adds += stage.multiply_adds;
        }
        total
    }

    /// Bytes of memory that were asked for.
    pub fn memory(&self) -> usize {
        self.allocated.iter().sum()
    }

    /// Forgets the launches so far.
    pub fn restart(&mut self) {
        self.stages.clear();
    }

    fn stage(&mut self) -> &mut Stage {
        if self.stages.is_empty() {
            self.enter("");
        }
        let last = self.stages.len() - 1;
        &mut self.stages[last]
    }
}

impl Backend for Plan {
    fn alloc(&mut self, bytes: usize) -> Result<usize> {
        self.allocated.push(bytes);
        Ok(self.allocated.len() - 1)
    }

    fn write(&mut self, _: View, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn read(&mut self, _: View, bytes: &mut [u8]) -> Result<()> {
        bytes.fill(0);
        Ok(())
    }

    fn address(&self, _: View) -> u64 {
        0
    }

    fn launch(&mut self, launch: &Launch) -> Result<()> {
        let stage = self.stage();
        stage.launches += 1;
        stage.bytes += launch.bytes();
        Ok(())
    }

    fn gemm(&mut self, product: &Product) -> Result<()> {
        let stage = self.stage();
        stage.launches += 1;
        stage.products += 1;
        stage.bytes += product.bytes();
        stage.multiply_adds += product.count * product.rows * product.columns * product.inner;
        Ok(())
    }

    fn moves(&mut self, bytes: usize) {
        self.stage().bytes += bytes;
    }

    fn enter(&mut self, stage: &str) {
        self.stages.push(Stage { name: stage.to_owned(), ..Stage::default() });
    }
}
