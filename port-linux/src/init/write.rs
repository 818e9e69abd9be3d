//! The draft as text.

use std::fmt::Write as _;
use std::path::Path;

use super::{Invited, Medium, Proposal, Wanted, path_name};

/// The whole file.
pub(super) fn configuration(
    proposals: &[Proposal],
    wanted: &Wanted,
    key_file: &Path,
    warnings: &[String],
) -> String {
    let mut text = String::from(match &wanted.invited {
        None => {
            "# mpt: a multipath tunnel. Drafted by `mpt init` from the interfaces of this machine.\n\
             # Edit the addresses and the peer's public key, check with `mpt check FILE`, and start with `mpt run -c FILE`.\n\
             # Every key and its default: docs/configuration.md.\n"
        }
        Some(_) => {
            "# mpt: a multipath tunnel. Made by `mpt join` from the server's line and the interfaces of this machine.\n\
             # After a change: mpt reload, or a restart where [tunnel] changed. Every key and its default: docs/configuration.md.\n"
        }
    });
    for warning in warnings {
        let _ = writeln!(text, "# Note: {warning}.");
    }
    let key_file = toml::Value::String(key_file.display().to_string());
    match &wanted.invited {
        None => draft_head(&mut text, wanted, &key_file),
        Some(invited) => joined_head(&mut text, wanted, invited, &key_file),
    }
    for proposal in proposals {
        text.push('\n');
        text += &path(proposal);
    }
    text
}

/// Everything before the paths, with what has to be edited explained.
fn draft_head(text: &mut String, wanted: &Wanted, key_file: &toml::Value) {
    let _ = write!(
        text,
        "\n\
         [security]\n\
         # What makes this end this end. `mpt genkey -o FILE` makes one, `mpt pubkey < FILE` prints the public key of\n\
         # it, for the peer's configuration. To go without encryption, security = \"none\" instead of this table.\n\
         private_key_file = {key_file}\n\
         \n\
         [tunnel]\n\
         name = \"mpt0\"\n\
         # Our addresses inside the tunnel, any private ones. At the other end these are in `peer`, and those in `peer`\n\
         # are here: there, mpt init --address PEER/24 --peer OURS drafts it so.\n\
         address = [{}]\n\
         \n\
         [[connection]]\n\
         name = \"peer\"\n\
         # The peer's addresses inside the tunnel.\n\
         peer = [{}]\n\
         # The peer's public key, which `mpt init -o`, `mpt genkey -o` or `mpt check` prints there.\n\
         public_key = \"{}\"\n\
         # \"adaptive\" measures the paths and adds them up; \"weighted\" adds them up by their weights; \"backup\" uses\n\
         # the lowest rank that works; \"redundant\" sends on all.\n\
         policy = \"adaptive\"\n",
        quoted(&wanted.addresses),
        quoted(&wanted.peers),
        wanted.public_key.as_deref().unwrap_or_default(),
    );
}

/// Everything before the paths, as the server has it.
fn joined_head(text: &mut String, wanted: &Wanted, invited: &Invited, key_file: &toml::Value) {
    let _ = write!(
        text,
        "\n[security]\nprivate_key_file = {key_file}\n\n[tunnel]\nname = \"{}\"\naddress = [{}]\n",
        invited.tunnel,
        quoted(&wanted.addresses)
    );
    if invited.kill_switch {
        text.push_str("# After a crash nothing leaves past the tunnel until mpt runs again; `mpt clean` ends that.\nkill_switch = true\n");
    }
    if !invited.share.is_empty() {
        let _ = writeln!(text, "# LANs that use the tunnel, too.\nshare = [{}]", quoted(&invited.share));
    }
    if !invited.dns.is_empty() {
        let _ = writeln!(text, "dns = [{}]", quoted(&invited.dns));
    }
    let _ = write!(
        text,
        "\n[[connection]]\nname = \"{}\"\npeer = [{}]\nremote_port = {}\npublic_key = \"{}\"\n",
        invited.name,
        quoted(&wanted.peers),
        invited.port,
        wanted.public_key.as_deref().unwrap_or_default()
    );
    if let Some(file) = &invited.preshared_key_file {
        let _ = writeln!(text, "preshared_key_file = {}", toml::Value::String(file.clone()));
    }
    if invited.only.is_none() {
        let _ = write!(
            text,
            "# Every interface that leads out carries a path, also one that comes later, but for those in `except`. A [[connection.path]]\n\
             # with a `device` sets one up otherwise.\n\
             paths = \"auto\"\nremote = [{}]\n# except = [\"docker*\", \"lan0\"]\n",
            quoted(&wanted.remotes)
        );
    }
    for network in &invited.networks {
        let _ = write!(text, "\n[[connection.network]]\nto = \"{network}\"\n");
    }
}

fn path(proposal: &Proposal) -> String {
    let Proposal { device, remote, missing } = proposal;
    let any = if remote.address.is_ipv4() { "0.0.0.0" } else { "::" };
    let name = path_name(device);
    let mut text = format!(
        "[[connection.path]]\n\
         name = \"{name}\"\n\
         device = \"{device}\" # waited for while it is not there\n\
         local = \"{any}\" # whatever address {device} has\n\
         remote = \"{}\" # the peer's address outside of the tunnel\n\
         # weight = 1 # with policy = \"weighted\", its share of the packets: in proportion to its rate\n",
        remote.endpoint
    );
    if Medium::of(device) == Medium::Mobile {
        text += "tier = 2 # paid by volume: packets take it only when those of tier 1 are full or down\n";
        text += "# rank = 1 # with policy = \"backup\": only when a path of rank 0 is down\n";
    }
    match missing {
        None => text,
        Some(why) => {
            let commented: String =
                text.lines().map(|line| format!("# {}\n", line.trim_start_matches("# "))).collect();
            format!("# {device}: {why}. Without the #, the path waits for it.\n{commented}")
        }
    }
}

fn quoted<T: std::fmt::Display>(values: &[T]) -> String {
    values.iter().map(|value| format!("\"{value}\"")).collect::<Vec<_>>().join(", ")
}
