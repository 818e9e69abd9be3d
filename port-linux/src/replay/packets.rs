//! Every datagram, one a line: where it went and why, or what became of it.

use mpt_proto::wire::control::{Kind as ControlKind, Message};
use mpt_proto::wire::gre::{self, Protocol};
use mpt_proto::wire::{extension, report};
use mpt_proto::{Connection, Departure, Event, Instant, PathId, Received};

use super::course::{Course, Part};
use crate::output;
use crate::recorder::play::Watch;

/// Lines are printed when there are so many bytes of them.
const CHUNK: usize = 64 << 10;

/// Prints datagrams, and looks at the core as well.
pub(super) struct Packets<'c> {
    pub(super) course: &'c mut Course,
    begin: u64,
    part: Part,
    lines: String,
    /// Nobody reads any more.
    is_closed: bool,
}

impl<'c> Packets<'c> {
    pub(super) fn new(course: &'c mut Course, begin: u64, part: Part) -> Self {
        Self { course, begin, part, lines: String::new(), is_closed: false }
    }

    fn line(&mut self, now: Instant, text: &str) {
        let at = now.as_micros().saturating_sub(self.begin);
        if self.is_closed || !self.part.contains(at) {
            return;
        }
        self.lines += &format!("{:>5}.{:06}  {text}\n", at / 1_000_000, at % 1_000_000);
        if self.lines.len() >= CHUNK {
            self.print();
        }
    }

    /// Prints what was not yet.
    pub(super) fn print(&mut self) {
        self.is_closed = !output::print(&std::mem::take(&mut self.lines)).unwrap_or(false);
    }
}

impl Watch for Packets<'_> {
    fn time(&mut self, core: &Connection<'_>, now: Instant) {
        self.course.time(core, now);
    }

    fn path(&mut self, path: PathId, name: &str) {
        self.course.path(path, name);
    }

    fn packet(&mut self, size: usize, taken: bool, now: Instant) {
        if !taken {
            self.line(now, &format!("not taken  {size} bytes"));
        }
    }

    fn departure(&mut self, departure: &Departure<'_>, header_len: usize, now: Instant) {
        let what = why(departure.datagram, header_len);
        let name = self.course.name(departure.path);
        let text =
            format!("-> {name}  {} bytes  {what}", departure.datagram.len().max(departure.padded_to.into()));
        self.line(now, &text);
    }

    fn arrival(&mut self, path: u8, size: usize, received: &Received<'_>, now: Instant) {
        let became = match received {
            Received::Packet(_) => "delivered",
            Received::Consumed => "taken in",
            Received::Dropped(reason) => reason.name(),
        };
        let paths = self.course.paths.iter().rev();
        let mut named = paths.filter(|(id, _)| id.index() == usize::from(path)).map(|(_, name)| name);
        let name = named.next().map_or("?", |name| name);
        let text = format!("<- {name}  {size} bytes  {became}");
        self.line(now, &text);
    }

    fn event(&mut self, event: Event, now: Instant) {
        self.course.event(event, now);
        if let Some((_, what)) = self.course.events.last().cloned() {
            self.line(now, &format!("** {what}"));
        }
    }
}

/// Why a datagram left as it did.
fn why(datagram: &[u8], header_len: usize) -> String {
    let Ok(header) = gre::parse(datagram) else { return "?".to_owned() };
    let number = header.sequence.map_or_else(String::new, |sequence| format!(" #{}", sequence.as_u32()));
    let payload = datagram.get(header_len..).unwrap_or_default();
    match header.protocol {
        Protocol::Ipv4 | Protocol::Ipv6 => format!("packet{number}: by the policy's turn"),
        Protocol::Fragment => format!("piece{number}: the packet is larger than the path takes"),
        Protocol::Control => match extension::Header::parse(payload) {
            Some(header) => extended(&header, &number, payload),
            None => match Message::parse(payload).map(|message| message.kind) {
                Ok(ControlKind::Probe) => "probe".to_owned(),
                Ok(ControlKind::Echo) => "echo".to_owned(),
                Err(_) => "control".to_owned(),
            },
        },
    }
}

fn extended(header: &extension::Header, number: &str, payload: &[u8]) -> String {
    use extension::Kind::{Marker, Ordered, Report, Unordered};
    match (header.kind, header.resent) {
        (Ordered, false) => format!("packet{number}: in order, an open path that has room"),
        (Unordered, false) => format!("packet{number}: at once, the path that delivers first"),
        (Ordered | Unordered, true) => {
            format!("packet{number}: again, as it was lost or its path has stopped, or a copy")
        }
        (Marker, _) => "marker: what is under way on the path is to be reported".to_owned(),
        (Report, _) => {
            let report = report::Report::parse(payload.get(extension::LEN..).unwrap_or_default());
            report.map_or_else(
                || "report".to_owned(),
                |report| format!("report: paths {}, gaps {}", report.paths.len(), report.gaps.len()),
            )
        }
    }
}
