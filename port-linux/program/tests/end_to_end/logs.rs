//! The form of log lines, by who reads them.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

/// `mpt run` with a file that is not there, which writes into `log`.
fn complaint(arguments: &[&str], log: &Path, environment: &[(&str, String)]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mpt"));
    command.args(arguments).args(["run", "-c", "/nonexistent/mpt.toml"]).envs(environment.iter().cloned());
    let status = command.stderr(File::options().append(true).open(log).expect("the log")).status();
    assert_eq!(status.expect("mpt").code(), Some(2));
    fs::read_to_string(log).expect("the log")
}

#[test]
fn log_lines_have_the_form_of_who_reads_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let log = |name: &str| {
        let path = directory.path().join(name);
        fs::write(&path, "").expect("a file");
        path
    };
    let text = complaint(&[], &log("text"), &[("JOURNAL_STREAM", "1:2".into())]);
    assert!(text.starts_with("mpt: /nonexistent/mpt.toml: cannot be read"), "{text}");

    let json = complaint(&["--log", "json"], &log("json"), &[]);
    assert_eq!(json.lines().count(), 1, "{json}");
    assert!(json.starts_with("{\"level\":\"error\",\"message\":\"/nonexistent/mpt.toml: cannot"), "{json}");

    let journal = log("journal");
    let file = fs::metadata(&journal).expect("a file");
    let stream = ("JOURNAL_STREAM", format!("{}:{}", file.dev(), file.ino()));
    let text = complaint(&[], &journal, &[stream]);
    assert!(text.starts_with("<3>/nonexistent/mpt.toml: cannot be read"), "{text}");
}
