//! Naive models: slow, roomy, and plain enough to be believed. Each says what a data structure of the core, or the
//! Linux port's segmentation, must do; the [targets](crate::target) compare the two after every operation.

pub mod offload;
pub mod reassembly;
pub mod reorder;
pub mod weighted;
