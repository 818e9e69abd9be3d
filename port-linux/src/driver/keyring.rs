//! Which keys are whose: connections, and what the layer that seals calls them.

use mpt_proto::Handle;
use mpt_seal::PeerId;

use crate::table::Table;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Keyring {
    keys: Table<PeerId>,
    /// By the position of the keys.
    owners: Vec<Option<Handle>>,
}

impl Keyring {
    /// The keys of a connection.
    pub(super) fn keys(&self, owner: Handle) -> Option<PeerId> {
        self.keys.get(owner).copied()
    }

    /// The connection that these keys are of.
    pub(super) fn owner(&self, keys: PeerId) -> Option<Handle> {
        self.owners.get(keys.index()).copied().flatten()
    }

    /// These keys are of this connection.
    pub(super) fn add(&mut self, owner: Handle, keys: PeerId) {
        self.keys.insert(owner, keys);
        self.owners.resize(self.owners.len().max(keys.index() + 1), None);
        self.owners[keys.index()] = Some(owner);
    }

    /// A connection goes. These were its keys.
    pub(super) fn remove(&mut self, owner: Handle) -> Option<PeerId> {
        let keys = self.keys.remove(owner)?;
        self.owners[keys.index()] = None;
        Some(keys)
    }
}
