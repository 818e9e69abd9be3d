//! What people have beside a download, by name: calls, conferences, games, lookups, many thin flows, a flood.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use mpt_proto::{ClassRule, Travel};

use super::datagram::Lead;
use super::flood::Flood;
use super::lookup::Lookup;
use super::media::{Leg, Media, Shape};
use super::network::client_port;
use super::{AppId, Application, Bond};
use crate::joined::End;

/// RTP payload types: G.711, and dynamic ones as browsers take them for Opus and for video (RFC 3551 section 6).
const G711: u8 = 0;
const OPUS: u8 = 111;
const VIDEO: u8 = 96;
/// UDP ports: RTP as SIP phones have it, audio and video of Microsoft Teams, a server of Valve's games, BitTorrent.
const CALL_PORT: u16 = 5004;
const AUDIO_PORT: u16 = 3479;
const VIDEO_PORT: u16 = 3480;
const GAME_PORT: u16 = 27_015;
const THIN_PORT: u16 = 51_413;
/// The first port of clients of thin flows.
const THIN_CLIENT_PORT: u16 = 20_000;
/// Frames a second, frames from one key frame to the next (3 s), and a key frame's size to that of another frame: chosen, in the range of
/// what WebRTC's encoders make of a talking head.
const FRAMES: u64 = 30;
const KEY_EACH: u64 = 3 * FRAMES;
const KEY_TIMES: usize = 5;
/// Bytes of a video packet at most, with all headers: WebRTC keeps below 1,200 of RTP.
const VIDEO_PACKET: usize = 1200;
/// Bytes of a thin flow's packets: full ones, as of a download.
const THIN_PACKET: usize = 1400;

/// Speech of 20 ms in 160 bytes (G.711, RFC 3551 section 4.5.14), with RTP, UDP and IPv4.
const SPEECH: Shape = Shape {
    lead: Lead::Rtp(G711),
    every: Duration::from_millis(20),
    frame_len: 200,
    packet_len: 200,
    key: None,
};
/// Small packets at a steady pace both ways, as W. Feng et al. found them at a server ("Provisioning on-line games", IMW 2002); sizes
/// and rates are chosen, in the range of today's games.
const GAME_UP: Shape = Shape {
    lead: Lead::Bare,
    every: Duration::from_micros(16_667),
    frame_len: 100,
    packet_len: 100,
    key: None,
};
const GAME_DOWN: Shape =
    Shape { every: Duration::from_micros(22_222), frame_len: 400, packet_len: 400, ..GAME_UP };

/// The rule that protects calls, with copies of so many per cent, or of what may arrive later than this many milliseconds after it left.
pub fn protecting(share: u8, deadline: Option<u16>) -> ClassRule {
    let ports = Some((CALL_PORT, CALL_PORT));
    let timely = deadline.map(|deadline| Travel::Timely { share, deadline });
    let travel = timely.unwrap_or(Travel::Protected(share));
    ClassRule { protocol: None, ports, dscp: None, network: None, travel, tier: None }
}

/// The words of [`Traffic`], for the help of a command.
pub const GRAMMAR: &str = "\
call                speech both ways: 50 packets a second of 200 bytes (RTP)
conference 2.5mbit  speech and video both ways: 30 frames a second in bursts of packets, a key frame each 3 s
game                60 packets a second of 100 bytes up, 45 of 400 bytes down
dns                 a query and its answer each 0.5 s, from a new port each time
thin 120x400kbit    120 UDP flows of 400 kbit/s each, one way
syn 40000           40,000 TCP SYNs a second from random ports, one way";

/// Traffic with a name. One way is the direction of the flows that are measured; "up" is the other one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Traffic {
    /// Speech.
    Call,
    /// Speech, and video of this rate in Mbit/s.
    Conference(f64),
    /// A first-person shooter.
    Game,
    /// Names that are looked up.
    Dns,
    /// UDP flows at a constant rate: their number, and kbit/s of each.
    Thin(u32, u32),
    /// TCP SYNs from random ports: their number a second.
    Syn(u64),
}

/// Times within which packets of media are asked for.
pub const DEADLINES: [Duration; 5] = [
    Duration::from_millis(60),
    Duration::from_millis(80),
    Duration::from_millis(100),
    Duration::from_millis(150),
    Duration::from_millis(200),
];

/// What became of traffic, in one direction.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Figures {
    /// Its name and direction.
    pub called: String,
    /// Mbit/s that arrived.
    pub rate: f64,
    /// Packets sent, or DNS queries.
    pub sent: u64,
    /// Packets sent that did not arrive, or queries without an answer.
    pub lost: u64,
    /// Packets that took 60 ms longer than the median, which a jitter buffer does not wait for.
    pub late: u64,
    /// Packets that did not arrive within each of [`DEADLINES`].
    pub beyond: [u64; DEADLINES.len()],
    /// Packets that arrived behind one that was sent later, since the beginning.
    pub overtaken: u64,
    /// The 50th, 95th and 99th percentile of the delay one way, or of DNS that of the query and its answer together.
    pub delay: [Duration; 3],
    /// Frames that were complete within 150 ms, and all frames.
    pub frames: Option<[u64; 2]>,
}

impl Figures {
    /// Packets that were lost, as a share.
    pub fn loss(&self) -> f64 {
        self.lost as f64 / self.sent.max(1) as f64
    }
}

