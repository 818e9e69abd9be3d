use std::time::Duration;

use mpt_proto::Instant;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::asking::News;
use super::draw::{Look, draw};
use super::view::{View, Wish};
use crate::control::Command;
use crate::data::{self, DataReport};
use crate::events::{Event, What};
use crate::report::{ModelReport, Report, State};
use crate::status::tests::{path, report};

const LOOK: Look = Look { colour: true };

/// What is on a screen of this size.
fn screen(view: &View, width: u16, height: u16, now: Instant) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, view, LOOK, now)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| line(y).trim_end().to_owned() + "\n").collect()
}

/// Two paths under the adaptive policy, the second one down.
fn adaptive() -> Report {
    let mut report = report();
    let connection = &mut report.connections[0];
    (connection.policy, connection.mode) = ("adaptive".into(), Some("adaptive".into()));
    connection.paths[0].model = Some(ModelReport {
        tier: 1,
        rate: 48_300_000,
        phase: "cruise".into(),
        extra_delay_us: 0,
        queue_us: 2_260,
        jitter_us: 190,
        lost: 12,
        resent: 9,
        open: true,
        suspect: false,
        limited_by: "bandwidth".into(),
    });
    report
}

/// The same, `second` seconds later: 10 Mbit/s out, 800 kbit/s in, one of a hundred datagrams lost.
fn later(second: u64) -> Report {
    let mut report = adaptive();
    report.tunnel.uptime_ms += second * 1000;
    let connection = &mut report.connections[0];
    connection.counters.tx_bytes += second * 1_200_000;
    connection.counters.rx_bytes += second * 90_000;
    let path = &mut connection.paths[0];
    path.tx_bytes += second * 1_250_000;
    path.rx_bytes += second * 100_000;
    path.tx_datagrams += second * 1_000;
    path.model.as_mut().unwrap().lost += second * 10;
    report
}

/// A view that has seen reports for some seconds.
fn watched(seconds: u64, now: Instant) -> View {
    let mut view = View::new(adaptive(), None);
    for second in 1..=seconds {
        view.hear(News::Report(Box::new(later(second))), now);
    }
    view
}

fn press(view: &mut View, code: KeyCode, now: Instant) -> Option<Wish> {
    view.press(KeyEvent::new(code, KeyModifiers::NONE), now)
}

#[test]
fn eighty_columns_show_everything_of_a_usual_tunnel() {
    let now = Instant::ZERO;
    let golden = "\
mpt0  up 1 h 2 min  MTU 1464  10.0.0.1/24, fd00::1/64
pc2  adaptive  sealed by AES-256-GCM  10.0.0.2
out    ███ 9.6 Mbit/s   in    ███ 720.0 kbit/s  sent again 0  lost on the way 2
  PATH         STATE         ROLE     OUT    IN   RTT JITTER LOSS% QUEUE SHARE%
> dsl          up            member 10.0M  800k   1.2    0.1   1.0   2.2    100
    out                      ███ 10.0M max in                      ███ 800k max
  lte          down silent   member     0     0     -      -     -     -      0
    out                      ▁▁▁ 0 max     in                      ▁▁▁ 0 max
- pc2/dsl ----------------------------------------------------------------------
out 10.0 Mbit/s  in 800.0 kbit/s  carries 48.3 Mbit/s, limited by: bandwidth
sent 6.7 MB  received 300.7 kB  lost 42  again 9  MTU 1500  down 0 times
10.1.1.1:4754 -> 10.1.1.2:4754
";
    let shown = screen(&watched(3, now), 80, 24, now);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[..12].join("\n") + "\n", golden, "{shown}");
    assert!(lines[23].contains("q quit"), "{shown}");
}

#[test]
fn a_rate_that_was_not_measured_is_not_shown_as_one() {
    let now = Instant::ZERO;
    let mut first = adaptive();
    let model = first.connections[0].paths[0].model.as_mut().unwrap();
    let measured = std::mem::replace(&mut model.limited_by, "not measured yet".into());
    let shown = screen(&View::new(first.clone(), None), 80, 24, now);
    assert!(!shown.contains("bit/s"), "{shown}");
    assert!(shown.contains("carries: not measured yet"), "{shown}");
    // While it is sought it is a guess, whatever limits the path.
    let model = first.connections[0].paths[0].model.as_mut().unwrap();
    (model.limited_by, model.phase) = (measured, "startup".into());
    assert!(screen(&View::new(first, None), 80, 24, now).contains("carries: not measured yet"));
    let dsl = shown.lines().find(|line| line.starts_with("> dsl")).unwrap();
    assert!(dsl.ends_with("member     -     -   1.2    0.1     -   2.2      -"), "{dsl}");
}

