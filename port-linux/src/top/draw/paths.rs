//! The paths of a connection, and more of the chosen one.

use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::{Look, first_visible, title};
use crate::mtu;
use crate::rates::Passed;
use crate::report::{ConnectionReport, PathReport, State};
use crate::sparkline::sparkline;
use crate::top::text::{UNKNOWN, fit, known, right};
use crate::top::tracked::Course;
use crate::top::view::View;
use crate::units::{self, percent, short, short_milliseconds};

/// A column: its heading, its width, and whether numbers stand in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Column {
    kind: Kind,
    heading: &'static str,
    width: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Name,
    State,
    Role,
    Out,
    In,
    Rtt,
    Jitter,
    Loss,
    Queue,
    Share,
    Mtu,
    Used,
    Course,
}

/// In the order in which they stand.
const COLUMNS: [Column; 13] = [
    column(Kind::Name, "PATH", 12),
    column(Kind::State, "STATE", 13),
    column(Kind::Role, "ROLE", 6),
    column(Kind::Out, "OUT", 5),
    column(Kind::In, "IN", 5),
    column(Kind::Rtt, "RTT", 5),
    column(Kind::Jitter, "JITTER", 6),
    column(Kind::Loss, "LOSS%", 5),
    column(Kind::Queue, "QUEUE", 5),
    column(Kind::Share, "SHARE%", 6),
    column(Kind::Mtu, "MTU", 5),
    column(Kind::Used, "USED", 5),
    column(Kind::Course, "OUT, IN", 24),
];

const fn column(kind: Kind, heading: &'static str, width: usize) -> Column {
    Column { kind, heading, width }
}

/// What goes first where the terminal is narrow.
const EXPENDABLE: [Kind; 12] = [
    Kind::Course,
    Kind::Mtu,
    Kind::Used,
    Kind::Queue,
    Kind::Jitter,
    Kind::Role,
    Kind::Share,
    Kind::Loss,
    Kind::Rtt,
    Kind::In,
    Kind::State,
    Kind::Out,
];

/// The mark of the chosen path, or its absence.
const MARK: usize = 2;

/// Those that fit, with the widths that they have: the names of paths get what is left, up to the longest of them.
fn columns(width: usize, longest_name: usize) -> Vec<Column> {
    let mut columns = COLUMNS.to_vec();
    let total = |columns: &[Column]| MARK + columns.iter().map(|column| column.width + 1).sum::<usize>() - 1;
    for kind in EXPENDABLE {
        if total(&columns) <= width {
            break;
        }
        columns.retain(|column| column.kind != kind);
    }
    let spare = width.saturating_sub(total(&columns));
    let wanted = longest_name.saturating_sub(columns[0].width);
    columns[0].width += spare.min(wanted);
    let cut = total(&columns).saturating_sub(width);
    columns[0].width = columns[0].width.saturating_sub(cut);
    columns
}

/// A heading, and each path in one line or two.
pub(super) fn table(view: &View, look: Look, area: Rect, rows: u16) -> Vec<Line<'static>> {
    let Some(connection) = view.connection() else { return Vec::new() };
    let longest = connection.paths.iter().map(|path| Span::raw(&path.name).width()).max().unwrap_or(0);
    let width = usize::from(area.width);
    let mut columns = columns(width, longest);
    // A second line has it.
    columns.retain(|column| rows == 1 || column.kind != Kind::Course);
    let heading = |column: &Column| {
        if is_text(column.kind) {
            fit(column.heading, column.width)
        } else {
            right(column.heading, column.width)
        }
    };
    let heads: Vec<String> = columns.iter().map(heading).collect();
    let mut lines = vec![Line::styled(format!("  {}", heads.join(" ")), look.dim())];
    if connection.paths.is_empty() {
        lines.push(Line::raw("  no path yet"));
    }
    let chosen = view.path().map(|path| path.name.as_str());
    let place = connection.paths.iter().position(|path| Some(path.name.as_str()) == chosen).unwrap_or(0);
    let visible = usize::from(area.height).saturating_sub(1) / usize::from(rows.max(1));
    let first = first_visible(place, connection.paths.len(), visible);
    for (index, path) in connection.paths.iter().enumerate().skip(first).take(visible) {
        lines.push(row(view, look, &columns, (connection, path), index == place));
        if rows > 1 {
            lines.push(courses(view.shown().path(connection, path), width));
        }
    }
    lines
}

