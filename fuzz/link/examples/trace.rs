//! Writes a synthetic rate trace in the format of mahimahi:
//!
//! ```sh
//! cargo run -p mpt-link --example trace -- 8 40 20 1 > lte.down    # Mbit/s, variability in %, seconds, seed
//! ```

#![allow(clippy::print_stdout, reason = "it is a command")]

use std::time::Duration;

fn main() {
    let numbers: Option<Vec<u32>> = std::env::args().skip(1).map(|word| word.parse().ok()).collect();
    let Some([megabits, percent, seconds, seed]) = numbers.as_deref() else {
        eprintln!("four whole numbers are wanted: Mbit/s, variability in %, seconds, seed");
        std::process::exit(2);
    };
    let (bits, variability) = (u64::from(*megabits) * 1_000_000, percent.saturating_mul(10_000));
    let length = Duration::from_secs((*seconds).into());
    print!("{}", mpt_link::Trace::synthetic((*seed).into(), bits, variability, length));
}
