//! Naive models: slow, roomy, and plain enough to be believed. Each says what a data structure of the core
//! must do; the [targets](crate::target) compare the two after every operation.

pub mod reassembly;
pub mod reorder;
pub mod weighted;
