use super::super::made_up::report;
use super::*;
use crate::doctor::finding::Outcome;
use crate::report::Report;

fn names(facts: &Facts) -> Vec<&'static str> {
    Outcome::of(&CHECKS, facts).findings.iter().map(|finding| finding.check).collect()
}

/// The fault provokes this finding and no other.
fn provokes(name: &str, fault: impl FnOnce(&mut Report)) -> Finding {
    let mut facts = Facts { report: Some(report()), program: "1.0.0".into(), ..Facts::default() };
    assert!(names(&facts).is_empty(), "nothing is wrong before");
    fault(facts.report.as_mut().unwrap());
    assert_eq!(names(&facts), [name]);
    let check = CHECKS.iter().find(|check| check.name == name).unwrap();
    (check.look)(&facts).remove(0)
}

#[test]
fn a_peer_that_is_set_up_otherwise_is_found() {
    let found = provokes("peer_set_up_otherwise", |report| {
        report.connections[0].problem = Some("has the GRE key 8, and this end none".into());
    });
    assert_eq!(found.what, "vps: the peer has the GRE key 8, and this end none");
    provokes("foreign_packets", |report| {
        report.connections[0].dropped.insert("wrong_inner_source".into(), 7);
    });
}

#[test]
fn another_version_of_the_process_or_the_peer_is_found() {
    provokes("old_program", |report| report.tunnel.program = "0.9.0".into());
    provokes("old_program", |report| report.tunnel.program.clear());
    provokes("old_peer", |report| report.connections[0].mode_reason = Some("peer_cannot".into()));
    provokes("old_peer", |report| report.connections[0].mode_reason = Some("no_reports".into()));
}

#[test]
fn a_peer_of_another_version_is_found_and_which_end_is_older() {
    let found = |said: Said| {
        let report = report();
        let facts = Facts {
            program: report.tunnel.program.clone(),
            report: Some(report),
            peers: vec![("vps".into(), said)],
            ..Facts::default()
        };
        Outcome::of(&CHECKS, &facts).findings
    };
    let version = |text: &str| found(Said::Version(text.into()));
    assert!(version("1.0.0").is_empty() && found(Said::Nothing).is_empty());
    for (there, severity, mend) in [
        ("1.0.3", Severity::Note, "the same version here, as this end is older"),
        ("1.2.0", Severity::Warning, "the same version here, as this end is older"),
        ("0.9.9", Severity::Warning, "the same version there, as the peer is older"),
        ("0.0.0-old", Severity::Warning, "the same version there, as the peer is older"),
        ("1.0.0-rc.1", Severity::Note, "the same version at both ends"),
        ("tomorrow", Severity::Warning, "the same version at both ends"),
    ] {
        let found = version(there);
        assert_eq!(
            (found.len(), found[0].check, found[0].severity),
            (1, "peer_version", severity),
            "{there}"
        );
        assert_eq!(found[0].what, format!("vps: the peer is run by version {there}, and this tunnel 1.0.0"));
        assert!(found[0].mend.starts_with(mend), "{there}: {}", found[0].mend);
    }
    assert!(found(Said::NotThat)[0].what.contains("an earlier version, which does not say its number"));
    assert_eq!(found(Said::OtherQuestions)[0].severity, Severity::Warning);
}

#[test]
fn memory_that_is_too_small_for_rates_and_delays_is_found_with_what_is_enough() {
    // 2 x 50 Mbit/s for 100 ms are 1.25 MB.
    let found = provokes("memory", |report| report.connections[0].memory_bytes = Some(1_000_000));
    assert!(
        found
            .what
            .contains("1.0 MB for packets to be sent, and 100.0 Mbit/s at 20 ms round trip take 1.2 MB"),
        "{found:?}"
    );
    assert!(found.mend.starts_with("memory_mb = 3 "), "{found:?}");
    let mut facts = Facts { report: Some(report()), program: "1.0.0".into(), ..Facts::default() };
    let connection = &mut facts.report.as_mut().unwrap().connections[0];
    connection.memory_bytes = Some(1_000_000);
    for path in &mut connection.paths {
        path.model.as_mut().unwrap().limited_by = "not measured yet".into();
    }
    assert!(names(&facts).is_empty(), "of rates that were not measured nothing follows");
}

#[test]
fn a_clock_that_is_set_again_and_again_is_found() {
    provokes("clock_steps", |report| report.tunnel.clock_steps = 40);
}
