//! An app's configuration: the program's TOML, in which a path's `device` is the network it takes, `remote` may be
//! a name that the app looks up, and files with keys are in a folder of the app's.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::ops::Range;
use std::path::Path as File;

use anyhow::{Context, Result, anyhow, bail};
use port_linux::config::{Config, Path};
use port_linux::routes::kernel_routes;
use serde::Deserialize;
use toml::Spanned;

use crate::keys;
use crate::networks::NETWORKS;

/// The tunnel's MTU for `mtu = "auto"`: what IPv6 asks for at least (RFC 8200 section 5), because nobody tells an app
/// how narrow a mobile network behind its interface is.
const MTU: u16 = 1280;

/// What the errors call the text.
const NAME: &str = "configuration";

/// The key of a connection that holds a pre-shared key while a configuration is on its way to the phone, and the one that names a file.
const SECRET: &str = "preshared_key";
const SECRET_FILE: &str = "preshared_key_file";

/// Only these tables and keys, whatever else there is.
#[derive(Deserialize)]
struct Outline {
    #[serde(default)]
    connection: Vec<ConnectionOutline>,
}

#[derive(Deserialize)]
struct ConnectionOutline {
    preshared_key: Option<Spanned<String>>,
    #[serde(default)]
    path: Vec<PathOutline>,
}

#[derive(Deserialize)]
struct PathOutline {
    local: Option<String>,
    remote: Option<Spanned<String>>,
}

/// A `remote` that is a name.
struct Named {
    name: String,
    /// Where it stands in the text, with its quotation marks.
    at: Range<usize>,
    is_ipv6: bool,
}

/// The connections of a text. A text that cannot be read has none: what is wrong with it is said when it is parsed.
fn connections(text: &str) -> Vec<ConnectionOutline> {
    toml::from_str(text).map_or_else(|_| Vec::new(), |outline: Outline| outline.connection)
}

/// The names in a text.
fn names(text: &str) -> Vec<Named> {
    let paths = connections(text).into_iter().flat_map(|connection| connection.path);
    let named = |path: PathOutline| {
        let remote = path.remote?;
        let is_ipv6 = path.local.is_some_and(|local| local.contains(':'));
        let at = remote.span();
        let name = remote.into_inner();
        is_host_name(&name).then_some(Named { name, at, is_ipv6 })
    };
    paths.filter_map(named).collect()
}

/// Letters, digits, hyphens and dots, and not meant to be an IPv4 address.
fn is_host_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let mut labels = text.split('.');
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_number =
        text.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    labels.all(is_label) && !is_number && text.len() <= 253
}

/// The names that the app has to look up, each once, with whether an IPv6 address is wanted.
pub fn host_names(text: &str) -> Vec<(String, bool)> {
    let names: BTreeMap<_, _> =
        names(text).into_iter().map(|named| ((named.name, named.is_ipv6), ())).collect();
    names.into_keys().collect()
}

/// Reads a configuration; names stand for the addresses in `hosts`, by name. Files with keys are in the folder `files`, where the
/// phone's own is made if the configuration names it and it is not there yet.
///
/// # Errors
/// What is wrong with it, or that a name has no address of the wanted kind, as a sentence.
pub fn parse(text: &str, hosts: &[(String, IpAddr)], files: &File) -> Result<Config> {
    let mut resolved = text.to_owned();
    for Named { name, at, is_ipv6 } in names(text).into_iter().rev() {
        let fits = |(host, address): &&(String, IpAddr)| *host == name && address.is_ipv6() == is_ipv6;
        let Some((_, address)) = hosts.iter().find(fits) else {
            let kind = if is_ipv6 { "IPv6" } else { "IPv4" };
            bail!("the server name {name} has no {kind} address");
        };
        resolved.replace_range(at, &format!("\"{address}\""));
    }
    if text.contains(keys::PRIVATE) {
        keys::make_private(files)?;
    }
    // Key files are looked for beside the configuration.
    let name = files.join(NAME).display().to_string();
    let mut config = Config::parse(&resolved, &name)
        .map_err(|error| anyhow!(without_folder(&error.to_string(), files)))?;
    for connection in &config.connections {
        for path in &connection.paths {
            check(path)?;
        }
    }
    config.tunnel.mtu.get_or_insert(MTU);
    Ok(config)
}

