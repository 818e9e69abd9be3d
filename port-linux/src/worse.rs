//! Time in which a bond delivers less than its best link alone could, as far as its sender knows.
//!
//! Once a second: packets waited at the last look and wait now; at least two paths are up; and what left on all paths, less what was
//! lost, is less than four fifths of the measured rate of the best path. Five such seconds in a row are one time that is told of, and
//! five others in a row end it. The measured rate is the path model's, which counts headers as what left does. A path whose rate is
//! being found, or that empties a queue, is no best one for that second, which then says nothing.
//!
//! That an application does not send enough, as a TCP that has slowed down because packets were late, is not seen: no packet waits then.

use std::time::Duration;

use mpt_proto::{Instant, LimitedBy, PathModel, Phase};

/// Between two looks.
pub const LOOK_EACH: Duration = Duration::from_secs(1);
/// Looks further apart say nothing: nobody sent meanwhile.
const LOOKS_APART: Duration = Duration::from_millis(2500);
/// Seconds in a row that begin or end a time that is told of: what a hand-over or a rate that changes takes is shorter.
const FIRM: u32 = 5;
/// What the best path could deliver is measured with an error; four fifths of it are as good.
const ENOUGH_PERCENT: u64 = 80;

/// What there is to know of a path that is up.
#[derive(Debug, Clone, Copy)]
pub struct PathLook {
    /// Its place in the connection.
    pub path: usize,
    /// Datagrams that were handed out so far, and their bytes.
    pub sent: (u64, u64),
    /// What the sender knows of it.
    pub model: PathModel,
}

/// What is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It began some seconds ago.
    Worse {
        /// The best path.
        best: usize,
        /// Bytes a second that it could deliver alone.
        rate: u64,
        /// Bytes a second that all of them delivered.
        delivered: u64,
        /// Why the best path carries no more.
        limited_by: LimitedBy,
    },
    /// It is over, after so long.
    Over(Duration),
}

/// What was seen of a connection.
#[derive(Debug, Default)]
pub struct Worse {
    looked_at: Option<Instant>,
    waited: bool,
    /// Of each path: datagrams, bytes, and packets lost at the last look.
    before: Vec<Option<(u64, u64, u64)>>,
    /// Seconds in a row that speak against what was told last, and how long they took.
    against: u32,
    against_for: Duration,
    /// How long it is so; `None`: it is not.
    worse_for: Option<Duration>,
    total: Duration,
}

/// What one second says.
enum Second {
    Worse(Told),
    Fine,
    Nothing,
}

impl Worse {
    /// When the next look is due.
    pub fn is_due(&self, now: Instant) -> bool {
        self.looked_at.is_none_or(|at| now.since(at) >= LOOK_EACH)
    }

    /// All the time in which it was so.
    pub const fn total(&self) -> Duration {
        self.total
    }

    /// Looks at the paths that are up. `waits`: packets wait to be sent; `limit`: bytes a second that the connection may send.
    /// Returns what is to be told.
    pub fn look(
        &mut self,
        paths: &[PathLook],
        waits: bool,
        limit: Option<u64>,
        now: Instant,
    ) -> Option<Told> {
        let span = self.looked_at.replace(now).map(|at| now.since(at));
        let waited = std::mem::replace(&mut self.waited, waits) && waits;
        // Each path is looked at, also behind one that is new.
        let each: Vec<Option<u64>> = paths.iter().map(|path| self.delivered(path)).collect();
        let delivered: Option<u64> = each.into_iter().sum();
        let second = match (span.filter(|span| *span <= LOOKS_APART), delivered) {
            (Some(span), Some(bytes)) if paths.len() > 1 && waited => {
                let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX).max(1);
                judge(paths, bytes.saturating_mul(1_000_000) / micros, limit)
            }
            _ => Second::Fine,
        };
        self.note(&second, span.unwrap_or_default())
    }

    /// Bytes that arrived since the last look; `None`: it is the first one at this path.
    fn delivered(&mut self, look: &PathLook) -> Option<u64> {
        let (datagrams, bytes) = look.sent;
        let now = (datagrams, bytes, look.model.lost);
        if self.before.len() <= look.path {
            self.before.resize(look.path + 1, None);
        }
        let before = self.before[look.path].replace(now)?;
        let (datagrams, bytes) = (datagrams.checked_sub(before.0)?, bytes.checked_sub(before.1)?);
        let lost = look.model.lost.saturating_sub(before.2).min(datagrams);
        Some(bytes - (bytes / datagrams.max(1)) * lost)
    }

    fn note(&mut self, second: &Second, span: Duration) -> Option<Told> {
        let is_against = match (second, self.worse_for) {
            (Second::Nothing, _) => return None,
            (Second::Worse(_), None) | (Second::Fine, Some(_)) => true,
            (Second::Worse(_), Some(_)) | (Second::Fine, None) => false,
        };
        if let Some(worse_for) = &mut self.worse_for
            && !is_against
        {
            // What was in between belongs to it.
            let more = span + std::mem::take(&mut self.against_for);
            *worse_for += more;
            self.total += more;
        }
        if !is_against {
            (self.against, self.against_for) = (0, Duration::ZERO);
            return None;
        }
        self.against += 1;
        self.against_for += span;
        if self.against < FIRM {
            return None;
        }
        let taken = std::mem::take(&mut self.against_for);
        self.against = 0;
        match (self.worse_for.take(), second) {
            (None, Second::Worse(told)) => {
                self.worse_for = Some(taken);
                self.total += taken;
                Some(*told)
            }
            (worse_for, _) => worse_for.map(Told::Over),
        }
    }
}

