//! The networks, one file for each paper: the table, what is known of it, the plan, and tests.

mod ladder;
mod v1;
mod v2;
mod v3;
