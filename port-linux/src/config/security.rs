//! Whether the tunnel is sealed or in the clear: who must say so, the keys of both ends, and what does not go with keys.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use mpt_seal::{PeerKeys, PresharedKey, PrivateKey, PublicKey};
use toml::Spanned;

use super::error::{ConfigError, PRESHARED_KEY_FILE, PRIVATE_KEY_FILE, Source};
use super::value::{CipherName, FileName, PublicKeyText, SecuritySetting, Text};
use super::{Config, file};
use crate::ciphers::NativeCiphers;
use crate::keys::{self, KeyBytes};

/// `[security]`: the tunnel is sealed.
#[derive(Clone, PartialEq, Eq)]
pub struct Security {
    /// The key in `private_key_file`: what this end proves.
    pub private_key: PrivateKey,
    /// `cipher`: the ciphers that this end offers.
    pub ciphers: NativeCiphers,
}

/// Shows the public key alone.
impl fmt::Debug for Security {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Security").field("public_key", &self.private_key.public()).finish_non_exhaustive()
    }
}

/// What the file says about security.
pub(super) enum Choice {
    /// `[security]`
    Sealed(Security),
    /// `security = "none"`, and where it stands.
    Clear(Range<usize>),
    /// Nothing.
    Unsaid,
}

impl Choice {
    /// Reads the setting, and the key file that it names.
    pub(super) fn new(
        setting: Option<Spanned<SecuritySetting>>,
        source: &Source<'_>,
    ) -> Result<Self, ConfigError> {
        let Some(setting) = setting else { return Ok(Self::Unsaid) };
        let at = setting.span();
        Ok(match setting.into_inner() {
            SecuritySetting::Clear => Self::Clear(at),
            SecuritySetting::Keys(table) => {
                let bytes = key_in(&table.private_key_file, PRIVATE_KEY_FILE, source)?;
                let ciphers = match table.cipher.map(|cipher| cipher.0) {
                    Some(CipherName::ChaCha20Poly1305) => NativeCiphers::only_chacha(),
                    Some(CipherName::Auto) | None => NativeCiphers::new(),
                };
                Self::Sealed(Security { private_key: keys::private(&bytes), ciphers })
            }
        })
    }

    /// Whether there are keys.
    pub(super) fn is_sealed(&self) -> bool {
        matches!(self, Self::Sealed(_))
    }
}

/// The key in the file that a value names.
fn key_in(value: &Spanned<Text<FileName>>, name: &str, source: &Source<'_>) -> Result<KeyBytes, ConfigError> {
    if keys::decode(&value.get_ref().0.0).is_ok() {
        return Err(source.secret_at(&value.span(), name));
    }
    if source.is_elsewhere {
        // The file is not here: any key that no peer has will do, another one for each name.
        let mut bytes = [0xa5; 32];
        bytes.iter_mut().zip(value.get_ref().0.0.bytes()).for_each(|(byte, of_name)| *byte ^= of_name);
        return Ok(KeyBytes::from(bytes));
    }
    keys::read(&source.beside(&value.get_ref().0.0))
        .map_err(|error| source.error(&value.span(), error.problem, &error.allowed))
}

/// The public keys of the peers so far, and where they stand.
pub(super) type SeenKeys = HashMap<PublicKey, String>;

/// The keys of a peer, as they are given.
pub(super) struct GivenKeys<'a> {
    pub(super) public: &'a Spanned<Text<PublicKeyText>>,
    pub(super) preshared: Option<&'a Spanned<Text<FileName>>>,
    /// Where they stand, for the message about the second of two.
    pub(super) place: String,
}

impl GivenKeys<'_> {
    /// The keys, which are neither ours nor another peer's.
    pub(super) fn check(
        self,
        security: &Security,
        seen: &mut SeenKeys,
        source: &Source<'_>,
    ) -> Result<PeerKeys, ConfigError> {
        let (at, public) = (self.public.span(), self.public.get_ref().0.0);
        if public == security.private_key.public() {
            let problem = "this is our own public key, of the private one in `private_key_file`";
            return Err(source.error(&at, problem, "the peer's, which `mpt check` prints there"));
        }
        let as_secret = KeyBytes::from(*public.as_bytes());
        if keys::private(&as_secret) == security.private_key {
            return Err(source.secret_at(&at, PRIVATE_KEY_FILE));
        }
        if let Some(place) = seen.get(&public) {
            let problem = format_args!("the connection with the key in {place} has this peer already");
            return Err(source.error(&at, problem, "each public key once in the file"));
        }
        let preshared = match self.preshared {
            Some(file) => keys::preshared(&key_in(file, PRESHARED_KEY_FILE, source)?),
            None => PresharedKey::NONE,
        };
        if keys::preshared(&as_secret) == preshared {
            return Err(source.secret_at(&at, PRESHARED_KEY_FILE));
        }
        seen.insert(public, self.place);
        Ok(PeerKeys { public, preshared })
    }
}

