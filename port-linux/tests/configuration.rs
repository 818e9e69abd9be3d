//! The documents about the configuration file, held against what the program accepts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mpt_proto::{Liveness, Probing};
use port_linux::config::{Config, Connection};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn document() -> String {
    std::fs::read_to_string(repository().join("docs/configuration.md")).expect("docs/configuration.md")
}

/// The TOML examples of the document, each with the line it begins in.
fn toml_blocks(document: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in (1..).zip(document.lines()) {
        match (&mut open, line) {
            (None, "```toml" | "  ```toml") => open = Some((number + 1, String::new())),
            (Some(_), "```" | "  ```") => blocks.extend(open.take()),
            (Some((_, text)), line) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, _) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// A key file that nobody else may read, as `mpt genkey -o` makes it.
fn write_key(path: &Path) {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).expect("a file");
    let key = port_linux::keys::random_private().expect("a key");
    writeln!(file, "{}", port_linux::keys::encode(&key)).expect("written");
}

/// The keys that a table accepts, as the program itself lists them when it meets one it does not know.
fn accepted_keys(text_with_unknown_key: &str) -> BTreeSet<String> {
    let error = Config::parse(text_with_unknown_key, "probe.toml").expect_err("an unknown key").to_string();
    let first = error.lines().next().expect("a line");
    assert!(first.contains("= 1: unknown key; allowed: "), "{error}");
    let (_, keys) = first.rsplit_once("; allowed: ").expect("the allowed keys");
    keys.split(", ").map(str::to_owned).collect()
}

/// Key and default in the table of keys under a heading.
fn documented_keys(document: &str, heading: &str) -> BTreeMap<String, String> {
    let start = format!("\n## {heading}\n");
    let (_, section) = document.split_once(&start).unwrap_or_else(|| panic!("no heading {heading}"));
    let section = section.split("\n## ").next().expect("a section");
    let (_, rows) = section
        .split_once("| key | type | default | allowed | meaning |\n|---|---|---|---|---|\n")
        .unwrap_or_else(|| panic!("no table of keys under {heading}"));
    let mut keys = BTreeMap::new();
    for row in rows.lines().take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_start_matches("| ").trim_end_matches(" |").split(" | ").collect();
        let [key, kind, default, allowed, meaning] = cells.as_slice() else { panic!("{row}") };
        assert!([kind, default, allowed, meaning].iter().all(|cell| !cell.trim().is_empty()), "{row}");
        let before = keys.insert(key.trim_matches('`').to_owned(), default.trim_matches('`').to_owned());
        assert!(before.is_none(), "{key} stands twice under {heading}");
    }
    keys
}

#[test]
fn every_key_of_every_table_is_documented_and_nothing_else() {
    let base = "[tunnel]\naddress = [\"10.0.0.1/24\"]\n";
    let connection = format!("{base}[[connection]]\nname = \"c\"\npeer = [\"10.0.0.2\"]\n");
    let tables = [
        ("`[security]`", format!("{base}[security]\nzzzzzzzz = 1")),
        ("`[tunnel]`", format!("{base}zzzzzzzz = 1")),
        ("`[metrics]`", format!("{base}[metrics]\nzzzzzzzz = 1")),
        ("`[portal]`", format!("{base}[portal]\nzzzzzzzz = 1")),
        ("`[[forward]]`", format!("{base}[[forward]]\nzzzzzzzz = 1")),
        ("`[[hook]]`", format!("{base}[[hook]]\nzzzzzzzz = 1")),
        ("`[listen]`", format!("{base}[listen]\nzzzzzzzz = 1")),
        ("`[[connection]]`", format!("{connection}zzzzzzzz = 1")),
        ("`[connection.adaptive]`", format!("{connection}[connection.adaptive]\nzzzzzzzz = 1")),
        ("`[connection.reorder]`", format!("{connection}[connection.reorder]\nzzzzzzzz = 1")),
        ("`[[connection.network]]`", format!("{connection}[[connection.network]]\nzzzzzzzz = 1")),
        ("`[[connection.path]]`", format!("{connection}[[connection.path]]\nzzzzzzzz = 1")),
        ("`liveness`", format!("{connection}liveness = {{ zzzzzzzz = 1 }}")),
        ("`data`", format!("{connection}[[connection.path]]\ndata = {{ zzzzzzzz = 1 }}")),
    ];
    for (heading, probe) in &tables {
        assert_eq!(
            documented_keys(&document(), heading).into_keys().collect::<BTreeSet<_>>(),
            accepted_keys(probe),
            "documented, accepted: {heading}"
        );
    }
    // A new table would be a new key of one of these or of the file itself.
    let top: BTreeSet<String> =
        ["security", "tunnel", "listen", "metrics", "portal", "forward", "hook", "connection"]
            .map(str::to_owned)
            .into();
    assert_eq!(accepted_keys(&format!("zzzzzzzz = 1\n{base}")), top);
}

#[test]
fn every_event_is_documented() {
    let document = document();
    let (_, section) = document.split_once("\n### Events\n").expect("the events");
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
    for name in port_linux::events::NAMES {
        let cell =
            |row: &&&str| row.split(" | ").next().is_some_and(|first| first.contains(&format!("`{name}`")));
        assert_eq!(rows.iter().filter(cell).count(), 1, "{name}");
    }
}

