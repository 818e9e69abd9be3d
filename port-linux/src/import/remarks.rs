//! What the result says about keys that have no equivalent.

use super::ini::Section;

/// Why a key of the original is not carried over: kind of section, key, reason.
const EXPLANATIONS: [(&str, &str, &str); 14] = [
    ("general", "accept_remote", "a stranger cannot create connections in mpt: each one stands in this file"),
    ("general", "interface_num", "obsolete in the original, too"),
    ("general", "cmdport_local", "mpt has no command port but a local socket that only its owner can open"),
    ("general", "cmd_timeout", "mpt has no command port; its local socket answers at once"),
    ("connection", "permission", "the original reads it and never uses it; both directions are open"),
    ("connection", "local_cmd_port", "mpt has no command port"),
    ("connection", "remote_cmd_port", "mpt has no command port; the two ends talk on the paths themselves"),
    ("connection", "status", "the original does not stop traffic by it; `enabled = false` in a path does"),
    ("connection", "auth_type", "it guarded the command port, which mpt does not have"),
    ("connection", "auth_key", "it guarded the command port, which mpt does not have"),
    ("path", "weight_in", "it set the peer's weight_out; `weight` in the peer's own file does"),
    ("path", "window_size", "the original does not use it either"),
    ("path", "cmd_default", "it chose the path for commands, which mpt does not have"),
    ("path", "default_cmd", "the original reads cmd_default instead; mpt has no commands on paths"),
];

/// Explains what is left of a section after all that has an equivalent was taken out.
pub(super) fn leftovers(section: Section, remarks: &mut Vec<String>) {
    let kind = section.name.split('_').next().unwrap_or_default().to_owned();
    for entry in section.entries {
        let known = EXPLANATIONS.iter().find(|(section, key, _)| *section == kind && *key == entry.key);
        let reason =
            known.map_or("neither the original nor mpt knows this key here", |(_, _, reason)| reason);
        remarks.push(format!("{entry}: {reason}"));
    }
}

/// What a path's status code means in the original.
pub(super) fn path_status(code: u32) -> &'static str {
    match code {
        0x80 => "down by keepalive",
        0x81 => "interface down",
        0x82 => "address down",
        0x83 => "set down by hand",
        0xff => "disabled",
        _ => "not 0, so down",
    }
}