fn is_text(kind: Kind) -> bool {
    matches!(kind, Kind::Name | Kind::State | Kind::Role | Kind::Course)
}

fn row(
    view: &View,
    look: Look,
    columns: &[Column],
    (connection, path): (&ConnectionReport, &PathReport),
    is_chosen: bool,
) -> Line<'static> {
    let state = if path.state == State::Up { look.good() } else { look.bad() };
    let weight = if is_chosen { Modifier::BOLD } else { Modifier::empty() };
    let mut spans = vec![Span::raw(if is_chosen { "> " } else { "  " })];
    for (index, column) in columns.iter().enumerate() {
        let text = cell(view, column, connection, path);
        let text = if is_text(column.kind) { fit(&text, column.width) } else { right(&text, column.width) };
        // Where there is no room for the state, the name has its colour.
        let has_state = columns.iter().any(|column| column.kind == Kind::State);
        let has_colour = column.kind == if has_state { Kind::State } else { Kind::Name };
        let style = if has_colour { state } else { Style::new() };
        spans.push(Span::styled(text, style.add_modifier(weight)));
        if index + 1 < columns.len() {
            spans.push(Span::raw(" "));
        }
    }
    Line::from(spans)
}

fn cell(view: &View, column: &Column, connection: &ConnectionReport, path: &PathReport) -> String {
    let course = view.shown().path(connection, path);
    let model = path.model.as_ref();
    match column.kind {
        Kind::Name => path.name.clone(),
        Kind::State => state(path),
        Kind::Role => path.role.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
        Kind::Out => known(course.last(), |passed| short(passed.out_rate())),
        Kind::In => known(course.last(), |passed| short(passed.in_rate())),
        Kind::Rtt => known(path.rtt_us, short_milliseconds),
        Kind::Jitter => known(model, |model| short_milliseconds(model.jitter_us.into())),
        Kind::Loss => known(course.lately().and_then(|passed| passed.loss_per_mille()), percent),
        Kind::Queue => known(model, |model| short_milliseconds(model.queue_us.into())),
        Kind::Share => known(view.shown().share(connection, path), |share| share.to_string()),
        Kind::Mtu => path_mtu(path).to_string(),
        Kind::Used => short(path.tx_bytes.saturating_add(path.rx_bytes)),
        Kind::Course => {
            let half = column.width.saturating_sub(1) / 2;
            let out = sparkline(&course.values(Passed::out_rate), half);
            format!("{out} {}", sparkline(&course.values(Passed::in_rate), column.width - half - 1))
        }
    }
}

fn state(path: &PathReport) -> String {
    match (path.state, path.reason.as_deref()) {
        (State::Up, _) => "up".to_owned(),
        (State::Down, Some("disabled")) if path.role.as_deref() == Some("spare") => "waits".to_owned(),
        (State::Down, Some("disabled")) => "out of use".to_owned(),
        (State::Down, Some(reason)) => format!("down {reason}"),
        (State::Down, None) => "down".to_owned(),
    }
}

/// The largest IP packet on the path.
fn path_mtu(path: &PathReport) -> u16 {
    let headers = u16::MAX - mtu::max_datagram(u16::MAX, path.local.ip());
    path.max_datagram.saturating_add(headers)
}

