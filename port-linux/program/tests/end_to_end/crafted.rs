//! Conformance of what mpt receives: datagrams that scapy makes, accepted or refused as the RFCs say.
//!
//! scapy is the peer: `conformance/peer.py` sends each datagram with an echo request inside, and tells which of them
//! the kernel behind mpt has answered, and with which ECN bits: the kernel answers with those that it has got.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, ChildStdout, Stdio};

use anyhow::{Context as _, ensure};
use mpt_lab::host::Running;
use mpt_lab::stack::{Stack, Version};
use mpt_lab::topology::{Side, Topology};
use serde_json::{Value, json};

use crate::bench::{self, Mpt, Settings};
use crate::programs::{Tool, python};

/// What must become of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Delivered; the inner packet then has these ECN bits.
    Delivered(u8),
    /// Dropped by mpt and counted for this reason.
    Dropped(&'static str),
    /// Dropped by the kernel: mpt never sees it.
    Unseen,
}

use Fate::{Delivered, Dropped, Unseen};

/// Section of an RFC, UDP payload in scapy's words, outer headers if they matter, fate.
type Row = (&'static str, &'static str, &'static str, Fate);

/// scapy on PC2.
struct Scapy {
    // Before the process, so that it sees the end of its input.
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _running: Running,
    key: Option<u32>,
}

impl Scapy {
    fn start(net: &Topology, version: Version, key: Option<u32>) -> anyhow::Result<Self> {
        let mut command = python(&net.pc2, "peer.py");
        command.args(Side::Pc2.address(1, version).to_string().split_whitespace());
        command.arg(Side::Pc1.address(1, version).to_string());
        let mut running = net.pc2.spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let input = running.child().stdin.take().context("no input")?;
        let output = BufReader::new(running.child().stdout.take().context("no output")?);
        Ok(Self { input, output, _running: running, key })
    }

    /// Sends one, and returns the echo replies: sequence number and ECN bits.
    fn send(&mut self, gre: &str, outer: &str) -> anyhow::Result<Vec<(u64, u64)>> {
        let outer: Value = serde_json::from_str(outer)?;
        writeln!(self.input, "{}", json!({ "gre": gre, "outer": outer, "key": self.key }))?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let answer: Value = serde_json::from_str(&line).context("peer.py has ended")?;
        Ok(serde_json::from_value(answer["replies"].clone())?)
    }
}

/// Sends every row to an `mpt run` with these settings, and checks its fate by scapy's and by mpt's own account.
fn table(
    stack: Stack,
    key: Option<u32>,
    change: impl Fn(Settings) -> Settings,
    rows: &[Row],
) -> anyhow::Result<()> {
    let net = Topology::build(1, None)?;
    let settings = Settings::new(Side::Pc1, stack, 1)
        .clear()
        .connection("policy", "adaptive")
        .connection("liveness", "off");
    let mpt = Mpt::start(&net.pc1, &change(settings))?;
    let mut scapy = Scapy::start(&net, stack.outer(), key)?;
    for &(section, gre, outer, fate) in rows {
        let row = format!("{section}: {gre} {outer}");
        let before = mpt.connection()?;
        let replies = scapy.send(gre, outer).with_context(|| row.clone())?;
        let after = mpt.connection()?;

        // The sentinel that follows each row is delivered, too.
        let delivered = after.counters.rx_packets - before.counters.rx_packets - 1;
        let mut dropped = before.dropped.clone();
        match fate {
            Delivered(ecn) => {
                ensure!(replies.len() == 1 && replies[0].1 == u64::from(ecn), "{row}: replies {replies:?}");
                assert_eq!(delivered, 1, "{row}");
            }
            Dropped(reason) => {
                *dropped.get_mut(reason).context("a reason")? += 1;
                ensure!(replies.is_empty(), "{row}: replies {replies:?}");
                // What the port refuses has passed the core.
                assert_eq!(delivered, u64::from(reason == "wrong_inner_source"), "{row}");
            }
            Unseen => {
                ensure!(replies.is_empty(), "{row}: replies {replies:?}");
                assert_eq!(delivered, 0, "{row}");
            }
        }
        assert_eq!(after.dropped, dropped, "{row}");
    }
    Ok(())
}

const PLAIN: &str = "{}";

#[test]
fn headers_are_accepted_and_refused_as_the_rfcs_say() {
    bench::test(&[Tool::Scapy], || {
        let rows: &[Row] = &[
            ("RFC 2784 2.1", "GRE()/echo(1)", PLAIN, Delivered(0)),
            ("RFC 7676 3.1", "GRE()/echo6(1)", PLAIN, Delivered(0)),
            ("RFC 2784 2.2", "GRE(chksum_present=1)/echo(1)", PLAIN, Delivered(0)),
            ("RFC 7676 2.1", "GRE(chksum_present=1)/echo6(1)", PLAIN, Delivered(0)),
            ("RFC 2784 2.2", "GRE(chksum_present=1, chksum=0x1234)/echo(1)", PLAIN, Dropped("bad_checksum")),
            ("RFC 2784 2.3", "GRE(routing_present=1)/echo(1)", PLAIN, Dropped("bad_flags")),
            ("RFC 2784 2.3", "GRE(strict_route_source=1)/echo(1)", PLAIN, Dropped("bad_flags")),
            ("RFC 2784 2.3", "GRE(recursion_control=4)/echo(1)", PLAIN, Dropped("bad_flags")),
            ("RFC 2784 2.3, bit 6", "GRE(recursion_control=2)/echo(1)", PLAIN, Delivered(0)),
            ("RFC 2784 2.3, bit 7", "GRE(recursion_control=1)/echo(1)", PLAIN, Delivered(0)),
            ("RFC 2784 2.3, bits 8 to 12", "GRE(flags=0x1f)/echo(1)", PLAIN, Delivered(0)),
            ("RFC 2784 2.3.1", "GRE(version=1)/echo(1)", PLAIN, Dropped("bad_version")),
            ("RFC 2784 2.3.1", "GRE(version=7)/echo(1)", PLAIN, Dropped("bad_version")),
            ("RFC 2784 2.4", "GRE(proto=0x0806)/Raw(bytes(28))", PLAIN, Dropped("unknown_protocol")),
            ("RFC 2784 2.4", "GRE(proto=0x6558)/Raw(bytes(64))", PLAIN, Dropped("unknown_protocol")),
            ("RFC 8157 3", "GRE(proto=0xb7ea)/Raw(bytes(64))", PLAIN, Dropped("unknown_protocol")),
            ("RFC 2784 3", "GRE(proto=0x0800)/Raw(b'\\xff' * 64)", PLAIN, Dropped("bad_inner")),
            ("RFC 2784 3", "GRE(proto=0x0800)/echo6(1)", PLAIN, Dropped("bad_inner")),
            ("RFC 7676 3.1", "GRE(proto=0x86dd)/echo(1)", PLAIN, Dropped("bad_inner")),
            ("RFC 791 3.1", "bytes(GRE()/echo(1))[:-1]", PLAIN, Dropped("bad_inner")),
            ("RFC 2784 2.1", "bytes(GRE()/echo(1))[:3]", PLAIN, Dropped("truncated")),
            ("RFC 2890 2", "bytes(GRE(seqnum_present=1))[:7]", PLAIN, Dropped("truncated")),
            ("RFC 8085 3.3", "b''", PLAIN, Dropped("truncated")),
            ("RFC 8086 3.3", "GRE(key_present=1, key=7)/echo(1)", PLAIN, Dropped("wrong_key")),
            ("RFC 8086 3.3", "GRE(key_present=1, key=0)/echo(1)", PLAIN, Dropped("wrong_key")),
            ("RFC 8086 6.1", "GRE()/echo(1)", r#"{"udp_checksum": 0}"#, Delivered(0)),
            ("RFC 8086 6.1", "GRE()/echo(1)", r#"{"udp_checksum": 4660}"#, Unseen),
            ("RFC 8085 5.1", "GRE()/echo(1)", r#"{"sport": 50000}"#, Dropped("wrong_source")),
            ("RFC 2827", "GRE()/echo(1, source='10.0.0.3')", PLAIN, Dropped("wrong_inner_source")),
        ];
        table(Stack::V4OverV4, None, |settings| settings, rows)
    });
}

#[test]
fn sequence_numbers_are_taken_as_rfc_2890_says() {
    bench::test(&[Tool::Scapy], || {
        let rows: &[Row] = &[
            (
                "RFC 2890 2.2, first is 0",
                "GRE(seqnum_present=1, sequence_number=0)/echo(1)",
                PLAIN,
                Delivered(0),
            ),
            ("RFC 2890 2.2", "GRE(seqnum_present=1, sequence_number=1)/echo(1)", PLAIN, Delivered(0)),
            ("RFC 2890 2.2", "GRE(seqnum_present=1, sequence_number=1)/echo(1)", PLAIN, Dropped("duplicate")),
            ("RFC 2890 2.2", "GRE(seqnum_present=1, sequence_number=0)/echo(1)", PLAIN, Dropped("duplicate")),
            ("RFC 2890 2.2, a gap", "GRE(seqnum_present=1, sequence_number=5)/echo(1)", PLAIN, Delivered(0)),
            ("RFC 2890 2.2", "GRE(seqnum_present=1, sequence_number=3)/echo(1)", PLAIN, Dropped("late")),
            ("RFC 2890 2.2", "GRE(seqnum_present=1, sequence_number=6)/echo6(1)", PLAIN, Delivered(0)),
            ("RFC 2890 2.2, no number", "GRE()/echo(1)", PLAIN, Delivered(0)),
            (
                "RFC 2890 2",
                "GRE(chksum_present=1, seqnum_present=1, sequence_number=7)/echo(1)",
                PLAIN,
                Delivered(0),
            ),
        ];
        table(Stack::V4OverV4, None, |settings| settings, rows)
    });
}

#[test]
fn the_key_must_be_the_one_that_was_agreed() {
    bench::test(&[Tool::Scapy], || {
        let rows: &[Row] = &[
            ("RFC 8086 3.3", "GRE(key_present=1, key=7)/echo(1)", PLAIN, Delivered(0)),
            ("RFC 8086 3.3", "GRE(key_present=1, key=8)/echo(1)", PLAIN, Dropped("wrong_key")),
            ("RFC 8086 3.3", "GRE()/echo(1)", PLAIN, Dropped("wrong_key")),
            (
                "RFC 2890 2, the order of fields",
                "GRE(chksum_present=1, key_present=1, key=7, seqnum_present=1, sequence_number=0)/echo(1)",
                PLAIN,
                Delivered(0),
            ),
        ];
        table(Stack::V4OverV4, Some(7), |settings| settings.connection("key", 7), rows)
    });
}

#[test]
fn any_source_port_will_do_when_the_configuration_says_so() {
    bench::test(&[Tool::Scapy], || {
        let rows: &[Row] = &[
            ("RFC 8086 3.2.1", "GRE()/echo(1)", r#"{"sport": 49152}"#, Delivered(0)),
            ("RFC 8086 3.2.1", "GRE()/echo(1)", r#"{"sport": 65535}"#, Delivered(0)),
            ("RFC 8086 3.2.1", "GRE()/echo(1)", PLAIN, Delivered(0)),
        ];
        table(Stack::V4OverV4, None, |settings| settings.connection("check_source_port", false), rows)
    });
}

/// RFC 6040 section 4.2, figure 4: the inner bits by row, the outer ones by column.
#[rustfmt::skip]
const FIGURE: [(u8, [Fate; 4]); 4] = [
    // outer:     Not-ECT       ECT(1)        ECT(0)        CE
    (0b00, [Delivered(0), Delivered(0), Delivered(0), Dropped("congestion_marked")]),
    (0b01, [Delivered(1), Delivered(1), Delivered(1), Delivered(3)]),
    (0b10, [Delivered(2), Delivered(1), Delivered(2), Delivered(3)]),
    (0b11, [Delivered(3), Delivered(3), Delivered(3), Delivered(3)]),
];

fn congestion(stack: Stack, echo: &str) -> anyhow::Result<()> {
    let mut rows: Vec<Row> = Vec::new();
    for (inner, fates) in FIGURE {
        for (outer, fate) in (0..).zip(fates) {
            // They live as long as the test: a few bytes.
            let gre = format!("GRE()/{echo}(1, tos={inner})").leak();
            rows.push(("RFC 6040 4.2", gre, format!(r#"{{"tos": {outer}}}"#).leak(), fate));
        }
    }
    table(stack, None, |settings| settings, &rows)
}

#[test]
fn congestion_marks_are_combined_as_rfc_6040_says_for_ipv4_in_ipv4() {
    bench::test(&[Tool::Scapy], || congestion(Stack::V4OverV4, "echo"));
}

#[test]
fn congestion_marks_are_combined_as_rfc_6040_says_for_ipv6_in_ipv6() {
    bench::test(&[Tool::Scapy], || congestion(Stack::V6OverV6, "echo6"));
}

#[test]
fn over_ipv6_a_udp_checksum_is_demanded() {
    bench::test(&[Tool::Scapy], || {
        let rows: &[Row] = &[
            ("RFC 8086 6.2", "GRE()/echo(1)", PLAIN, Delivered(0)),
            ("RFC 8086 6.2", "GRE()/echo6(1)", PLAIN, Delivered(0)),
            ("RFC 8086 6.2", "GRE()/echo(1)", r#"{"udp_checksum": 0}"#, Unseen),
            ("RFC 8086 6.2", "GRE()/echo(1)", r#"{"udp_checksum": 4660}"#, Unseen),
        ];
        table(Stack::V4OverV6, None, |settings| settings, rows)
    });
}
