//! Memory that begins at a cache line.

/// Where values begin: at a cache line.
const ALIGN: usize = 64;

/// Values that begin at a cache line.
#[derive(Debug, Default)]
pub struct Aligned<T = f32> {
    values: Vec<T>,
    start: usize,
}

impl<T: Copy + Default> Aligned<T> {
    /// So many zeros.
    pub fn zeroed(len: usize) -> Self {
        let room = ALIGN / size_of::<T>();
        let values = vec![T::default(); len + room];
        let start = values.as_ptr().align_offset(ALIGN).min(room);
        let mut aligned = Self { values, start };
        aligned.values.truncate(start + len);
        aligned
    }

    /// How many there are.
    #[allow(clippy::len_without_is_empty, reason = "nobody asks")]
    pub fn len(&self) -> usize {
        self.values.len() - self.start
    }

    /// The values.
    pub fn values(&self) -> &[T] {
        &self.values[self.start..]
    }

    /// The values, to be written.
    pub fn values_mut(&mut self) -> &mut [T] {
        &mut self.values[self.start..]
    }

    /// Makes them at least so many, whatever they are.
    pub fn grow(&mut self, len: usize) {
        if self.len() < len {
            *self = Self::zeroed(len);
        }
    }
}
