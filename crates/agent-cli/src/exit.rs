//! How a command ends: its exit code, or a failure before or while it worked.

use std::error::Error;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All done.
    Done,
    /// It ran to the end, but some tasks failed.
    SomeFailed,
    /// Nothing was started.
    NotStarted,
    /// Interrupted; the same command with `--resume` goes on.
    Interrupted,
}

impl Exit {
    /// The process's exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::SomeFailed => 1,
            Exit::NotStarted => 2,
            Exit::Interrupted => 3,
        }
    }
}

/// Arguments or an environment that no command can start with.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(pub(crate) String);

/// Why a command could not do its work, with its causes.
pub(crate) type Failure = Box<dyn Error>;
