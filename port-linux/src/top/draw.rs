//! The screen. What does not fit is left out, the least needed first: by height in [`Heights`], by width in [`paths`].

mod about;
mod paths;

use mpt_proto::Instant;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use super::text::fit;
use super::view::View;

/// How it looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// With colours.
    pub(super) colour: bool,
}

impl Look {
    fn colour(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    fn good(self) -> Style {
        self.colour(Color::Green)
    }

    fn bad(self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }

    fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    fn heading(self) -> Style {
        self.colour(Color::Cyan).add_modifier(Modifier::BOLD)
    }
}

const HELP: [&str; 13] = [
    "up, down     choose a path (also k, j)",
    "left, right  choose a connection (also tab)",
    "u  d  s      take the path into use, out of",
    "             use, or make it a spare",
    "p            pause, and go on",
    "q            quit (also Esc, Ctrl-C)",
    "",
    "OUT and IN: bits a second of datagrams. RTT,",
    "JITTER, QUEUE: ms. LOSS%, SHARE%: in the last",
    "10 looks. - is not known: nothing was sent, or",
    "nothing is reported of it (policy adaptive).",
    "USED: bytes of datagrams, both directions.",
    "What u, d and s do lasts until mpt ends.",
];

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View, look: Look, now: Instant) {
    let area = frame.area();
    let shown = view.shown();
    let connections = shown.report().connections.len();
    let paths = view.connection().map_or(0, |connection| connection.paths.len());
    let heights = Heights::of(area.height, connections, paths, shown.report().events.len());
    let [head, list, about, table, detail, events, _, foot] = Layout::vertical([
        Constraint::Length(heights.head),
        Constraint::Length(heights.connections),
        Constraint::Length(heights.about),
        Constraint::Length(heights.paths),
        Constraint::Length(heights.detail),
        Constraint::Length(heights.events),
        Constraint::Fill(1),
        Constraint::Length(heights.foot),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(about::head(view, look, head.width.into(), now)), head);
    if list.height > 0 {
        frame.render_widget(Paragraph::new(about::connections(view, look, list)), list);
    }
    frame.render_widget(Paragraph::new(about::connection(view, look, about.width.into())), about);
    frame.render_widget(Paragraph::new(paths::table(view, look, table, heights.rows_of_a_path)), table);
    frame.render_widget(Paragraph::new(paths::detail(view, look, detail.width.into())), detail);
    if events.height > 0 {
        frame.render_widget(Paragraph::new(about::last_events(view, look, events)), events);
    }
    frame.render_widget(Paragraph::new(foot_line(view, look, foot.width.into(), now)), foot);
    if view.has_help() {
        help(frame, area, look);
    }
}

fn foot_line(view: &View, look: Look, width: usize, now: Instant) -> Line<'static> {
    if let Some(message) = view.message(now) {
        return Line::styled(fit(message, width), look.heading());
    }
    let keys = [
        "up/down path  left/right connection  u/d/s in use/out/spare  p pause  ? help  q quit",
        "up/down path  u/d/s in use/out/spare  p pause  ? help  q quit",
        "u/d/s  p pause  ? help  q quit",
        "? help  q quit",
    ];
    let one = view.shown().report().connections.len() < 2;
    let fits = |text: &&&str| text.len() <= width;
    let text = keys.iter().skip(usize::from(one)).find(fits).copied().unwrap_or("q quit");
    Line::styled(text.to_owned(), look.dim())
}

fn help(frame: &mut Frame<'_>, area: Rect, look: Look) {
    let longest = HELP.iter().map(|line| line.len()).max().unwrap_or(0);
    let width = u16::try_from(longest + 4).unwrap_or(u16::MAX).min(area.width);
    let height = u16::try_from(HELP.len() + 2).unwrap_or(u16::MAX).min(area.height);
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    frame.render_widget(Clear, place);
    let inner = usize::from(width).saturating_sub(2);
    let mut lines = vec![Line::styled(fit(" mpt top: any key goes on", inner), look.heading())];
    lines.extend(HELP.iter().map(|line| Line::raw(format!(" {line}"))));
    frame.render_widget(Paragraph::new(lines).style(Style::new().add_modifier(Modifier::REVERSED)), place);
}

