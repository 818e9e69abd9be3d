//! What a command that fails says, and the exit code that goes with it.

use std::fmt;
use std::process::ExitCode;

use crate::config::ConfigError;
#[cfg(feature = "program")]
use crate::import::ImportError;

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

fn is_what_the_user_wrote(cause: &(dyn std::error::Error + 'static)) -> bool {
    #[cfg(feature = "program")]
    if cause.is::<ImportError>() {
        return true;
    }
    cause.is::<Misconfigured>() || cause.is::<ConfigError>()
}

/// 2 for what the user wrote (configuration, usage), 1 for what happened at run time.
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.chain().any(is_what_the_user_wrote) { ExitCode::from(2) } else { ExitCode::FAILURE }
}
