use std::collections::BTreeSet;

use super::*;
use crate::counters::sample::report;

/// The names of samples, in the older text of Prometheus.
fn samples(text: &str) -> BTreeSet<&str> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(['{', ' ']).next().expect("a name")).collect()
}

/// One sample's value.
fn value(text: &str, sample: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {sample} in {text}")).parse().expect("a number")
}

#[test]
fn values_have_base_units_and_labels() {
    let mut report = report();
    report.tunnel.uptime_ms = 2_500;
    report.tunnel.program = "1.2.3".into();
    let connection = &mut report.connections[0];
    (connection.limit_bps, connection.counters.tx_bytes) = (Some(8_000_000), u64::MAX);
    connection.dropped.insert("late".into(), 7);
    let path = &mut connection.paths[0];
    (path.rtt_us, path.not_sent.full) = (Some(1_250), 9);
    let text = write(Arc::new(report), Format::Prometheus).unwrap();
    for (sample, expected) in [
        ("mpt_build_info{tunnel=\"mpt0\",version=\"1.2.3\"}", 1.0),
        ("mpt_tunnel_uptime_seconds{tunnel=\"mpt0\"}", 2.5),
        ("mpt_connection_limit_bytes_per_second{tunnel=\"mpt0\",connection=\"vps\"}", 1e6),
        ("mpt_connection_dropped_total{tunnel=\"mpt0\",connection=\"vps\",reason=\"late\"}", 7.0),
        ("mpt_path_rtt_seconds{tunnel=\"mpt0\",connection=\"vps\",path=\"dsl\"}", 0.001_25),
        ("mpt_path_up{tunnel=\"mpt0\",connection=\"vps\",path=\"dsl\"}", 1.0),
        ("mpt_path_not_sent_total{tunnel=\"mpt0\",connection=\"vps\",path=\"dsl\",reason=\"full\"}", 9.0),
        ("mpt_path_limited{tunnel=\"mpt0\",connection=\"vps\",path=\"dsl\",reason=\"bandwidth\"}", 1.0),
    ] {
        assert_eq!(value(&text, sample), expected, "{sample}");
    }
    // Counters are exact, also where a floating point number is not.
    assert!(text.contains(
        "mpt_connection_tx_bytes_total{tunnel=\"mpt0\",connection=\"vps\"} 18446744073709551615\n"
    ));
    assert!(!text.contains("mpt_path_down{"), "it is up");
}

#[test]
fn every_figure_is_there_with_its_help() {
    let text = write(Arc::new(report()), Format::Prometheus).unwrap();
    let samples = samples(&text);
    let mut expected = 0;
    let mut check = |name: String, help: &str| {
        assert!(samples.contains(name.as_str()), "{name} in {samples:?}");
        assert!(text.contains(&format!("# HELP {name} {help}.\n")), "{name}");
        expected += 1;
    };
    TUNNEL.iter().for_each(|it| check(metric_name("tunnel", it), it.help));
    CONNECTION.iter().for_each(|it| check(metric_name("connection", it), it.help));
    PATH.iter().for_each(|it| check(metric_name("path", it), it.help));
    let by_reason = ["mpt_tunnel_dropped_total", "mpt_connection_dropped_total", "mpt_path_not_sent_total"];
    assert!(by_reason.iter().all(|name| samples.contains(name)), "{samples:?}");
    // And `mpt_build_info` and `mpt_path_limited`; the path is up.
    assert_eq!(samples.len(), expected + by_reason.len() + 2);
}

