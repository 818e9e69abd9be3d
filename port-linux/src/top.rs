//! `mpt top`: a running tunnel on the whole terminal, live. A client of the control socket, and nothing else.
//!
//! One thread asks the daemon (`asking`), one waits for signals (`terminal`); the main one has the keyboard and draws.

mod asking;
mod draw;
mod terminal;
#[cfg(test)]
mod tests;
mod text;
mod tracked;
mod view;

use std::io::{IsTerminal, stdout};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use mpt_proto::Instant;
use ratatui::crossterm::event::{self, Event, KeyEventKind};

use crate::clock::Clock;
use crate::control::{find, report};
use crate::failure::misconfigured;
use crate::output;
use crate::status::check_name;
use asking::Asking;
use draw::Look;
use terminal::Terminal;
use view::{View, Wish};

/// How long to wait for a key until the daemon's answers and signals are looked at.
const GLANCE: Duration = Duration::from_millis(100);
/// Between two drawings of what shows passing time.
const REDRAW: Duration = Duration::from_secs(1);

/// Runs `mpt top`, until a key or a signal ends it.
///
/// # Errors
/// When standard output is no terminal, no daemon answers at the start, or it has no connection of that name.
pub fn top(connection: Option<&str>, socket: Option<&Path>) -> Result<()> {
    check_terminal()?;
    // Of this daemon, and of no other that may come while it is away.
    let socket = socket.map_or_else(find, |socket| Ok(socket.to_path_buf()))?;
    let report = report(Some(&socket))?;
    connection.map_or(Ok(()), |name| check_name(&report, name))?;
    let mut view = View::new(report, connection);
    let look = Look { colour: output::wants_colours() };
    let mut terminal = Terminal::take()?;
    let asking = Asking::start(socket)?;
    watch(&mut view, look, &mut terminal, &asking).context("the terminal")
}

fn check_terminal() -> Result<()> {
    let kind = std::env::var("TERM").unwrap_or_default();
    if !stdout().is_terminal() {
        return Err(misconfigured(
            "standard output is no terminal, which `mpt top` needs; for a script: mpt status --json",
        ));
    }
    if kind == "dumb" {
        return Err(misconfigured(
            "this terminal cannot place text (TERM=dumb), which `mpt top` needs; in its place: mpt status",
        ));
    }
    Ok(())
}

/// Draws, and follows keys and answers, until the end.
fn watch(view: &mut View, look: Look, terminal: &mut Terminal, asking: &Asking) -> std::io::Result<()> {
    let clock = Clock::start();
    let mut drawn = None::<Instant>;
    while !terminal.is_to_end() {
        let now = clock.now();
        let mut changed = drawn.is_none_or(|drawn| now.since(drawn) >= REDRAW);
        for news in asking.news() {
            view.hear(news, now);
            changed = true;
        }
        if changed {
            terminal.draw(|frame| draw::draw(frame, view, look, now))?;
            drawn = Some(now);
        }
        if !event::poll(GLANCE)? {
            continue;
        }
        match event::read()? {
            Event::Key(key) if key.kind != KeyEventKind::Release => match view.press(key, clock.now()) {
                Some(Wish::End) => return Ok(()),
                Some(Wish::Ask(command)) => asking.ask(command),
                None => {}
            },
            _ => {}
        }
        // Also after a change of size.
        drawn = None;
    }
    Ok(())
}
