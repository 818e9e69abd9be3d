//! What a collector of metrics sees of a running mpt, and that all that is counted has a place in the table of counters.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use mpt_lab::stack::{Stack, Version};
use mpt_lab::topology::Side;
use port_linux::counters::{CONNECTION_DROPS, TUNNEL_DROPS, Word};
use port_linux::report::Dropped;

use crate::bench::{self, DEVICE, FAILED, Settings, Tunnel, complains, done};
use crate::programs::{Tool, all_pass};

/// The series of an exposition: names with labels.
fn series(text: &str) -> BTreeSet<&str> {
    text.lines()
        .filter_map(|line| Some(line.rsplit_once(' ').filter(|_| !line.starts_with('#'))?.0))
        .collect()
}

/// Whether the reasons are those of the table.
fn are_tabled(dropped: &Dropped, words: &[Word]) -> bool {
    dropped.keys().map(String::as_str).eq(words.iter().map(|word| word.name).collect::<BTreeSet<_>>())
}

/// `promtool check metrics`, where that is installed: `packaging/test-metrics` installs it.
fn check_by_promtool(text: &str) -> anyhow::Result<()> {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut promtool) = promtool.spawn() else { return Ok(()) };
    promtool.stdin.take().context("its input")?.write_all(text.as_bytes())?;
    let output = promtool.wait_with_output()?;
    ensure!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    Ok(())
}

#[test]
fn metrics_are_served_by_a_socket_by_tcp_and_by_a_command() {
    bench::test(&[Tool::Curl, Tool::Ping], || {
        let listen =
            |settings: Settings, address| settings.table("metrics", &format!("listen = \"{address}\""));
        let tunnel = Tunnel::start(2, Stack::V4OverV4, |_, settings| {
            listen(settings.connection("policy", "adaptive"), "127.0.0.1:9475")
        })?;
        let (host, control) = (&tunnel.net.pc1, tunnel.pc1.control());
        all_pass(host, Side::Pc2.tunnel_address(Version::V4), 20, "")?;
        let socket = control.with_extension("metrics.sock");
        let by_socket =
            host.run(&format!("curl -sSf --unix-socket {} http://mpt/metrics", socket.display()))?;
        let by_tcp = host.run("curl -sSf http://127.0.0.1:9475/metrics")?;
        let by_command = done(host, &format!("metrics --control {}", control.display()), "")?;
        assert_eq!(series(&by_socket), series(&by_tcp));
        assert_eq!(series(&by_socket), series(&by_command));
        for path in ["path1", "path2"] {
            let up = format!("mpt_path_up{{tunnel=\"{DEVICE}\",connection=\"pc2\",path=\"{path}\"}} 1\n");
            assert!(by_socket.contains(&up), "{up} is not in {by_socket}");
        }
        check_by_promtool(&by_command)?;
        let open =
            host.run("curl -sSf -H Accept:application/openmetrics-text http://127.0.0.1:9475/metrics")?;
        assert!(open.ends_with("\n# EOF\n"), "{open}");

        let report = tunnel.pc1.status()?;
        assert!(are_tabled(&report.tunnel.dropped, &TUNNEL_DROPS), "{:?}", report.tunnel.dropped);
        let connection = &report.connections[0];
        assert!(are_tabled(&connection.dropped, &CONNECTION_DROPS), "{:?}", connection.dropped);

        let elsewhere = Settings::new(Side::Pc1, Stack::V4OverV4, 2).connection("policy", "adaptive");
        let refused = tunnel.pc1.reload(&listen(elsewhere, "127.0.0.1:9476"));
        let refused = format!("{:#}", refused.expect_err("it cannot change"));
        assert!(refused.contains("[metrics] cannot change while mpt runs"), "{refused}");
        let unknown = format!("metrics pc9 --control {}", control.display());
        assert!(complains(host, &unknown, "", FAILED)?.contains("no connection is named pc9; there are pc2"));
        Ok(())
    });
}
