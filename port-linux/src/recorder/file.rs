//! The file: a header, then segments of blocks, each with a checksum, then how it ended.
//!
//! ```text
//! "mptrec" 0 0  format u16    header: length u32, CRC-32 u32, postcard
//! 'S' length u32 CRC-32 u32   a segment begins: postcard of `StartHead`, then the state of the core by DEFLATE (RFC 1951)
//! 'B' length u32 CRC-32 u32   block: postcard of `BlockHead`, then the columns, each by DEFLATE
//! ...
//! 'E' how
//! ```
//!
//! Numbers are little-endian. Where a block stands first, the core was new. With each segment all begins anew that a block may refer to, so
//! that those before it can go. A file that was cut has no end, and can be replayed as far as its blocks are whole.
//!
//! Format 1 had no segments, and is read like a recording of one whose core was new. Formats before 3 had no tiers and deadlines of classes,
//! which stand behind the rest of the header; in formats before 4 the core did not search for the sizes that paths carry.

use std::io::{self, Read};

use anyhow::{Context, Result, bail};
use crc::{CRC_32_ISO_HDLC, Crc};
use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec_with_limit;
use serde::{Deserialize, Serialize};

use super::Decisions;
use super::columns::{COLUMNS, Columns, Reader};
use super::settings::Settings;
use super::tape::Block;

const MAGIC: [u8; 8] = *b"mptrec\0\0";
/// Of the files that are written, and the first that is read; others are refused.
const FORMAT: u16 = 4;
const FIRST_FORMAT: u16 = 1;
/// The first in which tiers and deadlines of classes stand behind the header.
const BOUNDED_FORMAT: u16 = 3;
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
/// Bytes of an end.
pub(super) const END: u64 = 2;
/// Lengths beyond that are damage.
const LONGEST: u32 = 64 << 20;
/// The lowest level that finds repetitions: columns are short, and the next ones take a third more time for a twentieth less.
const LEVEL: u8 = 3;

/// What stands before the blocks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the program that recorded.
    pub program: String,
    /// When the recording began, by the system's clock: microseconds since 1970.
    pub began: u64,
    /// Name of the tunnel interface.
    pub tunnel: String,
    /// Name of the connection.
    pub connection: String,
    pub(super) settings: Settings,
    /// As in [`Subject`](super::Subject).
    pub(super) memory: [u64; 5],
    /// The connection's clock then, in microseconds.
    pub now: u64,
}

/// What stands before a block's columns.
#[derive(Debug, Serialize, Deserialize)]
struct BlockHead {
    decisions: u64,
    count: u64,
    now: u64,
    /// Bytes of each column, as they are and packed.
    sizes: [(u32, u32); COLUMNS],
}

/// The state of a core in the middle of its life: with it a segment begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Start {
    /// As the core has saved it.
    pub(super) state: Vec<u8>,
    /// The numbers and names of its paths.
    pub(super) paths: Vec<(u8, String)>,
    /// What it had decided.
    pub(super) decisions: Decisions,
    /// Microseconds of the connection's clock.
    pub(super) now: u64,
}

/// What stands before a state.
#[derive(Debug, Serialize, Deserialize)]
struct StartHead {
    decisions: u64,
    count: u64,
    now: u64,
    paths: Vec<(u8, String)>,
    /// Bytes of the state as it is.
    len: u32,
}

/// How a recording ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The connection ended, or recording it did.
    Closed,
    /// The file had as many bytes as it may.
    Full,
    /// It was saved while it went on.
    Saved,
    /// It goes on in another file, of the next segment.
    GoesOn,
    /// In the middle: mpt was killed, the disk was full, or the file was cut. What was read up to here is whole.
    Cut,
}

/// The beginning of a file.
pub(super) fn begin(header: &Header) -> Result<Vec<u8>> {
    let mut body = postcard::to_allocvec(header).context("a header that cannot be written")?;
    body.extend(postcard::to_allocvec(&header.settings.bounds).context("a header that cannot be written")?);
    let mut bytes = MAGIC.to_vec();
    bytes.extend(FORMAT.to_le_bytes());
    framed(&mut bytes, &body);
    Ok(bytes)
}

/// A block.
pub(super) fn pack(block: Block) -> Vec<u8> {
    let Block { columns, decisions, now } = block;
    let mut sizes = [(0, 0); COLUMNS];
    let mut packed = Vec::new();
    for (column, sizes) in columns.into_parts().iter().zip(&mut sizes) {
        let bytes = if column.is_empty() { Vec::new() } else { compress_to_vec(column, LEVEL) };
        *sizes = (size(column.len()), size(bytes.len()));
        packed.extend(bytes);
    }
    let head = BlockHead { decisions: decisions.hash, count: decisions.count, now, sizes };
    let mut body = postcard::to_allocvec(&head).unwrap_or_default();
    body.extend(packed);
    let mut bytes = vec![b'B'];
    framed(&mut bytes, &body);
    bytes
}