#[test]
fn every_example_of_the_document_is_accepted_without_warnings() {
    let document = document();
    let blocks = toml_blocks(&document);
    assert!(blocks.len() >= 8, "only {} examples were found", blocks.len());
    // Their keys are in a directory that is there.
    let directory = tempfile::tempdir().expect("a directory");
    for name in ["mpt.key", "home.key", "office.psk"] {
        write_key(&directory.path().join(name));
    }
    for (line, text) in blocks {
        let text = text.replace("/etc/mpt", &directory.path().display().to_string());
        let file = format!("the example in line {line} of docs/configuration.md");
        let config = Config::parse(&text, &file).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(config.warnings(), [] as [String; 0]);
    }
}

#[test]
fn the_annotated_example_means_the_same_as_a_file_without_optional_keys() {
    let minimal = r#"
        security = "none"
        tunnel.address = ["10.0.0.1/24", "fec::1:1/112"]
        [[connection]]
        name = "pc2"
        peer = ["10.0.0.2", "fec::1:2"]
        [[connection.path]]
        name = "left"
        local = "172.16.1.10"
        remote = "172.16.1.20"
    "#;
    let document = document();
    let (_, section) = document.split_once("\n## Every key\n").expect("the section");
    let (_, annotated) = toml_blocks(section).into_iter().next().expect("the example");
    let annotated_config = Config::parse(&annotated, "annotated").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(annotated_config, Config::parse(minimal, "minimal").expect("a good file"));

    let connection_probe = "tunnel.address = [\"10.0.0.1/24\"]\n[[connection]]\nzzzzzzzz = 1";
    for key in accepted_keys(connection_probe) {
        assert!(
            annotated.contains(&format!("{key} =")) || annotated.contains(&format!("connection.{key}]")),
            "{key}"
        );
    }
}

#[test]
fn the_defaults_in_the_tables_are_those_of_the_annotated_example() {
    let document = document();
    let (_, section) = document.split_once("\n## Every key\n").expect("the section");
    let (_, annotated) = toml_blocks(section).into_iter().next().expect("the example");
    let annotated: toml::Table = annotated.parse().expect("TOML");
    let (tunnel, connection) = (&annotated["tunnel"], &annotated["connection"][0]);
    let mut compared = 0;
    for (heading, table) in [
        ("`[tunnel]`", tunnel),
        ("`[[connection]]`", connection),
        ("`[connection.adaptive]`", &connection["adaptive"]),
        ("`[connection.reorder]`", &connection["reorder"]),
        ("`[[connection.path]]`", &connection["path"][0]),
    ] {
        for (key, default) in documented_keys(&document, heading) {
            match (default.as_str(), table.get(&key)) {
                // These defaults are words about another key or the system, and `rank` is left out on purpose.
                (
                    "required" | "none" | "its defaults" | "the platform's" | "the interface's"
                    | "the connection's",
                    _,
                ) => {}
                ("0", None) if key == "rank" => {}
                (default, value) => {
                    assert_eq!(Some(default), value.map(ToString::to_string).as_deref(), "{heading} {key}");
                    compared += 1;
                }
            }
        }
    }
    assert!(compared >= 14, "only {compared} defaults were compared");
}

#[test]
fn the_documented_times_of_liveness_are_those_of_the_core() {
    /// `25 ms`, `1.5 s`
    fn shown(time: Duration) -> String {
        let text = format!("{time:?}");
        let unit = text.find(char::is_alphabetic).expect("a unit");
        format!("{} {}", &text[..unit], &text[unit..])
    }
    let document = document();
    for (word, probing) in [("lab", Probing::LAB), ("internet", Probing::INTERNET)] {
        let [interval, idle, dead] = [probing.interval, probing.idle, probing.dead].map(shown);
        let row = format!("| `\"{word}\"` | every {interval} | every {idle} | {dead} |");
        assert!(document.contains(&row), "no row {row}");
    }
}

#[test]
fn the_two_pcs_of_the_paper_are_each_others_mirror() {
    let [pc1, pc2] = ["pc1", "pc2"].map(|name| {
        let path = repository().join("examples").join(name).with_extension("toml");
        let config = Config::load(&path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(config.warnings(), [] as [String; 0]);
        config
    });
    let only = |config: &Config| -> Connection {
        let [connection] = config.connections.as_slice() else { panic!("one connection") };
        connection.clone()
    };
    let (to_pc2, to_pc1) = (only(&pc1), only(&pc2));
    for (config, own) in [(&pc1, ["10.0.0.1/24", "fec::1:1/112"]), (&pc2, ["10.0.0.2/24", "fec::1:2/112"])] {
        assert_eq!(config.tunnel.name, "mpt0");
        assert_eq!(config.tunnel.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), own);
    }
    let addresses =
        |config: &Config| config.tunnel.addresses.iter().map(ipnet::IpNet::addr).collect::<Vec<_>>();
    assert_eq!(to_pc2.peer, addresses(&pc2));
    assert_eq!(to_pc1.peer, addresses(&pc1));
    assert_eq!((to_pc2.paths.len(), to_pc1.paths.len()), (4, 4));
    for (i, (there, back)) in (1..).zip(to_pc2.paths.iter().zip(&to_pc1.paths)) {
        assert_eq!((there.local, there.port), (back.remote, back.remote_port));
        assert_eq!((there.remote, there.remote_port), (back.local, back.port));
        assert_eq!(there.local.to_string(), format!("172.16.{i}.10"));
        assert_eq!(there.remote.to_string(), format!("172.16.{i}.20"));
        assert_eq!([there.liveness, back.liveness], [Liveness::Probe(Probing::LAB); 2]);
    }
}
