//! Firewalls of others that drop what this host forwards. mpt leaves them alone, and says how they let it through.

use std::path::Path;

use super::super::{HostState, Item, helper};

/// A chain that drops forwarded packets unless one of its rules accepts them.
#[derive(Debug, PartialEq, Eq)]
struct Dropper {
    /// Family and name of its table, as `nft` takes them.
    table: String,
    chain: String,
}

impl Dropper {
    /// What is in the way, and the commands that mend it.
    fn text(&self, device: &str) -> String {
        let Self { table, chain } = self;
        // Rules that `nft` adds to a table of iptables are lost to it.
        let commands = match (table.as_str(), chain.as_str()) {
            ("ip filter", "FORWARD") => {
                ["-i", "-o"].map(|way| format!("iptables -I FORWARD {way} {device} -j ACCEPT"))
            }
            ("ip6 filter", "FORWARD") => {
                ["-i", "-o"].map(|way| format!("ip6tables -I FORWARD {way} {device} -j ACCEPT"))
            }
            _ => ["iifname", "oifname"]
                .map(|way| format!("nft insert rule {table} {chain} {way} {device} accept")),
        };
        let [into, out_of] = commands;
        format!(
            "the chain {chain} of the nft table {table} drops what this host forwards unless one of its rules accepts it, and none names \
             {device}: what comes out of the tunnel, or goes into it for [[forward]], may get no further. Let it through in that \
             firewall's own configuration (ufw: sudo ufw route allow in on {device}; sudo ufw route allow out on {device}), or until \
             it is loaded again with:\n  sudo {into}\n  sudo {out_of}"
        )
    }
}

/// What keeps others' firewalls from forwarding the tunnel's packets, in sentences. Nothing where `nft` is missing or may not look.
pub(in crate::host_state) fn warnings(state: &HostState) -> Vec<String> {
    let forwards = state.items.iter().any(|item| matches!(item, Item::Forwarding(_)));
    let Some(nft) = helper::find("nft").filter(|_| forwards) else { return Vec::new() };
    let Ok(chains) = helper::run(&nft, &["list", "chains"], "") else { return Vec::new() };
    let in_the_way = |dropper: &Dropper| !names(&nft, dropper, &state.device);
    droppers(&chains).into_iter().filter(in_the_way).map(|dropper| dropper.text(&state.device)).collect()
}

/// Whether a table has rules for an interface: somebody has thought of it.
fn names(nft: &Path, dropper: &Dropper, device: &str) -> bool {
    let mut arguments = vec!["list", "table"];
    arguments.extend(dropper.table.split(' '));
    let listing = helper::run(nft, &arguments, "");
    listing.is_ok_and(|listing| listing.contains(&format!("\"{device}\"")))
}

/// The chains of a listing that drop what is forwarded.
fn droppers(listing: &str) -> Vec<Dropper> {
    let (mut table, mut chain) = ("", "");
    let mut found = Vec::new();
    for line in listing.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("table ") {
            table = rest.trim_end_matches('{').trim();
        } else if let Some(rest) = line.strip_prefix("chain ") {
            chain = rest.trim_end_matches('{').trim();
        } else if line.contains("hook forward ") && line.ends_with("policy drop;") {
            found.push(Dropper { table: table.to_owned(), chain: chain.to_owned() });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_that_drops_what_is_forwarded_is_named_with_what_lets_the_tunnel_through() {
        let listing = "table inet filter {\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\t}\n\
                       \tchain forward {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}\n\
                       table ip filter {\n\tchain DOCKER {\n\t}\n\tchain FORWARD {\n\
                       \t\ttype filter hook forward priority filter; policy drop;\n\t}\n}\n\
                       table ip6 filter {\n\tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy accept;\n\t}\n}\n";
        let found = droppers(listing);
        let expected = [("inet filter", "forward"), ("ip filter", "FORWARD")];
        let expected =
            expected.map(|(table, chain)| Dropper { table: table.to_owned(), chain: chain.to_owned() });
        assert_eq!(found, expected);
        let texts: Vec<String> = found.iter().map(|dropper| dropper.text("mpt0")).collect();
        assert!(texts[0].contains("sudo nft insert rule inet filter forward oifname mpt0 accept"));
        assert!(texts[1].contains("sudo iptables -I FORWARD -i mpt0 -j ACCEPT"));
    }
}
