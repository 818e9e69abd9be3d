//! The portal that a network's DHCP has named to NetworkManager, which keeps its options in no file: asked by its program `nmcli`.

use std::path::Path;
use std::time::Duration;

use crate::child::{Child, Ending, Start};
use crate::clock::Clock;
use crate::host_state::find_program;

/// What is there while it runs.
const RUNS: &str = "/run/NetworkManager";
/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Bytes of its answer that are read: an option is 255 bytes mostly, and there are some tens.
const PRINTED_MAX: usize = 32 << 10;
/// The names that its DHCP clients give the option: 114 (RFC 8910) is `default_url` to its own, and to dhclient what that calls it.
const OPTIONS: [&str; 6] = [
    "default_url",
    "captive_portal",
    "v4_captive_portal",
    "unknown_114",
    "v6_captive_portal",
    "dhcp6_captive_portal",
];

/// The address of the portal, or of its API, as NetworkManager knows it of an interface; `None` also where it does not run.
pub(super) fn portal(device: &str) -> Option<String> {
    let is_there = Path::new(RUNS).is_dir() && !device.starts_with('-');
    let program = is_there.then(|| find_program("nmcli")).flatten()?;
    portal_by(&program, device)
}

fn portal_by(program: &Path, device: &str) -> Option<String> {
    let program = program.display().to_string();
    let words = ["-t", "-e", "no", "-m", "multiline", "-f", "DHCP4,DHCP6", "device", "show", device];
    let run: Vec<String> = std::iter::once(program).chain(words.map(str::to_owned)).collect();
    let environment = &[("LC_ALL", "C")];
    let start = Start { environment, printed_max: PRINTED_MAX, without_rights: true, ..Start::default() };
    let clock = Clock::start();
    let mut child = Child::start(&run, start)
        .inspect_err(|error| tracing::debug!("portal: nmcli cannot be run: {error}"))
        .ok()?;
    match child.wait(clock, PATIENCE, || false) {
        Ending::Good => option(&String::from_utf8_lossy(child.printed())),
        ending => {
            tracing::debug!("portal: nmcli: {ending:?}");
            None
        }
    }
}

/// `DHCP4.OPTION[5]:default_url = https://login.example/api`
fn option(printed: &str) -> Option<String> {
    let value = |line: &str| {
        let (kind, option) = line.split_once(':')?;
        let (name, value) = option.split_once(" = ")?;
        let is_it = kind.starts_with("DHCP") && OPTIONS.contains(&name.trim());
        is_it.then(|| value.trim().trim_matches('"').to_owned()).filter(|value| !value.is_empty())
    };
    printed.lines().find_map(value)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// As nmcli 1.42 prints it.
    const PRINTED: &str = "DHCP4.OPTION[1]:broadcast_address = 192.168.50.255\nDHCP4.OPTION[2]:default_url = https://login.example/api?x=a:b\n\
                           DHCP4.OPTION[3]:dhcp_lease_time = 3600\nDHCP6.OPTION[1]:dhcp6_name_servers = fe80::1\n";

    #[test]
    fn the_option_is_read_from_what_nmcli_prints() {
        assert_eq!(option(PRINTED).as_deref(), Some("https://login.example/api?x=a:b"));
        assert_eq!(option(&PRINTED.replace("default_url", "wpad")), None);
        assert_eq!(option(&PRINTED.replace("https://login.example/api?x=a:b", "")), None);
        assert_eq!(option("GENERAL.DEVICE:default_url = x"), None);
        assert_eq!(option(""), None);
    }

    #[test]
    fn nmcli_is_asked_for_one_device_and_waited_for_a_while() {
        let directory = tempfile::tempdir().unwrap();
        // It is nobody who runs it.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let program = |script: &str| {
            let file = directory.path().join("nmcli");
            fs::write(directory.path().join("new"), format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(directory.path().join("new"), fs::Permissions::from_mode(0o755)).unwrap();
            fs::rename(directory.path().join("new"), &file).unwrap();
            std::thread::spawn(move || portal_by(&file, "wlan0")).join().unwrap()
        };
        let api = "DHCP4.OPTION[1]:default_url = https://a/";
        assert_eq!(
            program(&format!("[ \"${{10}}\" = wlan0 ] && echo '{api}'")).as_deref(),
            Some("https://a/")
        );
        assert_eq!(program(&format!("echo '{api}'; exit 8")), None);
        assert_eq!(program(&format!("echo '{api}'; exec sleep 60")), None);
    }
}