/// The beginning of a segment.
pub(super) fn start(start: &Start) -> Vec<u8> {
    let Start { state, paths, decisions, now } = start;
    let head = StartHead {
        decisions: decisions.hash,
        count: decisions.count,
        now: *now,
        paths: paths.clone(),
        len: size(state.len()),
    };
    let mut body = postcard::to_allocvec(&head).unwrap_or_default();
    body.extend(compress_to_vec(state, LEVEL));
    let mut bytes = vec![b'S'];
    framed(&mut bytes, &body);
    bytes
}

/// The end of a file.
pub(crate) fn end(how: End) -> [u8; 2] {
    let letter = match how {
        End::Full => b'f',
        End::Saved => b's',
        End::GoesOn => b'g',
        End::Closed | End::Cut => b'c',
    };
    [b'E', letter]
}

fn size(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn framed(bytes: &mut Vec<u8>, body: &[u8]) {
    bytes.extend(size(body.len()).to_le_bytes());
    bytes.extend(CRC.checksum(body).to_le_bytes());
    bytes.extend_from_slice(body);
}

/// A block that was read.
pub(super) struct Unpacked {
    pub(super) reader: Reader,
    pub(super) decisions: Decisions,
    pub(super) now: u64,
}

/// What comes next in a file.
pub(super) enum Next {
    Start(Box<Start>),
    Block(Box<Unpacked>),
    End(End),
}

/// Reads a file.
pub(super) struct Recording<R> {
    from: R,
    pub(super) header: Header,
    blocks: u64,
}

impl<'b> Recording<&'b [u8]> {
    /// What was not read yet.
    pub(super) const fn rest(&self) -> &'b [u8] {
        self.from
    }
}

/// A piece of a file.
enum Piece {
    Whole(Vec<u8>),
    Cut,
}

impl<R: Read> Recording<R> {
    /// Reads the header.
    pub(super) fn open(mut from: R) -> Result<Self> {
        let mut front = [0; MAGIC.len() + 2];
        if !read(&mut from, &mut front)? || front[..MAGIC.len()] != MAGIC {
            bail!("this is no recording of mpt: it does not begin as one");
        }
        let format = u16::from_le_bytes([front[8], front[9]]);
        if !(FIRST_FORMAT..=FORMAT).contains(&format) {
            let age = if format > FORMAT { "newer" } else { "older" };
            bail!(
                "this recording has format {format}, and this mpt reads formats {FIRST_FORMAT} to {FORMAT}: replay it with the {age} mpt that made it"
            );
        }
        let Piece::Whole(body) = piece(&mut from).context("its header is damaged")? else {
            bail!("the recording is cut within its header: there is nothing to replay");
        };
        let (mut header, rest) =
            postcard::take_from_bytes::<Header>(&body).context("its header is damaged")?;
        if format >= BOUNDED_FORMAT {
            header.settings.bounds = postcard::from_bytes(rest).context("its header is damaged")?;
        }
        Ok(Self { from, header, blocks: 0 })
    }

    /// The next block.
    pub(super) fn next(&mut self) -> Result<Next> {
        let mut mark = [0];
        if !read(&mut self.from, &mut mark)? {
            return Ok(Next::End(End::Cut));
        }
        match mark[0] {
            b'B' | b'S' => {}
            b'E' => {
                let mut how = [0];
                let is_there = read(&mut self.from, &mut how)?;
                return Ok(Next::End(match how[0] {
                    b'f' if is_there => End::Full,
                    b's' if is_there => End::Saved,
                    b'g' if is_there => End::GoesOn,
                    b'c' if is_there => End::Closed,
                    _ => End::Cut,
                }));
            }
            _ => bail!("block {} is damaged: it does not begin as one", self.blocks),
        }
        let damaged = || format!("block {} is damaged", self.blocks);
        let Piece::Whole(body) = piece(&mut self.from).with_context(damaged)? else {
            return Ok(Next::End(End::Cut));
        };
        if mark[0] == b'S' {
            return Ok(Next::Start(Box::new(unpack_start(&body).with_context(damaged)?)));
        }
        let unpacked = unpack(&body).with_context(damaged)?;
        self.blocks += 1;
        Ok(Next::Block(Box::new(unpacked)))
    }
}

fn unpack_start(body: &[u8]) -> Result<Start> {
    let (head, packed) = postcard::take_from_bytes::<StartHead>(body).context("its head makes no sense")?;
    let StartHead { decisions, count, now, paths, len } = head;
    let state = decompress_to_vec_with_limit(packed, len.min(LONGEST) as usize)
        .map_err(|error| anyhow::anyhow!("its state cannot be unpacked: {error}"))?;
    Ok(Start { state, paths, decisions: Decisions { hash: decisions, count }, now })
}

