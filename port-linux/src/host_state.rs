//! What a configuration wants of this host's network: addresses of the tunnel interface, routes into it, the policy rules
//! of a default route through it, and what makes a gateway of the host: an nft table, the resolver, forwarding.
//!
//! A state is a set of [`Item`]s. [`HostState::wanted`] says what is to be there, `netlink` (with `firewall`, `resolver` and
//! `forwarding` for what netlink does not reach) reads what is there, and
//! [`HostState::difference`] of the two sets is all that is ever added or removed: at the start, when somebody has flushed
//! something ([`Keeper`]), at the end, and in `mpt clean` after a crash.
//!
//! A default route through the tunnel is not in the main table, where it would compete with the host's own. As with
//! wg-quick, it is in a table of its own, to which rules lead (here for all IPv4 packets of the host):
//!
//! ```text
//! 14754: not from all fwmark 0x4754 lookup main suppress_prefixlength 0   narrower routes than a default one, as before
//! 14755: not from all fwmark 0x4754 lookup 4754                           what is left: default dev mpt0
//! ```
//!
//! mpt's own datagrams have the mark. So neither rule is for them, and they leave as if mpt did not run, whatever rules
//! and default routes the host has, gets or loses. Packets that `tunnel.direct` lists get the same mark from the nft table;
//! exceptions by destination are rules in front of these (14753) that lead to the main table.
//!
//! A path with a device and a `gateway` needs no default route of the host: `14752: from all fwmark 0x4754 oif eth2 lookup
//! 4755` leads its datagrams, whose socket is bound to the device, to `default via 192.168.8.1 dev eth2`.

mod firewall;
mod forwarding;
mod helper;
mod keeper;
mod messages;
mod netlink;
mod news;
mod parts;
mod resolver;

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Result, bail};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::config::{Config, Exception};
use crate::link::{block_on, has_ipv6};
use crate::routes::kernel_routes;

pub use firewall::TableRule;
pub(crate) use helper::find as find_program;
pub use keeper::Keeper;
use netlink::Netlink;
use parts::{for_a_lan, for_forwards, past_the_tunnel, ways_out};

/// The mark (SO_MARK) of the datagrams of every path, set when there is a default route through the tunnel: the digits of
/// mpt's UDP port, 4754, as they are in hexadecimal, which is how `ip rule` and `nft` show marks.
pub const MARK: u32 = 0x4754;

/// The mark of answers to what came out of the tunnel and was forwarded to a host that knows nothing of the tunnel. Their source
/// becomes the tunnel's address only after their route was chosen.
pub const REPLY_MARK: u32 = MARK + 1;

/// The number of the routing table with the default route through the tunnel: that of mpt's UDP port.
pub const TABLE: u32 = 4754;

/// The number of the routing table with the routes to the routers that paths name.
pub const EXIT_TABLE: u32 = TABLE + 1;

/// The priority of the rules that try the main table's narrower routes first; that of the rules behind, which lead to
/// [`TABLE`], is one more. It lies between what people and programs choose as a rule (up to some thousand) and what the
/// kernel chooses for who gives none (from 32765 downwards): the former rules come before mpt's.
pub const PRIORITY: u32 = 14_754;
/// The priority of the rules that lead to [`TABLE`].
const NEXT_PRIORITY: u32 = PRIORITY + 1;
/// The priority of the rules that lead past the tunnel.
const PAST_PRIORITY: u32 = PRIORITY - 1;
/// The priority of the rules for paths with a router of their own.
const EXIT_PRIORITY: u32 = PRIORITY - 2;

/// Who made a route or rule (RTA_PROTOCOL, FRA_PROTOCOL): by this number mpt knows its own. Numbers above 4 mean nothing to
/// the kernel (rtnetlink(7)); this one is GRE's IP protocol number, and none of iproute2's list of names has it.
const PROTOCOL: u8 = 47;

/// The metric of the kill switch's route: the worst there is, so that any other route of the table is preferred.
const LAST_METRIC: u32 = u32::MAX;

/// An IP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4
    V4,
    /// IPv6
    V6,
}

impl Family {
    /// Both.
    const BOTH: [Self; 2] = [Self::V4, Self::V6];

