//! A connection that stands by for another one: a second server, which takes over when the first does not answer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;

use super::error::Source;
use super::value::{Name, Text, Whole};
use super::{ConfigError, Network};

/// How long no path of the connection in use is up until another one takes over: several times what it takes to notice a failure.
const AFTER: Duration = Duration::from_secs(10);
/// How long the first connection must have answered until packets take it again: a server that starts anew may do so twice.
const BACK: Duration = Duration::from_secs(60);

/// When a connection takes over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standby {
    /// `standby_of`: the connection that comes first.
    pub of: String,
    /// `standby_after_s`: how long the one in use must have been down; 10 s by default.
    pub after: Duration,
    /// `standby_back_s`: how long one that comes before must have been up until it is used again; 60 s by default, `None` (0): it
    /// is not, until this one is down.
    pub back: Option<Duration>,
}

/// What a table says of it.
pub(super) struct Keys {
    pub(super) of: Option<Spanned<Text<Name>>>,
    pub(super) after: Option<Spanned<Whole<u16, 1, 3600>>>,
    pub(super) back: Option<Spanned<Whole<u32, 0, 86_400>>>,
}

/// What those that stand by share with the connection that comes first.
#[derive(Debug, Clone, Default)]
pub(super) struct First {
    /// The tunnel addresses of all these peers.
    pub(super) peers: Vec<IpAddr>,
    pub(super) networks: Vec<Network>,
    pub(super) multicast: bool,
}

/// By the name of the connection that comes first.
pub(super) type Firsts = HashMap<String, First>;

impl Keys {
    /// `None`: it stands by for none.
    pub(super) fn check(self, firsts: &Firsts, source: &Source<'_>) -> Result<Option<Standby>, ConfigError> {
        let Some(of) = self.of else {
            let stray: Option<Range<usize>> =
                self.after.map(|it| it.span()).or(self.back.map(|it| it.span()));
            return stray.map_or(Ok(None), |at| {
                let problem = "the connection stands by for none";
                Err(source.error(
                    &at,
                    problem,
                    "standby_of = \"..\", the name of the connection that comes first",
                ))
            });
        };
        let (at, of) = (of.span(), of.into_inner().0.0);
        if !firsts.contains_key(&of) {
            let mut names: Vec<&str> = firsts.keys().map(String::as_str).collect();
            names.sort_unstable();
            let allowed = match &names[..] {
                [] => "a connection that stands before this one".to_owned(),
                names => {
                    format!("a connection before this one that stands by for none: {}", names.join(", "))
                }
            };
            return Err(source.error(&at, "no such connection before this one", &allowed));
        }
        Ok(Some(Standby {
            of,
            after: self.after.map_or(AFTER, |after| Duration::from_secs(after.into_inner().0.into())),
            back: match self.back.map(|back| back.into_inner().0) {
                None => Some(BACK),
                Some(0) => None,
                Some(seconds) => Some(Duration::from_secs(seconds.into())),
            },
        }))
    }
}
