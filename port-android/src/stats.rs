//! What the app shows: one path a line, its values between tabs.

use std::fmt::Write as _;

use port_linux::counters::{DOWN_REASONS, meaning};
use port_linux::report::{PathReport, Report, State};

/// The paths of a report. Columns: connection, path, network, `up` or `down`, why or an empty text, round-trip time in
/// microseconds or -1, datagrams sent, their bytes, datagrams that arrived, their bytes, times it went down, bits a second
/// that it was measured to carry to the peer or -1.
pub fn lines(report: &Report) -> String {
    let mut lines = String::new();
    for connection in &report.connections {
        for path in &connection.paths {
            let PathReport { name, device, tx_datagrams, tx_bytes, rx_datagrams, rx_bytes, downs, .. } = path;
            let state = if path.state == State::Up { "up" } else { "down" };
            let why = why(path);
            let rtt = path.rtt_us.and_then(|us| i64::try_from(us).ok()).unwrap_or(-1);
            let carries = path.model.as_ref().and_then(|model| i64::try_from(model.rate).ok()).unwrap_or(-1);
            let network = device.as_deref().unwrap_or_default();
            // Writing to a string does not fail.
            let _ = writeln!(
                lines,
                "{}\t{name}\t{network}\t{state}\t{why}\t{rtt}\t{tx_datagrams}\t{tx_bytes}\t{rx_datagrams}\t{rx_bytes}\t{downs}\t{carries}",
                connection.name,
            );
        }
    }
    lines
}

/// Why a path is down, for people.
fn why(path: &PathReport) -> &'static str {
    let reason = path.reason.as_deref().filter(|_| path.state == State::Down);
    reason.map_or("", |reason| meaning(&DOWN_REASONS, reason).unwrap_or("no answer"))
}
