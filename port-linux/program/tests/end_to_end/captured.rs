//! Conformance of what mpt sends: datagrams captured on a link, as tshark dissects them.

use anyhow::{Context as _, ensure};
use mpt_lab::stack::{Stack, Version};
use mpt_lab::topology::{Side, Topology};

use crate::bench::{self, Mpt, Settings, Tunnel};
use crate::programs::{Capture, Tool, all_pass};

const TOOLS: &[Tool] = &[Tool::Ping, Tool::Tshark, Tool::Ethtool];

/// What tshark reads from each datagram. It calls a checksum good with 1.
const FIELDS: [&str; 15] = [
    "udp.srcport",
    "udp.dstport",
    "udp.checksum.status",
    "ip.flags.df",
    "ip.checksum.status",
    "ip.dsfield.ecn",
    "ip.dsfield.dscp",
    "ipv6.tclass.ecn",
    "gre.flags_and_version",
    "gre.proto",
    "gre.checksum.status",
    "gre.key",
    "gre.sequence_number",
    "_ws.malformed",
    "_ws.expert.severity",
];

/// A datagram as tshark sees it.
struct Datagram(Vec<Vec<String>>);

impl Datagram {
    /// Every value of a field, outermost header first.
    fn all(&self, field: &str) -> &[String] {
        let index = FIELDS.iter().position(|name| *name == field).expect("a field that is asked for");
        &self.0[index]
    }

    /// The value of the outermost header.
    fn outer(&self, field: &str) -> Option<&str> {
        self.all(field).first().map(String::as_str)
    }
}

