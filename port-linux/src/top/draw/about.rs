//! Lines about the tunnel, its connections, and what happened.

use std::time::Duration;

use mpt_proto::Instant;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::{Look, first_visible, title};
use crate::events::Level;
use crate::rates::Passed;
use crate::report::{ConnectionReport, State};
use crate::sparkline::sparkline;
use crate::status;
use crate::top::text::{UNKNOWN, fit, known, right};
use crate::top::view::View;
use crate::units::{self, short};

/// The first line: the tunnel, which connection of how many, and whether time stands still.
pub(super) fn head(view: &View, look: Look, width: usize, now: Instant) -> Line<'static> {
    let report = view.shown().report();
    let tunnel = &report.tunnel;
    if let Some(away) = view.away() {
        let since = now.since(away.since);
        let text = format!(
            "{}: mpt is away for {}, waiting for it: {}",
            tunnel.name,
            units::duration(since),
            away.why
        );
        return Line::styled(fit(&text, width), look.bad());
    }
    let mut parts = vec![tunnel.name.clone()];
    if view.is_paused() {
        parts.push("PAUSED".into());
    }
    let chosen = view.connection().map(|connection| connection.name.as_str()).unwrap_or_default();
    let place = report.connections.iter().position(|connection| connection.name == chosen);
    if let Some(place) = place.filter(|_| report.connections.len() > 1) {
        parts.push(format!("{chosen} {}/{}", place + 1, report.connections.len()));
    }
    parts.push(format!("up {}", units::duration(Duration::from_millis(tunnel.uptime_ms))));
    parts.push(format!("MTU {}", tunnel.mtu));
    parts.push(tunnel.addresses.join(", "));
    let style = if view.is_paused() { look.bad() } else { look.heading() };
    Line::styled(fit(&parts.join("  "), width), style)
}

/// The connections, one a line.
pub(super) fn connections(view: &View, look: Look, area: Rect) -> Vec<Line<'static>> {
    let report = view.shown().report();
    let width = usize::from(area.width);
    let longest = report.connections.iter().map(|connection| Span::raw(&connection.name).width()).max();
    let name = longest.unwrap_or(0).clamp(10, 24).min(width / 2);
    let heads =
        format!("  {} {} {} {}", fit("CONNECTION", name), fit("PATHS", 7), right("OUT", 6), right("IN", 6));
    let mut lines = vec![Line::styled(heads, look.dim())];
    let chosen = view.connection().map(|connection| connection.name.as_str());
    let place = report.connections.iter().position(|c| Some(c.name.as_str()) == chosen).unwrap_or(0);
    let visible = usize::from(area.height).saturating_sub(1);
    let first = first_visible(place, report.connections.len(), visible);
    lines.extend(report.connections.iter().enumerate().skip(first).take(visible).map(
        |(index, connection)| {
            let up = connection.paths.iter().filter(|path| path.state == State::Up).count();
            let passed = view.shown().connection(connection).last();
            let mark = if index == place { "> " } else { "  " };
            let text = format!(
                "{mark}{} {} {} {}",
                fit(&connection.name, name),
                fit(&format!("{up} of {}", connection.paths.len()), 7),
                right(&known(passed, |passed| short(passed.out_rate())), 6),
                right(&known(passed, |passed| short(passed.in_rate())), 6),
            );
            let style = if up == 0 { look.bad() } else { Style::new() };
            let chosen = if index == place { Modifier::BOLD } else { Modifier::empty() };
            Line::styled(text, style.add_modifier(chosen))
        },
    ));
    lines
}

/// Two lines about the chosen connection.
pub(super) fn connection(view: &View, look: Look, width: usize) -> Vec<Line<'static>> {
    let Some(connection) = view.connection() else {
        return vec![Line::raw("there is no connection")];
    };
    let peers: Vec<String> = connection.peer.iter().map(ToString::to_string).collect();
    let sealed = match &connection.seal {
        None => "in the clear".to_owned(),
        Some(seal) => {
            seal.cipher.as_ref().map_or("no keys yet".to_owned(), |cipher| format!("sealed by {cipher}"))
        }
    };
    let first = match (&connection.problem, stands_by(connection)) {
        (Some(problem), _) => {
            Line::styled(fit(&format!("{}: the peer {problem}", connection.name), width), look.bad())
        }
        (None, stands_by) => Line::raw(fit(
            &format!(
                "{}  {}  {sealed}{stands_by}  {}",
                connection.name,
                status::policy_text(connection),
                peers.join(", ")
            ),
            width,
        )),
    };
    vec![first, Line::raw(fit(&traffic(view, connection, width), width))]
}

fn stands_by(connection: &ConnectionReport) -> &'static str {
    match (connection.used, &connection.standby_of) {
        (Some(false), Some(_)) => "  stands by",
        (Some(false), None) => "  not in use: another one has taken over",
        (Some(true), Some(_)) => "  in use: the first one does not answer",
        _ => "",
    }
}

fn traffic(view: &View, connection: &ConnectionReport, width: usize) -> String {
    let course = view.shown().connection(connection);
    let c = &connection.counters;
    let numbers = |spark: usize| {
        let one = |name: &str, rate: fn(&Passed) -> u64| {
            let line = if spark > 0 { sparkline(&course.values(rate), spark) + " " } else { String::new() };
            let now = course.last().map_or(UNKNOWN.to_owned(), |passed| units::bit_rate(rate(&passed)));
            format!("{name} {line}{now:<11}")
        };
        format!(
            "{}  {}  sent again {}  lost on the way {}",
            one("out", Passed::out_rate),
            one("in", Passed::in_rate),
            c.tx_resent,
            c.rx_lost
        )
    };
    let bare = numbers(0);
    let room = width.saturating_sub(Span::raw(bare.trim_end()).width() + 2) / 2;
    if room >= 4 { numbers(room.min(40)) } else { bare }
}

/// The last things that happened, and how long ago, the newest at the end.
pub(super) fn last_events(view: &View, look: Look, area: Rect) -> Vec<Line<'static>> {
    let report = view.shown().report();
    let width = usize::from(area.width);
    let visible = usize::from(area.height).saturating_sub(1);
    let mut lines = vec![title("events", look, width)];
    lines.extend(report.events.iter().skip(report.events.len().saturating_sub(visible)).map(|event| {
        let ago = report.tunnel.uptime_ms.saturating_sub(event.uptime_ms) / 1000;
        let style = if event.level == Level::Warning { look.bad() } else { Style::new() };
        Line::styled(fit(&format!("{} ago  {}", right(&age(ago), 7), event.text), width), style)
    }));
    lines
}

/// Seconds in one unit: `5 s`, `12 min`, `30 h`, `4 d`.
fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}
