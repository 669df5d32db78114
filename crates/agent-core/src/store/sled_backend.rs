//! The database on disk: sled, opened with care, and synced by ourselves.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::backend::Each;
use super::codec::{self, FORMAT};
use super::disk::{SyncFile, check_space, copy_aside, forget_pages};
use super::error::StoreError;
use crate::panics::log;

/// How often a lock is tried for again, and after what time.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// A folder with a sled database.
pub(crate) struct Sled {
    dir: PathBuf,
    cache_bytes: u64,
    sync: SyncFile,
    /// `None` between a failure and a successful reopening.
    open: Option<(Database, File)>,
}

/// An open database. Where its last sync fails it panics as it is closed: that ends nothing here.
struct Database(Option<sled::Db>);

impl Deref for Database {
    type Target = sled::Db;

    fn deref(&self) -> &sled::Db {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let db = self.0.take();
        if catch_unwind(AssertUnwindSafe(|| drop(db))).is_err() {
            log!(error, "the store's database could not be closed as it should");
        }
    }
}

impl fmt::Debug for Sled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sled").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Sled {
    /// Opens the store in `dir`, or makes one.
    pub(crate) fn open(dir: &Path, cache_bytes: u64, sync: SyncFile) -> Result<Sled, StoreError> {
        let mut sled = Sled { dir: dir.to_owned(), cache_bytes, sync, open: None };
        sled.connect()?;
        Ok(sled)
    }

    fn db(&self) -> Result<&Database, StoreError> {
        let reason = || StoreError::Down { reason: "it is not open".to_owned() };
        self.open.as_ref().map(|(db, _)| db).ok_or_else(reason)
    }

    fn failed(&self, doing: &'static str, error: sled::Error) -> StoreError {
        match error {
            sled::Error::Io(error) => StoreError::io(&self.dir, doing, error),
            other => StoreError::io(&self.dir, doing, io::Error::other(other)),
        }
    }

    /// Opens it; one that is held is tried again for a moment. A child that is being started has
    /// the lock until it runs its own program, and a process that was killed until it is gone.
    fn connect(&mut self) -> Result<(), StoreError> {
        for _ in 0..LOCK_TRIES {
            match self.try_connect() {
                Err(StoreError::InUse { .. }) => pause(),
                done => return done,
            }
        }
        self.try_connect()
    }

    fn try_connect(&mut self) -> Result<(), StoreError> {
        let dir = self.dir.clone();
        let io = |doing, error| StoreError::io(&dir, doing, error);
        fs::create_dir_all(&dir).map_err(|error| io("make the folder", error))?;
        let db_path = dir.join("db");
        // A process that was killed while it made the store leaves an empty file behind.
        let is_new = fs::metadata(&db_path).map_or(true, |db| db.is_file() && db.len() == 0);
        if !is_new && !dir.join("conf").exists() {
            let found = "a file db without a file conf".to_owned();
            return Err(StoreError::Foreign { dir, found });
        }
        if db_path.exists() {
            probe_lock(&dir, &db_path)?;
        }
        check_space(&dir)?;
        remove_matching(&dir, |name| name.starts_with("snap.") && name.ends_with(".generating"))?;
        let db = self.open_or_repair()?;
        // The lock is on sled's own handle; closing another one does not release it.
        let file = File::options().read(true).write(true).open(&db_path);
        let file = file.map_err(|error| io("open the file db", error))?;
        self.check_format(&db)?;
        self.open = Some((db, file));
        Ok(())
    }

    fn open_or_repair(&self) -> Result<Database, StoreError> {
        let reason = match self.open_once()? {
            Ok(db) => return Ok(db),
            Err(reason) => reason,
        };
        let copy = copy_aside(&self.dir)?;
        log!(
            error,
            dir = %self.dir.display(), copy = %copy.display(), reason,
            "store cannot be read, copied aside and opened once more without its index"
        );
        remove_matching(&self.dir, |name| name.starts_with("snap."))?;
        self.open_once()?.map_err(|reason| StoreError::Corrupt {
            dir: self.dir.clone(),
            copy,
            reason,
        })
    }

    /// The inner error is one that a second try without the index may cure.
    fn open_once(&self) -> Result<Result<Database, String>, StoreError> {
        let config = sled::Config::new()
            .path(&self.dir)
            .cache_capacity(self.cache_bytes)
            .flush_every_ms(Some(500))
            .mode(sled::Mode::LowSpace);
        match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Ok(Ok(db)) => Ok(Ok(Database(Some(db)))),
            Ok(Err(error @ sled::Error::Corruption { .. })) => Ok(Err(error.to_string())),
            Ok(Err(sled::Error::Unsupported(found))) => {
                Err(StoreError::Foreign { dir: self.dir.clone(), found })
            }
            Ok(Err(error)) => Err(self.failed("open the database", error)),
            Err(_) => Ok(Err("the database panicked while opening".to_owned())),
        }
    }

    /// An empty database is one that is being made.
    fn check_format(&self, db: &Database) -> Result<(), StoreError> {
        let format = db.get(codec::FORMAT_KEY).map_err(|e| self.failed("read the format", e))?;
        let foreign = |found: &str| {
            Err(StoreError::Foreign { dir: self.dir.clone(), found: found.to_owned() })
        };
        let Some(format) = format else {
            if !db.is_empty() || db.tree_names().len() > 1 {
                return foreign("a database without a format version");
            }
            return Ok(());
        };
        match <[u8; 4]>::try_from(&*format).map(u32::from_be_bytes) {
            Ok(1..=FORMAT) => Ok(()),
            Ok(found) if found > FORMAT => {
                Err(StoreError::Newer { dir: self.dir.clone(), found, known: FORMAT })
            }
            _ => foreign("an unknown format version"),
        }
    }

    /// Makes the folder and where it stands durable.
    pub(super) fn sync_folder(&self) -> Result<(), StoreError> {
        let conf = self.dir.join("conf");
        let new = [Some(conf.as_path()), Some(self.dir.as_path()), self.dir.parent()];
        for path in new.into_iter().flatten().filter(|path| !path.as_os_str().is_empty()) {
            File::open(path)
                .and_then(|file| file.sync_all())
                .map_err(|error| StoreError::io(&self.dir, "sync the new folder", error))?;
        }
        Ok(())
    }

    /// The value of `key`.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.db()?.get(key).map_err(|error| self.failed("read", error))?;
        Ok(value.map(|value| value.to_vec()))
    }

    /// Reads the keys in `from..=to` in their order.
    pub(super) fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        each: &mut Each<'_>,
    ) -> Result<(), StoreError> {
        if from > to {
            return Ok(());
        }
        for pair in self.db()?.range(from..=to) {
            let (key, value) = pair.map_err(|error| self.failed("read", error))?;
            if !each(&key, &value)? {
                break;
            }
        }
        Ok(())
    }

    /// Takes over rows, a value or none for each key; durable when it returns, not atomic.
    ///
    /// Single writes, not a batch: sled has to hold all of a batch back until it is complete, and
    /// cannot open a database of which only a part of a batch reached the disk.
    pub(super) fn take_over<'a>(
        &mut self,
        rows: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<(), StoreError> {
        let Some((db, file)) = &self.open else { return self.db().map(drop) };
        for (key, value) in rows {
            let written = match value {
                Some(value) => db.insert(key, value),
                None => db.remove(key),
            };
            written.map_err(|error| self.failed("write", error))?;
        }
        db.flush().map_err(|error| self.failed("flush", error))?;
        self.sync.sync(&self.dir, file)
    }

    /// Starts afresh after a failure.
    pub(super) fn reopen(&mut self) -> Result<(), StoreError> {
        self.open = None;
        forget_pages(&self.dir.join("db"));
        self.connect()?;
        // What is read from here on may still be in memory only.
        let Some((_, file)) = &self.open else { return self.db().map(drop) };
        self.sync.sync(&self.dir, file)
    }

    #[cfg(test)]
    pub(crate) fn set_format(&self, format: u32) {
        let db = self.db().unwrap();
        db.insert(codec::FORMAT_KEY, &format.to_be_bytes()).unwrap();
        db.flush().unwrap();
    }
}

#[expect(clippy::disallowed_methods, reason = "opening blocks its thread in any case")]
fn pause() {
    std::thread::sleep(LOCK_PAUSE);
}

/// Whether another process holds the store, asked before anything in it is touched.
fn probe_lock(dir: &Path, db_path: &Path) -> Result<(), StoreError> {
    let io = |error| StoreError::io(dir, "open the file db", error);
    let file = File::options().read(true).write(true).open(db_path).map_err(io)?;
    let operation = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    rustix::fs::flock(&file, operation).map_err(|error| io(error.into()))
}

fn remove_matching(dir: &Path, matches: impl Fn(&str) -> bool) -> Result<(), StoreError> {
    let io = |error| StoreError::io(dir, "remove left-over index files", error);
    for entry in fs::read_dir(dir).map_err(io)? {
        let entry = entry.map_err(io)?;
        if matches(&entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path()).map_err(io)?;
        }
    }
    Ok(())
}
