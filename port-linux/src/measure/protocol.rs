//! What is said between `mpt ping`, `mpt speed` or `mpt doctor` and the responder, inside the tunnel: see docs/test-a-link.md.
//!
//! Every message begins with [`MAGIC`] and a version. Nothing here is on the outer wire.

/// The first bytes of every message.
const MAGIC: [u8; 4] = *b"mptp";
/// The version that is spoken here.
const VERSION: u8 = 1;
/// Bytes of a question and of an answer; what is behind them comes back as it was.
pub(super) const ECHO_LEN: usize = 24;
/// Bytes of the question which program answers, and of its answer.
pub(super) const PROGRAM_LEN: usize = 48;
/// Where in them the program's version begins; it ends with the first zero, or with them.
const PROGRAM_AT: usize = 16;
/// Bytes with which a TCP connection begins.
pub(super) const HELLO_LEN: usize = 16;
/// Bytes of the answer to that.
pub(super) const WELCOME_LEN: usize = 8;
/// Bytes of a [`Sample`].
pub(super) const SAMPLE_LEN: usize = 16;
/// Most seconds that one TCP connection may carry a test.
pub(super) const MOST_SECONDS: u16 = 60;
/// In place of a path's number: whatever the policy says.
const ANY_PATH: u8 = 255;

const ECHO: u8 = 1;
const ANSWER: u8 = 2;
const REFUSAL: u8 = 3;
const UPLOAD: u8 = 4;
const DOWNLOAD: u8 = 5;
const WHICH_PROGRAM: u8 = 6;
const PROGRAM: u8 = 7;

/// Why the responder does not do what it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It speaks another version.
    Version,
    /// It cannot send over that path alone.
    Path,
    /// As many tests run as it allows.
    Busy,
    /// A reason that this version does not know.
    Other(u8),
}

impl Refusal {
    fn number(self) -> u8 {
        match self {
            Self::Version => 1,
            Self::Path => 2,
            Self::Busy => 3,
            Self::Other(number) => number,
        }
    }

    fn of(number: u8) -> Self {
        match number {
            1 => Self::Version,
            2 => Self::Path,
            3 => Self::Busy,
            other => Self::Other(other),
        }
    }

    /// As people read it, behind the peer's name.
    pub(super) fn told(self) -> String {
        match self {
            Self::Version => "speaks another version of this test: use the same mpt at both ends".to_owned(),
            Self::Path => {
                "cannot answer over that path alone: it is gone there, or too many paths are tested at once"
                    .to_owned()
            }
            Self::Busy => "runs as many tests as it allows: try again later".to_owned(),
            Self::Other(number) => {
                format!("refuses the test, for a reason that this version does not know ({number})")
            }
        }
    }
}

/// A question that is to come back, and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Echo {
    /// By which path it is answered, as the responder numbers them.
    pub(super) path: Option<u8>,
    /// Tells the questions of one program from those of another.
    pub(super) session: u32,
    /// Its number.
    pub(super) sequence: u32,
    /// When it left, by the clock of who asks, in microseconds.
    pub(super) stamp: u64,
}

impl Echo {
    /// Writes a question over the beginning of `message`, which has [`ECHO_LEN`] bytes at least.
    pub(super) fn write(&self, message: &mut [u8]) {
        let (path, stamp) = (self.path.unwrap_or(ANY_PATH), self.stamp.to_be_bytes());
        let (session, sequence) = (self.session.to_be_bytes(), self.sequence.to_be_bytes());
        message[..4].copy_from_slice(&MAGIC);
        message[4..8].copy_from_slice(&[VERSION, ECHO, path, 0]);
        message[8..12].copy_from_slice(&session);
        message[12..16].copy_from_slice(&sequence);
        message[16..ECHO_LEN].copy_from_slice(&stamp);
    }

