//! The database on disk: sled, opened with care, and synced by ourselves.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::backend::{Backend, Each};
use super::codec::{self, Changes, FORMAT};
use super::error::StoreError;

/// How a file is made durable; replaced in tests that let it fail.
#[derive(Clone)]
pub(crate) struct SyncFile(Arc<Syncs>);

type Syncs = dyn Fn(&File) -> io::Result<()> + Send + Sync;

impl SyncFile {
    /// `fsync`.
    pub(crate) fn real() -> SyncFile {
        SyncFile(Arc::new(|file| file.sync_all()))
    }

    #[cfg(test)]
    pub(crate) fn new(sync: impl Fn(&File) -> io::Result<()> + Send + Sync + 'static) -> SyncFile {
        SyncFile(Arc::new(sync))
    }
}

impl fmt::Debug for SyncFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SyncFile")
    }
}

/// Free space that opening needs, in bytes, beside twice the index.
const HEADROOM: u64 = 64 << 20;

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
            tracing::error!("the store's database could not be closed as it should");
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

    fn connect(&mut self) -> Result<(), StoreError> {
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
        self.check_format(&db, &file)?;
        if is_new {
            let conf = dir.join("conf");
            let new = [Some(conf.as_path()), Some(dir.as_path()), dir.parent()];
            for path in new.into_iter().flatten().filter(|path| !path.as_os_str().is_empty()) {
                File::open(path)
                    .and_then(|file| file.sync_all())
                    .map_err(|error| io("sync the new folder", error))?;
            }
        }
        self.open = Some((db, file));
        Ok(())
    }

    fn open_or_repair(&self) -> Result<Database, StoreError> {
        let reason = match self.open_once()? {
            Ok(db) => return Ok(db),
            Err(reason) => reason,
        };
        let copy = copy_aside(&self.dir)?;
        tracing::error!(
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

    fn check_format(&self, db: &Database, file: &File) -> Result<(), StoreError> {
        let format = db.get(codec::FORMAT_KEY).map_err(|e| self.failed("read the format", e))?;
        let foreign = |found: &str| {
            Err(StoreError::Foreign { dir: self.dir.clone(), found: found.to_owned() })
        };
        let Some(format) = format else {
            if !db.is_empty() || db.tree_names().len() > 1 {
                return foreign("a database without a format version");
            }
            let written = db.insert(codec::FORMAT_KEY, &FORMAT.to_be_bytes());
            written.and_then(|_| db.flush()).map_err(|e| self.failed("write the format", e))?;
            return (self.sync.0)(file).map_err(|e| StoreError::io(&self.dir, "sync", e));
        };
        match <[u8; 4]>::try_from(&*format).map(u32::from_be_bytes) {
            Ok(FORMAT) => Ok(()),
            Ok(found) if found > FORMAT => {
                Err(StoreError::Newer { dir: self.dir.clone(), found, known: FORMAT })
            }
            _ => foreign("an unknown format version"),
        }
    }

    #[cfg(test)]
    pub(crate) fn set_format(&self, format: u32) {
        let db = self.db().unwrap();
        db.insert(codec::FORMAT_KEY, &format.to_be_bytes()).unwrap();
        db.flush().unwrap();
    }
}

impl Backend for Sled {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.db()?.get(key).map_err(|error| self.failed("read", error))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn scan(&self, from: &[u8], to: &[u8], each: &mut Each<'_>) -> Result<(), StoreError> {
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

    fn commit(&mut self, changes: Changes) -> Result<(), StoreError> {
        let (db, file) = match &self.open {
            Some(open) => (&open.0, &open.1),
            None => return Err(StoreError::Down { reason: "it is not open".to_owned() }),
        };
        let mut batch = sled::Batch::default();
        for key in changes.removes {
            batch.remove(key);
        }
        for (key, value) in changes.puts {
            batch.insert(key, value);
        }
        db.apply_batch(batch).map_err(|error| self.failed("write", error))?;
        db.flush().map_err(|error| self.failed("flush", error))?;
        (self.sync.0)(file).map_err(|error| StoreError::io(&self.dir, "sync", error))
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        self.open = None;
        forget_pages(&self.dir.join("db"));
        self.connect()?;
        // What is read from here on may still be in memory only.
        let (_, file) = self.open.as_ref().ok_or(StoreError::Closed)?;
        let synced = (self.sync.0)(file);
        synced.map_err(|error| StoreError::io(&self.dir, "sync", error))
    }

    fn blocks(&self) -> bool {
        true
    }
}

/// Has the kernel read the file from the disk again: after a failed sync it takes pages that never
/// got there for written, and a second sync succeeds without them. Only advice, so it cannot fail.
fn forget_pages(db: &Path) {
    if let Ok(file) = File::open(db) {
        _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    }
}

/// Whether another process holds the store, asked before anything in it is touched.
fn probe_lock(dir: &Path, db_path: &Path) -> Result<(), StoreError> {
    let io = |error| StoreError::io(dir, "open the file db", error);
    let file = File::options().read(true).write(true).open(db_path).map_err(io)?;
    let operation = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    rustix::fs::flock(&file, operation).map_err(|error| io(error.into()))
}

fn check_space(dir: &Path) -> Result<(), StoreError> {
    let io = |error| StoreError::io(dir, "read the free space", error);
    let stat = rustix::fs::statvfs(dir).map_err(|error| io(error.into()))?;
    let mut index = 0;
    for entry in fs::read_dir(dir).map_err(io)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            index += entry.metadata().map_or(0, |meta| meta.len());
        }
    }
    enough(dir, stat.f_bavail.saturating_mul(stat.f_frsize), HEADROOM + 2 * index)
}

/// Opening on a full disk damages the index, so it is not tried.
pub(crate) fn enough(dir: &Path, free: u64, need: u64) -> Result<(), StoreError> {
    if free >= need {
        return Ok(());
    }
    let (free_mib, need_mib) = (free >> 20, need.div_ceil(1 << 20));
    Err(StoreError::DiskFull { dir: dir.to_owned(), free_mib, need_mib })
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

/// Copies the folder to `DIR.damaged-N`, N being the first that is free.
fn copy_aside(dir: &Path) -> Result<PathBuf, StoreError> {
    let io = |error| StoreError::io(dir, "copy the damaged store aside", error);
    let named = |n: u32| {
        let mut name = dir.as_os_str().to_owned();
        name.push(format!(".damaged-{n}"));
        PathBuf::from(name)
    };
    let copy = (1..).map(named).find(|path| !path.exists()).unwrap_or_else(|| named(0));
    copy_folder(dir, &copy).map_err(io)?;
    Ok(copy)
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