#[test]
fn a_data_plan_is_shown_with_what_is_used_of_it() {
    let mut limited = adaptive();
    limited.connections[0].paths[0].data = Some(DataReport {
        plan: "month".into(),
        size_bytes: 50_000_000_000,
        used_bytes: 12_300_000_000,
        level: data::Level::Ok,
        renews_at: None,
    });
    let shown = screen(&View::new(limited, None), 80, 24, Instant::ZERO);
    assert!(shown.contains("plan: 12.3 GB of 50.0 GB used  10.1.1.1:4754"), "{shown}");
}

#[test]
fn narrow_and_low_terminals_show_less_and_still_the_paths() {
    let now = Instant::ZERO;
    let view = watched(3, now);
    let golden = "\
mpt0  up 1 h 2 min  MTU 1464  10.0.0.1/…
pc2  adaptive  sealed by AES-256-GCM  1…
out 9.6 Mbit/s   in 720.0 kbit/s  sent …
  PATH         STATE           OUT    IN
> dsl          up            10.0M  800k
  lte          down silent       0     0
- pc2/dsl ------------------------------
out 10.0 Mbit/s  in 800.0 kbit/s  carri…
sent 6.7 MB  received 300.7 kB  lost 42…
10.1.1.1:4754 -> 10.1.1.2:4754

u/d/s  p pause  ? help  q quit
";
    assert_eq!(screen(&view, 40, 12, now), golden);
    let golden = "\
mpt0  up 1 h 2 min …
  PATH           OUT
> dsl          10.0M
  lte              0
? help  q quit
";
    assert_eq!(screen(&view, 20, 5, now), golden);
    let shown = screen(&view, 40, 10, now);
    assert!(shown.contains("> dsl") && shown.contains("  lte") && shown.contains("q quit"), "{shown}");
}

#[test]
fn no_size_is_too_small_or_too_large() {
    let now = Instant::ZERO;
    let mut view = watched(3, now);
    for (width, height) in [(0, 0), (1, 1), (1, 40), (2, 2), (3, 7), (200, 1), (500, 100)] {
        screen(&view, width, height, now);
    }
    press(&mut view, KeyCode::Char('?'), now);
    for (width, height) in [(0, 0), (1, 1), (20, 5), (80, 24)] {
        screen(&view, width, height, now);
    }
}

#[test]
fn the_state_has_its_colour_and_without_room_for_it_the_name() {
    let now = Instant::ZERO;
    let view = watched(1, now);
    for (width, x) in [(80, 15), (20, 2)] {
        let mut terminal = Terminal::new(TestBackend::new(width, 5)).unwrap();
        terminal.draw(|frame| draw(frame, &view, LOOK, now)).unwrap();
        let colours: Vec<_> = [2, 3].map(|y| terminal.backend().buffer()[(x, y)].fg).to_vec();
        assert_eq!(colours, [ratatui::style::Color::Green, ratatui::style::Color::Red], "{width}");
        let plain = Look { colour: false };
        terminal.draw(|frame| draw(frame, &view, plain, now)).unwrap();
        assert_eq!(terminal.backend().buffer()[(x, 2)].fg, ratatui::style::Color::Reset);
    }
}

#[test]
fn a_tunnel_without_paths_or_connections_is_shown_too() {
    let now = Instant::ZERO;
    let mut bare = report();
    bare.connections[0].paths.clear();
    assert!(screen(&View::new(bare.clone(), None), 80, 24, now).contains("no path yet"));
    bare.connections.clear();
    let mut view = View::new(bare, None);
    assert!(screen(&view, 80, 24, now).contains("there is no connection"));
    for key in ['d', 'u', 's', 'p'] {
        assert_eq!(press(&mut view, KeyCode::Char(key), now), None);
    }
    for code in [KeyCode::Down, KeyCode::Up, KeyCode::Left, KeyCode::Tab] {
        press(&mut view, code, now);
    }
}

