//! How much memory processes hold.

use std::fs;

/// The most that a process has held resident so far, in MiB; `None` where /proc does not know it.
pub fn peak_mib(process: u32) -> Option<f64> {
    parse(&fs::read_to_string(format!("/proc/{process}/status")).ok()?)
}

/// What a process holds resident now, in MiB; `None` where /proc does not know it.
pub fn resident_mib(process: u32) -> Option<f64> {
    parse_line(&fs::read_to_string(format!("/proc/{process}/status")).ok()?, "VmRSS:")
}

/// The line `VmHWM:  12345 kB` of proc_pid_status(5).
fn parse(status: &str) -> Option<f64> {
    parse_line(status, "VmHWM:")
}

fn parse_line(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_water_mark_is_read() {
        assert_eq!(parse("Name:\tmpt\nVmPeak:\t 9999 kB\nVmHWM:\t   2048 kB\nVmRSS:\t 1 kB\n"), Some(2.0));
        assert_eq!(parse("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn this_process_holds_some() {
        assert!(peak_mib(std::process::id()).is_some_and(|peak| peak > 0.1));
        assert!(peak_mib(u32::MAX).is_none());
    }
}
