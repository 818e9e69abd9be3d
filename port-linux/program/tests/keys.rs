//! The commands that make keys, and `mpt init -o` and `mpt check` with them, as the program does them.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Alice's keys, RFC 7748 section 6.1.
const PRIVATE: &str = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
const PUBLIC: &str = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";

fn mpt(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mpt"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    mpt(arguments).output().expect("the program can be run")
}

/// What a command that succeeds prints, and nothing is said besides.
fn answer(arguments: &[&str]) -> String {
    let output = run(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

/// What a command that fails says; what it finds wrong is the user's: exit code 2.
fn complaint(output: &Output) -> String {
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    String::from_utf8(output.stderr.clone()).expect("text")
}

fn pubkey(input: &[u8]) -> Output {
    let mut child = mpt(&["pubkey"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be run");
    // Who finds something wrong at the beginning may not read on.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    child.wait_with_output().expect("it ends")
}

fn shown(path: &Path) -> &str {
    path.to_str().expect("text")
}

#[test]
fn the_public_key_is_that_of_rfc_7748() {
    for input in [PRIVATE.to_owned(), format!("{PRIVATE}\n"), format!("{PRIVATE}\r\n")] {
        let output = pubkey(input.as_bytes());
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{PUBLIC}\n"));
    }
}

#[test]
fn what_is_no_private_key_has_no_public_one() {
    for (input, words) in [
        (b"".as_slice(), "it is empty"),
        (b"\n", "it is empty"),
        (&PRIVATE.as_bytes()[..43], "the `=` at the end is missing"),
        (&[0xff; 44], "it is not text"),
        (&[b'A'; 100_000], "too long"),
        (format!("{PRIVATE}\n{PRIVATE}\n").as_bytes(), "more than one line"),
    ] {
        let said = complaint(&pubkey(input));
        assert!(said.starts_with("mpt: standard input: ") && said.contains(words), "{said}");
        assert!(said.contains("; allowed: a key as `mpt genkey`"), "{said}");
    }
}

#[test]
fn keys_are_one_line_each_and_differ() {
    for command in ["genkey", "genpsk"] {
        let (one, other) = (answer(&[command]), answer(&[command]));
        assert_ne!(one, other);
        for key in [one, other] {
            assert!(key.len() == 45 && key.ends_with("=\n"), "{key}");
            assert!(pubkey(key.as_bytes()).status.success());
        }
    }
}

#[test]
fn a_key_file_is_its_owners_alone_and_is_never_written_over() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("home.key");
    let printed = answer(&["genkey", "-o", shown(&file)]);
    let key = fs::read(&file).expect("the key");
    assert_eq!(fs::metadata(&file).expect("metadata").mode() & 0o7777, 0o600);
    assert_eq!(answer(&["pubkey", shown(&file)]), printed);
    assert_eq!(pubkey(&key).stdout, printed.into_bytes(), "the public key is printed");
    let said = complaint(&run(&["pubkey", "/nonexistent/home.key"]));
    assert!(said.contains("/nonexistent/home.key: there is no such file"), "{said}");

    let shared = directory.path().join("home.psk");
    assert_eq!(answer(&["genpsk", "-o", shown(&shared)]), "");
    assert_eq!(fs::metadata(&shared).expect("metadata").mode() & 0o7777, 0o600);

    for command in ["genkey", "genpsk"] {
        let said = complaint(&run(&[command, "-o", shown(&file)]));
        assert!(said.contains("home.key is there already"), "{said}");
    }
    assert_eq!(fs::read(&file).expect("the key"), key);
    let nowhere = run(&["genkey", "-o", "/nonexistent/home.key"]);
    assert_eq!(nowhere.status.code(), Some(1));
}

#[test]
fn a_secret_that_goes_into_a_file_for_everybody_is_warned_of() {
    let directory = tempfile::tempdir().expect("a directory");
    for (mode, warns) in [(0o644, true), (0o640, true), (0o600, false)] {
        let path = directory.path().join(format!("{mode:o}"));
        let file = File::create(&path).expect("a file");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("its mode");
        let output = mpt(&["genkey"]).stdout(file).stderr(Stdio::piped()).output().expect("it runs");
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(said.contains("a file that others can read"), warns, "{mode:o}: {said}");
        assert_eq!(fs::metadata(&path).expect("metadata").len(), 45);
    }
}

#[test]
fn a_configuration_with_keys_is_checked_with_its_files_and_shows_no_secret() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    let ours = answer(&["genkey", "-o", shown(&at("home.key"))]);
    answer(&["genpsk", "-o", shown(&at("home.psk"))]);
    let text = format!(
        "security.private_key_file = \"home.key\"\ntunnel.address = [\"10.0.0.1/24\"]\n[[connection]]\nname = \"office\"\n\
         peer = [\"10.0.0.2\"]\npublic_key = \"{PUBLIC}\"\npreshared_key_file = \"home.psk\"\n[[connection.path]]\n\
         name = \"dsl\"\nlocal = \"192.168.1.2\"\nremote = \"1.2.3.4\"\n"
    );
    let file = at("home.toml");
    fs::write(&file, &text).expect("written");
    // Warnings of what of this host is in the way do not matter here.
    let checked = run(&["check", shown(&file)]);
    assert!(checked.status.success(), "{checked:?}");
    assert!(
        String::from_utf8_lossy(&checked.stderr).lines().all(|line| line.starts_with("warning: ")),
        "{checked:?}"
    );
    let summary = String::from_utf8(checked.stdout).expect("text");
    assert!(summary.contains(&format!("encrypted: our public key is {ours}")), "{summary}");
    assert!(summary.contains(&format!("public key {PUBLIC}, and a pre-shared key")), "{summary}");
    assert!(summary.contains("1.2.3.4 port 4754 at first"), "{summary}");
    for name in ["home.key", "home.psk"] {
        let secret = fs::read_to_string(at(name)).expect("the key");
        assert!(!summary.contains(secret.trim_end()), "{summary}");
    }

    fs::set_permissions(at("home.psk"), Permissions::from_mode(0o640)).expect("its mode");
    let said = complaint(&run(&["check", shown(&file)]));
    let command = format!("chmod 600 {}\n", shown(&at("home.psk")));
    assert!(said.contains(":7: connection.preshared_key_file = ") && said.contains(&command), "{said}");

    fs::write(&file, text.replace("security.private_key_file = \"home.key\"", "")).expect("written");
    assert!(complaint(&run(&["check", shown(&file)])).contains("without [security]"));
}

#[test]
fn help_shows_what_belongs_into_the_configuration() {
    for (command, words) in [
        ("genkey", "private_key_file = "),
        ("pubkey", "mpt pubkey < home.key"),
        ("genpsk", "preshared_key_file = "),
        ("init", "-o /etc/mpt/home.toml"),
    ] {
        assert!(answer(&[command, "--help"]).contains(words), "{command}");
    }
}