/// A sentence without the name of the app's folder, which says nothing to people.
fn without_folder(sentence: &str, files: &File) -> String {
    match files.to_str().filter(|folder| !folder.is_empty()) {
        Some(folder) => sentence.replace(&format!("{folder}/"), ""),
        None => sentence.to_owned(),
    }
}

/// The text of a configuration that is to be kept and shown: pre-shared keys that stand in it, as `preshared_key = "..."` of a
/// connection, are moved to files, which the text names.
///
/// # Errors
/// What is wrong with the configuration, as a sentence; then no key that was there has changed.
pub fn imported(text: &str, files: &File) -> Result<String> {
    let numbered = (1..).zip(connections(text));
    let mut secrets: Vec<(u32, Spanned<String>)> =
        numbered.filter_map(|(number, connection)| Some((number, connection.preshared_key?))).collect();
    secrets.sort_by_key(|(_, secret)| secret.span().start);
    let name = |number: &u32, end: &str| format!("preshared-{number}.key{end}");
    let moved = |end: &str| {
        let mut moved = text.to_owned();
        for (number, secret) in secrets.iter().rev() {
            let at = secret.span();
            // Before the value stands its key.
            let key = text[..at.start].rfind(SECRET).map(|start| start..start + SECRET.len());
            moved.replace_range(at, &format!("\"{}\"", name(number, end)));
            if let Some(key) = key {
                moved.replace_range(key, SECRET_FILE);
            }
        }
        moved
    };
    for (number, secret) in &secrets {
        keys::write(files, &name(number, NEW), secret.get_ref())?;
    }
    let checked = facts(&moved(NEW), files);
    for (number, _) in &secrets {
        let new = files.join(name(number, NEW));
        if checked.is_ok() {
            fs::rename(new, files.join(name(number, ""))).context("the pre-shared key cannot be kept")?;
        } else {
            fs::remove_file(new).context("the pre-shared key cannot be removed")?;
        }
    }
    checked.map(|_| moved("")).map_err(|error| anyhow!(format!("{error:#}").replace(NEW, "")))
}

/// What the name of a file with a pre-shared key ends with until the configuration is known to be good.
const NEW: &str = ".new";

fn check(path: &Path) -> Result<()> {
    let allowed = NETWORKS.map(|name| format!("\"{name}\"")).join(", ");
    match &path.device {
        Some(device) if NETWORKS.contains(&device.as_str()) => Ok(()),
        Some(device) => {
            bail!("path {}: device = \"{device}\" is no network of a phone; allowed: {allowed}", path.name)
        }
        None => bail!("path {}: the key device is missing, the network that it takes: {allowed}", path.name),
    }
}

