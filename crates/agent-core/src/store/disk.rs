//! What the files of the store need of the disk: syncs, free space, copies.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::StoreError;

/// How a file is made durable; replaced in tests that let it fail.
#[derive(Clone)]
pub(crate) struct SyncFile(Arc<Syncs>);

type Syncs = dyn Fn(&File) -> io::Result<()> + Send + Sync;

impl SyncFile {
    /// `fdatasync`: the data, and the size of the file.
    pub(crate) fn real() -> SyncFile {
        SyncFile(Arc::new(|file| file.sync_data()))
    }

    #[cfg(test)]
    pub(crate) fn new(sync: impl Fn(&File) -> io::Result<()> + Send + Sync + 'static) -> SyncFile {
        SyncFile(Arc::new(sync))
    }

    /// Makes `file`, which is in `dir`, durable.
    pub(super) fn sync(&self, dir: &Path, file: &File) -> Result<(), StoreError> {
        (self.0)(file).map_err(|error| StoreError::io(dir, "sync", error))
    }
}

impl fmt::Debug for SyncFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SyncFile")
    }
}

/// Free space that opening needs, in bytes, beside twice the index and the log.
const HEADROOM: u64 = 64 << 20;

/// Has the kernel read the file from the disk again: after a failed sync it takes pages that never
/// got there for written, and a second sync succeeds without them. Only advice, so it cannot fail.
pub(super) fn forget_pages(path: &Path) {
    if let Ok(file) = File::open(path) {
        _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    }
}

/// Refuses a disk that opening could fill: the index is written anew, the log into the database.
pub(super) fn check_space(dir: &Path) -> Result<(), StoreError> {
    let io = |error| StoreError::io(dir, "read the free space", error);
    let stat = rustix::fs::statvfs(dir).map_err(|error| io(error.into()))?;
    let mut rewritten = 0;
    for entry in fs::read_dir(dir).map_err(io)?.flatten() {
        let name = entry.file_name();
        if name == super::log::NAME || name.to_string_lossy().starts_with("snap.") {
            rewritten += entry.metadata().map_or(0, |meta| meta.len());
        }
    }
    enough(dir, stat.f_bavail.saturating_mul(stat.f_frsize), HEADROOM + 2 * rewritten)
}

/// Opening on a full disk damages the index, so it is not tried.
pub(crate) fn enough(dir: &Path, free: u64, need: u64) -> Result<(), StoreError> {
    if free >= need {
        return Ok(());
    }
    let (free_mib, need_mib) = (free >> 20, need.div_ceil(1 << 20));
    Err(StoreError::DiskFull { dir: dir.to_owned(), free_mib, need_mib })
}

/// Copies the folder to `DIR.damaged-N`, N being the first that is free.
pub(super) fn copy_aside(dir: &Path) -> Result<PathBuf, StoreError> {
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
