//! Why the store could not do what it was asked, and what would help.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

/// Why the store could not be opened, read or written.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is nothing to read.
    #[error("no store in {dir}; name the folder of an earlier run with --store")]
    Missing {
        /// The folder.
        dir: PathBuf,
    },
    /// The path is not a folder.
    #[error("{dir} is not a folder; name a folder for the store")]
    NotAFolder {
        /// The path.
        dir: PathBuf,
    },
    /// Another process holds the store.
    #[error("the store {dir} is in use by another process; wait for it, or name another folder")]
    InUse {
        /// The folder.
        dir: PathBuf,
    },
    /// The folder cannot be written to.
    #[error("the store {dir} cannot be written to; allow writing, or name another folder")]
    ReadOnly {
        /// The folder.
        dir: PathBuf,
    },
    /// Too little space is left to open the store safely.
    #[error("{free_mib} MiB are free for the store {dir}, {need_mib} MiB are needed; free space")]
    DiskFull {
        /// The folder.
        dir: PathBuf,
        /// What is free, in MiB.
        free_mib: u64,
        /// What is needed, in MiB.
        need_mib: u64,
    },
    /// The folder holds a database of something else.
    #[error("{dir} holds no store of this program ({found}); name another folder")]
    Foreign {
        /// The folder.
        dir: PathBuf,
        /// What was found.
        found: String,
    },
    /// A newer version of this program wrote it.
    #[error(
        "the store {dir} has format {found}, this program reads up to {known}; update this program"
    )]
    Newer {
        /// The folder.
        dir: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that can be read.
        known: u32,
    },
    /// It cannot be read, even without its index.
    #[error("the store {dir} is damaged ({reason}); a copy is in {copy}, restore a backup")]
    Corrupt {
        /// The folder.
        dir: PathBuf,
        /// Where everything was copied to before the second try.
        copy: PathBuf,
        /// What the database said.
        reason: String,
    },
    /// Its log cannot be read.
    #[error(
        "the log of the store {dir} is damaged: {reason}; restore a backup, or make \
         its file log an empty one to go on without what it holds"
    )]
    Log {
        /// The folder.
        dir: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The file system said no.
    #[error("failed to {doing} in the store {dir}; free or mend its disk, or name another folder")]
    Io {
        /// The folder.
        dir: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        source: Arc<io::Error>,
    },
    /// A value cannot be understood.
    #[error("a value in the store cannot be read ({what}); check it with its verify command")]
    Value {
        /// Which.
        what: String,
    },
    /// A line that is imported cannot be understood.
    #[error("line {line} is not one that an export writes: {why}")]
    Line {
        /// Its number, from 1.
        line: u64,
        /// Why not.
        why: String,
    },
    /// Something is to be imported into a store that holds something.
    #[error("the store is not empty; import into a new folder")]
    NotEmpty,
    /// An export cannot be written.
    #[error("the export cannot be written")]
    Export(#[source] Arc<io::Error>),
    /// Nothing can be made durable for now; nothing of this was or will be written.
    #[error("the store is down ({reason}); free its disk or mend it, it is reopened by itself")]
    Down {
        /// Why.
        reason: String,
    },
    /// Nothing can be made durable for now; this is kept in memory and written later.
    #[error("the store is down ({reason}); what was to be written is kept in memory")]
    Kept {
        /// Why.
        reason: String,
    },
    /// The store was shut down.
    #[error("the store was shut down")]
    Closed,
}

impl StoreError {
    /// The error of an operation of the file system on `dir`.
    pub(crate) fn io(dir: &Path, doing: &'static str, source: io::Error) -> StoreError {
        let dir = dir.to_owned();
        match source.kind() {
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                StoreError::ReadOnly { dir }
            }
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                StoreError::NotAFolder { dir }
            }
            io::ErrorKind::WouldBlock => StoreError::InUse { dir },
            _ => StoreError::Io { dir, doing, source: Arc::new(source) },
        }
    }

    /// The error of a value that postcard or JSON does not understand.
    pub(crate) fn value(what: impl Into<String>) -> StoreError {
        StoreError::Value { what: what.into() }
    }
}
