#![doc = include_str!("../README.md")]

pub mod against;
pub mod agreement;
pub mod artefacts;
mod audit;
mod content;
mod document;
pub mod gather;
mod html;
pub mod lock;
mod markdown;
pub mod names;
pub mod network;
pub mod origins;
mod pareto;
pub mod plan;
mod plots;
pub mod runs;
pub mod samples;
pub mod stats;
mod structure;
mod svg;
pub mod text;
pub mod verdict;
pub mod write;
