//! One log line, and its forms.

use std::fmt::{Debug, Write};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

/// One line. Of what happened to a connection or path it knows which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) level: Level,
    pub(super) message: String,
    /// `event`, `connection` and `path` of what is in [`crate::events`].
    pub(super) place: [Option<String>; 3],
    /// Others, as libraries have them.
    pub(super) fields: Vec<(&'static str, String)>,
}

const PLACE: [&str; 3] = ["event", "connection", "path"];

impl Line {
    pub(super) fn new(event: &Event<'_>) -> Self {
        let mut line = Self {
            level: *event.metadata().level(),
            message: String::new(),
            place: [None, None, None],
            fields: Vec::new(),
        };
        event.record(&mut line);
        line
    }

    /// Lines of people: time, level, message.
    pub(super) fn text(&self, time: &str, is_coloured: bool) -> String {
        let level = self.level.as_str();
        if !is_coloured {
            return format!("{time} {level:>5} {}\n", self.words());
        }
        let colour = match self.level {
            Level::ERROR => 31,
            Level::WARN => 33,
            Level::INFO => 32,
            Level::DEBUG => 34,
            _ => 35,
        };
        format!("\x1b[2m{time}\x1b[0m \x1b[{colour}m{level:>5}\x1b[0m {}\n", self.words())
    }

    /// Lines of journald: each with its priority, by sd-daemon(3). It knows the time.
    pub(super) fn journal(&self) -> String {
        let priority = match self.level {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        };
        self.words().lines().fold(String::new(), |text, line| text + &format!("<{priority}>{line}\n"))
    }

    /// One JSON object.
    pub(super) fn json(&self, time: &str) -> String {
        let level = match self.level {
            Level::WARN => "warning".to_owned(),
            level => level.as_str().to_lowercase(),
        };
        let mut object = Map::new();
        object.insert("time".into(), time.into());
        object.insert("level".into(), level.into());
        for (name, value) in PLACE.iter().zip(&self.place) {
            if let Some(value) = value {
                object.insert((*name).into(), value.as_str().into());
            }
        }
        object.insert("message".into(), self.message.as_str().into());
        for (name, value) in &self.fields {
            object.entry(*name).or_insert_with(|| value.as_str().into());
        }
        format!("{}\n", Value::Object(object))
    }

    fn words(&self) -> String {
        let mut words = self.message.clone();
        for (name, value) in &self.fields {
            // Writing to a string cannot fail.
            let _ = write!(words, " {name}={value}");
        }
        words
    }

    fn take(&mut self, name: &'static str, value: String) {
        match PLACE.iter().position(|place| *place == name) {
            Some(place) => self.place[place] = Some(value),
            None if name == "message" => self.message = value,
            // Of lines by the crate `log`: where they come from.
            None if name.starts_with("log.") => {}
            None => self.fields.push((name, value)),
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.take(field.name(), format!("{value:?}"));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn line(message: &str, place: [Option<&str>; 3]) -> Line {
        let place = place.map(|text| text.map(str::to_owned));
        Line { level: Level::WARN, message: message.into(), place, fields: Vec::new() }
    }

    #[test]
    fn a_line_has_the_form_of_who_reads_it() {
        let down = Some("path_down");
        let line = line("path \"lte\" of vps is down", [down, Some("vps"), Some("lte")]);
        assert_eq!(line.text("NOON", false), "NOON  WARN path \"lte\" of vps is down\n");
        assert!(line.text("NOON", true).contains("\x1b[33m WARN\x1b[0m path"));
        assert_eq!(line.journal(), "<4>path \"lte\" of vps is down\n");
        let json: Value = serde_json::from_str(&line.json("NOON")).unwrap();
        let expected = serde_json::json!({"time": "NOON", "level": "warning", "event": "path_down",
            "connection": "vps", "path": "lte", "message": "path \"lte\" of vps is down"});
        assert_eq!(json, expected);
    }

    #[test]
    fn each_line_of_a_long_message_has_its_priority() {
        let line = Line { level: Level::ERROR, ..line("mpt.toml:3: wrong\n 3 | x", [None; 3]) };
        assert_eq!(line.journal(), "<3>mpt.toml:3: wrong\n<3> 3 | x\n");
        assert_eq!(line.json("NOON").lines().count(), 1);
    }
}