    /// Reads an answer. `None`: something else. A refusal is one of the question with this number.
    pub(super) fn answered(message: &[u8]) -> Option<(Self, Result<(), Refusal>)> {
        let (kind, echo, reason) = fields(message)?;
        match kind {
            ANSWER => Some((echo, Ok(()))),
            REFUSAL => Some((echo, Err(Refusal::of(reason)))),
            _ => None,
        }
    }
}

/// The question which program answers.
pub(super) fn which_program(session: u32) -> [u8; PROGRAM_LEN] {
    let mut message = [0; PROGRAM_LEN];
    message[..4].copy_from_slice(&MAGIC);
    message[4..7].copy_from_slice(&[VERSION, WHICH_PROGRAM, ANY_PATH]);
    message[8..12].copy_from_slice(&session.to_be_bytes());
    message
}

/// Turns that question into the answer, in place.
pub(super) fn answer_program(message: &mut [u8], version: &str) {
    message[4..6].copy_from_slice(&[VERSION, PROGRAM]);
    for (at, byte) in (PROGRAM_AT..PROGRAM_LEN).zip(version.bytes().chain(std::iter::repeat(0))) {
        message[at] = byte;
    }
}

/// The session of an answer and the version that it tells. `None`: something else, or no text that a version may be.
pub(super) fn program(message: &[u8]) -> Option<(u32, &str)> {
    let message = message.first_chunk::<PROGRAM_LEN>()?;
    let [m0, m1, m2, m3, version, kind, _, _, s0, s1, s2, s3, ..] = *message;
    if [m0, m1, m2, m3] != MAGIC || [version, kind] != [VERSION, PROGRAM] {
        return None;
    }
    let text = message[PROGRAM_AT..].split(|byte| *byte == 0).next()?;
    let text = std::str::from_utf8(text).ok().filter(|text| !text.is_empty())?;
    let is_usual = |c: char| c.is_ascii_alphanumeric() || ".-+".contains(c);
    text.chars().all(is_usual).then_some((u32::from_be_bytes([s0, s1, s2, s3]), text))
}

/// What a datagram that came to the responder asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    /// To be sent back.
    Echo(Echo),
    /// Which program answers.
    Program,
    /// Something of another version, which is told so.
    OtherVersion,
}

impl Question {
    /// Reads a datagram. `None`: it is none of ours, and gets no answer.
    pub(super) fn read(message: &[u8]) -> Option<Self> {
        if message.len() < ECHO_LEN || message[..4] != MAGIC {
            return None;
        }
        if message[4] != VERSION {
            // A refusal of another version is not answered: two responders would go on for ever.
            return (message[5] != REFUSAL).then_some(Self::OtherVersion);
        }
        match fields(message)? {
            (ECHO, echo, _) => Some(Self::Echo(echo)),
            // The answer is no longer than the question.
            (WHICH_PROGRAM, ..) if message.len() >= PROGRAM_LEN => Some(Self::Program),
            _ => None,
        }
    }
}

/// Turns a question into the answer, in place: no byte more.
pub(super) fn answer(message: &mut [u8], refused: Option<Refusal>) {
    message[4] = VERSION;
    message[5] = if refused.is_some() { REFUSAL } else { ANSWER };
    message[7] = refused.map_or(0, Refusal::number);
}

fn fields(message: &[u8]) -> Option<(u8, Echo, u8)> {
    let head = message.first_chunk::<ECHO_LEN>()?;
    let [m0, m1, m2, m3, version, kind, path, reason, rest @ ..] = *head;
    if [m0, m1, m2, m3] != MAGIC || version != VERSION {
        return None;
    }
    let [s0, s1, s2, s3, n0, n1, n2, n3, stamp @ ..] = rest;
    let echo = Echo {
        path: (path != ANY_PATH).then_some(path),
        session: u32::from_be_bytes([s0, s1, s2, s3]),
        sequence: u32::from_be_bytes([n0, n1, n2, n3]),
        stamp: u64::from_be_bytes(stamp),
    };
    Some((kind, echo, reason))
}

/// Which way the bytes of a test go, as who asks sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// To the responder.
    Up,
    /// From it.
    Down,
}