/// What the app has to know about a configuration before there is a tunnel: one fact a line, its name, a tab, its
/// value. `mtu`, `address`, `route`, `host` (a name to be looked up), `host6` (for an IPv6 address), `network` (one
/// that a path takes), `warning`. `files` as for [`parse`].
///
/// # Errors
/// What is wrong with the configuration, as a sentence.
pub fn facts(text: &str, files: &File) -> Result<String> {
    let hosts = host_names(text);
    // Addresses for documentation (RFC 5737, RFC 3849) stand in for those of the names.
    let stand_in = |is_ipv6: bool| {
        if is_ipv6 { IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]) } else { IpAddr::from([192, 0, 2, 1]) }
    };
    let stand_ins: Vec<_> = hosts.iter().map(|(name, is_ipv6)| (name.clone(), stand_in(*is_ipv6))).collect();
    let config = parse(text, &stand_ins, files)?;
    let mut lines = String::new();
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        // Writing to a string does not fail.
        let _ = writeln!(lines, "{name}\t{value}");
    };
    line("mtu", &config.tunnel.mtu.unwrap_or(MTU));
    for address in &config.tunnel.addresses {
        line("address", address);
        line("route", &address.trunc());
    }
    for route in kernel_routes(&config.tunnel.addresses, &config.connections) {
        line("route", &route);
    }
    for (name, is_ipv6) in &hosts {
        line(if *is_ipv6 { "host6" } else { "host" }, name);
    }
    let paths = || config.connections.iter().flat_map(|connection| &connection.paths);
    for network in NETWORKS {
        if paths().any(|path| path.device.as_deref() == Some(network)) {
            line("network", &network);
        }
    }
    for warning in config.warnings() {
        line("warning", &without_folder(warning, files));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"security = "none"
tunnel.address = ["10.0.0.1/24"]

[[connection]]
name = "home"
peer = ["10.0.0.2"]
network = [{ to = "0.0.0.0/0" }]

[[connection.path]]
name = "wifi"
device = "wifi"
local = "0.0.0.0"
remote = "vpn.example.org" # looked up

[[connection.path]]
name = "cellular"
device = "cellular"
local = "::"
remote = "vpn.example.org"
"#;

    fn addresses(hosts: &[&str]) -> Vec<(String, IpAddr)> {
        hosts.iter().map(|address| ("vpn.example.org".into(), address.parse().unwrap())).collect()
    }

    /// In the clear no file is looked for.
    const NOWHERE: &str = "/nowhere";

    fn refusal(text: &str) -> String {
        format!("{:#}", facts(text, File::new(NOWHERE)).unwrap_err())
    }

    #[test]
    fn a_servers_name_stands_for_its_address_of_the_paths_kind() {
        let wanted = [("vpn.example.org".to_owned(), false), ("vpn.example.org".to_owned(), true)];
        assert_eq!(host_names(TEXT), wanted);
        let config = parse(TEXT, &addresses(&["2001:db8::7", "198.51.100.7"]), File::new(NOWHERE)).unwrap();
        let remotes: Vec<String> =
            config.connections[0].paths.iter().map(|path| path.remote.to_string()).collect();
        assert_eq!(remotes, ["198.51.100.7", "2001:db8::7"]);
        assert_eq!(config.tunnel.mtu, Some(1280), "auto is small here");
    }

    #[test]
    fn a_name_without_an_address_of_the_wanted_kind_is_an_error() {
        let error = parse(TEXT, &addresses(&["198.51.100.7"]), File::new(NOWHERE)).unwrap_err().to_string();
        assert_eq!(error, "the server name vpn.example.org has no IPv6 address");
    }

    #[test]
    fn facts_name_what_the_app_sets_up() {
        let lines = facts(TEXT, File::new(NOWHERE)).unwrap();
        let expected = "mtu\t1280\naddress\t10.0.0.1/24\nroute\t10.0.0.0/24\nroute\t0.0.0.0/0\n\
                        host\tvpn.example.org\nhost6\tvpn.example.org\nnetwork\twifi\nnetwork\tcellular\n";
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_is_wrong_is_said_with_line_and_key_as_the_program_says_it() {
        let error = refusal(&TEXT.replace("name = \"home\"", "name = \"home\"\nweight = 3"));
        assert!(error.starts_with("configuration:6: connection.weight"), "{error}");
        assert!(refusal("").contains("tunnel"), "{}", refusal(""));
        assert!(refusal("[[[").starts_with("configuration:1"), "{}", refusal("[[["));
    }

    #[test]
    fn a_path_takes_a_network_of_a_phone() {
        let error = refusal(&TEXT.replace("device = \"wifi\"", "device = \"eth0\""));
        let allowed = "\"wifi\", \"cellular\", \"ethernet\"";
        assert_eq!(
            error,
            format!("path wifi: device = \"eth0\" is no network of a phone; allowed: {allowed}")
        );
        let error = refusal(&TEXT.replace("device = \"wifi\"\nlocal = \"0.0.0.0\"", "local = \"10.1.1.1\""));
        assert_eq!(
            error,
            format!("path wifi: the key device is missing, the network that it takes: {allowed}")
        );
    }

    /// Bob's public key, RFC 7748 section 6.1, as the server's, and a pre-shared key.
    const PUBLIC: &str = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=";
    const SECRET_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn sealed() -> String {
        let keys = format!("name = \"home\"\npublic_key = \"{PUBLIC}\"");
        TEXT.replace("security = \"none\"", "security.private_key_file = \"phone.key\"")
            .replace("name = \"home\"", &keys)
    }

    fn with_secret(key: &str) -> String {
        let line = format!("peer = [\"10.0.0.2\"] # preshared_key\npreshared_key = \"{key}\" # of us both");
        sealed().replace("peer = [\"10.0.0.2\"]", &line)
    }

    #[test]
    fn the_phones_key_is_made_when_a_configuration_names_it_first() {
        let folder = tempfile::tempdir().unwrap();
        let config = parse(&sealed(), &addresses(&["2001:db8::7", "198.51.100.7"]), folder.path()).unwrap();
        let public = config.security.unwrap().private_key.public();
        assert_eq!(
            port_linux::keys::encode(public.as_bytes()).as_str(),
            keys::public_key(folder.path()).unwrap()
        );
        assert!(config.connections[0].keys.is_some());
        assert_eq!(imported(&sealed(), folder.path()).unwrap(), sealed(), "there is nothing to be moved");
    }

    #[test]
    fn a_preshared_key_moves_from_the_text_to_a_file_of_the_apps() {
        let folder = tempfile::tempdir().unwrap();
        let kept = imported(&with_secret(SECRET_KEY), folder.path()).unwrap();
        assert!(
            kept.contains("# preshared_key\npreshared_key_file = \"preshared-1.key\" # of us both"),
            "{kept}"
        );
        assert!(!kept.contains(SECRET_KEY));
        assert_eq!(imported(&kept, folder.path()).unwrap(), kept);
        let file = folder.path().join("preshared-1.key");
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("{SECRET_KEY}\n"));
        assert!(facts(&kept, folder.path()).is_ok());

        // What is wrong with another text leaves it as it is.
        let wrong = imported(&with_secret(&SECRET_KEY[4..]), folder.path()).unwrap_err().to_string();
        assert!(
            wrong.starts_with(
                "configuration:8: connection.preshared_key_file = \"preshared-1.key\": it has no key: "
            ),
            "{wrong}"
        );
        let elsewhere = with_secret(PUBLIC).replace("\"wifi\"\nlocal", "\"eth0\"\nlocal");
        assert!(imported(&elsewhere, folder.path()).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("{SECRET_KEY}\n"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "the phone's key and this one");
    }

    #[test]
    fn a_secret_that_was_not_moved_is_refused_and_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let error = format!("{:#}", facts(&with_secret(SECRET_KEY), folder.path()).unwrap_err());
        assert!(error.starts_with("configuration:8: ") && !error.contains(SECRET_KEY), "{error}");
    }

    #[test]
    fn what_is_wrong_with_keys_is_said_without_the_names_of_folders() {
        let folder = tempfile::tempdir().unwrap();
        let refusal = |text: &str| format!("{:#}", facts(text, folder.path()).unwrap_err());
        let other = refusal(&sealed().replace("phone.key", "other.key"));
        assert!(
            other.starts_with(
                "configuration:1: security.private_key_file = \"other.key\": there is no such file"
            ),
            "{other}"
        );
        let none = refusal(&sealed().replace("public_key", "#"));
        assert!(none.starts_with("configuration:4: "), "{none}");
        assert!(![other, none].iter().any(|error| error.contains(folder.path().to_str().unwrap())));
    }

    #[test]
    fn an_address_that_was_mistyped_is_not_looked_up() {
        for address in ["192.168.1.300", "10.0.0.0/8", "fe80:::1", "-", "", "a b"] {
            assert!(!is_host_name(address), "{address}");
        }
        for name in ["localhost", "vpn.example.org", "a-1.example", "xn--bcher-kva.example."] {
            assert!(is_host_name(name), "{name}");
        }
    }
}
