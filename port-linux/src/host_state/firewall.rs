//! The nft table of a tunnel interface: what the LAN's packets, direct exceptions and forwarded ports need. It is mpt's own table, and no
//! rule of mpt is anywhere else, so that a firewall of others may be set and flushed without a thought of mpt's.
//!
//! The table is set as a whole, in one transaction. Its rules are known again by their comments, as the way in which `nft`
//! lists a rule differs between its versions.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result, anyhow};

use super::helper::{self, Refusal};
use super::{Depth, HostState, Item, MARK, REPLY_MARK};
use crate::config::{Entrance, Exception, Forward, Share};
use crate::output;

/// What to do when `nft` is missing and needed.
const MISSING: &str = "[[forward]], `tunnel.share`, `tunnel.masquerade` and `tunnel.direct` with ports, users or control groups need \
                       the program nft, which is not installed. Install it with:\n  sudo apt install nftables";

/// Where control groups are.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Longest comment of a rule, in bytes; the kernel keeps 128 with its own overhead.
const COMMENT_MAX: usize = 100;

/// A rule of the table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TableRule {
    /// What a LAN sends into the tunnel gets the tunnel's address.
    Share(Share),
    /// What comes out of the tunnel and leaves this host gets this host's address.
    Masquerade,
    /// Packets of this host or, with `forwarded`, those that pass through it, get [`MARK`] and leave past the tunnel.
    Direct {
        /// Which packets.
        exception: Exception,
        /// Whether the rule is for packets that come from elsewhere.
        forwarded: bool,
    },
    /// Marked packets that a program has bound to this tunnel address, as the route was that of the tunnel at first, get the
    /// address of the interface that they leave through.
    DirectSource(IpAddr),
    /// What is sent to ports of this host goes on to another one.
    Forward(Forward),
    /// Answers to what came out of the tunnel to this tunnel address and was forwarded get [`REPLY_MARK`], and take the tunnel back.
    Reply(IpAddr),
}

impl TableRule {
    fn chain(&self) -> Chain {
        match self {
            Self::Share(_) | Self::Masquerade | Self::DirectSource(_) => Chain::Postrouting,
            Self::Direct { forwarded: false, .. } => Chain::Output,
            Self::Direct { forwarded: true, .. } | Self::Reply(_) => Chain::Prerouting,
            Self::Forward(_) => Chain::Destination,
        }
    }

    /// What it is, in words.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Share(share) => format!("share {share}"),
            Self::Masquerade => "masquerade".to_owned(),
            Self::Direct { exception, forwarded: false } => format!("direct {exception}"),
            Self::Direct { exception, forwarded: true } => format!("direct {exception}, forwarded"),
            Self::DirectSource(address) => format!("direct from {address}"),
            Self::Forward(forward) => match &forward.at {
                Entrance::AllBut(own) => format!("forward {forward}, not of {}", output::list(own)),
                Entrance::Address(_) | Entrance::Tunnel => format!("forward {forward}"),
            },
            Self::Reply(address) => format!("answers of {address}"),
        }
    }

    /// The comment by which it is known again. A long one ends in a number that tells it from others.
    fn comment(&self) -> String {
        let text = self.text();
        if text.len() <= COMMENT_MAX {
            return text;
        }
        // FNV-1a.
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        let cut: String = text.chars().filter(char::is_ascii).take(COMMENT_MAX - 20).collect();
        format!("{cut} {hash:016x}")
    }

    /// The rule for the tunnel interface `device`, as `nft` reads it.
    fn statement(&self, device: &str) -> String {
        let version = |address: &IpAddr| if address.is_ipv4() { "ip" } else { "ip6" };
        match self {
            Self::Share(Share::Network(network)) => {
                format!("oifname \"{device}\" {} saddr {network} masquerade", version(&network.addr()))
            }
            Self::Share(Share::Interface(name)) => {
                format!("oifname \"{device}\" iifname \"{name}\" masquerade")
            }
            Self::Masquerade => format!("iifname \"{device}\" oifname != \"{device}\" masquerade"),
            Self::Direct { exception, forwarded } => {
                let from = if *forwarded {
                    format!("iifname != {{ \"lo\", \"{device}\" }} ")
                } else {
                    String::new()
                };
                let which = match exception {
                    // By a policy rule, without this table.
                    Exception::Network(network) => format!("{} daddr {network}", version(&network.addr())),
                    Exception::Ports { protocol, first, last } => {
                        format!("{protocol} dport {first}-{last}")
                    }
                    Exception::User(name) => format!("meta skuid \"{name}\""),
                    Exception::Cgroup(path) => {
                        format!("socket cgroupv2 level {} \"{path}\"", path.split('/').count())
                    }
                };
                format!("{from}{which} meta mark set {MARK:#x}")
            }
            Self::DirectSource(address) => {
                format!(
                    "oifname != \"{device}\" meta mark {MARK:#x} {} saddr {address} masquerade",
                    version(address)
                )
            }
            Self::Forward(forward) => forward_statement(forward, device),
            // The address that the first packet was sent to, before it was forwarded.
            Self::Reply(address) => format!(
                "iifname != \"{device}\" ct direction reply ct original {} daddr {address} meta mark set {REPLY_MARK:#x}",
                version(address)
            ),
        }
    }

    /// A control group that the rule is about and that does not exist now: `nft` would refuse the rule. It is added when
    /// the group is there.
    fn awaits(&self) -> Option<&str> {
        match self {
            Self::Direct { exception: Exception::Cgroup(path), .. } => {
                (!Path::new(CGROUPS).join(path).is_dir()).then_some(path)
            }
            _ => None,
        }
    }
}

