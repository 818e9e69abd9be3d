//! `mpt clean`: removes what an mpt that was killed has left on the host.

use std::path::Path;

use anyhow::{Result, bail};

use crate::alone;
use crate::config::Config;
use crate::host_state::HostState;
use crate::link::Interfaces;
use crate::{output, privilege, supervisor};

/// Runs `mpt clean` for a tunnel interface: the one with this name, or the one of this configuration file. Run by systemd
/// after the service failed, it leaves a kill switch in place.
///
/// # Errors
/// When the tunnel interface is there, so that an mpt runs; when the file has a mistake; when the kernel refuses.
pub fn clean(name: Option<&str>, config: Option<&Path>) -> Result<()> {
    let config = config.map(Config::load).transpose()?;
    let tunnel = config.as_ref().map(|config| &config.tunnel);
    let Some(device) = name.or(tunnel.map(|tunnel| tunnel.name.as_str())) else {
        bail!("neither a tunnel interface nor a configuration file is named");
    };
    let has_kill_switch = config.as_ref().is_some_and(|config| HostState::wanted(config).has_kill_switch());
    if has_kill_switch && supervisor::service_failed() {
        return output::print(&format!(
            "the kill switch of {device} stays in place until mpt starts again, or `mpt clean {device}`\n"
        ))
        .map(drop);
    }
    privilege::check_net_admin()?;
    if Interfaces::now()?.named(device).is_some() {
        bail!(
            "the interface {device} exists: an mpt is running (see `mpt status`), and cleans up when it is stopped"
        );
    }
    let nothing = HostState::nothing(device);
    let mut removed = nothing.texts(&nothing.apply()?.excess);
    removed.extend(alone::clean(device));
    let text = if removed.is_empty() {
        format!("nothing of {device} was left\n")
    } else {
        removed.iter().map(|line| format!("removed: {line}\n")).collect()
    };
    output::print(&text).map(drop)
}