fn judge(paths: &[PathLook], delivered: u64, limit: Option<u64>) -> Second {
    let Some(best) = paths.iter().filter(|path| !path.model.suspect).max_by_key(|path| path.model.rate)
    else {
        return Second::Nothing;
    };
    let is_known = matches!(best.model.phase, Phase::Cruise | Phase::Probe | Phase::Compete)
        && best.model.limited_by != LimitedBy::Unmeasured;
    if !is_known {
        return Second::Nothing;
    }
    let rate = u64::from(best.model.rate).min(limit.unwrap_or(u64::MAX));
    if delivered.saturating_mul(100) >= rate.saturating_mul(ENOUGH_PERCENT) {
        return Second::Fine;
    }
    Second::Worse(Told::Worse { best: best.path, rate, delivered, limited_by: best.model.limited_by })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two paths of 10 and 2 MB/s that are looked at each second.
    struct Bond {
        worse: Worse,
        sent: [(u64, u64); 2],
        lost: u64,
        phase: Phase,
        second: u32,
        told: Vec<(u32, Told)>,
    }

    impl Bond {
        fn new() -> Self {
            let phase = Phase::Cruise;
            Self { worse: Worse::default(), sent: [(0, 0); 2], lost: 0, phase, second: 0, told: Vec::new() }
        }

        /// So many packets of 1,000 bytes a second on each, of which some are lost on the first one.
        fn run(&mut self, seconds: u64, packets: [u64; 2], lost: u64, waits: bool) {
            for _ in 0..seconds {
                self.second += 1;
                self.lost += lost;
                for (sent, packets) in self.sent.iter_mut().zip(packets) {
                    *sent = (sent.0 + packets, sent.1 + packets * 1000);
                }
                let looks = [0, 1].map(|path| PathLook {
                    path,
                    sent: self.sent[path],
                    model: PathModel {
                        rate: [10_000_000, 2_000_000][path],
                        phase: self.phase,
                        lost: if path == 0 { self.lost } else { 0 },
                        limited_by: LimitedBy::Bandwidth,
                        ..PathModel::default()
                    },
                });
                let told = self.worse.look(&looks, waits, None, Instant::ZERO + LOOK_EACH * self.second);
                self.told.extend(told.map(|told| (self.second, told)));
            }
        }
    }

    #[test]
    fn what_lasts_is_told_once_when_it_begins_and_when_it_ends() {
        let mut bond = Bond::new();
        bond.run(10, [10_000, 2_000], 0, true);
        bond.run(20, [1_000, 2_000], 0, true);
        bond.run(10, [10_000, 2_000], 0, true);
        let (rate, delivered, limited_by) = (10_000_000, 3_000_000, LimitedBy::Bandwidth);
        let worse = Told::Worse { best: 0, rate, delivered, limited_by };
        assert_eq!(bond.told, [(15, worse), (35, Told::Over(Duration::from_secs(20)))]);
        assert_eq!(bond.worse.total(), Duration::from_secs(20));
    }

    #[test]
    fn nobody_is_told_of_less_where_less_is_there_or_the_limit_or_a_moment_is_the_reason() {
        let mut bond = Bond::new();
        bond.run(100, [1_000, 0], 0, false);
        bond.run(100, [8_500, 0], 0, true);
        for _ in 0..20 {
            bond.run(4, [0, 2_000], 0, true);
            bond.run(1, [10_000, 2_000], 0, true);
        }
        bond.phase = Phase::Startup;
        bond.run(100, [1_000, 0], 0, true);
        assert_eq!((bond.told.len(), bond.worse.total()), (0, Duration::ZERO));
        let looks = |sent| {
            let model = PathModel {
                rate: 10_000_000,
                phase: Phase::Cruise,
                limited_by: LimitedBy::Bandwidth,
                ..PathModel::default()
            };
            [0, 1].map(|path| PathLook { path, sent, model })
        };
        let mut limited = Worse::default();
        for second in 0..100 {
            let now = Instant::ZERO + LOOK_EACH * second;
            let told = limited.look(
                &looks((u64::from(second) * 500, u64::from(second) * 500_000)),
                true,
                Some(1_000_000),
                now,
            );
            assert_eq!(told, None);
        }
    }

    #[test]
    fn what_is_lost_is_not_delivered() {
        let mut bond = Bond::new();
        bond.run(20, [10_000, 0], 8_000, true);
        assert!(matches!(bond.told[..], [(6, Told::Worse { delivered: 2_000_000, .. })]), "{:?}", bond.told);
    }

    #[test]
    fn a_connection_that_rests_is_not_worse_meanwhile() {
        let mut bond = Bond::new();
        bond.run(3, [1_000, 0], 0, true);
        bond.second += 100;
        bond.run(3, [1_000, 0], 0, true);
        assert_eq!(bond.told, []);
    }
}