/// What a TCP connection to the responder is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hello {
    /// Which way.
    pub(super) way: Way,
    /// Over which path, as the responder numbers them.
    pub(super) path: Option<u8>,
    /// For how many seconds.
    pub(super) seconds: u16,
}

impl Hello {
    /// As bytes.
    pub(super) fn bytes(self) -> [u8; HELLO_LEN] {
        let mut bytes = [0; HELLO_LEN];
        bytes[..4].copy_from_slice(&MAGIC);
        let kind = if self.way == Way::Up { UPLOAD } else { DOWNLOAD };
        bytes[4..7].copy_from_slice(&[VERSION, kind, self.path.unwrap_or(ANY_PATH)]);
        bytes[8..10].copy_from_slice(&self.seconds.to_be_bytes());
        bytes
    }

    /// Reads it. `None`: something else, which gets no answer.
    pub(super) fn read(bytes: [u8; HELLO_LEN]) -> Option<Result<Self, Refusal>> {
        let [m0, m1, m2, m3, version, kind, path, _, s0, s1, ..] = bytes;
        if [m0, m1, m2, m3] != MAGIC {
            return None;
        }
        let way = match kind {
            _ if version != VERSION => return Some(Err(Refusal::Version)),
            UPLOAD => Way::Up,
            DOWNLOAD => Way::Down,
            _ => return Some(Err(Refusal::Version)),
        };
        let seconds = u16::from_be_bytes([s0, s1]).clamp(1, MOST_SECONDS);
        Some(Ok(Self { way, path: (path != ANY_PATH).then_some(path), seconds }))
    }
}

/// The answer to a [`Hello`].
pub(super) fn welcome(refused: Option<Refusal>) -> [u8; WELCOME_LEN] {
    let [m0, m1, m2, m3] = MAGIC;
    [m0, m1, m2, m3, VERSION, refused.map_or(0, Refusal::number), 0, 0]
}

/// Reads the answer to a [`Hello`]. `None`: something else.
pub(super) fn welcomed(bytes: [u8; WELCOME_LEN]) -> Option<Result<(), Refusal>> {
    let [m0, m1, m2, m3, _, reason, ..] = bytes;
    let outcome = if reason == 0 { Ok(()) } else { Err(Refusal::of(reason)) };
    ([m0, m1, m2, m3] == MAGIC).then_some(outcome)
}

/// How many bytes had come when, as who receives them counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    /// Microseconds since the test began.
    pub(super) micros: u64,
    /// Bytes until then.
    pub(super) bytes: u64,
}

impl Sample {
    /// As bytes.
    pub(super) fn bytes(self) -> [u8; SAMPLE_LEN] {
        (u128::from(self.micros) << 64 | u128::from(self.bytes)).to_be_bytes()
    }

