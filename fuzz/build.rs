//! Tells rustc that `cfg(fuzzing)`, which cargo-fuzz sets, is meant.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(fuzzing)");
    println!("cargo::rerun-if-changed=build.rs");
}
