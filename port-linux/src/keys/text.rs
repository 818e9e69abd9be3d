//! The text of a key: base64 (RFC 4648 section 4) with padding, and nothing else.

use std::fmt;

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use super::{KEY_LEN, KeyBytes};

/// Characters of a key: 43 of base64 and one `=`.
pub(super) const TEXT_LEN: usize = 44;

/// What a secret key looks like, for messages.
pub(crate) const ALLOWED: &str =
    "a key as `mpt genkey` or `mpt genpsk` prints it: 43 characters of base64 and `=`";

/// What a peer's public key looks like, for messages.
pub const ALLOWED_PUBLIC: &str =
    "the peer's public key as `mpt check` prints it there: 43 characters of base64 and `=`";

/// The text of a key. It may be a secret: it has no `Debug`, and is erased when it is dropped.
pub struct KeyText(Zeroizing<[u8; TEXT_LEN]>);

impl KeyText {
    /// The 44 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // What `encode` wrote is ASCII.
        std::str::from_utf8(self.0.as_slice()).unwrap_or_default()
    }
}

impl fmt::Display for KeyText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// The text of these bytes.
#[must_use]
pub fn encode(bytes: &[u8; KEY_LEN]) -> KeyText {
    let mut text = Zeroizing::new([0; TEXT_LEN]);
    // 32 bytes are 44 characters: it fits.
    let _ = Base64::encode(bytes, text.as_mut_slice());
    KeyText(text)
}

/// The key that `text` stands for. The time it takes does not depend on the key.
///
/// # Errors
/// What is wrong with the text.
pub fn decode(text: &str) -> Result<KeyBytes, &'static str> {
    if text.is_empty() {
        return Err("empty");
    }
    if text.bytes().all(|byte| byte == b'.') {
        return Err("it is still to be filled in");
    }
    if text.len() != TEXT_LEN {
        let is_around = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\u{feff}');
        return Err(match text.len() {
            _ if text.trim_matches(is_around).len() == TEXT_LEN => "blanks or quotes around the key",
            43 if !text.ends_with('=') => "the `=` at the end is missing",
            length if length < TEXT_LEN => "too short for a key",
            _ => "too long for a key",
        });
    }
    let mut key = KeyBytes::default();
    if Base64::decode(text, key.as_mut_slice()).map(<[u8]>::len) != Ok(KEY_LEN) {
        return Err(slip(text));
    }
    if key.iter().fold(0, |all, byte| all | byte) == 0 {
        return Err("32 zeros are nobody's key");
    }
    Ok(key)
}

/// What is wrong with 44 characters that are no key.
fn slip(text: &str) -> &'static str {
    let (letters, end) = match text.as_bytes() {
        [letters @ .., end] => (letters, *end),
        [] => return "empty",
    };
    let known = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    if !letters.iter().all(known) {
        "a character that base64 does not have"
    } else if end != b'=' {
        "its last character is not `=`"
    } else {
        // The last character carries four bits of the key, and the two others must be 0.
        "its last character before `=` is one that no key has there: a part is missing or mistyped"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the bytes 0 to 31.
    const TEXT: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn problem(text: &str) -> &'static str {
        decode(text).err().unwrap_or_else(|| panic!("{text} is a key"))
    }

    #[test]
    fn a_key_is_the_text_that_wg_prints() {
        let bytes: [u8; KEY_LEN] = std::array::from_fn(|i| u8::try_from(i).unwrap());
        assert_eq!(encode(&bytes).as_str(), TEXT);
        assert_eq!(*decode(TEXT).unwrap(), bytes);
        // The private keys of Alice and Bob, RFC 7748 section 6.1.
        for (key, start) in [
            ("dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=", [0x77, 0x07, 0x6d]),
            ("XasIfmJKikt54X+Lg4AO5m87sSkmGLb9HC+LJ/+I4Os=", [0x5d, 0xab, 0x08]),
        ] {
            let bytes = decode(key).unwrap();
            assert_eq!(bytes[..3], start);
            assert_eq!(encode(&bytes).as_str(), key);
        }
    }

    #[test]
    fn every_slip_has_a_sentence_of_its_own() {
        let (short, long) = (&TEXT[1..], format!("{TEXT}A"));
        for (text, expected) in [
            ("", "empty"),
            ("..", "it is still to be filled in"),
            (&TEXT[..43], "the `=` at the end is missing"),
            (short, "too short"),
            (&long, "too long"),
            (&format!("{TEXT}\n"), "blanks or quotes"),
            (&format!(" {TEXT}"), "blanks or quotes"),
            (&format!("\u{feff}\"{TEXT}\""), "blanks or quotes"),
            (&TEXT.replace('=', "A"), "its last character is not `=`"),
            (&TEXT.replacen('Q', "-", 1), "a character that base64 does not have"),
            (&TEXT.replacen('Q', "=", 1), "a character that base64 does not have"),
            (&TEXT.replacen('Q', " ", 1), "a character that base64 does not have"),
            (&TEXT.replace("8=", "9="), "its last character before"),
            (&TEXT.replace("h8=", "h=="), "a character that base64 does not have"),
            (&format!("{}=", "A".repeat(43)), "32 zeros"),
            (&"ä".repeat(22), "a character that base64 does not have"),
        ] {
            assert!(problem(text).starts_with(expected), "{text}: {}", problem(text));
        }
    }

    #[test]
    fn a_text_stands_for_one_key_and_a_key_has_one_text() {
        for last in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" {
            let text = format!("{}{}=", &TEXT[..42], char::from(*last));
            match decode(&text) {
                Ok(key) => assert_eq!(encode(&key).as_str(), text),
                Err(problem) => assert!(problem.starts_with("its last character before"), "{problem}"),
            }
        }
    }
}
