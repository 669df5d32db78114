//! The backend on disk: commits go to the log, and now and then, all at once, into sled.
//!
//! ```text
//! commit ─► log (one write, one sync) ─► pending rows ─► checkpoint: sled, sync, mark, sync
//! ```
//!
//! A commit costs sled half a millisecond of CPU whatever it holds; here only a checkpoint does,
//! and a row that was written many times since the last one reaches it once.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::StoreOptions;
use super::backend::{Backend, Each};
use super::codec::{self, Changes, FORMAT};
use super::disk::SyncFile;
use super::error::StoreError;
use super::log::{Log, Mark};
use super::pending::Pending;
use super::sled_backend::Sled;
use crate::panics::log;

/// Sled behind a log.
pub(crate) struct Logged {
    dir: PathBuf,
    sync: SyncFile,
    limit: u64,
    sled: Sled,
    /// What is in the log and not in sled.
    pending: Pending,
    /// `None` between a failure and a successful reopening.
    log: Option<Log>,
}

impl fmt::Debug for Logged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logged").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Logged {
    /// Opens the store in `dir`, or makes one.
    pub(crate) fn open(
        dir: &Path,
        options: &StoreOptions,
        sync: SyncFile,
    ) -> Result<Logged, StoreError> {
        let sled = Sled::open(dir, options.cache_bytes, sync.clone())?;
        let (dir, limit, pending) = (dir.to_owned(), options.log_bytes, Pending::default());
        let mut logged = Logged { dir, sync, limit, sled, pending, log: None };
        logged.replay()?;
        Ok(logged)
    }

    /// Takes over what the log holds into sled, and begins it anew.
    fn replay(&mut self) -> Result<(), StoreError> {
        let mark = match self.sled.get(codec::MARK)? {
            Some(mark) => codec::read_value(&mark)?,
            None => self.found()?,
        };
        let mut pending = Pending::default();
        let log = Log::open(&self.dir, self.sync.clone(), mark, &mut |changes| {
            pending.apply(changes);
        })?;
        self.pending = pending;
        self.log = Some(log);
        self.checkpoint()
    }

    /// Gives a store that has none a log: it is new, or of an older format.
    fn found(&mut self) -> Result<Mark, StoreError> {
        Log::create(&self.dir)?;
        self.sled.sync_folder()?;
        let mark = Mark { store: fastrand::u64(..), epoch: 0 };
        self.mark(mark)?;
        Ok(mark)
    }

    fn mark(&mut self, mark: Mark) -> Result<(), StoreError> {
        let (format, mark) = (FORMAT.to_be_bytes(), codec::value(&mark)?);
        let rows = [(codec::FORMAT_KEY, &format[..]), (codec::MARK, &mark)];
        self.sled.take_over(rows.map(|(key, value)| (key, Some(value))))
    }

    /// Writes the pending rows into sled, durably; only then the log ceases to count.
    fn checkpoint(&mut self) -> Result<(), StoreError> {
        // Whatever fails below, panics included: only a reopening helps.
        let Some(mut log) = self.log.take() else { return Err(not_open()) };
        if log.bytes() > 0 {
            self.sled.take_over(self.pending.rows())?;
            let mark = Mark { epoch: log.mark().epoch + 1, ..log.mark() };
            self.mark(mark)?;
            log.restart(mark);
            self.pending = Pending::default();
        }
        self.log = Some(log);
        Ok(())
    }

    /// Ends as a killed process does: the log is left as it is.
    #[cfg(test)]
    pub(crate) fn kill(mut self) {
        self.log = None;
    }
}

fn not_open() -> StoreError {
    StoreError::Down { reason: "it is not open".to_owned() }
}

impl Backend for Logged {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.pending.get(key) {
            Some(value) => Ok(value.map(<[u8]>::to_vec)),
            None => self.sled.get(key),
        }
    }

    fn scan(&self, from: &[u8], to: &[u8], each: &mut Each<'_>) -> Result<(), StoreError> {
        if from > to {
            return Ok(());
        }
        let mut pending = self.pending.range(from, to).peekable();
        let mut goes_on = true;
        self.sled.scan(from, to, &mut |key, value| {
            let mut is_replaced = false;
            while let Some((own, value)) = pending.next_if(|(own, _)| *own <= key) {
                is_replaced = own == key;
                goes_on = value.map_or(Ok(true), |value| each(own, value))?;
                if !goes_on {
                    return Ok(false);
                }
            }
            if !is_replaced {
                goes_on = each(key, value)?;
            }
            Ok(goes_on)
        })?;
        while goes_on && let Some((own, value)) = pending.next() {
            goes_on = value.map_or(Ok(true), |value| each(own, value))?;
        }
        Ok(())
    }

    fn commit(&mut self, changes: Changes) -> Result<(), StoreError> {
        if self.log.as_ref().is_some_and(|log| log.bytes() >= self.limit) {
            self.checkpoint()?;
        }
        let Some(mut log) = self.log.take() else { return Err(not_open()) };
        log.append(&changes)?;
        self.log = Some(log);
        self.pending.apply(changes);
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        self.log = None;
        self.sled.reopen()?;
        Log::forget(&self.dir);
        self.replay()
    }
}

impl Drop for Logged {
    /// Leaves the log empty, so that the next opening has nothing to replay. Where that fails, it
    /// has: what was committed is in the log.
    fn drop(&mut self) {
        if self.log.is_none() {
            return;
        }
        let closed = catch_unwind(AssertUnwindSafe(|| self.checkpoint()));
        let reason = match closed {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the database panicked".to_owned(),
        };
        log!(warn, reason, "the store's log is not empty, the next opening will replay it");
    }
}