impl Traffic {
    /// Mbit/s in the direction of the flows that are measured.
    pub fn rate(self) -> f64 {
        let of = |shape: Shape| shape.frame_len as f64 * 8.0 / shape.every.as_secs_f64() / 1e6;
        match self {
            Self::Call => of(SPEECH),
            Self::Conference(megabits) => of(SPEECH) + megabits,
            Self::Game => of(GAME_DOWN),
            Self::Dns => 0.0,
            Self::Thin(count, kilobits) => f64::from(count) * f64::from(kilobits) / 1000.0,
            Self::Syn(per_second) => per_second as f64 * 60.0 * 8.0 / 1e6,
        }
    }

    /// Starts it now, with the measured flows from an end.
    pub(super) fn start(self, bond: &mut Bond<'_>, from: End) -> AppId {
        let (index, now) = (bond.applications.len(), bond.now());
        let (client, far) = (client_port(index), 1 - from);
        let leg = |from, ports, shape| Leg::new(from, ports, shape, now, Duration::ZERO);
        let both =
            |server: u16, shape| [leg(from, [server, client], shape), leg(far, [client, server], shape)];
        let legs: Vec<Leg> = match self {
            Self::Call => both(CALL_PORT, SPEECH).into(),
            Self::Conference(megabits) => {
                let audio = Shape { lead: Lead::Rtp(OPUS), ..SPEECH };
                both(AUDIO_PORT, audio).into_iter().chain(both(VIDEO_PORT, video(megabits))).collect()
            }
            Self::Game => {
                vec![leg(from, [GAME_PORT, client], GAME_DOWN), leg(far, [client, GAME_PORT], GAME_UP)]
            }
            Self::Thin(count, kilobits) => {
                let every = Duration::from_secs(8 * THIN_PACKET as u64) / kilobits.max(1) / 1000;
                let (frame_len, packet_len) = (THIN_PACKET, THIN_PACKET);
                let shape = Shape { lead: Lead::Utp, every, frame_len, packet_len, key: None };
                let server = THIN_PORT.wrapping_add(u16::try_from(index).unwrap_or(0));
                let one = |number: u32| {
                    let client = THIN_CLIENT_PORT.wrapping_add(u16::try_from(number).unwrap_or(0));
                    // Not all at once.
                    Leg::new(from, [server, client], shape, now, every * number / count)
                };
                (0..count).map(one).collect()
            }
            Self::Dns | Self::Syn(_) => Vec::new(),
        };
        let seed = bond.network.joined.rng.next();
        bond.start(match self {
            Self::Dns => Application::Lookup(Lookup::new(index, far, seed, now)),
            Self::Syn(per_second) => Application::Flood(Flood::new(index, from, per_second, seed, now)),
            _ => Application::Media(Media::new(index, legs)),
        })
    }

    /// What became of it within a time, a line each.
    pub(super) fn figures(self, application: &Application, within: &Range<Duration>) -> Vec<Figures> {
        let names: &[&str] = match self {
            Self::Call => &["call there", "call back"],
            Self::Conference(_) => &["audio there", "audio back", "video there", "video back"],
            Self::Game => &["game there", "game back"],
            Self::Dns | Self::Thin(..) | Self::Syn(_) => &[],
        };
        match application {
            Application::Media(media) if names.is_empty() => vec![media.together(self.to_string(), within)],
            Application::Media(media) => media.figures(names, within),
            Application::Lookup(lookup) => vec![lookup.figures(self.to_string(), within)],
            Application::Flood(flood) => vec![flood.figures(self.to_string(), within)],
            Application::Flow(_) | Application::Stream(_) | Application::Ping(_) => Vec::new(),
        }
    }
}

/// Video of an average rate in Mbit/s.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float saturates")]
fn video(megabits: f64) -> Shape {
    let of_key = KEY_EACH as f64 / (KEY_EACH as f64 - 1.0 + KEY_TIMES as f64);
    let frame_len = (megabits * 1e6 / 8.0 / FRAMES as f64 * of_key) as usize;
    let key = Some((KEY_EACH, KEY_TIMES));
    let every = Duration::from_secs(1) / u32::try_from(FRAMES).unwrap_or(1);
    Shape { lead: Lead::Rtp(VIDEO), every, frame_len, packet_len: VIDEO_PACKET, key }
}

impl FromStr for Traffic {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("no such traffic: {text}");
        fn number<T: FromStr>(text: &str, unit: &str) -> Option<T> {
            text.strip_suffix(unit)?.parse().ok()
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            ["call"] => Some(Self::Call),
            ["conference", rate] => number(rate, "mbit").filter(|it| *it >= 0.1).map(Self::Conference),
            ["game"] => Some(Self::Game),
            ["dns"] => Some(Self::Dns),
            ["thin", flows] => flows.split_once('x').and_then(|(count, rate)| {
                let (count, rate) = (number(count, "")?, number(rate, "kbit")?);
                (count > 0 && rate > 0).then_some(Self::Thin(count, rate))
            }),
            ["syn", count] => number(count, "").map(Self::Syn),
            _ => None,
        }
        .ok_or_else(unknown)
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call => write!(f, "call"),
            Self::Conference(megabits) => write!(f, "conference {megabits}mbit"),
            Self::Game => write!(f, "game"),
            Self::Dns => write!(f, "dns"),
            Self::Thin(count, kilobits) => write!(f, "thin {count}x{kilobits}kbit"),
            Self::Syn(per_second) => write!(f, "syn {per_second}"),
        }
    }
}
