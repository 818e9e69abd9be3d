//! Files that say how the tunnel is encrypted, or do not.

use std::path::Path;

use mpt_proto::Liveness;
use mpt_seal::PresharedKey;

use super::{CONNECTION, MINIMAL, PATH, instead, parse, refuse, with};
use crate::ciphers::NativeCiphers;
use crate::config::{Config, ConfigError};
use crate::keys::{self, KeyBytes, encode};

/// The public keys of Alice and Bob, RFC 7748 section 6.1.
const ALICE: &str = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";
const BOB: &str = "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=";

/// Alice's private key.
const ALICE_SECRET: [u8; 32] = [
    0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1, 0x72, 0x51, 0xb2, 0x66, 0x45, 0xdf,
    0x4c, 0x2f, 0x87, 0xeb, 0xc0, 0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5, 0x1d, 0xb9, 0x2c, 0x2a,
];

/// A directory with Alice's key, `home.key`, and a pre-shared one, `home.psk`.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    keys::create(&directory.path().join("home.key"), &KeyBytes::new(ALICE_SECRET)).expect("a key file");
    keys::create(&directory.path().join("home.psk"), &KeyBytes::new([7; 32])).expect("a key file");
    directory
}

fn parse_in(directory: &Path, text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, &directory.join("mpt.toml").display().to_string())
}

/// `MINIMAL` with keys, and lines in its connection.
fn sealed(lines: &str) -> String {
    with(CONNECTION, &format!("public_key = \"{BOB}\"\n{lines}"))
        .replace("security = \"none\"", "security.private_key_file = \"home.key\"")
}

fn refuse_sealed(text: &str) -> String {
    let directory = directory();
    let error = parse_in(directory.path(), text).expect_err("a mistake").to_string();
    error.replace(&format!("{}/", directory.path().display()), "")
}

#[test]
fn with_keys_a_configuration_has_ours_and_the_peers() {
    let directory = directory();
    let config =
        parse_in(directory.path(), &sealed("preshared_key_file = \"home.psk\"")).expect("a good file");
    let own = config.security.as_ref().expect("keys").private_key.public();
    assert_eq!(encode(own.as_bytes()).as_str(), ALICE);
    let peer = config.connections[0].keys.as_ref().expect("keys");
    assert_eq!(encode(peer.public.as_bytes()).as_str(), BOB);
    assert!(peer.preshared == PresharedKey::from_bytes([7; 32]));
    assert!(config.warnings().is_empty(), "{:?}", config.warnings());

    let without = parse_in(directory.path(), &sealed("")).expect("a good file");
    assert!(without.connections[0].keys.as_ref().expect("keys").preshared == PresharedKey::NONE);
    assert_ne!(config, without);
    assert!(parse(MINIMAL).security.is_none() && parse(MINIMAL).connections[0].keys.is_none());
}

#[test]
fn a_cipher_is_chosen_by_both_ends_unless_the_file_says_chacha() {
    let directory = directory();
    let with =
        |line: &str| sealed("").replace("\"home.key\"", &format!("\"home.key\"\nsecurity.cipher = {line}"));
    let offered = |text: &str| {
        let config = parse_in(directory.path(), text).expect("a good file");
        config.security.expect("keys").ciphers
    };
    assert_eq!(offered(&with("\"auto\"")), offered(&sealed("")));
    assert_eq!(offered(&with("\"chacha20-poly1305\"")), NativeCiphers::only_chacha());
    let error = refuse_sealed(&with("\"rot13\""));
    assert!(error.contains("unknown cipher") && error.contains("chacha20-poly1305"), "{error}");
}