    /// Reads one.
    pub(super) fn read(bytes: [u8; SAMPLE_LEN]) -> Self {
        let [micros, count] = [0, 8].map(|at| {
            let mut half = [0; 8];
            half.copy_from_slice(&bytes[at..at + 8]);
            u64::from_be_bytes(half)
        });
        Self { micros, bytes: count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo() -> Echo {
        Echo { path: Some(3), session: 0x0102_0304, sequence: 7, stamp: u64::MAX - 1 }
    }

    fn question() -> [u8; ECHO_LEN] {
        let mut message = [0; ECHO_LEN];
        echo().write(&mut message);
        message
    }

    #[test]
    fn a_question_has_the_documented_bytes_and_its_answer_differs_in_two() {
        let mut message = question();
        assert_eq!(message[..16], *b"mptp\x01\x01\x03\x00\x01\x02\x03\x04\x00\x00\x00\x07");
        assert_eq!(Question::read(&message), Some(Question::Echo(echo())));
        assert_eq!(Echo::answered(&message), None, "a question is no answer");
        answer(&mut message, None);
        assert_eq!(Echo::answered(&message), Some((echo(), Ok(()))));
        assert_eq!(Question::read(&message), None, "an answer is no question: no loops");
        answer(&mut message, Some(Refusal::Path));
        assert_eq!(message[..8], *b"mptp\x01\x03\x03\x02");
        assert_eq!(Echo::answered(&message), Some((echo(), Err(Refusal::Path))));
    }

    #[test]
    fn a_program_tells_its_version_in_no_more_bytes_than_it_was_asked_with() {
        let mut message = which_program(0x0102_0304);
        assert_eq!(message[..16], *b"mptp\x01\x06\xff\x00\x01\x02\x03\x04\0\0\0\0");
        assert_eq!(Question::read(&message), Some(Question::Program));
        assert_eq!(Question::read(&message[..PROGRAM_LEN - 1]), None);
        assert_eq!(program(&message), None, "a question is no answer");
        answer_program(&mut message, "1.12.3-rc.1");
        assert_eq!(message[4..6], *b"\x01\x07");
        assert_eq!(message[16..28], *b"1.12.3-rc.1\0");
        assert_eq!(program(&message), Some((0x0102_0304, "1.12.3-rc.1")));
        assert_eq!((Question::read(&message), Echo::answered(&message)), (None, None), "no loops");
        answer_program(&mut message, &"9".repeat(100));
        assert_eq!(program(&message), Some((0x0102_0304, &*"9".repeat(32))));
        for odd in ["", "1.0\n", "1.0\x1b[2J", "é"] {
            answer_program(&mut message, odd);
            assert_eq!(program(&message), None, "{odd:?}");
        }
    }

    #[test]
    fn no_bytes_confuse_the_responder() {
        for len in 0..ECHO_LEN {
            assert_eq!(Question::read(&question()[..len]), None, "{len} bytes");
        }
        for at in 0..ECHO_LEN {
            for value in 0..=255 {
                let mut message = question();
                message[at] = value;
                let read = Question::read(&message);
                let expected = match at {
                    0..=3 => value == question()[at],
                    // Another version but for refusals, and questions.
                    5 => value == ECHO,
                    _ => true,
                };
                assert_eq!(read.is_some(), expected, "byte {at} = {value}: {read:?}");
                assert_eq!(read == Some(Question::OtherVersion), at == 4 && value != VERSION);
            }
        }
        let mut refusal = question();
        refusal[4..6].copy_from_slice(&[9, REFUSAL]);
        assert_eq!(Question::read(&refusal), None);
    }

    #[test]
    fn a_hello_is_read_as_it_is_written_and_its_time_is_bounded() {
        let hello = Hello { way: Way::Up, path: None, seconds: 10 };
        assert_eq!(hello.bytes(), *b"mptp\x01\x04\xff\x00\x00\x0a\0\0\0\0\0\0");
        assert_eq!(Hello::read(hello.bytes()), Some(Ok(hello)));
        for (asked, granted) in [(0, 1), (60, 60), (u16::MAX, MOST_SECONDS)] {
            let asked = Hello { way: Way::Down, path: Some(2), seconds: asked };
            assert_eq!(Hello::read(asked.bytes()), Some(Ok(Hello { seconds: granted, ..asked })));
        }
        let mut other = hello.bytes();
        other[4] = 2;
        assert_eq!(Hello::read(other), Some(Err(Refusal::Version)));
        assert_eq!(Hello::read(*b"GET / HTTP/1.1\r\n"), None);
    }

    #[test]
    fn a_welcome_and_a_sample_are_read_as_they_are_written() {
        for refused in [None, Some(Refusal::Busy), Some(Refusal::Other(77))] {
            assert_eq!(welcomed(welcome(refused)), Some(refused.map_or(Ok(()), Err)));
        }
        assert_eq!(welcomed(*b"SSH-2.0-"), None);
        let sample = Sample { micros: 100_000, bytes: u64::MAX };
        assert_eq!(Sample::read(sample.bytes()), sample);
    }
}
