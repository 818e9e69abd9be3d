//! What went over a path, or a connection, between two reports.

use crate::report::{ConnectionReport, PathReport};

/// Counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Milliseconds since the tunnel was made.
    pub at_ms: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Datagrams or packets sent.
    pub tx_packets: u64,
    /// Those of the sent ones that did not arrive, where that is known.
    pub lost: Option<u64>,
}

impl Counted {
    /// Those of a path.
    pub fn of_path(at_ms: u64, path: &PathReport) -> Self {
        Self {
            at_ms,
            tx_bytes: path.tx_bytes,
            rx_bytes: path.rx_bytes,
            tx_packets: path.tx_datagrams,
            lost: path.model.as_ref().map(|model| model.lost),
        }
    }

    /// Those of a connection.
    pub fn of_connection(at_ms: u64, connection: &ConnectionReport) -> Self {
        let counters = &connection.counters;
        Self {
            at_ms,
            tx_bytes: counters.tx_bytes,
            rx_bytes: counters.rx_bytes,
            tx_packets: counters.tx_packets,
            lost: None,
        }
    }

    /// What came since an earlier moment; `None` where the counters began anew in between, or no time has passed.
    pub fn since(&self, earlier: &Self) -> Option<Passed> {
        let ms = self.at_ms.checked_sub(earlier.at_ms).filter(|ms| *ms > 0)?;
        Some(Passed {
            ms,
            tx_bytes: self.tx_bytes.checked_sub(earlier.tx_bytes)?,
            rx_bytes: self.rx_bytes.checked_sub(earlier.rx_bytes)?,
            tx_packets: self.tx_packets.checked_sub(earlier.tx_packets)?,
            lost: self.lost.zip(earlier.lost).and_then(|(now, then)| now.checked_sub(then)),
        })
    }
}

/// What passed in some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// The time in milliseconds, above zero.
    pub ms: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Datagrams or packets sent.
    pub tx_packets: u64,
    /// Those of the sent ones of which it became known that they did not arrive.
    pub lost: Option<u64>,
}

impl Passed {
    /// Bits a second sent.
    pub fn out_rate(&self) -> u64 {
        rate(self.tx_bytes, self.ms)
    }

    /// Bits a second received.
    pub fn in_rate(&self) -> u64 {
        rate(self.rx_bytes, self.ms)
    }

    /// Thousandths of the sent datagrams that did not arrive, where that is known and any were sent.
    pub fn loss_per_mille(&self) -> Option<u64> {
        // Of some sent before, it becomes known only now.
        self.lost?.saturating_mul(1000).checked_div(self.tx_packets).map(|share| share.min(1000))
    }
}

/// Bits a second.
fn rate(bytes: u64, ms: u64) -> u64 {
    u64::try_from(u128::from(bytes) * 8000 / u128::from(ms.max(1))).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLIER: Counted =
        Counted { at_ms: 1_000, tx_bytes: 500, rx_bytes: 50, tx_packets: 5, lost: Some(1) };

    #[test]
    fn rates_and_loss_are_those_of_the_time_in_between() {
        let now =
            Counted { at_ms: 3_000, tx_bytes: 1_000_500, rx_bytes: 50, tx_packets: 1_005, lost: Some(11) };
        let passed = now.since(&EARLIER).expect("two seconds");
        assert_eq!((passed.out_rate(), passed.in_rate(), passed.loss_per_mille()), (4_000_000, 0, Some(10)));
    }

    #[test]
    fn counters_that_began_anew_give_no_rate() {
        assert_eq!(Counted { at_ms: 10, ..EARLIER }.since(&EARLIER), None);
        assert_eq!(EARLIER.since(&EARLIER), None);
        assert_eq!(Counted { at_ms: 2_000, rx_bytes: 49, ..EARLIER }.since(&EARLIER), None);
    }

    #[test]
    fn loss_is_unknown_without_reports_of_the_peer_and_without_traffic() {
        let later = Counted { at_ms: 2_000, ..EARLIER };
        assert_eq!(later.since(&EARLIER).and_then(|passed| passed.loss_per_mille()), None);
        let unknown = Counted { lost: None, tx_packets: 6, ..later };
        assert_eq!(unknown.since(&EARLIER).map(|passed| passed.lost), Some(None));
        let anew = Counted { lost: Some(0), tx_packets: 6, ..later };
        assert_eq!(anew.since(&EARLIER).and_then(|passed| passed.loss_per_mille()), None);
        let late = Counted { lost: Some(9), tx_packets: 6, ..later };
        assert_eq!(late.since(&EARLIER).and_then(|passed| passed.loss_per_mille()), Some(1000));
    }
}
