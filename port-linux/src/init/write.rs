//! The draft as text.

use std::fmt::Write as _;

use super::{Medium, Proposal, Wanted, path_name};

/// The whole file.
pub(super) fn configuration(proposals: &[Proposal], wanted: &Wanted, warnings: &[String]) -> String {
    let mut text = String::from(
        "# mpt: a multipath tunnel. Drafted by `mpt init` from the interfaces of this machine.\n\
         # Edit the addresses, check with `mpt check FILE`, and start with `mpt run -c FILE`.\n\
         # Every key and its default: docs/configuration.md.\n",
    );
    for warning in warnings {
        let _ = writeln!(text, "# Note: {warning}.");
    }
    let _ = write!(
        text,
        "\n[tunnel]\n\
         name = \"mpt0\"\n\
         # Our addresses inside the tunnel: any private ones, the same network on both ends.\n\
         address = [{}]\n\
         \n\
         [[connection]]\n\
         name = \"peer\"\n\
         # The peer's addresses inside the tunnel.\n\
         peer = [{}]\n\
         # \"weighted\" adds the paths up; \"backup\" uses the lowest rank that works; \"redundant\" sends on all.\n\
         policy = \"weighted\"\n",
        quoted(&wanted.addresses),
        quoted(&wanted.peers)
    );
    for proposal in proposals {
        text.push('\n');
        text += &path(proposal);
    }
    text
}

fn path(proposal: &Proposal) -> String {
    let Proposal { device, remote, missing } = proposal;
    let any = if remote.is_ipv4() { "0.0.0.0" } else { "::" };
    let name = path_name(device);
    let mut text = format!(
        "[[connection.path]]\n\
         name = \"{name}\"\n\
         device = \"{device}\" # waited for while it is not there\n\
         local = \"{any}\" # whatever address {device} has\n\
         remote = \"{remote}\" # the peer's address outside of the tunnel\n\
         # weight = 1 # its share of the packets: in proportion to its rate\n"
    );
    if Medium::of(device) == Medium::Mobile {
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
