use super::super::made_up::report;
use super::*;
use crate::doctor::finding::Outcome;
use crate::report::{ModelReport, RoamingReport, SocketReport};

fn names(facts: &Facts) -> Vec<&'static str> {
    Outcome::of(&CHECKS, facts).findings.iter().map(|finding| finding.check).collect()
}

/// The fault in the second path provokes this finding and no other.
fn provokes(name: &str, fault: impl FnOnce(&mut PathReport)) -> Finding {
    let mut facts =
        Facts { report: Some(report()), buffer_limits: Some((212_992, 212_992)), ..Facts::default() };
    assert!(names(&facts).is_empty(), "nothing is wrong before");
    fault(&mut facts.report.as_mut().unwrap().connections[0].paths[1]);
    assert_eq!(names(&facts), [name]);
    let check = CHECKS.iter().find(|check| check.name == name).unwrap();
    (check.look)(&facts).remove(0)
}

fn model(path: &mut PathReport) -> &mut ModelReport {
    path.model.as_mut().unwrap()
}

#[test]
fn a_path_without_an_answer_is_a_warning_and_if_no_other_works_a_fault() {
    let silent = |path: &mut PathReport| {
        path.state = State::Down;
        path.problem = Some("no answer from 203.0.113.7 port 4754 for 9 s: nobody listens".into());
    };
    let found = provokes("no_answer", silent);
    assert_eq!(found.severity, Severity::Warning);
    assert!(found.what.starts_with("path vps/two: no answer from 203.0.113.7"), "{found:?}");
    let mut facts = Facts { report: Some(report()), ..Facts::default() };
    facts.report.as_mut().unwrap().connections[0].paths.iter_mut().for_each(silent);
    assert!(no_answer(&facts).iter().all(|found| found.severity == Severity::Fault));
}

#[test]
fn a_path_that_waits_for_its_link_or_is_out_of_use_is_found() {
    provokes("waiting_path", |path| {
        (path.state, path.waits_for) = (State::Down, Some("there is no interface eth1".into()));
    });
    let found = provokes("path_out_of_use", |path| {
        (path.state, path.reason) = (State::Down, Some("disabled".into()));
    });
    assert_eq!(found.mend, "sudo mpt path up vps/two");
}

#[test]
fn a_policer_is_found_but_no_rate_is_told_that_was_not_measured() {
    let found = provokes("throttled_path", |path| model(path).limited_by = "policer".into());
    assert!(found.what.contains("50.0 Mbit/s"), "{found:?}");
    let mut facts = Facts { report: Some(report()), ..Facts::default() };
    let path = &mut facts.report.as_mut().unwrap().connections[0].paths[1];
    (model(path).limited_by, model(path).phase) = ("policer".into(), "startup".into());
    assert!(names(&facts).is_empty());
}

#[test]
fn a_path_that_goes_down_again_and_again_or_whose_nat_forgets_is_found() {
    provokes("unsteady_path", |path| path.downs = 7);
    let often = RoamingReport { moves: 9, ..RoamingReport::default() };
    provokes("forgetful_nat", |path| path.roaming = Some(often));
}

#[test]
fn an_mtu_hole_is_found_with_the_number_that_the_key_wants() {
    let found = provokes("small_datagrams", |path| path.max_datagram = 1370);
    assert!(found.mend.starts_with("mtu = 1398 in path two"), "{found:?}");
    let mut facts = Facts { report: Some(report()), ..Facts::default() };
    let path = &mut facts.report.as_mut().unwrap().connections[0].paths[1];
    (path.max_datagram, path.seeks_size) = (548, true);
    assert!(names(&facts).is_empty(), "what is not known yet is no number for the configuration");
}

#[test]
fn what_a_kernel_or_a_router_cannot_is_found() {
    provokes("no_ecn", |path| path.ecn = Some("drops datagrams with ECN marks".into()));
    let socket = |path: &mut PathReport, change: fn(&mut SocketReport)| change(path.socket.as_mut().unwrap());
    provokes("no_segmentation", |path| socket(path, |socket| socket.segments = 1));
    let found = provokes("socket_buffers", |path| socket(path, |socket| socket.receive_buffer = 212_992));
    assert!(found.mend.contains("net.core.rmem_max=4194304"), "{found:?}");
}

#[test]
fn a_path_that_brings_little_is_found_only_if_it_costs_much() {
    let found = provokes("costly_path", |path| {
        (model(path).rate, model(path).extra_delay_us) = (1_000_000, 400_000);
    });
    assert!(found.what.contains("1.0 Mbit/s of 51.0 Mbit/s, and ordered packets wait 400 ms"), "{found:?}");
    provokes("costly_path", |path| (model(path).rate, model(path).lost) = (1_000_000, 20_000));
    let mut facts = Facts { report: Some(report()), ..Facts::default() };
    model(&mut facts.report.as_mut().unwrap().connections[0].paths[1]).rate = 1_000_000;
    assert!(names(&facts).is_empty(), "a slow path that is quick costs nothing");
}