/// What a connection says that concerns its keys.
pub(super) struct ConnectionKeys<'a> {
    /// Where the connection stands.
    pub(super) at: &'a Range<usize>,
    pub(super) table: &'a file::Connection,
}

impl ConnectionKeys<'_> {
    /// The keys of the peer; `None` in the clear.
    pub(super) fn check(
        &self,
        choice: &Choice,
        seen: &mut SeenKeys,
        source: &Source<'_>,
    ) -> Result<Option<PeerKeys>, ConfigError> {
        let Choice::Sealed(security) = choice else { return self.without_keys(source).map(|()| None) };
        self.without_gre_options(source)?;
        let Some(public_key) = &self.table.public_key else {
            let problem = "the peer's `public_key` is missing, and with [security] every connection has one";
            let allowed = "public_key = \"..\", which `mpt check` prints at the peer";
            return Err(source.error(self.at, problem, allowed));
        };
        let keys = GivenKeys {
            public: public_key,
            preshared: self.table.preshared_key_file.as_ref(),
            place: source.place(&public_key.span()),
        };
        keys.check(security, seen, source).map(Some)
    }

    /// Without `[security]` nothing may look as if it were sealed.
    fn without_keys(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let public_key = self.table.public_key.as_ref().map(Spanned::span);
        let preshared_key = self.table.preshared_key_file.as_ref().map(Spanned::span);
        match public_key.or(preshared_key) {
            None => Ok(()),
            Some(at) => {
                let problem = "without [security] and its `private_key_file` nothing is encrypted";
                Err(source.error(&at, problem, "[security] with private_key_file = \"..\", or not this key"))
            }
        }
    }

    /// Sealed datagrams have the GRE header that sealing gives them.
    fn without_gre_options(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let file::Connection { key, checksum, sequence, .. } = self.table;
        if let Some(key) = key {
            let problem = "with [security] the GRE key is what sealing needs there, and keeps connections apart by itself";
            return Err(source.error(&key.span(), problem, "no `key`, on both ends"));
        }
        if let Some(checksum) = checksum.as_ref().filter(|checksum| *checksum.get_ref()) {
            let problem = "with [security] every datagram has a tag that shows any change";
            return Err(source.error(&checksum.span(), problem, "false"));
        }
        if let Some(sequence) = sequence.as_ref().filter(|sequence| !*sequence.get_ref()) {
            let problem = "with [security] every datagram is numbered";
            return Err(source.error(&sequence.span(), problem, "true"));
        }
        Ok(())
    }
}

/// Where a peer is when the configuration does not say what protects the way there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// In a network of one's own, or in an example: private (RFC 1918, RFC 4193), shared (RFC 6598), loopback,
    /// link-local, for benchmarks (RFC 2544) or documentation (RFC 5737, RFC 3849, RFC 9637).
    Near,
    /// Somewhere in the Internet.
    Public,
    /// It is learnt, and may be anywhere.
    Open,
}

impl Reach {
    fn of(remote: IpAddr) -> Self {
        let near = match remote {
            remote if remote.is_unspecified() => return Self::Open,
            IpAddr::V4(remote) => near_v4(remote),
            IpAddr::V6(remote) => near_v6(remote),
        };
        if near { Self::Near } else { Self::Public }
    }
}

/// Whether everybody in the Internet can reach an address, if nothing keeps them from it.
#[cfg(feature = "program")]
pub(crate) fn is_public(address: IpAddr) -> bool {
    Reach::of(address) == Reach::Public
}

fn near_v4(remote: Ipv4Addr) -> bool {
    let [a, b, ..] = remote.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let benchmarks = a == 198 && (b == 18 || b == 19);
    let link = remote.is_loopback() || remote.is_link_local();
    link || remote.is_private() || remote.is_documentation() || shared || benchmarks
}