fn unpack(body: &[u8]) -> Result<Unpacked> {
    let (head, mut rest) = postcard::take_from_bytes::<BlockHead>(body).context("its head makes no sense")?;
    let mut parts: [Vec<u8>; COLUMNS] = Default::default();
    for (part, (len, packed)) in parts.iter_mut().zip(head.sizes) {
        let (bytes, behind) = rest.split_at_checked(packed as usize).context("a column is too short")?;
        rest = behind;
        if packed > 0 {
            *part = decompress_to_vec_with_limit(bytes, len.min(LONGEST) as usize)
                .map_err(|error| anyhow::anyhow!("a column cannot be unpacked: {error}"))?;
        }
    }
    let decisions = Decisions { hash: head.decisions, count: head.count };
    Ok(Unpacked { reader: Columns::reader(parts), decisions, now: head.now })
}

/// Where in the bytes of a file its segments lie, as far as they are whole, and how it ended.
pub(super) fn segments(bytes: &[u8]) -> (std::ops::Range<usize>, End) {
    let length = |at: usize| {
        let front: &[u8; 4] = bytes.get(at..)?.first_chunk()?;
        usize::try_from(u32::from_le_bytes(*front)).ok()?.checked_add(8)
    };
    let front = MAGIC.len() + 2;
    let Some(begin) = length(front).map(|length| front + length) else { return (0..0, End::Cut) };
    let mut at = begin;
    loop {
        match bytes.get(at) {
            Some(b'B' | b'S') => match length(at + 1).map(|length| at + 1 + length) {
                Some(next) if next <= bytes.len() => at = next,
                _ => return (begin..at, End::Cut),
            },
            Some(b'E') => {
                let how = match bytes.get(at + 1) {
                    Some(b'f') => End::Full,
                    Some(b's') => End::Saved,
                    Some(b'c') => End::Closed,
                    Some(b'g') => End::GoesOn,
                    _ => End::Cut,
                };
                return (begin..at, how);
            }
            // Damage: who reads it says so.
            Some(_) => return (begin..bytes.len(), End::Cut),
            None => return (begin..at, End::Cut),
        }
    }
}

fn piece(from: &mut impl Read) -> Result<Piece> {
    let mut front = [0; 8];
    if !read(from, &mut front)? {
        return Ok(Piece::Cut);
    }
    let (len, sum) = front.split_at(4);
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap_or_default());
    let len = number(len);
    if len > LONGEST {
        bail!("its length makes no sense");
    }
    let mut body = Vec::new();
    from.take(len.into()).read_to_end(&mut body)?;
    if body.len() < len as usize {
        return Ok(Piece::Cut);
    }
    if CRC.checksum(&body) != number(sum) {
        bail!("its checksum is wrong");
    }
    Ok(Piece::Whole(body))
}

/// Fills a buffer. `false`: the file ends before.
fn read(from: &mut impl Read, buffer: &mut [u8]) -> Result<bool> {
    match from.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error).context("cannot read it"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The same recording, as of a connection with another seed.
    pub(in crate::recorder) fn with_other_seed(bytes: &[u8]) -> Vec<u8> {
        let mut recording = Recording::open(bytes).unwrap();
        recording.header.settings = recording.header.settings.with_seed(4711);
        let mut other = begin(&recording.header).unwrap();
        other.extend_from_slice(recording.from);
        other
    }

    /// The states with which its segments begin.
    pub(in crate::recorder) fn states(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut recording = Recording::open(bytes).unwrap();
        let mut states = Vec::new();
        loop {
            match recording.next().unwrap() {
                Next::Start(start) => states.push(start.state),
                Next::Block(_) => {}
                Next::End(_) => return states,
            }
        }
    }

    /// The same recording, whose second state has one bit that is another.
    pub(in crate::recorder) fn with_other_states(bytes: &[u8]) -> Vec<u8> {
        let mut recording = Recording::open(bytes).unwrap();
        let mut starts = 0;
        loop {
            let before = recording.from;
            match recording.next().unwrap() {
                Next::Start(mut it) if starts == 1 => {
                    let mut other = bytes[..bytes.len() - before.len()].to_vec();
                    let middle = it.state.len() / 2;
                    it.state[middle] ^= 1;
                    other.extend(start(&it));
                    other.extend_from_slice(recording.from);
                    return other;
                }
                Next::Start(_) => starts += 1,
                Next::Block(_) => {}
                Next::End(_) => panic!("there is no second state"),
            }
        }
    }
}
