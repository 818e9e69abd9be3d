//! Links that come, go and change under a running `mpt`.

mod full_disk;
mod modem;
mod mpt;
mod path_mtu;
mod roaming;

use std::any::type_name;

use mpt_lab::namespace;

/// Runs a test's body inside namespaces of its own, if the programs that it needs are there. The test's name is that of
/// the closure.
fn test<F: FnOnce() -> anyhow::Result<()>>(tools: &[&str], body: F) {
    let name = type_name::<F>();
    let name = name.strip_suffix("::{{closure}}").expect("the body is a closure in the test's function");
    let (_, name) = name.split_once("::").expect("the crate's name comes first");
    let missing: Vec<&&str> = tools.iter().filter(|tool| !namespace::is_installed(tool)).collect();
    assert!(
        missing.is_empty() || std::env::var_os("MPT_REQUIRE_TOOLS").is_none(),
        "{name} needs {missing:?}"
    );
    if missing.is_empty() {
        namespace::test(name, body);
    } else {
        eprintln!("SKIPPED {name}: {missing:?} not installed");
    }
}