fn near_v6(remote: Ipv6Addr) -> bool {
    let [a, b, ..] = remote.segments();
    let documentation = (a, b) == (0x2001, 0xdb8) || (a == 0x3fff && b < 0x1000);
    let link = remote.is_loopback() || remote.is_unicast_link_local();
    link || remote.is_unique_local() || documentation
}

/// Whether packets to a peer travel in the clear and nobody has said that they may.
pub(super) fn is_bare(config: &Config, remote: IpAddr) -> bool {
    config.security.is_none() && !config.is_clear_meant && Reach::of(remote) != Reach::Near
}

/// The first path of the file whose peer may be anywhere, and where its `remote` stands.
#[derive(Default)]
pub(super) struct FarPeers {
    public: Option<Range<usize>>,
    open: Option<Range<usize>>,
}

impl FarPeers {
    /// Takes note of a path.
    pub(super) fn add(&mut self, remote: IpAddr, at: &Range<usize>) {
        let first = match Reach::of(remote) {
            Reach::Near => return,
            Reach::Public => &mut self.public,
            Reach::Open => &mut self.open,
        };
        first.get_or_insert_with(|| at.clone());
    }

    /// What a file that says nothing of security is told of them.
    fn problem(&self) -> String {
        let kind = if self.public.is_some() { "a public address" } else { "a peer that may be anywhere" };
        format!("{kind}, and the file does not say whether packets are encrypted")
    }

    /// The same for a path that comes to a file which says nothing: what of it is far.
    pub(super) fn refuse(&self, source: &Source<'_>) -> Result<(), ConfigError> {
        let allowed = "[security] with keys, or security = \"none\", in the file";
        let far = self.public.as_ref().or(self.open.as_ref());
        far.map_or(Ok(()), |at| Err(source.error(at, self.problem(), allowed)))
    }

    /// Whether the file may leave it at its choice; a warning if packets travel in the clear where they perhaps should
    /// not.
    pub(super) fn check(&self, choice: &Choice, source: &Source<'_>) -> Result<Option<String>, ConfigError> {
        let (public, open) = (self.public.as_ref(), self.open.as_ref());
        match (choice, public.or(open)) {
            (Choice::Sealed(_), _) => Ok(None),
            (Choice::Clear(at), _) => Ok(public.map(|remote| {
                let line = source.line(remote);
                let problem = format_args!(
                    "packets to the public address in line {line} travel in the clear: whoever is on the way can read \
                     and change them"
                );
                source.warning(at, problem)
            })),
            (Choice::Unsaid, None) => Ok(Some(source.warning_in_file(
                "packets travel in the clear, and the file does not say that this is meant; the next version asks for \
                 [security] with keys, or for security = \"none\" in the first line",
            ))),
            (Choice::Unsaid, Some(at)) => {
                let error = source.error(at, self.problem(), "one of the two below");
                Err(error.with_advice(TWO_WAYS))
            }
        }
    }
}

/// The two ways to choose, as they may be copied into the file.
const TWO_WAYS: &str = "
Encrypted, with the same at the other end:
  [security]
  private_key_file = \"/etc/mpt/mpt.key\" # made by: mpt genkey -o /etc/mpt/mpt.key
  [[connection]]
  public_key = \"..\"                     # what that command printed at the other end, and `mpt check` prints
In the clear, as RFC 8086 has it: whoever is on the way can read and change everything. In the file's first line:
  security = \"none\"";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_shared_local_and_documentation_addresses_are_near() {
        let near = [
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.1.1",
            "192.0.2.1",
            "198.51.100.7",
            "203.0.113.9",
            "198.18.0.1",
            "198.19.255.255",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12:3456::1",
            "2001:db8::1",
            "3fff:fff::1",
        ];
        for address in near {
            assert_eq!(Reach::of(address.parse().unwrap()), Reach::Near, "{address}");
        }
    }

    #[test]
    fn neighbours_of_these_ranges_are_public() {
        let public = [
            "9.255.255.255",
            "11.0.0.1",
            "172.15.255.255",
            "172.32.0.1",
            "192.169.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "198.17.255.255",
            "198.20.0.1",
            "198.51.101.1",
            "8.8.8.8",
            "2001:db7::1",
            "2001:db9::1",
            "3fff:1000::1",
            "fec0::1",
            "2a00::1",
            "64:ff9b::1",
        ];
        for address in public {
            assert_eq!(Reach::of(address.parse().unwrap()), Reach::Public, "{address}");
        }
        for address in ["0.0.0.0", "::"] {
            assert_eq!(Reach::of(address.parse().unwrap()), Reach::Open);
        }
    }
}