#[test]
fn of_many_paths_the_chosen_one_is_visible() {
    let now = Instant::ZERO;
    let mut many = report();
    many.connections[0].paths = (1..=8).map(|n| path(&format!("link-{n}"), n, 1_000)).collect();
    let mut view = View::new(many, None);
    let shown = screen(&view, 80, 24, now);
    assert!((1..=8).all(|n| shown.contains(&format!("link-{n}"))), "{shown}");
    for _ in 1..8 {
        press(&mut view, KeyCode::Down, now);
    }
    for height in 4..24 {
        let shown = screen(&view, 40, height, now);
        assert!(shown.contains("> link-8"), "{height}: {shown}");
    }
    press(&mut view, KeyCode::Down, now);
    assert!(screen(&view, 80, 24, now).contains("> link-1"));
    press(&mut view, KeyCode::Up, now);
    assert!(screen(&view, 80, 24, now).contains("> link-8"));
}

#[test]
fn long_names_are_cut_where_there_is_no_room() {
    let now = Instant::ZERO;
    let long = "the-link-of-the-provider-in-the-village";
    let mut report = report();
    report.connections[0].name = "a-very-long-name-of-a-connection-to-somewhere".into();
    report.connections[0].paths[0].name = long.into();
    report.connections[0].paths[1].name = "日本の回線".into();
    let view = View::new(report, None);
    assert!(screen(&view, 200, 24, now).contains(&format!("> {long} up ")));
    for width in [20, 40, 80] {
        let shown = screen(&view, width, 24, now);
        let row = shown.lines().find(|line| line.starts_with("> the-link-")).unwrap();
        assert!(row.contains('…'), "{row}");
    }
}

#[test]
fn connections_are_listed_and_chosen() {
    let now = Instant::ZERO;
    let mut several = report();
    for name in ["pc3", "vps"] {
        let mut other = several.connections[0].clone();
        other.name = name.into();
        several.connections.push(other);
    }
    let mut view = View::new(several, Some("pc3"));
    let shown = screen(&view, 80, 24, now);
    assert!(shown.contains("pc3 2/3") && shown.contains("> pc3        1 of 2"), "{shown}");
    press(&mut view, KeyCode::Tab, now);
    assert!(screen(&view, 80, 24, now).contains("vps 3/3"));
    press(&mut view, KeyCode::Right, now);
    assert!(screen(&view, 80, 24, now).contains("pc2 1/3"));
    press(&mut view, KeyCode::Left, now);
    assert!(screen(&view, 20, 5, now).contains("vps 3/3"));
}

#[test]
fn a_key_changes_the_role_of_the_chosen_path_and_the_screen_confirms_it() {
    let now = Instant::ZERO;
    let mut view = watched(1, now);
    press(&mut view, KeyCode::Down, now);
    let command = |path: &str| Command::PathSpare { path: path.into() };
    assert_eq!(press(&mut view, KeyCode::Char('s'), now), Some(Wish::Ask(command("pc2/lte"))));
    view.hear(News::Done, now);
    assert!(screen(&view, 80, 24, now).contains("pc2/lte is a spare"));
    assert!(!screen(&view, 80, 24, now + Duration::from_secs(7)).contains("is a spare"));
    let up = Command::PathUp { path: "pc2/lte".into() };
    assert_eq!(press(&mut view, KeyCode::Char('u'), now), Some(Wish::Ask(up)));
    view.hear(News::Refused("pc2/lte does not exist any more".into()), now);
    assert!(screen(&view, 80, 24, now).contains("does not exist any more"));
}

#[test]
fn the_only_path_that_is_up_is_taken_out_of_use_by_a_second_press_alone() {
    let now = Instant::ZERO;
    let mut view = watched(1, now);
    let down = |name: &str| Some(Wish::Ask(Command::PathDown { path: name.into() }));
    assert_eq!(press(&mut view, KeyCode::Char('d'), now), None);
    assert!(screen(&view, 80, 24, now).contains("pc2/dsl is the only path that is up"));
    // Another key in between takes it back.
    assert_eq!(press(&mut view, KeyCode::Char('x'), now), None);
    assert_eq!(press(&mut view, KeyCode::Char('d'), now), None);
    assert_eq!(press(&mut view, KeyCode::Char('d'), now), down("pc2/dsl"));
    press(&mut view, KeyCode::Down, now);
    assert_eq!(press(&mut view, KeyCode::Char('d'), now), down("pc2/lte"), "one that is down");
    let mut both = adaptive();
    both.connections[0].paths[1].state = State::Up;
    let mut view = View::new(both, None);
    assert_eq!(press(&mut view, KeyCode::Char('d'), now), down("pc2/dsl"));
}

