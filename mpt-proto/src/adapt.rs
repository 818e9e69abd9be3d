//! The tunnel as a network interface of IP stacks that need no operating system: leaves over the core's public
//! interface, one for each stack, each behind the feature of its name.

#[cfg(feature = "embassy")]
pub mod embassy;
#[cfg(feature = "smoltcp")]
pub mod smoltcp;