    fn of(network: &IpNet) -> Self {
        match network {
            IpNet::V4(_) => Self::V4,
            IpNet::V6(_) => Self::V6,
        }
    }

    /// `0.0.0.0/0` or `::/0`.
    fn everything(self) -> IpNet {
        match self {
            Self::V4 => Ipv4Net::default().into(),
            Self::V6 => Ipv6Net::default().into(),
        }
    }

    /// The program `ip` for this IP version.
    const fn ip(self) -> &'static str {
        match self {
            Self::V4 => "ip -4",
            Self::V6 => "ip -6",
        }
    }
}

/// The way out of a path with a router of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exit {
    /// The path's device. It may come and go.
    pub device: String,
    /// The router on its link.
    pub gateway: IpAddr,
}

impl Exit {
    fn family(&self) -> Family {
        if self.gateway.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

/// Packets that leave past the tunnel by a policy rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Past {
    /// Those to this network: an [`Exception::Network`].
    To(IpNet),
    /// Those with [`MARK`]. Needed where the rules of a default route are for a network, whatever the mark.
    Marked(Family),
}

impl Past {
    fn family(self) -> Family {
        match self {
            Self::To(network) => Family::of(&network),
            Self::Marked(family) => family,
        }
    }
}

/// Packets that a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Traffic {
    /// All packets of an IP version without [`MARK`].
    All(Family),
    /// Packets from this network: `from` of a `[[connection.network]]`.
    From(IpNet),
    /// Packets with [`REPLY_MARK`].
    Replies(Family),
}

impl Traffic {
    fn family(self) -> Family {
        match self {
            Self::All(family) | Self::Replies(family) => family,
            Self::From(network) => Family::of(&network),
        }
    }
}

/// One thing that mpt adds to the host's network. Items are added in the order of their comparison and removed in reverse:
/// addresses before the routes that need them, routes before the rules that lead to them, and nothing is forwarded before
/// it is clear which way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// The tunnel interface is switched on.
    Up,
    /// An address of the tunnel interface.
    Address(IpNet),
    /// A route of the main table to this network through the tunnel interface.
    Route(IpNet),
    /// The default route through the tunnel interface, in [`TABLE`].
    Default(Family),
    /// The kill switch: the route of [`TABLE`] that refuses packets when there is no default route.
    Unreachable(Family),
    /// The rule, of priority [`PRIORITY`], that tries the main table without its default routes.
    NarrowRule(Traffic),
    /// The rule, of the priority behind, that leads to [`TABLE`].
    TunnelRule(Traffic),
    /// The rule, of the priority before, that leads to the main table with its default routes.
    PastRule(Past),
    /// The route of [`EXIT_TABLE`] to the router of a path.
    ExitRoute(Exit),
    /// The rule that leads the datagrams of a device's paths, and nothing else, to [`EXIT_TABLE`].
    ExitRule(String, Family),
    /// The nft table of mpt's own.
    Table,
    /// A rule of that table.
    TableRule(TableRule),
    /// The servers that the host asks for names.
    Resolver(Vec<IpAddr>),
    /// The kernel forwards packets of this IP version.
    Forwarding(Family),
}

impl Item {
    /// Whether it is of the interface itself. Such items need no other, and the kernel adds routes with them.
    const fn is_of_interface(&self) -> bool {
        matches!(self, Self::Up | Self::Address(_))
    }

    /// Whether it belongs to a default route through the tunnel. At most one tunnel of a host has one.
    const fn is_of_gateway(&self) -> bool {
        matches!(
            self,
            Self::Default(_)
                | Self::Unreachable(_)
                | Self::NarrowRule(_)
                | Self::TunnelRule(_)
                | Self::PastRule(_)
        )
    }

    /// Whether it is about the way out of a path.
    const fn is_of_exit(&self) -> bool {
        matches!(self, Self::ExitRoute(_) | Self::ExitRule(..))
    }

    /// Whether it is set and removed with the whole of mpt's nft table.
    const fn is_of_table(&self) -> bool {
        matches!(self, Self::Table | Self::TableRule(_))
    }