#[test]
fn nothing_that_is_printed_for_debugging_has_a_secret_in_it() {
    let directory = directory();
    let config =
        parse_in(directory.path(), &sealed("preshared_key_file = \"home.psk\"")).expect("a good file");
    let shown = format!("{config:?}");
    let hex: String = ALICE_SECRET[..6].iter().map(|byte| format!("{byte:02x}")).collect();
    for secret in ["119, 7, 109, 10", &hex, "7, 7, 7, 7", "0707", &encode(&ALICE_SECRET).as_str()[..12]] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[test]
fn key_files_are_beside_the_configuration_or_where_an_absolute_name_says() {
    let directory = directory();
    let absolute = directory.path().join("home.key").display().to_string();
    let text = sealed("").replace("home.key", &absolute);
    let elsewhere = tempfile::tempdir().expect("a directory");
    assert!(parse_in(elsewhere.path(), &text).is_ok());
    assert!(parse_in(elsewhere.path(), &sealed("")).is_err());
}

#[test]
fn with_keys_paths_follow_their_peers_unless_they_are_told_not_to_or_cannot() {
    let directory = directory();
    let roaming =
        |text: &str| parse_in(directory.path(), text).expect("a good file").connections[0].paths[0].roaming;
    assert!(roaming(&sealed("")));
    assert!(!roaming(&format!("{}roaming = false\n", sealed(""))));
    assert!(!roaming(&sealed("liveness = \"off\"")));
    let config = parse_in(directory.path(), &sealed("liveness = \"off\"")).expect("a good file");
    assert_eq!(config.connections[0].paths[0].liveness, Liveness::Off);
}

#[test]
fn with_keys_two_connections_may_learn_their_peers_at_one_address() {
    let directory = directory();
    let second = format!(
        "[[connection]]\nname = \"c\"\npeer = [\"10.0.0.3\"]\npublic_key = \"{ALICE}\"\n[[connection.path]]\nname = \"x\"\n\
         local = \"172.16.1.10\"\nremote = \"0.0.0.0\"\n"
    );
    let text =
        sealed("").replace("172.16.1.20", "0.0.0.0") + &second.replace(ALICE, &BOB.replace("3p7b", "4p7b"));
    let config = parse_in(directory.path(), &text).expect("a good file");
    assert_eq!((config.connections.len(), config.warnings().len()), (2, 0));
}

#[test]
fn what_does_not_go_with_keys_is_refused_with_its_line() {
    let first_key = format!("connection.public_key = \"{BOB}\"");
    let second = |key: &str| {
        sealed("")
            + &format!(
                "[[connection]]\nname = \"c\"\npeer = [\"10.0.0.3\"]\n{key}\n[[connection.path]]\nname = \"x\"\n\
                 local = \"172.16.2.10\"\nremote = \"172.16.2.20\"\n"
            )
    };
    let cases = [
        (sealed("key = 7"), 9, "connection.key = 7: with [security]", "no `key`"),
        (sealed("checksum = true"), 9, "connection.checksum = true: with [security]", "false"),
        (sealed("sequence = false"), 9, "connection.sequence = false: with [security]", "true"),
        (second(""), 15, "connection: the peer's `public_key` is missing", "public_key = \"..\""),
        (
            second(&format!("public_key = \"{BOB}\"")),
            18,
            &format!("{first_key}: the connection with the key in line 8 has this peer already"),
            "once in the file",
        ),
        (
            sealed("").replace(BOB, ALICE),
            8,
            &format!("connection.public_key = \"{ALICE}\": this is our own public key"),
            "prints there",
        ),
        (
            sealed("").replace(BOB, &BOB[..43]),
            8,
            &format!("connection.public_key = \"{}\": the `=` at the end is missing", &BOB[..43]),
            "43 characters of base64",
        ),
        (sealed("").replace(BOB, ""), 8, "connection.public_key = \"\": empty", "43 characters of base64"),
        (
            sealed("").replace(BOB, &BOB.replace('+', "-")),
            8,
            "connection.public_key = ",
            "43 characters of base64",
        ),
        (
            sealed("preshared_key_file = \"\""),
            9,
            "connection.preshared_key_file = \"\": empty",
            "name of a file",
        ),
        (
            sealed("preshared_key_file = \"none.psk\""),
            9,
            "connection.preshared_key_file = \"none.psk\": there is no such file",
            "mpt genpsk -o",
        ),
        (
            sealed("").replace("home.key", "other.key"),
            1,
            "security.private_key_file = \"other.key\": there is no such file",
            "mpt genkey -o",
        ),
        (
            sealed("").replace("home.key", "."),
            1,
            "security.private_key_file = \".\": a directory",
            "a file with a key",
        ),
        (
            sealed("").replace("security.private_key_file = \"home.key\"", "[security]"),
            1,
            "security.private_key_file: missing",
            "private_key_file = \"/etc/mpt/mpt.key\"",
        ),
        (
            sealed("").replace("_file = \"home", "_fil = \"home"),
            1,
            "security.private_key_fil = \"home.key\": unknown key, did you mean `private_key_file`?",
            "private_key_file",
        ),
    ];
    for (text, line, what, allowed) in cases {
        let message = refuse_sealed(&text);
        let (said, may) = message.split_once("; allowed: ").expect("what is allowed");
        assert!(
            said.starts_with(&format!("mpt.toml:{line}: {what}")),
            "{message}\n  instead of {line}: {what}"
        );
        assert!(may.contains(allowed), "{message}");
    }
    let caret = refuse_sealed(&sealed("key = 7"));
    assert_eq!(caret.lines().nth(2), Some("   |       ^"), "{caret}");
}

#[test]
fn what_others_may_read_is_refused_with_the_command_that_ends_it() {
    use std::os::unix::fs::PermissionsExt;
    let directory = directory();
    let key = directory.path().join("home.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("its mode");
    let error = parse_in(directory.path(), &sealed("")).expect_err("open to others").to_string();
    let first = error.lines().next().expect("a line");
    assert!(first.contains("mpt.toml:1: security.private_key_file = \"home.key\": others"), "{error}");
    assert!(first.ends_with(&format!("chmod 600 {}", key.display())), "{error}");
}

#[test]
fn keys_without_security_are_refused() {
    for (lines, key) in [
        (format!("public_key = \"{BOB}\""), "public_key"),
        ("preshared_key_file = \"home.psk\"".to_owned(), "preshared_key_file"),
    ] {
        for text in
            [with(CONNECTION, &lines), with(CONNECTION, &lines).replacen("security = \"none\"", "", 1)]
        {
            let message = refuse(&text);
            assert!(message.starts_with(&format!("mpt.toml:8: connection.{key} = ")), "{message}");
            assert!(
                message.contains("nothing is encrypted; allowed: [security] with private_key_file"),
                "{message}"
            );
        }
    }
}

#[test]
fn a_secret_in_the_configuration_is_refused_and_not_repeated() {
    let secret = encode(&ALICE_SECRET);
    let own = sealed("").replace("private_key_file = \"home.key\"", &format!("private_key = \"{secret}\""));
    let shared = sealed(&format!("preshared_key = \"{secret}\""));
    for (text, line, key) in [(own, 1, "private_key"), (shared, 9, "preshared_key")] {
        let message = refuse_sealed(&text);
        assert!(
            message.starts_with(&format!("mpt.toml:{line}: {key}: a secret does not belong")),
            "{message}"
        );
        assert!(message.contains(&format!("; allowed: {key}_file = ")), "{message}");
        assert!(!message.contains(secret.as_str()), "{message}");
    }
}

#[test]
fn a_secret_where_a_files_name_or_the_peers_key_belongs_is_not_repeated_either() {
    let (secret, shared) = (encode(&ALICE_SECRET), encode(&[7; 32]));
    let instead_of_file = sealed("").replace("home.key", secret.as_str());
    let as_peer = sealed("").replace(BOB, secret.as_str());
    let shared_as_peer = sealed("preshared_key_file = \"home.psk\"").replace(BOB, shared.as_str());
    let shared_instead = sealed(&format!("preshared_key_file = \"{secret}\""));
    for (text, key, file) in [
        (instead_of_file, "security.private_key_file", "private_key_file"),
        (as_peer, "connection.public_key", "private_key_file"),
        (shared_as_peer, "connection.public_key", "preshared_key_file"),
        (shared_instead, "connection.preshared_key_file", "preshared_key_file"),
    ] {
        let message = refuse_sealed(&text);
        assert!(message.contains(&format!("{key}: a secret does not belong")), "{message}");
        assert!(message.contains(&format!("; allowed: {file} = ")), "{message}");
        assert!(!message.contains(secret.as_str()) && !message.contains(shared.as_str()), "{message}");
    }
}

#[test]
fn the_word_of_security_is_none_and_stands_above_the_tables() {
    for (text, line, what, allowed) in [
        (
            instead("\"none\"", "\"some\""),
            1,
            "security = \"some\": unknown word",
            "\"none\" or a table [security]",
        ),
        (instead("\"none\"", "false"), 1, "security = false: wrong type", "\"none\" or a table [security]"),
        (
            format!("{}security = \"none\"\n", instead("security = \"none\"", "")),
            13,
            "connection.path.security = \"none\": unknown key in this table: it stands above the first one",
            "name, local",
        ),
    ] {
        let message = refuse(&text);
        let (said, may) = message.split_once("; allowed: ").expect("what is allowed");
        assert_eq!(said, format!("mpt.toml:{line}: {what}"));
        assert!(may.contains(allowed), "{message}");
    }
}

/// `MINIMAL` without a word about security, to this peer.
fn unsaid(remote: &str) -> String {
    instead("security = \"none\"", "").replace("172.16.1.20", remote)
}

#[test]
fn a_peer_in_the_internet_needs_a_choice_and_is_shown_two() {
    for (text, line, what) in [
        (unsaid("1.2.3.4"), 12, "connection.path.remote = \"1.2.3.4\": a public address"),
        (unsaid("0.0.0.0"), 12, "connection.path.remote = \"0.0.0.0\": a peer that may be anywhere"),
        (
            unsaid("2a00::1").replace("172.16.1.10", "2a00::2"),
            12,
            "connection.path.remote = \"2a00::1\": a public address",
        ),
    ] {
        let message = refuse(&text);
        assert!(message.starts_with(&format!("mpt.toml:{line}: {what}")), "{message}");
        assert!(message.contains("; allowed: one of the two below\n"), "{message}");
        for way in
            ["[security]", "private_key_file = ", "mpt genkey -o", "public_key = ", "\n  security = \"none\""]
        {
            assert!(message.contains(way), "{way} in {message}");
        }
    }
}

#[test]
fn the_first_public_address_is_named_before_an_open_one() {
    let text = unsaid("0.0.0.0")
        + "[[connection.path]]\nname = \"b\"\nlocal = \"172.16.2.10\"\nremote = \"1.2.3.4\"\n[[connection.path]]\nname = \
           \"c\"\nlocal = \"172.16.3.10\"\nremote = \"1.2.3.5\"\n";
    assert!(refuse(&text).starts_with("mpt.toml:16: connection.path.remote = \"1.2.3.4\""));
}

#[test]
fn a_peer_in_a_network_of_ones_own_needs_no_choice_yet_but_is_warned_of() {
    for remote in ["172.16.1.20", "127.0.0.2", "198.51.100.7"] {
        let config = parse(&unsaid(remote));
        let [warning] = config.warnings() else { panic!("one warning, not {:?}", config.warnings()) };
        assert!(warning.starts_with("mpt.toml: packets travel in the clear"), "{warning}");
        assert!(warning.contains("security = \"none\" in the first line"), "{warning}");
    }
}

#[test]
fn a_choice_of_none_is_warned_of_where_the_peer_is_public() {
    let config = parse(&instead("172.16.1.20", "1.2.3.4"));
    let [warning] = config.warnings() else { panic!("one warning, not {:?}", config.warnings()) };
    assert!(
        warning.starts_with("mpt.toml:1: security = \"none\": packets to the public address in line 12"),
        "{warning}"
    );
    assert!(parse(&instead("172.16.1.20", "0.0.0.0")).warnings().is_empty());
}

#[test]
fn with_keys_a_public_peer_is_nothing_to_be_warned_of() {
    let directory = directory();
    for remote in ["1.2.3.4", "0.0.0.0"] {
        let config =
            parse_in(directory.path(), &sealed("").replace("172.16.1.20", remote)).expect("a good file");
        assert!(config.warnings().is_empty(), "{:?}", config.warnings());
    }
}

#[test]
fn what_is_only_for_one_path_of_a_connection_stays_so_with_keys() {
    let directory = directory();
    let text = sealed("").replacen(PATH, "weight = 3\nremote =", 1);
    assert_eq!(parse_in(directory.path(), &text).expect("a good file").connections[0].paths[0].weight, 3);
}