/// How the rates of a path went, as the second line of it.
fn courses(course: &Course, width: usize) -> Line<'static> {
    let room = width.saturating_sub("    out 99.9M max  in 99.9M max".len());
    let half = (room / 2).min(60);
    let one = |name: &str, rate: fn(&Passed) -> u64| {
        let values = course.values(rate);
        let highest = values[values.len().saturating_sub(half)..].iter().flatten().max().copied();
        format!(
            "{name} {} {}",
            sparkline(&values, half),
            fit(&known(highest, |rate| short(rate) + " max"), 9)
        )
    };
    Line::raw(fit(&format!("    {} {}", one("out", Passed::out_rate), one("in", Passed::in_rate)), width))
}

/// A title and three lines about the chosen path.
pub(super) fn detail(view: &View, look: Look, width: usize) -> Vec<Line<'static>> {
    let (Some(connection), Some(path)) = (view.connection(), view.path()) else { return Vec::new() };
    let course = view.shown().path(connection, path);
    let rate = |rate: fn(&Passed) -> u64| known(course.last(), |passed| units::bit_rate(rate(&passed)));
    let device = path.device.as_ref().map_or(String::new(), |device| format!(" on {device}"));
    let remote = path.remote.map_or("not known yet".to_owned(), |remote| remote.to_string());
    let carries = path.model.as_ref().map(|model| match (path.state, model.limited_by.as_str()) {
        _ if !model.is_measured() => "carries: not measured yet".to_owned(),
        (State::Down, _) => format!("carried {} before", units::bit_rate(model.rate)),
        (State::Up, "") => format!("carries {}", units::bit_rate(model.rate)),
        (State::Up, limit) => format!("carries {}, limited by: {limit}", units::bit_rate(model.rate)),
    });
    let waits = path.waits_for.as_ref().map(|what| format!("waits: {what}"));
    let last = waits.or(carries).unwrap_or_else(|| format!("weight {}", path.weight));
    let model = path.model.as_ref();
    let rates = format!("out {}  in {}  {last}", rate(Passed::out_rate), rate(Passed::in_rate));
    let counts = format!(
        "sent {}  received {}  lost {}  again {}  MTU {}  down {} times",
        units::bytes(path.tx_bytes),
        units::bytes(path.rx_bytes),
        known(model, |model| model.lost.to_string()),
        known(model, |model| model.resent.to_string()),
        path_mtu(path),
        path.downs,
    );
    let plan = path.data.as_ref().map_or(String::new(), |data| {
        format!("plan: {} of {} used  ", units::bytes(data.used_bytes), units::bytes(data.size_bytes))
    });
    let tier = model.filter(|model| model.tier > 1);
    let tier = tier.map_or(String::new(), |model| format!("tier {}  ", model.tier));
    let ends = format!("{tier}{plan}{}{device} -> {remote}", path.local);
    let text = [rates, counts, ends].map(|line| Line::raw(fit(&line, width)));
    [title(&format!("{}/{}", connection.name, path.name), look, width)].into_iter().chain(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(width: usize) -> Vec<Kind> {
        columns(width, 8).iter().map(|column| column.kind).collect()
    }

    #[test]
    fn narrow_terminals_have_fewer_columns_and_wide_ones_all() {
        assert_eq!(kinds(20), [Kind::Name, Kind::Out]);
        assert_eq!(kinds(40), [Kind::Name, Kind::State, Kind::Out, Kind::In]);
        assert!(kinds(80).contains(&Kind::Queue) && !kinds(80).contains(&Kind::Course));
        assert_eq!(kinds(130).len(), COLUMNS.len());
        assert_eq!(kinds(1), [Kind::Name]);
    }

    #[test]
    fn columns_never_exceed_the_width_and_long_names_get_what_is_left() {
        for width in 3..300 {
            let columns = columns(width, 40);
            let total = MARK + columns.iter().map(|column| column.width + 1).sum::<usize>() - 1;
            assert!(total <= width, "{width}: {columns:?}");
        }
        assert_eq!(columns(200, 40)[0].width, 40);
    }
}