fn forward_statement(forward: &Forward, device: &str) -> String {
    let version = if forward.to.is_ipv4() { "ip" } else { "ip6" };
    let which = match &forward.at {
        Entrance::Address(address) => format!("{version} daddr {address}"),
        Entrance::AllBut(own) => {
            format!("fib daddr type local {version} daddr != {{ {} }}", output::list(own))
        }
        Entrance::Tunnel => format!("iifname \"{device}\" fib daddr type local"),
    };
    let to = match forward.to_port {
        Some(port) => SocketAddr::new(forward.to, port).to_string(),
        None => forward.to.to_string(),
    };
    let Forward { protocol, first, last, .. } = forward;
    format!("{which} {protocol} dport {first}-{last} dnat {version} to {to}")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chain {
    Prerouting,
    Destination,
    Output,
    Postrouting,
}

impl Chain {
    const ALL: [Self; 4] = [Self::Prerouting, Self::Destination, Self::Output, Self::Postrouting];

    const fn name(self) -> &'static str {
        match self {
            Self::Prerouting => "prerouting",
            Self::Destination => "destination",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
        }
    }

    const fn hook(self) -> &'static str {
        match self {
            Self::Prerouting => "type filter hook prerouting priority mangle",
            Self::Destination => "type nat hook prerouting priority dstnat",
            // A change of the mark asks the routes again.
            Self::Output => "type route hook output priority mangle",
            Self::Postrouting => "type nat hook postrouting priority srcnat",
        }
    }
}

/// The name of the table of a tunnel interface, of the family `inet`. What names of tables cannot have becomes `_`.
pub(super) fn table(device: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '.') { c } else { '_' };
    format!("mpt_{}", device.chars().map(fit).collect::<String>())
}

fn rules(state: &HostState) -> impl Iterator<Item = &TableRule> {
    state.items.iter().filter_map(|item| match item {
        Item::TableRule(rule) => Some(rule),
        _ => None,
    })
}

/// Checks, without changing anything, that the table can be had if it is wanted.
///
/// # Errors
/// Says what is missing.
pub(super) fn check(state: &HostState) -> Result<()> {
    if state.items.contains(&Item::Table) && helper::find("nft").is_none() {
        return Err(anyhow!(MISSING));
    }
    Ok(())
}

/// Control groups of the configuration that do not exist now.
pub(super) fn awaited(state: &HostState) -> Vec<&str> {
    let output = |rule: &&TableRule| matches!(rule, TableRule::Direct { forwarded: false, .. });
    rules(state).filter(output).filter_map(TableRule::awaits).collect()
}