    /// Whether it stays when the interface goes.
    const fn outlives_interface(&self) -> bool {
        !self.is_of_interface() && !matches!(self, Self::Route(_))
    }

    /// Whether its absence shows nothing of others: a control group that was made anew, as when its service starts again, or
    /// a device that was away.
    const fn comes_and_goes(&self) -> bool {
        matches!(
            self,
            Self::TableRule(TableRule::Direct { exception: Exception::Cgroup(_), .. }) | Self::ExitRoute(_)
        )
    }

    /// What it is, in the words of iproute2.
    fn text(&self, device: &str) -> String {
        let rule = |traffic: Traffic, priority: u32, action: &str| match traffic {
            Traffic::All(family) => {
                format!("`{} rule` {priority}: not from all fwmark {MARK:#x} {action}", family.ip())
            }
            Traffic::From(network) => {
                format!("`{} rule` {priority}: from {network} {action}", traffic.family().ip())
            }
            Traffic::Replies(family) => {
                format!("`{} rule` {priority}: from all fwmark {REPLY_MARK:#x} {action}", family.ip())
            }
        };
        match self {
            Self::Up => format!("{device} up"),
            Self::Address(address) => format!("address {address} of {device}"),
            Self::Route(to) => format!("route {to} dev {device}"),
            Self::Default(family) => format!("route {} dev {device} table {TABLE}", family.everything()),
            Self::Unreachable(family) => format!("route unreachable {} table {TABLE}", family.everything()),
            Self::NarrowRule(traffic) => rule(*traffic, PRIORITY, "lookup main suppress_prefixlength 0"),
            Self::TunnelRule(traffic) => rule(*traffic, NEXT_PRIORITY, &format!("lookup {TABLE}")),
            Self::PastRule(past) => {
                let which = match past {
                    Past::To(network) => format!("from all to {network}"),
                    Past::Marked(_) => format!("from all fwmark {MARK:#x}"),
                };
                format!("`{} rule` {PAST_PRIORITY}: {which} lookup main", past.family().ip())
            }
            Self::ExitRoute(Exit { device, gateway }) => {
                format!("route default via {gateway} dev {device} table {EXIT_TABLE}")
            }
            Self::ExitRule(device, family) => format!(
                "`{} rule` {EXIT_PRIORITY}: from all fwmark {MARK:#x} oif {device} lookup {EXIT_TABLE}",
                family.ip()
            ),
            Self::Table => format!("nft table inet {}", firewall::table(device)),
            Self::TableRule(rule) => format!("nft table inet {}: {}", firewall::table(device), rule.text()),
            Self::Resolver(servers) => {
                let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
                format!("resolver {} of {device}", servers.join(" "))
            }
            Self::Forwarding(family) => format!("{} = 1", family.sysctl()),
        }
    }

    /// What could not be done when it could not be added, and what shows what is in the way.
    fn refusal(&self, device: &str) -> String {
        match self {
            Self::Up => format!("cannot switch {device} on"),
            Self::Address(address) if address.addr().is_ipv6() && !has_ipv6() => format!(
                "cannot give {device} the address {address}: IPv6 is switched off here. Take the IPv6 address out of tunnel.address, or \
                 switch IPv6 on: sudo sysctl -w net.ipv6.conf.all.disable_ipv6=0"
            ),
            Self::Address(address) => format!("cannot give {device} the address {address}"),
            Self::Route(to) => {
                let ip = Family::of(to).ip();
                format!(
                    "cannot set the route to {to} through {device} (`{ip} route show {to}` shows another one)"
                )
            }
            item => format!("cannot set {}", item.text(device)),
        }
    }
}

/// What is to be added and removed, in the order of doing it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// Items that are wanted and not there.
    pub missing: Vec<Item>,
    /// Items of mpt's that are there and not wanted.
    pub excess: Vec<Item>,
}

/// What is there of what mpt could have added, and what else matters.
#[derive(Debug, Default)]
struct Found {
    /// The number of the tunnel interface, if there is one.
    interface: Option<u32>,
    items: BTreeSet<Item>,
    /// What others have where mpt's rules and default route would be.
    obstacles: Vec<Obstacle>,
    /// IP versions for which the kernel has no policy rules.
    without_rules: Vec<Family>,
}