/// What OpenMetrics 1.0 asks for, and what promtool looks at: each family once with its description before its samples, names that
/// end by the unit, no abbreviated units, labels in quotes, numbers, and the end.
#[test]
fn the_text_is_open_metrics() {
    let mut report = report();
    report.connections[0].paths[0].reason = Some("silent".into());
    let text = write(Arc::new(report), Format::OpenMetrics).unwrap();
    let body = text.strip_suffix("# EOF\n").expect("the end");
    let (mut families, mut family, mut kind, mut series) = (BTreeSet::new(), "", "", BTreeSet::new());
    for line in body.lines() {
        if let Some(described) = line.strip_prefix("# ") {
            let (what, rest) = described.split_once(' ').expect("what it says");
            let (name, said) = rest.split_once(' ').expect("a name");
            match what {
                "HELP" => {
                    assert!(families.insert(name), "{name} is described twice");
                    assert!(
                        said.ends_with('.') && !said.ends_with("..") && !said.contains(['\\', '"']),
                        "{said}"
                    );
                    family = name;
                }
                "TYPE" => kind = said,
                "UNIT" => assert!(name.ends_with(&format!("_{said}")), "{name} in {said}"),
                other => panic!("{other}"),
            }
            assert_eq!(name, family);
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = sample.split_once('{').expect("labels");
        let ending = match kind {
            "counter" => "_total",
            "gauge" => "",
            "info" => "_info",
            other => panic!("{other}"),
        };
        assert_eq!(name, format!("{family}{ending}"));
        assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
        let labels = labels.strip_suffix('}').expect("the end of the labels");
        let names = labels.split(',').map(|label| label.split_once("=\"").expect("a label").0);
        let names: Vec<_> = names.collect();
        assert!(
            ["tunnel", "connection", "path", "reason", "version"]
                .iter()
                .filter(|it| names.contains(it))
                .eq(&names),
            "{line}"
        );
        assert!(series.insert(sample), "{sample} is there twice");
        let units = ["ms", "us", "s", "b", "kb", "mb", "bits", "milliseconds", "microseconds"];
        assert!(name.split('_').all(|word| !units.contains(&word)), "{name}");
    }
    assert!(series.len() > 40, "{text}");
}

/// The texts of a JSON value that are queries.
fn queries<'v>(value: &'v serde_json::Value, found: &mut Vec<&'v str>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        match value.as_str() {
            Some(text) if ["expr", "query"].contains(&key.as_str()) => found.push(text),
            _ => queries(value, found),
        }
    }
    value.as_array().into_iter().flatten().for_each(|value| queries(value, found));
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
}

/// `packaging/test-metrics` asks a real Prometheus for each.
#[test]
fn the_dashboard_and_the_document_know_only_metrics_that_there_are() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let file = std::fs::read(repository.join("packaging/grafana.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_slice(&file).unwrap();
    let mut report = report();
    report.connections[0].paths[0].reason = Some("silent".into());
    let text = write(Arc::new(report), Format::Prometheus).unwrap();
    let samples = samples(&text);
    let document = std::fs::read_to_string(repository.join("docs/operations.md")).unwrap();
    for name in words(&document).filter(|word| word.starts_with("mpt_") && !word.ends_with('_')) {
        assert!(samples.contains(name), "{name} in docs/operations.md");
    }
    let mut found = Vec::new();
    queries(&dashboard, &mut found);
    assert!(found.len() > 20, "{found:?}");
    for query in found.into_iter().filter(|query| *query != "prometheus") {
        let names: Vec<_> = words(query).filter(|word| word.starts_with("mpt_")).collect();
        assert!(!names.is_empty() && names.iter().all(|name| samples.contains(name)), "{query}");
        for (at, _) in query.match_indices("=~") {
            let label = query[..at].rsplit(['{', ',']).next().unwrap();
            assert!(["instance", "tunnel", "connection", "path"].contains(&label), "{label} in {query}");
        }
    }
}

#[test]
fn a_name_with_quotes_does_not_break_the_text() {
    let mut report = report();
    report.tunnel.name = "a\"b\\c\nd".into();
    let text = write(Arc::new(report), Format::OpenMetrics).unwrap();
    assert!(text.contains(r#"mpt_tunnel_mtu_bytes{tunnel="a\"b\\c\nd"}"#), "{text}");
}
