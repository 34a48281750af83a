//! Looking on while a network runs.

/// Whoever looks on: gets an operation's place in the list and its result.
pub(crate) type Observer<'a> = Option<&'a mut dyn FnMut(usize, &[f32])>;
