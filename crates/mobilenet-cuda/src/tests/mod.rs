//! The kernels, emulated, against the CPU's.

mod chained;
mod compare;
mod networks;
mod reference;
mod stages;
mod training;
mod values;