/// Something of others that excludes a default route through the tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Obstacle {
    /// The default route of another mpt's tunnel interface, of this name.
    Gateway(String),
    /// A route in [`TABLE`].
    Route(Family),
    /// A rule of one of mpt's priorities.
    Rule(Family, u32),
}

impl Obstacle {
    /// What it is, and how to get it out of the way.
    fn text(&self) -> String {
        match self {
            Self::Gateway(name) => format!(
                "the tunnel interface {name} of another mpt has the default route already, and only one tunnel of a host \
                 can: stop that mpt, or take the network 0.0.0.0/0 or ::/0 out of one of the configurations"
            ),
            Self::Route(family) => format!(
                "another program uses the routing table {TABLE}, which a default route through the tunnel needs (`{ip} \
                 route show table {TABLE}` shows what is there). Remove that with:\n  sudo {ip} route flush table {TABLE}",
                ip = family.ip()
            ),
            Self::Rule(family, priority) => format!(
                "another program has a rule of priority {priority}, which mpt needs for a default route, or a path's gateway (`{ip} \
                 rule` shows it). Remove that with:\n  sudo {ip} rule delete priority {priority}",
                ip = family.ip()
            ),
        }
    }
}

/// How closely the host is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Depth {
    /// Without starting programs of others: what only these know counts as there.
    Quick,
    /// All that is wanted.
    Whole,
    /// Also what an mpt that was killed may have left and is not wanted.
    Start,
}

/// What a host's network is to have for one tunnel interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostState {
    device: String,
    items: BTreeSet<Item>,
}

impl HostState {
    /// What a configuration wants.
    pub fn wanted(config: &Config) -> Self {
        let tunnel = &config.tunnel;
        let mut items = BTreeSet::from([Item::Up]);
        for address in &tunnel.addresses {
            items.insert(Item::Address(*address));
            // The kernel adds the route with the address. It is wanted in its own right: somebody may flush it.
            if address.prefix_len() < address.max_prefix_len() {
                items.insert(Item::Route(address.trunc()));
            }
        }
        let plain = kernel_routes(&tunnel.addresses, &config.connections);
        items.extend(plain.into_iter().filter(|to| to.prefix_len() > 0).map(Item::Route));

        let networks = config.connections.iter().flat_map(|connection| &connection.networks);
        let defaults: Vec<_> = networks.filter(|network| network.is_default()).collect();
        for family in Family::BOTH {
            let mut of_family =
                defaults.iter().filter(|network| Family::of(&network.to) == family).peekable();
            if of_family.peek().is_none() {
                continue;
            }
            items.insert(Item::Default(family));
            if tunnel.kill_switch {
                items.insert(Item::Unreachable(family));
            }
            // A rule for all packets makes those for some of them needless.
            let sources: Option<Vec<IpNet>> = of_family.map(|network| network.from).collect();
            let traffic = sources.map_or_else(
                || vec![Traffic::All(family)],
                |sources| sources.into_iter().map(Traffic::From).collect(),
            );
            for traffic in traffic {
                items.extend([Item::NarrowRule(traffic), Item::TunnelRule(traffic)]);
            }
        }
        items.extend(for_forwards(config, &items));
        if !defaults.is_empty() {
            items.extend(past_the_tunnel(config, &items));
        }
        items.extend(for_a_lan(config));
        if !tunnel.dns.is_empty() {
            items.insert(Item::Resolver(tunnel.dns.clone()));
        }
        if items.iter().any(Item::is_of_table) {
            items.insert(Item::Table);
        }
        items.extend(ways_out(config));
        Self { device: tunnel.name.clone(), items }
    }

    /// Nothing: neither routes nor rules, nor a kill switch.
    pub fn nothing(device: &str) -> Self {
        Self { device: device.to_owned(), items: BTreeSet::new() }
    }

    /// Whether sockets of paths need [`MARK`]: rules tell their datagrams from others by it.
    pub fn needs_mark(&self) -> bool {
        self.is_gateway() || self.items.iter().any(Item::is_of_exit)
    }

