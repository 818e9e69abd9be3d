//! Recordings that are begun and ended while mpt runs.

use super::{Driver, Peer};
use crate::control::{Answer, RecordingState};
use crate::report::VERSION;

impl<'s> Driver<'s> {
    /// Records a connection from now on, its last so many bytes, until mpt ends or the connection begins anew.
    pub(super) fn answer_record_start(&mut self, connection: Option<&str>, limit: u64) -> Answer {
        let name = match self.find_connection(connection) {
            Ok(name) => name,
            Err(error) => return Answer::error(error),
        };
        let state = self.recorded(&name).and_then(|peer| Some(peer.connection.recorder()?.state()?.is_over));
        if state == Some(false) {
            return Answer::error(format!("{name} is recorded already; `mpt record stop` ends that"));
        }
        let Self { resources, peers, .. } = self;
        let Some(peer) = peers.iter_mut().find(|peer| peer.config.name == name) else {
            return Answer::error(format!("{name} is not there any more"));
        };
        if peer.config.is_learned {
            // Of one that has gone, from the moment at which it comes again.
            peer.config.record = Some(limit);
        }
        if peer.memory.is_none() {
            return Answer::error(format!(
                "{name} is not there: it is recorded from the moment at which it comes"
            ));
        }
        resources.record(peer, Some(limit));
        self.answer_recording(&name)
            .unwrap_or_else(|| Answer::error(format!("{name} is not recorded: the log of mpt says why")))
    }

    /// Ends the recording of a connection, which goes on.
    pub(super) fn answer_record_stop(&mut self, connection: Option<&str>) -> Answer {
        let answer = self.answer_record_state(connection, true);
        if let Answer::Recording { recording, .. } = &answer {
            let name = recording.connection.clone();
            if let Some(peer) = self.recorded(&name) {
                peer.connection.stop_recording();
                if peer.config.is_learned {
                    peer.config.record = None;
                }
            }
        }
        answer
    }

    /// How the recording of a connection is; with `flush` everything up to now is on its way to the file.
    pub(super) fn answer_record_state(&mut self, connection: Option<&str>, flush: bool) -> Answer {
        let recorded: Vec<String> = self
            .peers
            .iter()
            .filter(|peer| peer.connection.is_recorded())
            .map(|peer| peer.config.name.clone())
            .collect();
        let name = match (connection, &recorded[..]) {
            (Some(name), _) => name.to_owned(),
            (None, [name]) => name.clone(),
            (None, []) => return Answer::error("no connection is recorded: `mpt record start` begins"),
            (None, several) => {
                return Answer::error(format!(
                    "several connections are recorded: say {}",
                    several.join(" or ")
                ));
            }
        };
        if flush && let Some(recorder) = self.recorded(&name).and_then(|peer| peer.connection.recorder()) {
            recorder.flush();
        }
        self.answer_recording(&name).unwrap_or_else(|| {
            Answer::error(format!("{name} is not recorded: `mpt record start {name}` begins"))
        })
    }

    fn answer_recording(&mut self, name: &str) -> Option<Answer> {
        let state = self.recorded(name)?.connection.recorder()?.state()?;
        let recording = RecordingState {
            connection: name.to_owned(),
            directory: state.directory,
            bytes: state.bytes,
            handed: state.handed,
            written: state.written,
            is_over: state.is_over,
        };
        Some(Answer::Recording { version: VERSION, recording: Box::new(recording) })
    }

    fn recorded(&mut self, name: &str) -> Option<&mut Peer<'s>> {
        self.peers.iter_mut().find(|peer| peer.config.name == name)
    }

    /// The connection of this name, or the only one.
    fn find_connection(&self, wanted: Option<&str>) -> Result<String, String> {
        let names: Vec<&str> = self.peers.iter().map(|peer| peer.config.name.as_str()).collect();
        match (wanted, &names[..]) {
            (Some(wanted), _) if names.contains(&wanted) => Ok(wanted.to_owned()),
            (Some(wanted), _) => {
                Err(format!("no connection is named {wanted}; there are {}", names.join(", ")))
            }
            (None, [name]) => Ok((*name).to_owned()),
            (None, _) => Err(format!("several connections are there: say {}", names.join(" or "))),
        }
    }
}
