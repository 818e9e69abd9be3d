//! The program `mpt`.
fn main() {}
