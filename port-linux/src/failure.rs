//! What a command says that cannot do what the user wrote.

use std::fmt;

/// Something that the user can put right by editing the configuration or the command line: exit code 2.
#[derive(Debug)]
pub struct Misconfigured(pub String);

impl fmt::Display for Misconfigured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misconfigured {}

/// Shorthand for an [`anyhow::Error`] that ends with exit code 2.
pub fn misconfigured(message: impl Into<String>) -> anyhow::Error {
    Misconfigured(message.into()).into()
}
