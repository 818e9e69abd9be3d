//! What is looked at, and what keys do.

use std::time::Duration;

use mpt_proto::Instant;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::asking::News;
use super::tracked::Tracked;
use crate::control::Command;
use crate::report::{ConnectionReport, PathReport, Report, State};

/// How long a message stays.
const MESSAGE: Duration = Duration::from_secs(6);

/// What a key asks for beyond the view.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// The end.
    End,
    /// To ask the daemon for this.
    Ask(Command),
}

/// What is on the screen.
#[derive(Debug)]
pub(super) struct View {
    tracked: Tracked,
    /// What is shown instead, while it is paused.
    paused: Option<Tracked>,
    connection: String,
    path: String,
    away: Option<Away>,
    message: Option<(String, Instant)>,
    /// What was asked for, to be said when it is done.
    asked: Option<String>,
    /// A path that is to be taken out of use though no other is up: when the key comes again.
    unsure: Option<String>,
    help: bool,
}

/// The daemon does not answer.
#[derive(Debug, Clone)]
pub(super) struct Away {
    /// Since when.
    pub(super) since: Instant,
    /// What was met instead.
    pub(super) why: String,
}

impl View {
    /// Of a daemon that has answered, and of one of its connections, the first by default.
    pub(super) fn new(report: Report, connection: Option<&str>) -> Self {
        let first = report.connections.first().map(|connection| connection.name.as_str());
        let connection = connection.or(first).unwrap_or_default().to_owned();
        let mut view = Self {
            tracked: Tracked::new(report),
            paused: None,
            connection,
            path: String::new(),
            away: None,
            message: None,
            asked: None,
            unsure: None,
            help: false,
        };
        view.choose();
        view
    }

    /// Takes in what the daemon said.
    pub(super) fn hear(&mut self, news: News, now: Instant) {
        match news {
            News::Report(report) => {
                self.away = None;
                self.tracked.follow(*report);
                self.choose();
            }
            News::Away(why) => {
                self.tracked.interrupt();
                let since = self.away.take().map_or(now, |away| away.since);
                self.away = Some(Away { since, why });
            }
            News::Done => {
                let done = self.asked.take().unwrap_or_else(|| "done".to_owned());
                self.message = Some((done, now));
            }
            News::Refused(why) => {
                self.asked = None;
                self.message = Some((why, now));
            }
        }
    }

    /// What a key does.
    pub(super) fn press(&mut self, key: KeyEvent, now: Instant) -> Option<Wish> {
        let unsure = self.unsure.take();
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return (key.code == KeyCode::Char('c')).then_some(Wish::End);
        }
        if self.help {
            self.help = false;
            return (key.code == KeyCode::Char('q')).then_some(Wish::End);
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Some(Wish::End),
            KeyCode::Char('?' | 'h') => self.help = true,
            KeyCode::Char('p' | ' ') => {
                self.paused = if self.paused.is_some() { None } else { Some(self.tracked.clone()) };
                self.choose();
            }
            KeyCode::Down | KeyCode::Char('j') => self.step_path(1),
            KeyCode::Up | KeyCode::Char('k') => self.step_path(-1),
            KeyCode::Right | KeyCode::Tab => self.step_connection(1),
            KeyCode::Left | KeyCode::BackTab => self.step_connection(-1),
            KeyCode::Char('u') => return self.set("in use", |path| Command::PathUp { path }),
            KeyCode::Char('d') => return self.take_out(unsure.as_deref(), now),
            KeyCode::Char('s') => {
                return self
                    .set("a spare: in use while no other path is up", |path| Command::PathSpare { path });
            }
            _ => {}
        }
        None
    }

    fn take_out(&mut self, unsure: Option<&str>, now: Instant) -> Option<Wish> {
        let (connection, path) = (self.connection()?, self.path()?);
        let up = connection.paths.iter().filter(|path| path.state == State::Up);
        let is_only = up.map(|path| &path.name).eq([&path.name]);
        let name = format!("{}/{}", connection.name, path.name);
        if is_only && unsure != Some(name.as_str()) {
            let only =
                format!("{name} is the only path that is up: d again takes it out of use all the same");
            self.message = Some((only, now));
            self.unsure = Some(name);
            return None;
        }
        self.set("out of use", |path| Command::PathDown { path })
    }

    fn set(&mut self, role: &str, command: impl Fn(String) -> Command) -> Option<Wish> {
        let full = format!("{}/{}", self.connection()?.name, self.path()?.name);
        self.asked = Some(format!("{full} is {role}"));
        Some(Wish::Ask(command(full)))
    }

    fn step_path(&mut self, by: isize) {
        let Some(connection) = self.connection() else { return };
        let names = connection.paths.iter().map(|path| &path.name);
        self.path = neighbour(names, &self.path, by).unwrap_or_default();
    }

    fn step_connection(&mut self, by: isize) {
        let names = self.shown().report().connections.iter().map(|connection| &connection.name);
        self.connection = neighbour(names, &self.connection, by).unwrap_or_default();
        self.path.clear();
        self.choose();
    }

    /// Chooses a connection and a path where the chosen ones are not, or not any more.
    fn choose(&mut self) {
        if self.connection().is_none() {
            let first = self.shown().report().connections.first();
            self.connection = first.map(|connection| connection.name.clone()).unwrap_or_default();
        }
        if self.path().is_none() {
            let first = self.connection().and_then(|connection| connection.paths.first());
            self.path = first.map(|path| path.name.clone()).unwrap_or_default();
        }
    }

    /// What is shown: how things are, or were when it was paused.
    pub(super) fn shown(&self) -> &Tracked {
        self.paused.as_ref().unwrap_or(&self.tracked)
    }

    /// The chosen connection.
    pub(super) fn connection(&self) -> Option<&ConnectionReport> {
        self.shown().report().connections.iter().find(|connection| connection.name == self.connection)
    }

    /// The chosen path.
    pub(super) fn path(&self) -> Option<&PathReport> {
        self.connection()?.paths.iter().find(|path| path.name == self.path)
    }

    /// Since when the daemon does not answer, and why not.
    pub(super) fn away(&self) -> Option<&Away> {
        self.away.as_ref()
    }

    /// Whether time stands still on the screen.
    pub(super) fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// Whether the keys are explained.
    pub(super) fn has_help(&self) -> bool {
        self.help
    }

    /// What is to be said now.
    pub(super) fn message(&self, now: Instant) -> Option<&str> {
        let (text, since) = self.message.as_ref()?;
        (now.since(*since) < MESSAGE).then_some(text)
    }
}

/// The name `by` places further on, in a circle; the first where `from` is none of them.
fn neighbour<'n>(names: impl Iterator<Item = &'n String>, from: &str, by: isize) -> Option<String> {
    let names: Vec<&String> = names.collect();
    let Some(at) = names.iter().position(|name| *name == from) else {
        return names.first().map(|name| (*name).clone());
    };
    let count = isize::try_from(names.len()).ok()?;
    let next = (isize::try_from(at).ok()? + by).rem_euclid(count);
    Some(names[usize::try_from(next).ok()?].clone())
}