/// A rule with a title.
fn title(text: &str, look: Look, width: usize) -> Line<'static> {
    let text = format!("- {text} ");
    let rest = "-".repeat(width.saturating_sub(Span::raw(text.as_str()).width()));
    Line::styled(fit(&format!("{text}{rest}"), width), look.heading())
}

/// How many lines each part has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Heights {
    head: u16,
    connections: u16,
    about: u16,
    /// With the line of headings.
    paths: u16,
    rows_of_a_path: u16,
    detail: u16,
    events: u16,
    foot: u16,
}

impl Heights {
    /// Lines about the chosen connection.
    const ABOUT: u16 = 2;
    /// Lines about the chosen path, with a title.
    const DETAIL: u16 = 4;
    /// Events that there is always room for, with a title.
    const EVENTS: u16 = 4;
    /// Connections that are listed before there is room to spare.
    const CONNECTIONS: u16 = 3;

    fn of(height: u16, connections: usize, paths: usize, events: usize) -> Self {
        let count = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
        let (connections, paths) = (count(connections), count(paths).max(1));
        let events = if events == 0 { 0 } else { count(events).saturating_add(1) };
        let mut left = Left(height);
        let mut heights = Self { head: left.whole(1), rows_of_a_path: 1, ..Self::default() };
        heights.foot = left.whole(1);
        heights.paths = left.whole(1) + left.whole(1);
        heights.about = left.whole(Self::ABOUT);
        // Half of what is left is for paths; then comes what matters more than the last of many.
        heights.paths += left.some((paths - 1).min(left.0 / 2));
        heights.detail = left.whole(Self::DETAIL);
        if connections > 1 {
            heights.connections = left.whole(1 + connections.min(Self::CONNECTIONS));
        }
        heights.events = left.whole(Self::EVENTS.min(events));
        // The list of paths is whole before each gets a second line.
        heights.paths += left.some((paths + 1).saturating_sub(heights.paths));
        if heights.paths > paths && left.whole(paths) > 0 {
            heights.rows_of_a_path = 2;
            heights.paths += paths;
        }
        if heights.connections > 0 {
            heights.connections += left.some((connections + 1 - heights.connections).min(left.0 / 2));
        }
        heights.events += left.some(events - heights.events);
        heights
    }
}

/// Lines that nothing has yet.
struct Left(u16);

impl Left {
    /// All of these, or none.
    fn whole(&mut self, lines: u16) -> u16 {
        if lines <= self.0 { self.some(lines) } else { 0 }
    }

    /// As many of these as there are.
    fn some(&mut self, lines: u16) -> u16 {
        let got = lines.min(self.0);
        self.0 -= got;
        got
    }
}

/// The first of the `visible` lines of `count` that are shown, so that the chosen one is among them.
fn first_visible(chosen: usize, count: usize, visible: usize) -> usize {
    let last = count.saturating_sub(visible);
    chosen.saturating_sub(visible / 2).min(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(h: Heights) -> u16 {
        h.head + h.connections + h.about + h.paths + h.detail + h.events + h.foot
    }

    #[test]
    fn what_is_shown_never_exceeds_the_height_and_has_a_path_from_four_lines_on() {
        for height in 0..80 {
            for (connections, paths, events) in [(0, 0, 0), (1, 2, 3), (3, 8, 64), (1000, 16, 64)] {
                let heights = Heights::of(height, connections, paths, events);
                assert!(sum(heights) <= height, "{height}: {heights:?}");
                assert!(height < 4 || heights.paths >= 2, "{height}: {heights:?}");
            }
        }
    }

    #[test]
    fn a_usual_terminal_has_room_for_everything() {
        let heights = Heights::of(24, 1, 3, 64);
        assert_eq!((heights.paths, heights.rows_of_a_path, heights.detail), (7, 2, 4));
        assert!(heights.events >= 8 && heights.about == 2, "{heights:?}");
        let many = Heights::of(24, 3, 8, 64);
        assert_eq!((many.paths, many.rows_of_a_path, many.detail, many.connections), (9, 1, 4, 4));
        assert_eq!(Heights::of(5, 3, 8, 64).paths, 3);
    }

    #[test]
    fn the_chosen_line_is_visible() {
        for count in 1..20 {
            for visible in 1..20 {
                for chosen in 0..count {
                    let first = first_visible(chosen, count, visible);
                    assert!((first..first + visible).contains(&chosen), "{chosen} of {count} in {visible}");
                }
            }
        }
    }
}
