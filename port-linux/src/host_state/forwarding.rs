//! Forwarding of packets, which the kernel does for the whole host: switched on while a LAN or peers
//! share a way out or ports are forwarded, and put back as it was.
//!
//! What mpt changes is written to a file before, with the values that were there, so that a process that is killed forgets
//! nothing: [`restore`] is for the next one, or for `mpt clean`. The file is in /run and goes with the kernel whose settings
//! they are. A host that forwards already is left as it is.
//!
//! The kernel's switches change more than they say (`ip-sysctl`): that of IPv4 also sets the forwarding of each interface and
//! whether redirects are accepted. That of IPv6 makes a router of the host, which listens to router advertisements no more
//! and drops the default routes that it has from them, unless an interface says `accept_ra = 2`.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::{Family, HostState, Item};
use crate::state_directory::RUNTIME;

/// Where the kernel shows its settings.
const SETTINGS: &str = "/proc/sys/net";

impl Family {
    /// The switch, below [`SETTINGS`].
    const fn switch(self) -> &'static str {
        match self {
            Self::V4 => "ipv4/ip_forward",
            Self::V6 => "ipv6/conf/all/forwarding",
        }
    }

    /// The name as the program `sysctl` has it.
    pub(super) fn sysctl(self) -> String {
        format!("net.{}", self.switch().replace('/', "."))
    }
}

/// The file with the former values of an IP version, one `NAME VALUE` a line in the order of putting them back. Its name has
/// the number of this network namespace: others, which may have a tunnel interface of the same name, share /run.
fn memory(device: &str, family: Family) -> PathBuf {
    let version = match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    };
    let namespace = fs::metadata("/proc/self/ns/net").map_or(0, |namespace| namespace.ino());
    Path::new(RUNTIME).join(format!("{device}.{namespace}.forwarding-{version}"))
}

/// A setting's value; `None`: the kernel, or this container, has none.
fn read(name: &str) -> Option<String> {
    fs::read_to_string(Path::new(SETTINGS).join(name)).ok().map(|value| value.trim().to_owned())
}

fn write(name: &str, value: &str) -> Result<()> {
    let outcome = fs::write(Path::new(SETTINGS).join(name), value);
    outcome.with_context(|| format!("cannot set net.{} to {value}", name.replace('/', ".")))
}

fn is_on(family: Family) -> bool {
    read(family.switch()).is_some_and(|value| value != "0")
}

/// The items that are there: what is wanted and switched on, and what an mpt of this tunnel interface has switched on.
pub(super) fn present(state: &HostState) -> Vec<Item> {
    let is_there = |family: &Family| {
        let is_wanted = state.items.contains(&Item::Forwarding(*family));
        if is_wanted { is_on(*family) } else { memory(&state.device, *family).exists() }
    };
    Family::BOTH.into_iter().filter(is_there).map(Item::Forwarding).collect()
}

/// Switches forwarding on, once the values that change with it are in the file.
///
/// # Errors
/// When the file cannot be written or the kernel refuses.
pub(super) fn switch_on(device: &str, family: Family) -> Result<()> {
    let file = memory(device, family);
    let accepting = if family == Family::V6 { accepting_routers() } else { Vec::new() };
    if !file.exists() {
        remember(&file, family, &accepting)?;
    }
    for name in accepting {
        // The interface may have gone.
        let _ = write(&name, "2");
    }
    write(family.switch(), "1").with_context(|| {
        format!(
            "cannot switch on forwarding, which [[forward]], `tunnel.share` and `tunnel.masquerade` need; this does, and mpt then leaves it alone: sudo sysctl -w {}=1",
            family.sysctl()
        )
    })
}

