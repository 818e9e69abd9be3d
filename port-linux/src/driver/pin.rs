//! Flows of a test that measure one path by itself: pinned to it for a while, at the end that asks and at the one that answers.

use std::net::IpAddr;
use std::time::Duration;

use mpt_proto::{Handle, PinFlowError};

use super::{Driver, Peer, PeerPath};
use crate::control::{Answer, MOST_PINNED};
use crate::report::VERSION;

/// Source and destination port of a flow that this end sends.
type Flow = (u16, u16);

impl Driver<'_> {
    /// Pins flows of this end to the path of this name, and says by which number the peer knows it.
    pub(super) fn answer_pin(&mut self, wanted: &str, flows: &[Flow], seconds: u16) -> Answer {
        let (handle, path) = match self.find_path(wanted) {
            Ok(found) => found,
            Err(error) => return Answer::error(error),
        };
        let name =
            format!("{}/{}", self.peers[handle].config.name, self.peers[handle].config.paths[path].name);
        let number = self.peers[handle].connection.peer_number(self.peers[handle].paths[path].id);
        let Ok(Some(number)) = number else {
            return Answer::error(format!("nothing was heard from the peer on {name} yet"));
        };
        match self.pin(handle, path, flows, seconds) {
            Ok(()) => Answer::Pinned { version: VERSION, pinned: name, peer_number: number },
            Err(error) => Answer::error(format!("{name}: {error}")),
        }
    }

    /// Pins a flow to the peer with this tunnel address, to the path of this number.
    pub(super) fn answer_pin_to_peer(
        &mut self,
        address: IpAddr,
        path: u8,
        flow: Flow,
        seconds: u16,
    ) -> Answer {
        let Some(handle) = self.inside.routes.peer(address) else {
            return Answer::error(format!("no peer has the address {address}"));
        };
        let path = usize::from(path);
        let there = self.peers.get_mut(handle).and_then(|peer| peer.paths.get(path));
        if !there.is_some_and(PeerPath::is_there) {
            return Answer::error(format!("there is no path with the number {path}"));
        }
        let name =
            self.peers[handle].config.paths.get(path).map_or_else(String::new, |path| path.name.clone());
        match self.pin(handle, path, &[flow], seconds) {
            Ok(()) => Answer::Pinned {
                version: VERSION,
                pinned: name,
                peer_number: u8::try_from(path).unwrap_or(u8::MAX),
            },
            Err(error) => Answer::error(error),
        }
    }

    fn pin(&mut self, handle: Handle, path: usize, flows: &[Flow], seconds: u16) -> Result<(), &'static str> {
        let now = self.clock.now();
        let until = now + Duration::from_secs(seconds.min(MOST_PINNED).into());
        let Peer { connection, paths, .. } = &mut self.peers[handle];
        flows.iter().try_for_each(|flow| {
            connection.pin_flow(*flow, paths[path].id, until, now).map_err(|error| match error {
                PinFlowError::Full => {
                    "too many tests of single paths of this peer run at once: try again when they have ended"
                }
                _ => "the path does not exist any more",
            })
        })
    }
}
