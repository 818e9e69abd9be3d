//! Without the program there is no recorder: a host program has no place for its files.

use mpt_proto::{Connection, Instant};

use super::{Decision, Input, Names, State, Subject};

/// There is none.
#[derive(Debug)]
pub enum Recorder {}

impl Recorder {
    pub(super) fn input(&mut self, _: &Input<'_>, _: Option<Instant>) {
        match *self {}
    }

    pub(super) fn is_due(&self) -> bool {
        match *self {}
    }

    pub(super) fn begin_segment(&mut self, _: &Connection<'_>, _: &Names) {
        match *self {}
    }

    pub(super) fn decide(&mut self, _: &Decision<'_>) {
        match *self {}
    }

    /// Nothing is handed on.
    pub fn flush(&mut self) -> Option<State> {
        match *self {}
    }

    /// There is none.
    pub fn state(&self) -> Option<State> {
        match *self {}
    }
}

/// There are none.
#[derive(Debug)]
pub enum Recordings {}

impl Recordings {
    /// None begins.
    pub fn begin(&mut self, _: &Subject<'_>) -> Option<Box<Recorder>> {
        match *self {}
    }
}