    /// Whether there is a default route through the tunnel.
    pub fn is_gateway(&self) -> bool {
        self.items.iter().any(Item::is_of_gateway)
    }

    /// Whether packets for the tunnel are refused, instead of let past it, while there is none.
    pub fn has_kill_switch(&self) -> bool {
        self.items.iter().any(|item| matches!(item, Item::Unreachable(_)))
    }

    /// Whether policy rules and the tables they lead to matter: some are wanted, or all of mpt's are to go.
    fn concerns_rules(&self) -> bool {
        self.items.is_empty() || self.needs_mark()
    }

    /// Whether there is anything that stays when the tunnel interface goes.
    fn outlives_interface(&self) -> bool {
        self.items.iter().any(Item::outlives_interface)
    }

    /// IP versions of which all packets of this host go through the tunnel, not only those from some network.
    pub fn carries_all(&self) -> Vec<Family> {
        let all = |family: &Family| self.items.contains(&Item::TunnelRule(Traffic::All(*family)));
        Family::BOTH.into_iter().filter(all).collect()
    }

    /// What has to be done so that what is there becomes what is wanted.
    pub fn difference(&self, found: &BTreeSet<Item>) -> Difference {
        let missing = self.items.difference(found).cloned().collect();
        let mut excess: Vec<Item> = found.difference(&self.items).cloned().collect();
        excess.reverse();
        Difference { missing, excess }
    }

    /// What is missing on this host now and is waited for, and what of others may be in the way, in sentences.
    pub fn warnings(&self) -> Vec<String> {
        let text = |path| {
            format!(
                "tunnel.direct: there is no control group {path} in /sys/fs/cgroup now: its packets take the tunnel until mpt has \
                 seen it, which takes up to half a minute"
            )
        };
        let awaited = firewall::awaited(self).into_iter().map(text);
        awaited.chain(firewall::others::warnings(self)).collect()
    }

    /// Checks, without changing anything, that this host can have the default route that is wanted, and has the programs
    /// for the rest.
    ///
    /// # Errors
    /// Names what is in the way, or what the kernel or the host lacks. Also when netlink cannot be used at all.
    pub fn check(&self) -> Result<()> {
        firewall::check(self)?;
        resolver::check(self)?;
        if !self.needs_mark() {
            return Ok(());
        }
        block_on(async { self.admits(&Netlink::open()?.find(self, Depth::Quick).await?) })
    }

    /// Makes the host so: adds what is missing, and removes what an mpt that was killed has left and is not wanted.
    /// Returns what was done.
    ///
    /// # Errors
    /// Names the item that the kernel refused; what this call has added is removed again.
    pub fn apply(&self) -> Result<Difference> {
        block_on(async { Netlink::open()?.apply(self).await })
    }

    /// The lines that tell people of a change.
    pub fn texts(&self, items: &[Item]) -> Vec<String> {
        items.iter().map(|item| item.text(&self.device)).collect()
    }

    /// Whether nothing of others, and nothing that the kernel lacks, is in the way.
    fn admits(&self, found: &Found) -> Result<()> {
        for family in Family::BOTH {
            let has_rule =
                |item: &Item| matches!(item, Item::TunnelRule(traffic) if traffic.family() == family);
            if found.without_rules.contains(&family) && self.items.iter().any(has_rule) {
                let (network, option) = match family {
                    Family::V4 => ("0.0.0.0/0", "CONFIG_IP_MULTIPLE_TABLES"),
                    Family::V6 => ("::/0", "CONFIG_IPV6_MULTIPLE_TABLES, and IPv6 itself switched on"),
                };
                bail!(
                    "this kernel has no policy rules (`{} rule`), which the network {network} needs: take that network out \
                     of the configuration, or use a kernel with {option}",
                    family.ip()
                );
            }
        }
        let exits = self.items.iter().any(Item::is_of_exit);
        let is_in_the_way = |obstacle: &&Obstacle| match obstacle {
            Obstacle::Rule(_, EXIT_PRIORITY) => exits,
            _ => self.is_gateway(),
        };
        if let Some(obstacle) = found.obstacles.iter().find(is_in_the_way) {
            bail!("{}", obstacle.text());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
