//! The public API: training, resuming, refusing, and agreement with PyTorch. One binary, as linking is what takes time.

mod common;
mod refusals;
mod resume;
mod torch;
mod training;