#[test]
fn while_it_is_paused_nothing_changes_and_then_no_second_is_missing() {
    let now = Instant::ZERO;
    let mut view = watched(2, now);
    press(&mut view, KeyCode::Char('p'), now);
    let paused = screen(&view, 80, 24, now);
    assert!(paused.contains("PAUSED"), "{paused}");
    for second in 3..=5 {
        view.hear(News::Report(Box::new(later(second))), now);
        assert_eq!(screen(&view, 80, 24, now), paused);
    }
    press(&mut view, KeyCode::Char('p'), now);
    let shown = screen(&view, 80, 24, now);
    assert!(!shown.contains("PAUSED") && shown.contains(" █████ 10.0M max"), "{shown}");
}

#[test]
fn a_daemon_that_goes_away_is_told_of_and_its_return_gives_no_absurd_rate() {
    let now = Instant::ZERO;
    let mut view = watched(2, now);
    view.hear(News::Away("no mpt is running behind /run/mpt/mpt0.sock.".into()), now);
    view.hear(
        News::Away("no mpt is running behind /run/mpt/mpt0.sock.".into()),
        now + Duration::from_secs(1),
    );
    let shown = screen(&view, 80, 24, now + Duration::from_secs(12));
    assert!(shown.starts_with("mpt0: mpt is away for 12 s, waiting for it: no mpt is running"), "{shown}");
    assert!(!shown.contains("10.0M"), "{shown}");
    // It counts from zero, and is older than the one before was.
    let mut anew = later(100);
    anew.connections[0].paths[0].tx_bytes = 50_000_000;
    view.hear(News::Report(Box::new(anew)), now);
    let shown = screen(&view, 80, 24, now);
    assert!(shown.starts_with("mpt0  up") && !shown.contains("10.0M"), "{shown}");
    let dsl = shown.lines().find(|line| line.starts_with("> dsl")).unwrap();
    assert!(dsl.contains("member     -     -"), "{dsl}");
}

#[test]
fn a_path_that_goes_is_not_chosen_any_more_and_one_that_comes_has_no_rate_yet() {
    let now = Instant::ZERO;
    let mut view = watched(2, now);
    press(&mut view, KeyCode::Down, now);
    let mut other = later(3);
    other.connections[0].paths.remove(1);
    other.connections[0].paths.push(path("5g", 3, 9_000_000));
    view.hear(News::Report(Box::new(other)), now);
    let shown = screen(&view, 80, 24, now);
    assert!(shown.contains("> dsl") && !shown.contains("lte"), "{shown}");
    let new = shown.lines().find(|line| line.starts_with("  5g")).unwrap();
    assert!(new.contains("member     -     -"), "{new}");
}

#[test]
fn keys_end_it_and_help_goes_away_by_any_key() {
    let now = Instant::ZERO;
    let mut view = watched(1, now);
    press(&mut view, KeyCode::Char('?'), now);
    assert!(screen(&view, 80, 24, now).contains("choose a path"));
    assert_eq!(press(&mut view, KeyCode::Char('d'), now), None);
    assert!(!screen(&view, 80, 24, now).contains("choose a path"));
    assert_eq!(press(&mut view, KeyCode::Char('q'), now), Some(Wish::End));
    assert_eq!(press(&mut view, KeyCode::Esc, now), Some(Wish::End));
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(view.press(interrupt, now), Some(Wish::End));
}

#[test]
fn the_last_events_stand_below_as_many_as_there_is_room_for() {
    let now = Instant::ZERO;
    let mut report = adaptive();
    report.events = (1..=64)
        .map(|number| {
            let what = What::PathDown { reason: "silent".into(), why: format!("silent for {number} ms") };
            Event {
                number,
                uptime_ms: report.tunnel.uptime_ms - (64 - number) * 50_000,
                time_ms: 0,
                level: what.level(),
                connection: Some("pc2".into()),
                path: Some("lte".into()),
                text: what.sentence(Some("pc2"), Some("lte")),
                what,
            }
        })
        .collect();
    let view = View::new(report, None);
    let shown = screen(&view, 80, 24, now);
    let lines: Vec<&str> = shown.lines().collect();
    let title = lines.iter().position(|line| line.starts_with("- events -")).unwrap();
    let last = [
        "  100 s ago  path lte of pc2 is down: silent for 62 ms",
        "   50 s ago  path lte of pc2 is down: silent for 63 ms",
        "    0 s ago  path lte of pc2 is down: silent for 64 ms",
    ];
    assert_eq!(lines[20..23], last, "{shown}");
    assert_eq!((title, lines.len()), (12, 24));
    // A low terminal has the paths first.
    let low = screen(&view, 80, 9, now);
    assert!(!low.contains("events") && low.contains("  lte"), "{low}");
}
