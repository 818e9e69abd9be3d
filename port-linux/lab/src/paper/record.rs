//! Measurements and their medians.

use serde::Serialize;

use super::plan::{Job, System, Work};
use crate::cpu::Cpu;
use crate::sample::{Summary, summary};

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Record {
    /// What was measured.
    #[serde(flatten)]
    pub job: Job,
    /// In which repeat, from 1.
    pub repeat: u32,
    /// Payload delivered, in Mbit/s: of a stream without its first second, of a download from end to end.
    pub goodput_mbit_s: f64,
    /// The most that the links' rate leaves after all headers.
    pub limit_mbit_s: f64,
    /// Length of the transfer.
    pub seconds: f64,
    /// Bytes of payload.
    pub bytes: f64,
    /// CPU time of the transfer.
    pub cpu: Cpu,
    /// Length of an interval, in milliseconds.
    pub interval_ms: u64,
    /// Bytes in each interval; of downloads by the built-in generator only.
    pub intervals: Vec<u64>,
}

impl Record {
    /// Busy seconds of the whole machine for 10^9 bytes of payload.
    pub fn cpu_s_per_gb(&self) -> f64 {
        self.cpu.machine_s / (self.bytes / 1e9)
    }
}

/// The repeats of one measurement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group {
    /// What was measured.
    #[serde(flatten)]
    pub job: Job,
    /// See [`Record::limit_mbit_s`].
    pub limit_mbit_s: f64,
    /// See [`Record::goodput_mbit_s`].
    pub goodput_mbit_s: Summary,
    /// See [`Record::seconds`].
    pub seconds: Summary,
    /// See [`Record::cpu_s_per_gb`].
    pub cpu_s_per_gb: Summary,
    /// Busy share of all cores, in per cent.
    pub cpu_percent: Summary,
}

/// Groups records by what was measured, in the order in which each came first.
pub(super) fn summarize(records: &[Record]) -> Vec<Group> {
    let mut jobs: Vec<Job> = Vec::new();
    for record in records {
        if !jobs.contains(&record.job) {
            jobs.push(record.job);
        }
    }
    let group = |job: Job| {
        let of =
            |value: fn(&Record) -> f64| summary(records.iter().filter(|record| record.job == job).map(value));
        Some(Group {
            job,
            limit_mbit_s: of(|record| record.limit_mbit_s)?.median,
            goodput_mbit_s: of(|record| record.goodput_mbit_s)?,
            seconds: of(|record| record.seconds)?,
            cpu_s_per_gb: of(Record::cpu_s_per_gb)?,
            cpu_percent: of(|record| record.cpu.percent)?,
        })
    };
    jobs.into_iter().filter_map(group).collect()
}

/// The group of a job.
pub(super) fn find(groups: &[Group], work: Work, system: System, paths: u8) -> Option<&Group> {
    groups.iter().find(|group| group.job == Job { work, system, paths })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::stack::{Stack, Version};

    /// A made-up measurement with that goodput over that many paths.
    pub(in super::super) fn record(work: Work, system: System, paths: u8, goodput: f64) -> Record {
        Record {
            job: Job { work, system, paths },
            repeat: 1,
            goodput_mbit_s: goodput,
            limit_mbit_s: 92.0 * f64::from(paths),
            seconds: 10.0,
            bytes: 5e8,
            cpu: Cpu { machine_s: 2.0, mpt_s: Some(1.0), percent: 10.0 },
            interval_ms: 100,
            intervals: vec![1_000_000; 30],
        }
    }

    #[test]
    fn repeats_of_one_measurement_are_one_group() {
        let tunnel = System::Tunnel(Stack::V4OverV4);
        let records = [
            record(Work::Stream, tunnel, 1, 91.0),
            record(Work::Stream, System::Mptcp(Version::V4), 1, 92.5),
            record(Work::Stream, tunnel, 1, 90.0),
            record(Work::Stream, tunnel, 1, 91.5),
        ];
        let groups = summarize(&records);
        assert_eq!(groups.len(), 2);
        let group = find(&groups, Work::Stream, tunnel, 1).expect("found");
        assert_eq!(group.goodput_mbit_s, Summary { median: 91.0, min: 90.0, max: 91.5 });
        assert_eq!(group.cpu_s_per_gb.median, 4.0);
        assert!(find(&groups, Work::Stream, tunnel, 2).is_none());
    }
}
