use super::*;
use serde_json::json;

/// A connection with paths of these names, tiers and states.
fn connection(paths: &[(&str, u8, &str)]) -> ConnectionReport {
    let path = |(name, tier, state): &(&str, u8, &str)| {
        json!({
            "name": name, "local": "192.0.2.1:4754", "remote": null, "device": null, "state": state, "reason": null,
            "rtt_us": null, "weight": 1, "rank": 0, "tier": tier, "max_datagram": 1472, "tx_datagrams": 0,
            "tx_bytes": 1000, "rx_datagrams": 0, "rx_bytes": 500, "probes": 0, "echoes": 0, "downs": 0,
            "not_sent": {"full": 0, "too_big": 0, "link": 0, "refused": 0}
        })
    };
    let paths: Vec<_> = paths.iter().map(path).collect();
    serde_json::from_value(json!({
        "name": "vps", "peer": ["10.0.0.2"], "policy": "adaptive", "peer_is_mpt": true, "counters": {}, "dropped": {},
        "paths": paths
    }))
    .unwrap()
}

fn speed(subject: Subject, paid: bool) -> Speed {
    Speed { peer: "vps".into(), subject, paid, seconds: 10, streams: 4, json: false, control: None }
}

#[test]
fn what_is_paid_for_is_measured_only_when_named_or_allowed() {
    let connection = connection(&[("dsl", 1, "up"), ("lte", 2, "up"), ("sat", 1, "down")]);
    let plan = |subject: Subject, paid| speed(subject, paid).plan(&connection);
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();

    let cautious = plan(Subject::All, false).unwrap();
    assert_eq!((cautious.paths, cautious.bond), (names(&["dsl"]), false));
    assert_eq!(
        cautious.left_out,
        [
            "lte (tier 2): --all or --path measures it",
            "the bond would take lte (tier 2) as well: --all allows that"
        ]
    );
    let all = Plan { paths: names(&["dsl", "lte"]), bond: true, left_out: Vec::new() };
    assert_eq!(plan(Subject::All, true).unwrap(), all);
    let named = Plan { paths: names(&["lte"]), ..Plan::default() };
    assert_eq!(plan(Subject::Path("vps/lte".into()), false).unwrap(), named);
    assert!(plan(Subject::Bond, false).unwrap_err().to_string().contains("--all allows that"));
    assert_eq!(plan(Subject::Bond, true).unwrap(), Plan { bond: true, ..Plan::default() });
}

#[test]
fn a_path_of_a_higher_tier_costs_also_while_the_others_are_down() {
    let connection = connection(&[("dsl", 1, "down"), ("lte", 2, "up")]);
    let plan = speed(Subject::Each, false).plan(&connection).unwrap();
    assert!(plan.paths.is_empty() && plan.left_out.len() == 1, "{plan:?}");
    let alone = self::connection(&[("lte", 3, "up")]);
    assert_eq!(speed(Subject::Each, false).plan(&alone).unwrap().paths, ["lte"]);
    let down = self::connection(&[("dsl", 1, "down")]);
    assert!(speed(Subject::All, true).plan(&down).unwrap_err().to_string().contains("none of the paths"));
}

fn row(name: &str, down: f64, up: f64) -> Row {
    let direction =
        |mbit: f64, added_ms| Direction { bps: mbit * 1e6, added_ms, lost_percent: 0.5, share_percent: None };
    let (down, up) = (direction(down, 12.0), direction(up, 85.0));
    Row { name: name.into(), idle_ms: 8.25, down, up, grade: "B" }
}

fn outcome() -> Outcome {
    let sum = Sum { down_bps: 60e6, up_bps: 12e6 };
    let before = connection(&[("fibre", 1, "up"), ("dsl", 1, "up")]);
    let mut after = before.clone();
    after.paths[1].rx_bytes += 90_000_000;
    Outcome {
        version: VERSION,
        peer: "vps".into(),
        address: "10.0.0.2".into(),
        seconds: 10,
        streams: 4,
        paths: vec![row("fibre", 37.94, 9.4), row("dsl", 22.06, 2.6)],
        sum: Some(sum),
        bond: Some(with_share(row("bond", 57.0, 11.4), Some(sum))),
        left_out: vec!["lte (tier 2): --all or --path measures it".into()],
        data: data(&before, &after),
    }
}

#[test]
fn the_table_has_a_line_for_each_path_their_sum_and_the_bond() {
    let expected = "\
vps (10.0.0.2): TCP over 4 connections, 10 s in each direction, and pings beside it

              down           up    delay  added down  added up  grade   lost
fibre  37.9 Mbit/s  9.40 Mbit/s  8.25 ms     12.0 ms   85.0 ms      B  0.5 %
dsl    22.1 Mbit/s  2.60 Mbit/s  8.25 ms     12.0 ms   85.0 ms      B  0.5 %
sum    60.0 Mbit/s  12.0 Mbit/s
bond   57.0 Mbit/s  11.4 Mbit/s  8.25 ms     12.0 ms   85.0 ms      B  0.5 %

The bond carries 95 % of the sum down, and 95 % up.

Data used: fibre 0 B, dsl 90.0 MB
Not measured: lte (tier 2): --all or --path measures it
";
    assert_eq!(table::text(&outcome()), expected);
}

#[test]
fn the_json_has_the_same_figures() {
    let json = serde_json::to_value(outcome()).unwrap();
    assert_eq!(json["paths"][0]["down"]["bps"], 37.94e6);
    assert_eq!(json["paths"][0]["down"].get("share_percent"), None);
    assert_eq!(json["bond"]["up"]["share_percent"], 95.0);
    assert_eq!(json["data"][1], json!({"path": "dsl", "bytes": 90_000_000}));
}

#[test]
fn what_a_test_takes_is_said_before() {
    let connection = connection(&[("dsl", 1, "up")]);
    let speed = speed(Subject::All, false);
    let text = speed.announcement(&speed.plan(&connection).unwrap(), &connection);
    assert!(text.contains("about 44 s") && text.contains("1.2 MB for each Mbit/s"), "{text}");
}

#[test]
fn what_a_test_takes_is_said_of_rates_that_were_measured() {
    let mut connection = connection(&[("dsl", 1, "up")]);
    let speed = speed(Subject::All, false);
    let mut announced = |phase: &str| {
        let model = json!({
            "tier": 1, "rate": 80_000_000, "phase": phase, "extra_delay_us": 0, "queue_us": 0, "jitter_us": 0, "lost": 0,
            "open": true, "suspect": false, "limited_by": "application"
        });
        connection.paths[0].model = Some(serde_json::from_value(model).unwrap());
        speed.announcement(&speed.plan(&connection).unwrap(), &connection)
    };
    let text = announced("cruise");
    assert!(text.contains("up about 200.0 MB"), "{text}");
    let text = announced("startup");
    assert!(!text.contains("up about"), "{text}");
}
