//! The phone's networks, as the app tells of them: what netlink is for the program, which Android keeps from apps.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Result, bail};
use port_linux::link::{Interface, Interfaces};

/// What a path's `device` may be: kinds of networks, of which Android offers an app one each.
pub const NETWORKS: [&str; 3] = ["wifi", "cellular", "ethernet"];

/// When the paths of a network are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Together with the others.
    Bond,
    /// While no network of the other kind leads to the peer; silent until then.
    Backup,
    /// Not at all.
    Never,
}

impl TryFrom<i32> for Mark {
    type Error = anyhow::Error;

    /// As Java's constants have it.
    fn try_from(number: i32) -> Result<Self> {
        Ok(match number {
            0 => Self::Bond,
            1 => Self::Backup,
            2 => Self::Never,
            _ => bail!("no mark has the number {number}"),
        })
    }
}

/// The networks that are there now.
#[derive(Debug, Default)]
pub struct Networks {
    present: BTreeMap<&'static str, Interface>,
    /// Numbers given so far: a network that comes again gets another one, so that its sockets are made anew.
    given: u32,
}

impl Networks {
    /// A network has come, or one that is there has changed. `is_new` tells that it is another one than before under
    /// this name; its MTU is in bytes, 0 when unknown.
    ///
    /// # Errors
    /// The name is none of [`NETWORKS`].
    pub fn put(&mut self, name: &str, is_new: bool, mtu: u32, addresses: Vec<IpAddr>) -> Result<()> {
        let Some(name) = NETWORKS.into_iter().find(|known| *known == name) else {
            bail!("{name} is no network of a phone; there are {}", NETWORKS.join(", "));
        };
        let index = match self.present.get(name) {
            Some(interface) if !is_new => interface.index,
            _ => {
                self.given += 1;
                self.given
            }
        };
        // Ethernet's where nobody tells.
        let mtu = if mtu == 0 { 1500 } else { mtu };
        let interface = Interface {
            name: name.into(),
            other_names: Vec::new(),
            has_neighbours: false,
            index,
            mtu,
            running: true,
            kind: None,
            addresses,
        };
        self.present.insert(name, interface);
        Ok(())
    }

    /// A network has gone. Returns whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        self.present.remove(name).is_some()
    }

    /// As the event loop wants them.
    pub fn interfaces(&self) -> Interfaces {
        Interfaces::from(self.present.values().cloned().collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(networks: &Networks) -> Vec<(String, u32)> {
        networks.interfaces().iter().map(|interface| (interface.name.clone(), interface.index)).collect()
    }

    #[test]
    fn a_network_keeps_its_number_until_it_is_another_one() {
        let mut networks = Networks::default();
        networks.put("wifi", true, 1500, Vec::new()).unwrap();
        networks.put("cellular", true, 0, Vec::new()).unwrap();
        networks.put("wifi", false, 1400, vec!["192.0.2.1".parse().unwrap()]).unwrap();
        assert_eq!(numbers(&networks), [("cellular".into(), 2), ("wifi".into(), 1)]);
        assert_eq!(networks.interfaces().named("wifi").unwrap().mtu, 1400);
        assert_eq!(networks.interfaces().named("cellular").unwrap().mtu, 1500, "unknown");

        assert!(networks.remove("wifi"));
        assert!(!networks.remove("wifi"));
        networks.put("wifi", true, 1500, Vec::new()).unwrap();
        assert_eq!(numbers(&networks), [("cellular".into(), 2), ("wifi".into(), 3)]);
    }

    #[test]
    fn an_unknown_network_is_an_error_and_changes_nothing() {
        let mut networks = Networks::default();
        assert!(networks.put("bluetooth", true, 1500, Vec::new()).is_err());
        assert_eq!(networks.interfaces(), Interfaces::default());
    }
}