/// Captures what PC1 sends to PC2 on the first link while `traffic` goes on.
fn capture(
    net: &Topology,
    version: Version,
    traffic: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Datagram>> {
    let mut capture = Capture::start(&net.pc2, "eth1")?;
    traffic()?;
    capture.end(&net.pc2, Side::Pc1.address(1, version))?;
    let field = if version == Version::V4 { "ip" } else { "ipv6" };
    let sent = format!("{field}.src == {} and udp.port == 4754", Side::Pc1.address(1, version));
    let sent: Vec<_> = capture.dissect(&sent, &FIELDS)?.into_iter().map(Datagram).collect();
    for datagram in &sent {
        let (malformed, severities) = (datagram.all("_ws.malformed"), datagram.all("_ws.expert.severity"));
        let is_error = |severity: &String| severity == "8388608" || severity == "Error";
        ensure!(malformed.is_empty() && !severities.iter().any(is_error), "{:?}", datagram.0);
    }
    Ok(sent)
}

/// Hosts on whose links checksums are those that a wire would carry: veth leaves them to be filled in later.
fn wire() -> anyhow::Result<Topology> {
    let net = Topology::build(1, None)?;
    for host in [&net.pc1, &net.pc2] {
        host.run("ethtool -K eth1 tx off tso off gso off gro off")?;
    }
    Ok(net)
}

/// Section of an RFC, `sequence`, `key`, `checksum`, and the first two bytes of the GRE header that they make.
type Row = (&'static str, bool, Option<i64>, bool, &'static str);

/// RFC 2784 section 2.1, RFC 2890 section 2.
const HEADERS: [Row; 8] = [
    ("RFC 2784 2.1, nothing", false, None, false, "0x0000"),
    ("RFC 2890 2.2, sequence", true, None, false, "0x1000"),
    ("RFC 2890 2.1, key", false, Some(0xdead_beef), false, "0x2000"),
    ("RFC 2890 2, key and sequence", true, Some(0), false, "0x3000"),
    ("RFC 2784 2.1, checksum", false, None, true, "0x8000"),
    ("RFC 2890 2, checksum and sequence", true, None, true, "0x9000"),
    ("RFC 2890 2, checksum and key", false, Some(7), true, "0xa000"),
    ("RFC 2890 2, everything", true, Some(7), true, "0xb000"),
];

fn headers(stack: Stack) -> anyhow::Result<()> {
    let net = wire()?;
    let version = stack.outer();
    for (section, sequence, key, checksum, flags) in HEADERS {
        let start = |side| {
            let settings = Settings::new(side, stack, 1)
                .clear()
                .connection("policy", "adaptive")
                .connection("liveness", "off");
            let settings = settings.connection("sequence", sequence).connection("checksum", checksum);
            let settings = key.iter().fold(settings, |settings, key| settings.connection("key", *key));
            Mpt::start(net.host(side), &settings)
        };
        let (_pc1, _pc2) = (start(Side::Pc1)?, start(Side::Pc2)?);
        let sent = capture(&net, version, || {
            // ECT(0) inside, and a DSCP (46, expedited forwarding) that stays inside.
            all_pass(&net.pc1, Side::Pc2.tunnel_address(Version::V4), 3, "-Q 0xba")?;
            all_pass(&net.pc1, Side::Pc2.tunnel_address(Version::V6), 3, "-Q 0xba")?;
            // Not-ECT, and CE: the outer header gets what the inner one has (RFC 6040 section 4.1, normal mode).
            all_pass(&net.pc1, Side::Pc2.tunnel_address(Version::V4), 3, "-Q 0")?;
            all_pass(&net.pc1, Side::Pc2.tunnel_address(Version::V4), 3, "-Q 3")
        })?;
        let counted = sent.iter().filter(|d| d.outer("gre.proto") == Some("0x0800")).count();
        ensure!(counted >= 9 && sent.len() >= counted + 3, "{section}: {counted} of {}", sent.len());
        let mut next = 0;
        for datagram in &sent {
            check(datagram, version, key, checksum, flags).with_context(|| section)?;
            if sequence {
                let number: u64 = datagram.outer("gre.sequence_number").context("no number")?.parse()?;
                ensure!(number == next, "RFC 2890 2.2, {section}: number {number} follows {next}");
                next += 1;
            } else {
                ensure!(datagram.outer("gre.sequence_number").is_none(), "{section}");
            }
        }
        let ecn = |datagram: &Datagram| match version {
            Version::V4 => datagram.outer("ip.dsfield.ecn").map(str::to_owned),
            Version::V6 => datagram.outer("ipv6.tclass.ecn").map(str::to_owned),
        };
        let marks: Vec<u8> =
            sent.iter().filter_map(ecn).map(|mark| number(&mark)).collect::<Result<_, _>>()?;
        for mark in [0, 2, 3] {
            ensure!(marks.iter().filter(|&&m| m == mark).count() >= 3, "RFC 6040 4.1: {marks:?}");
        }
    }
    Ok(())
}

/// tshark writes some numbers in base 16.
fn number(text: &str) -> Result<u8, std::num::ParseIntError> {
    text.strip_prefix("0x").map_or_else(|| text.parse(), |digits| u8::from_str_radix(digits, 16))
}

/// One data packet.
fn check(
    datagram: &Datagram,
    version: Version,
    key: Option<i64>,
    checksum: bool,
    flags: &str,
) -> anyhow::Result<()> {
    let is = |field: &str, wanted: Option<&str>, section: &str| {
        let found = datagram.outer(field);
        ensure!(found == wanted, "{section}: {field} is {found:?}, not {wanted:?}");
        Ok(())
    };
    is("udp.dstport", Some("4754"), "RFC 8086 3.2.2")?;
    is("udp.srcport", Some("4754"), "RFC 8086 2.1.1(5)")?;
    is("udp.checksum.status", Some("1"), "RFC 8086 6.1 and 6.2")?;
    is("gre.flags_and_version", Some(flags), "RFC 2784 2.3, RFC 2890 2")?;
    is("gre.checksum.status", checksum.then_some("1"), "RFC 2784 2.4")?;
    let key = key.map(|key| format!("0x{key:08x}"));
    is("gre.key", key.as_deref(), "RFC 2890 2.1")?;
    let proto = datagram.outer("gre.proto");
    ensure!(matches!(proto, Some("0x0800" | "0x86dd")), "RFC 2784 3, RFC 7676 3.1: {proto:?}");

    let (marks4, marks6) = (datagram.all("ip.dsfield.ecn"), datagram.all("ipv6.tclass.ecn"));
    let marks: Vec<u8> = marks4.iter().chain(marks6).map(|m| number(m)).collect::<Result<_, _>>()?;
    ensure!(marks.len() == 2 && marks[0] == marks[1], "RFC 6040 4.1: {marks:?} inside and outside");
    if version == Version::V4 {
        is("ip.flags.df", Some("1"), "RFC 8085 3.2")?;
        is("ip.checksum.status", Some("1"), "RFC 791 3.1")?;
        is("ip.dsfield.dscp", Some("0"), "RFC 2983 3.1, pipe model")?;
    }
    Ok(())
}

#[test]
fn tshark_finds_over_ipv4_the_gre_header_that_was_configured() {
    bench::test(TOOLS, || headers(Stack::V4OverV4));
}

#[test]
fn tshark_finds_over_ipv6_the_gre_header_that_was_configured() {
    bench::test(TOOLS, || headers(Stack::V4OverV6));
}

#[test]
fn control_messages_and_fragments_are_gre_with_types_of_their_own() {
    bench::test(TOOLS, || {
        let tunnel = Tunnel::start_on(wire()?, Stack::V4OverV4, |_, settings| {
            settings.clear().tunnel("mtu", 3000).connection("key", 7).connection("checksum", true)
        })?;
        // Marks leave only on a path that has proven to carry them: a probe with a mark has come back.
        all_pass(&tunnel.net.pc1, Side::Pc2.tunnel_address(Version::V4), 50, "-Q 2")?;
        let before = tunnel.pc1.connection()?.paths[0].probes;

        let sent = capture(&tunnel.net, Version::V4, || {
            all_pass(&tunnel.net.pc1, Side::Pc2.tunnel_address(Version::V4), 3, "-M do -s 2900 -Q 2")?;
            tunnel.pc1.until("more probes", |c| c.paths[0].probes >= before + 5)?;
            Ok(())
        })?;

        let of = |ether_type: &str| {
            let wanted = Some(ether_type);
            sent.iter().filter(|datagram| datagram.outer("gre.proto") == wanted).collect::<Vec<_>>()
        };
        let (control, fragments) = (of("0x88b5"), of("0x88b6"));
        ensure!(control.len() >= 5 && fragments.len() >= 6, "{} and {}", control.len(), fragments.len());
        for datagram in control.iter().chain(&fragments) {
            assert_eq!(datagram.outer("udp.checksum.status"), Some("1"), "RFC 8086 6.1");
            assert_eq!(datagram.outer("gre.checksum.status"), Some("1"), "RFC 2784 2.4");
            assert_eq!(datagram.outer("gre.key"), Some("0x00000007"), "RFC 2890 2.1");
            assert_eq!(datagram.outer("ip.flags.df"), Some("1"), "RFC 8086 4.1");
        }
        let marked = control.iter().filter(|datagram| datagram.outer("ip.dsfield.ecn") != Some("0")).count();
        ensure!(marked <= 2, "not ECN-capable, but for a test each 2 s: {marked} of {}", control.len());
        for datagram in control {
            assert_eq!(datagram.outer("gre.flags_and_version"), Some("0xa000"), "no sequence number");
        }
        for datagram in fragments {
            assert_eq!(datagram.outer("gre.flags_and_version"), Some("0xb000"), "RFC 8086 4.1");
            assert_eq!(datagram.outer("ip.dsfield.ecn"), Some("2"), "RFC 6040 4.1");
        }
        Ok(())
    });
}
