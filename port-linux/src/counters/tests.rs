use std::collections::BTreeSet;

use mpt_proto::{DownReason, DropReason, LimitedBy, Mode, PathModel, Phase};
use serde_json::Value;

use super::sample::report;
use super::*;
use crate::report::{mode_name, reason_name};

/// Numbers of the JSON that count and measure nothing.
const NO_FIGURES: [(&str, &str); 1] = [("version", "of the protocol, not of the tunnel")];

/// The numbers and the answers to yes or no of `value`, but for lists, drops and `not_sent`: place and value.
fn numbers(value: &Value, place: &str, found: &mut Vec<(String, u64)>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
        match value {
            Value::Number(number) => found.push((place, number.as_u64().expect("a whole number"))),
            Value::Bool(yes) => found.push((place, u64::from(*yes))),
            Value::Object(_) if !["dropped", "not_sent"].contains(&name.as_str()) => {
                numbers(value, &place, found);
            }
            _ => {}
        }
    }
}

/// That `figures` are the numbers of `part`, with their values.
fn check<R: serde::Serialize>(figures: &[Figure<R>], part: &R) {
    let mut found = Vec::new();
    numbers(&serde_json::to_value(part).unwrap(), "", &mut found);
    let tabled = |field: &str| figures.iter().find(|figure| figure.field == field);
    for (field, value) in &found {
        let figure =
            tabled(field).unwrap_or_else(|| panic!("{field} of the report is missing in counters.rs"));
        assert_eq!((figure.value)(part), Some(*value), "{field}");
    }
    let names: BTreeSet<&str> = found.iter().map(|(field, _)| field.as_str()).collect();
    for figure in figures {
        assert!(figure.field == "state" || names.contains(figure.field), "{} is in no report", figure.field);
        assert!(!figure.help.is_empty() && !figure.help.ends_with('.'), "{}", figure.help);
    }
    let metrics: BTreeSet<_> =
        figures.iter().map(|figure| (figure.metric, figure.unit.of_metric())).collect();
    assert_eq!(metrics.len(), figures.len(), "two figures have one metric");
}

#[test]
fn every_number_of_the_report_is_in_the_table_with_its_value() {
    let report = report();
    check(&TUNNEL, &report.tunnel);
    check(&CONNECTION, &report.connections[0]);
    check(&PATH, &report.connections[0].paths[0]);
    let mut top = Vec::new();
    let report = serde_json::to_value(&report).unwrap();
    numbers(&report, "", &mut top);
    top.retain(|(field, _)| !field.starts_with("tunnel."));
    let allowed = NO_FIGURES.map(|(field, _)| field);
    assert_eq!(top.iter().map(|(field, _)| field.as_str()).collect::<Vec<_>>(), allowed);
}

fn names(words: &[Word]) -> Vec<&'static str> {
    let names: Vec<_> = words.iter().map(|word| word.name).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "one stands twice: {names:?}");
    assert!(words.iter().all(|word| !word.help.is_empty() && !word.help.ends_with('.')));
    names
}

#[test]
fn every_reason_and_state_of_the_core_is_in_the_table() {
    // Those of the port are seen in a running mpt: tests/end_to_end/metrics.rs.
    let connection = names(&CONNECTION_DROPS);
    assert_eq!(connection[..DropReason::ALL.len()], DropReason::ALL.map(DropReason::name));
    let tunnel = names(&TUNNEL_DROPS);
    assert!(mpt_seal::Reason::ALL.iter().all(|reason| tunnel.contains(&reason.name())));
    let not_sent = crate::report::NotSent::default().named().map(|(name, _)| name);
    assert_eq!(names(&NOT_SENT), not_sent);
    let down =
        [DownReason::Disabled, DownReason::Link, DownReason::Unheard, DownReason::Silent, DownReason::Deaf];
    assert_eq!(names(&DOWN_REASONS), down.map(reason_name));
    let phases = [Phase::Startup, Phase::Drain, Phase::Cruise, Phase::Probe, Phase::Compete];
    assert_eq!(names(&PHASES), phases.map(Phase::as_str));
    let modes = [Mode::PeerCannot, Mode::NoMemory, Mode::NoReports].map(|mode| mode_name(mode).1.unwrap());
    assert_eq!(names(&MODE_REASONS), modes);
    assert_eq!(names(&LIMITS)[0], PathModel::default().limited_by.as_str());
    let limits = [
        LimitedBy::Unmeasured,
        LimitedBy::Outage,
        LimitedBy::Delay,
        LimitedBy::Policer,
        LimitedBy::OtherTraffic,
        LimitedBy::Queue,
        LimitedBy::Tier,
        LimitedBy::Application,
        LimitedBy::Bandwidth,
    ];
    assert_eq!(names(&LIMITS), limits.map(LimitedBy::as_str));
}

#[test]
fn a_word_of_another_version_has_no_meaning_here() {
    assert_eq!(meaning(&DOWN_REASONS, "deaf"), Some("the peer does not hear us"));
    assert_eq!(meaning(&DOWN_REASONS, "eaten"), None);
}
