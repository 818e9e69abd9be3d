//! Recordings of real tunnels that were made into tests by `mpt replay FILE --test port-linux/tests/recordings/NAME`: what the
//! present core makes of each is what stands beside it. `MPT_BLESS=1` takes a change over.

use std::fs;
use std::path::Path;

use port_linux::replay::outcome;

#[test]
fn the_core_makes_of_each_recording_what_stands_beside_it() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let is_recording = |file: &std::path::PathBuf| file.extension().is_some_and(|ending| ending == "mptrec");
    let entries = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    let mut recordings: Vec<_> = entries.filter(is_recording).collect();
    recordings.sort();
    assert!(!recordings.is_empty(), "{}", directory.display());
    let mut others = Vec::new();
    for recording in recordings {
        let bytes = fs::read(&recording).unwrap();
        let outcome =
            outcome(&bytes[..]).unwrap_or_else(|error| panic!("{}: {error:#}", recording.display()));
        let beside = recording.with_extension("txt");
        if std::env::var_os("MPT_BLESS").is_some_and(|value| value == "1") {
            fs::write(&beside, outcome).unwrap();
        } else if fs::read_to_string(&beside).unwrap_or_default() != outcome {
            others.push(format!("{}:\n{outcome}", beside.display()));
        }
    }
    assert!(others.is_empty(), "MPT_BLESS=1 takes these over:\n{}", others.join("\n"));
}
