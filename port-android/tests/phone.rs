//! The app's Java service, unchanged, in this machine's Java with small doubles of Android's classes: the host build of
//! the native library, a real tun device and two networks in a namespace, against the program in another.
//!
//! Needs a JDK (17 or later), Python 3 and nftables; without them the tests are skipped and say so, with
//! `MPT_REQUIRE_ANDROID=1` they fail. `MPT_ANDROID_CLASSES`, if not empty, names a folder with the service compiled against a real
//! android.jar; else it is compiled against the doubles.

use std::env;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use mpt_lab::host::run;
use mpt_lab::namespace;

/// Where the service's sources are, and the doubles'.
const SERVICE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/android/library/src/main/java");
const DOUBLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/phone/doubles");
const PHONE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/phone/phone.py");

/// Plays a scenario of `phone.py`, inside namespaces of its own.
fn play(test: &str, scenario: &str) {
    let missing =
        ["java", "javac", "python3", "nft", "ip", "ping"].map(|tool| (tool, namespace::is_installed(tool)));
    if let Some((tool, _)) = missing.iter().find(|(_, is_installed)| !is_installed) {
        assert!(env::var_os("MPT_REQUIRE_ANDROID").is_none(), "{test} needs {tool}");
        // Straight to the descriptor: the harness hides what macros print of a test that passes.
        let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {tool} is not installed");
        return;
    }
    namespace::test(test, || {
        let mut phone = Command::new("python3");
        phone.arg(PHONE).arg(scenario).arg(built("examples/peer")?).arg(libraries()?).arg(classes()?);
        let status = phone.status().context("python3")?;
        ensure!(status.success(), "{scenario}: {status}");
        Ok(())
    });
}

/// The folder that cargo builds into: this test lies in its `deps`.
fn target() -> Result<PathBuf> {
    let own = env::current_exe()?;
    Ok(own.parent().and_then(Path::parent).context("the target directory")?.to_path_buf())
}

fn built(name: &str) -> Result<PathBuf> {
    let path = target()?.join(name);
    ensure!(path.exists(), "{} is not built: run `cargo test -p port-android` whole", path.display());
    Ok(path)
}

/// Where the native library is.
fn libraries() -> Result<PathBuf> {
    let library = built("deps/libmpt_android.so").or_else(|_| built("libmpt_android.so"))?;
    Ok(library.parent().context("a folder")?.to_path_buf())
}

/// The compiled service and the doubles; tests that run at the same time compile for themselves.
fn classes() -> Result<&'static Path> {
    static CLASSES: OnceLock<PathBuf> = OnceLock::new();
    if let Some(classes) = CLASSES.get() {
        return Ok(classes);
    }
    let out = PathBuf::from("/run/classes");
    let sources = |folder: &str| -> Result<Vec<String>> {
        let found = run(Command::new("find").args([folder, "-name", "*.java"]))?;
        Ok(found.lines().map(str::to_owned).collect())
    };
    match env::var_os("MPT_ANDROID_CLASSES").filter(|folder| !folder.is_empty()) {
        // The class files that are in the app; the doubles are compiled against them.
        Some(given) => {
            std::fs::create_dir_all(&out)?;
            run(Command::new("cp").arg("-r").arg(Path::new(&given).join("io")).arg(&out))?;
            run(Command::new("javac").arg("-cp").arg(&out).arg("-d").arg(&out).args(sources(DOUBLES)?))?;
        }
        None => {
            let both = [sources(SERVICE)?, sources(DOUBLES)?].concat();
            run(Command::new("javac").arg("-d").arg(&out).args(both))?;
        }
    }
    Ok(CLASSES.get_or_init(|| out))
}

#[test]
fn traffic_flows_both_ways_over_both_networks_from_protected_sockets() {
    play("traffic_flows_both_ways_over_both_networks_from_protected_sockets", "traffic");
}

#[test]
fn a_server_finds_a_phone_whose_networks_translate_addresses() {
    play("a_server_finds_a_phone_whose_networks_translate_addresses", "translated");
}

#[test]
fn a_lost_network_stops_nothing_and_is_in_use_again_within_a_second_of_its_return() {
    play("a_lost_network_stops_nothing_and_is_in_use_again_within_a_second_of_its_return", "lost");
}

#[test]
fn a_backup_network_is_silent_until_it_is_needed_and_never_means_never() {
    play("a_backup_network_is_silent_until_it_is_needed_and_never_means_never", "cost");
}

#[test]
fn when_android_refuses_or_takes_back_what_it_gave_the_user_is_told_and_the_service_ends() {
    play("when_android_refuses_or_takes_back_what_it_gave_the_user_is_told_and_the_service_ends", "revoked");
}

#[test]
fn it_starts_again_by_hand_by_android_and_with_the_phone() {
    play("it_starts_again_by_hand_by_android_and_with_the_phone", "restarted");
}

#[test]
fn a_wrong_configuration_is_a_sentence_and_never_a_crash() {
    play("a_wrong_configuration_is_a_sentence_and_never_a_crash", "misconfigured");
}

#[test]
fn a_server_that_does_not_answer_is_waited_for() {
    play("a_server_that_does_not_answer_is_waited_for", "silent");
}

#[test]
fn a_name_that_does_not_resolve_and_a_missing_network_are_waited_for() {
    play("a_name_that_does_not_resolve_and_a_missing_network_are_waited_for", "unresolved");
}

#[test]
fn a_hundred_starts_and_stops_leave_no_descriptor_and_no_thread() {
    play("a_hundred_starts_and_stops_leave_no_descriptor_and_no_thread", "hundred");
}

#[test]
fn it_runs_on_the_oldest_android_that_it_is_for() {
    play("it_runs_on_the_oldest_android_that_it_is_for", "old");
}