/// Puts back what [`switch_on`] has changed, as the file has it, and removes the file. Nothing to do without it.
///
/// # Errors
/// When the file cannot be read or removed, or the kernel refuses.
pub(super) fn restore(device: &str, family: Family) -> Result<()> {
    let file = memory(device, family);
    let context = || format!("cannot put forwarding back as {} has it", file.display());
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(context),
    };
    for line in text.lines() {
        let Some((name, value)) = line.split_once(' ') else { continue };
        if !is_ours(name, family) {
            bail!("{}: {name} is no setting that mpt changes: remove the file", file.display());
        }
        // Interfaces come and go, and their settings with them.
        if read(name).is_some_and(|now| now != value) {
            write(name, value).with_context(context)?;
        }
    }
    fs::remove_file(&file).with_context(context)
}

/// Writes the file, whole or not at all.
fn remember(file: &Path, family: Family, accepting: &[String]) -> Result<()> {
    let context = || {
        format!("cannot remember in {} how forwarding was set, so that it is left as it is", file.display())
    };
    // That of IPv6 is among those of the interfaces, as `all`.
    let mut names = if family == Family::V4 { vec![family.switch().to_owned()] } else { Vec::new() };
    let kept = match family {
        Family::V4 => &["forwarding", "accept_redirects"][..],
        Family::V6 => &["forwarding"],
    };
    for name in interfaces(family) {
        names.extend(kept.iter().map(|setting| format!("{}/{name}/{setting}", conf(family))));
    }
    names.extend(accepting.iter().cloned());
    let lines = names.iter().filter_map(|name| Some(format!("{name} {}\n", read(name)?)));
    let text: String = lines.collect();
    let draft = file.with_extension("draft");
    fs::create_dir_all(RUNTIME).with_context(context)?;
    // The directory may be the service's user's, and this process root's: no link is followed to another file.
    let _ = fs::remove_file(&draft);
    let made = File::options().write(true).create_new(true).open(&draft);
    made.and_then(|mut file| file.write_all(text.as_bytes())).with_context(context)?;
    fs::rename(&draft, file).with_context(context)
}

/// Whether a line of the file names what [`remember`] writes: the file is no way to other settings.
fn is_ours(name: &str, family: Family) -> bool {
    let of_interface = || {
        let rest = name.strip_prefix(conf(family))?.strip_prefix('/')?;
        let (interface, setting) = rest.split_once('/')?;
        let is_plain = !matches!(interface, "" | "." | "..");
        Some(is_plain && matches!(setting, "forwarding" | "accept_redirects" | "accept_ra"))
    };
    name == family.switch() || of_interface().unwrap_or(false)
}

const fn conf(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4/conf",
        Family::V6 => "ipv6/conf",
    }
}

/// `all` and `default` first, as they rule the others, then the interfaces.
fn interfaces(family: Family) -> Vec<String> {
    let entries = fs::read_dir(Path::new(SETTINGS).join(conf(family))).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_by_key(|name| (!matches!(name.as_str(), "all" | "default"), name.clone()));
    names
}

/// The settings of interfaces, and of those to come, that listen to router advertisements only while they do not forward.
fn accepting_routers() -> Vec<String> {
    let names = interfaces(Family::V6).into_iter().filter(|name| name != "all" && name != "lo");
    let settings = names.map(|name| format!("{}/{name}/accept_ra", conf(Family::V6)));
    settings.filter(|setting| read(setting).as_deref() == Some("1")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_no_way_to_other_settings() {
        for name in ["ipv4/ip_forward", "ipv4/conf/all/accept_redirects", "ipv4/conf/eth0.5/forwarding"] {
            assert!(is_ours(name, Family::V4), "{name}");
        }
        for name in [
            "ipv6/conf/all/forwarding",
            "ipv4/tcp_mem",
            "ipv4/conf/../forwarding",
            "ipv4/conf/../../core/forwarding",
            "ipv4/conf/eth0/rp_filter",
            "../kernel/core_pattern",
        ] {
            assert!(!is_ours(name, Family::V4), "{name}");
        }
        assert!(is_ours("ipv6/conf/eth0/accept_ra", Family::V6));
    }
}
