use super::*;
use std::string::ToString;

type Change = fn(&mut Signs);

/// A path of which all is true that could limit it.
const ALL: Signs = Signs {
    is_suspect: true,
    is_down: true,
    is_reported: false,
    is_policed: true,
    is_filled: false,
    phase: Phase::Compete,
    place: Place { is_closed: true, is_spare: true },
};

#[test]
fn what_a_path_cannot_do_counts_before_what_is_not_asked_of_it() {
    // Each line takes away what the line before was for.
    let table: [(LimitedBy, Change); 10] = [
        (LimitedBy::Outage, |_| {}),
        (LimitedBy::Unmeasured, |signs| signs.is_suspect = false),
        (LimitedBy::Outage, |signs| signs.is_reported = true),
        (LimitedBy::Delay, |signs| signs.is_down = false),
        (LimitedBy::Policer, |signs| signs.place.is_closed = false),
        (LimitedBy::OtherTraffic, |signs| signs.is_policed = false),
        (LimitedBy::Queue, |signs| signs.phase = Phase::Drain),
        (LimitedBy::Tier, |signs| signs.phase = Phase::Cruise),
        (LimitedBy::Application, |signs| signs.place.is_spare = false),
        (LimitedBy::Bandwidth, |signs| signs.is_filled = true),
    ];
    let mut signs = ALL;
    for (expected, change) in table {
        change(&mut signs);
        assert_eq!(signs.limited_by(), expected, "{signs:?}");
    }
    for phase in [Phase::Startup, Phase::Probe] {
        assert_eq!(Signs { phase, ..signs }.limited_by(), LimitedBy::Bandwidth);
    }
    signs.place.is_spare = true;
    assert_eq!(signs.limited_by(), LimitedBy::Bandwidth, "lower tiers do not suffice");
}

#[test]
fn it_is_shown_in_words() {
    assert_eq!(LimitedBy::default().to_string(), "not measured yet");
    assert_eq!(std::format!("{:>16}|", LimitedBy::OtherTraffic), "   other traffic|");
    assert_eq!(Phase::Compete.to_string(), "compete");
}
