//! A network in 8 bits: what it does, step by step, and running that.

mod plan;
mod run;

pub(crate) use plan::BytePlan;
pub(crate) use run::ByteScratch;
