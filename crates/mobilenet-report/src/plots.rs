//! The report's plots: what is drawn, in which color and with which words. How it is drawn is the
//! [charts](crate::charts)' business.

mod block_costs;
mod confusion;
mod curves;
mod figures;
mod glance;
pub mod palette;
mod pareto;
mod plot;
mod roofline;
mod shares;
mod shipped;
mod trade_offs;
mod widths;

pub use block_costs::block_costs;
pub use confusion::confusion;
pub use curves::{Training, curves};
pub use figures::best_throughput;
pub use glance::glance;
pub use plot::{Plot, plot};
pub use roofline::roofline;
pub use shares::{MARKED, is_marked, shares};
pub use shipped::shipped;
pub use trade_offs::trade_offs;
pub use widths::widths;
