//! Memory that several networks share: one after the other they ask for as many tensors in the same order, and get the
//! same places.

use crate::backend::{Backend, Launch, Product, View};
use crate::error::Result;

/// A back end that first gives out memory that is there. What does not fit is asked for, and kept in its place.
pub(crate) struct Arena<'a, B> {
    backend: &'a mut B,
    /// Numbers and bytes of what was given out, in order.
    places: Vec<(usize, usize)>,
    next: usize,
}

impl<'a, B: Backend> Arena<'a, B> {
    pub fn new(backend: &'a mut B, places: Vec<(usize, usize)>) -> Self {
        Self { backend, places, next: 0 }
    }

    /// What was given out.
    pub fn into_places(self) -> Vec<(usize, usize)> {
        self.places
    }
}

impl<B: Backend> Backend for Arena<'_, B> {
    fn alloc(&mut self, bytes: usize) -> Result<usize> {
        let next = self.next;
        self.next += 1;
        if let Some((memory, _)) = self.places.get(next).filter(|(_, size)| *size >= bytes) {
            return Ok(*memory);
        }
        let place = (self.backend.alloc(bytes)?, bytes);
        match self.places.get_mut(next) {
            Some(smaller) => *smaller = place,
            None => self.places.push(place),
        }
        Ok(place.0)
    }

    fn write(&mut self, to: View, bytes: &[u8]) -> Result<()> {
        self.backend.write(to, bytes)
    }

    fn read(&mut self, from: View, bytes: &mut [u8]) -> Result<()> {
        self.backend.read(from, bytes)
    }

    fn address(&self, of: View) -> u64 {
        self.backend.address(of)
    }

    fn launch(&mut self, launch: &Launch) -> Result<()> {
        self.backend.launch(launch)
    }

    fn gemm(&mut self, product: &Product) -> Result<()> {
        self.backend.gemm(product)
    }

    fn enter(&mut self, stage: &str) {
        self.backend.enter(stage);
    }

    fn moves(&mut self, bytes: usize) {
        self.backend.moves(bytes);
    }
}
