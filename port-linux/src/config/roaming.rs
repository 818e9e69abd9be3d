//! Whether a path may follow its peer to another address, and whether that can work.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;

use mpt_proto::Liveness;
use toml::Spanned;

use super::ConfigError;
use super::error::Source;

/// Paths whose peer speaks first, by what datagrams to them have in common: our end and the key. To which
/// connection they belong, and the place of the first.
pub(super) type UnnamedPeers = HashMap<(IpAddr, u16, Option<String>, Option<u32>), (String, String)>;

/// The ends of a path, and where they stand.
pub(super) struct Ends<'a> {
    /// The name of its connection, whose key it has.
    pub(super) connection: &'a str,
    /// Whether datagrams are authenticated, and tell by their index whose they are.
    pub(super) is_sealed: bool,
    pub(super) key: Option<u32>,
    pub(super) check_source_port: bool,
    pub(super) local: IpAddr,
    pub(super) remote: IpAddr,
    /// Whether a name tells `remote`.
    pub(super) is_named: bool,
    pub(super) port: u16,
    pub(super) device: &'a Option<String>,
    pub(super) remote_at: &'a Range<usize>,
    pub(super) place: &'a str,
}

impl Ends<'_> {
    /// Whether the path follows its peer: by default where `remote` leaves the peer's address open, and where
    /// datagrams are sealed and a peer that moves can be probed.
    pub(super) fn check(
        &self,
        wanted: Option<Spanned<bool>>,
        liveness: Liveness,
        unnamed: &mut UnnamedPeers,
        source: &Source<'_>,
    ) -> Result<bool, ConfigError> {
        let is_open = self.remote.is_unspecified() && !self.is_named;
        let at = wanted.as_ref().map_or(self.remote_at.clone(), Spanned::span);
        let can_prove = liveness != Liveness::Off && self.check_source_port;
        let roaming = wanted.map_or(is_open || (self.is_sealed && can_prove), Spanned::into_inner);
        if is_open && !roaming {
            let problem = "`remote` leaves the peer's address open, so it must be learnt";
            return Err(source.error(&at, problem, "true, or the peer's address in `remote`"));
        }
        if is_open && self.local.is_unspecified() {
            let problem = "neither end of the path is known";
            return Err(source.error(self.remote_at, problem, "the peer's address, or ours in `local`"));
        }
        if roaming && !can_prove {
            let problem = "only mpt can prove that it has moved, and liveness = \"off\" or check_source_port = false say \
                           that the peer is something else";
            return Err(source.error(&at, problem, "a peer that is probed, or one fixed address"));
        }
        if is_open && !self.is_sealed {
            let datagrams = (self.local, self.port, self.device.clone(), self.key);
            let own = || (self.connection.to_owned(), self.place.to_owned());
            let first = unnamed.entry(datagrams).or_insert_with(own);
            if first.0 != self.connection {
                let problem = format_args!(
                    "{} of another connection learns its peer at the same `local`, `port` and `key`",
                    first.1
                );
                return Err(source.error(self.remote_at, problem, "another `key` for each connection"));
            }
        }
        Ok(roaming)
    }
}