/// Which of [`Item::Table`] and the wanted [`Item::TableRule`]s are there. A table with other rules than these, and in other
/// places, counts as one without any, so that it is set anew.
///
/// # Errors
/// When the table is wanted and `nft` cannot list it.
pub(super) fn present(state: &HostState, depth: Depth) -> Result<BTreeSet<Item>> {
    let is_wanted = state.items.contains(&Item::Table);
    match depth {
        Depth::Quick => {
            return Ok(state.items.iter().filter(|item| item.is_of_table()).cloned().collect());
        }
        Depth::Whole if !is_wanted => return Ok(BTreeSet::new()),
        Depth::Whole | Depth::Start => {}
    }
    let listed = list(&state.device);
    let listed = if is_wanted { listed? } else { listed.unwrap_or(None) };
    let mut items = BTreeSet::new();
    if let Some(listing) = listed {
        items.insert(Item::Table);
        items.extend(known_again(&listing, rules(state)).into_iter().map(Item::TableRule));
    }
    Ok(items)
}

/// What `nft` lists of the table; `None`: there is none, or no `nft`.
fn list(device: &str) -> Result<Option<String>> {
    let Some(nft) = helper::find("nft") else { return Ok(None) };
    match helper::run(&nft, &["list", "table", "inet", &table(device)], "") {
        Ok(listing) => Ok(Some(listing)),
        Err(error) => match error.downcast_ref::<Refusal>() {
            Some(refusal) if refusal.said.contains("No such file or directory") => Ok(None),
            _ => Err(error).context("cannot list the nft table of mpt"),
        },
    }
}

/// The wanted rules that a listing has, each in its chain; none if the listing has others as well. Rules that cannot be there
/// yet count as there: nothing is to be done about them.
fn known_again<'r>(listing: &str, wanted: impl Iterator<Item = &'r TableRule>) -> Vec<TableRule> {
    let mut listed: BTreeSet<(String, String)> = BTreeSet::new();
    let (mut chain, mut count) = (String::new(), 0);
    for line in listing.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("chain ") {
            chain = rest.trim_end_matches('{').trim().to_owned();
        } else if !chain.is_empty() && !line.is_empty() && !line.starts_with("type ") && line != "}" {
            let (rule, comment) = line.rsplit_once(" comment \"").unwrap_or((line, ""));
            // The path of a control group that was removed is listed as a number. The rule means nothing any more.
            if rule.contains("socket cgroupv2") && !rule.contains('"') {
                continue;
            }
            count += 1;
            listed.extend(comment.strip_suffix('"').map(|comment| (chain.clone(), comment.to_owned())));
        }
    }
    let (awaited, settable): (Vec<_>, Vec<_>) = wanted.cloned().partition(|rule| rule.awaits().is_some());
    let is_there = |rule: &TableRule| listed.contains(&(rule.chain().name().to_owned(), rule.comment()));
    let mut found: Vec<TableRule> = settable.into_iter().filter(is_there).collect();
    if found.len() != count {
        found.clear();
    }
    found.extend(awaited);
    found
}

/// Sets the whole table as it is wanted, or removes it if it is not, in one transaction.
///
/// # Errors
/// What `nft` says.
pub(super) fn set(state: &HostState) -> Result<()> {
    let nft = helper::find("nft").context(MISSING)?;
    match helper::run(&nft, &["-f", "-"], &script(state)) {
        Ok(_) => Ok(()),
        Err(error) => Err(error).with_context(|| {
            format!(
                "cannot set the nft table {}, which [[forward]], `tunnel.share`, `tunnel.masquerade` and `tunnel.direct` need",
                table(&state.device)
            )
        }),
    }
}

/// What `nft -f` is given.
fn script(state: &HostState) -> String {
    let (device, table) = (&state.device, table(&state.device));
    // What does not exist cannot be deleted.
    let mut text = format!("table inet {table} {{\n}}\ndelete table inet {table}\n");
    if !state.items.contains(&Item::Table) {
        return text;
    }
    let _ = writeln!(text, "table inet {table} {{");
    for chain in Chain::ALL {
        let mut rules =
            rules(state).filter(|rule| rule.chain() == chain && rule.awaits().is_none()).peekable();
        if rules.peek().is_none() {
            continue;
        }
        let _ = writeln!(text, "chain {} {{\n{}; policy accept;", chain.name(), chain.hook());
        for rule in rules {
            let _ = writeln!(text, "{} comment \"{}\"", rule.statement(device), rule.comment());
        }
        text.push_str("}\n");
    }
    text.push_str("}\n");
    text
}

pub(super) mod others;
#[cfg(test)]
mod tests;
