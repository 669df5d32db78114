//! The log: a file in which a commit is one write and one sync, whatever the database needs.
//!
//! Frames stand one after the other from the start of the file. A checkpoint takes them over into
//! the database and raises the epoch there; the next frame is then written over the first. The
//! file is not cut: writing into blocks that are there makes a sync cost half of what growing does.

mod frame;

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::codec::Changes;
use super::disk::{SyncFile, forget_pages};
use super::error::StoreError;
pub(super) use frame::Mark;
use frame::{Header, PAGE};

/// The file's name in the store's folder.
pub(super) const NAME: &str = "log";
/// The file grows by so many bytes at a time.
const GROWTH: u64 = 1 << 20;

/// The log of an open store.
#[derive(Debug)]
pub(super) struct Log {
    dir: PathBuf,
    file: File,
    sync: SyncFile,
    mark: Mark,
    /// The number of the next frame, and where it begins.
    index: u64,
    end: u64,
    /// The length of the file.
    size: u64,
    buffer: Vec<u8>,
}

impl Log {
    /// Makes an empty log, durably, or takes the one that a killed process had just made.
    pub(super) fn create(dir: &Path) -> Result<(), StoreError> {
        let io = |error| StoreError::io(dir, "make the log", error);
        let mut options = File::options();
        let file = options.create(true).append(true).open(dir.join(NAME)).map_err(io)?;
        if file.metadata().map_err(io)?.len() > 0 {
            let found = "a log without its database".to_owned();
            return Err(StoreError::Foreign { dir: dir.to_owned(), found });
        }
        let folder = File::open(dir).map_err(io)?;
        file.sync_all().and_then(|()| folder.sync_all()).map_err(io)
    }

    /// Opens the log and tells each commit since the checkpoint, in order.
    ///
    /// The commit that was under way when the process ended may be there in part; it was not
    /// acknowledged, and the next takes its place.
    pub(super) fn open(
        dir: &Path,
        sync: SyncFile,
        mark: Mark,
        each: &mut dyn FnMut(Changes),
    ) -> Result<Log, StoreError> {
        let io = |error| StoreError::io(dir, "read the log", error);
        let damaged = |reason: String| StoreError::Log { dir: dir.to_owned(), reason };
        let path = dir.join(NAME);
        let opened = File::options().read(true).write(true).open(&path);
        let mut file = opened.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => damaged("the file is missing".to_owned()),
            _ => io(error),
        })?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io)?;
        let (mut index, mut end) = (0, 0);
        while let Some(body) = next(&bytes[end..], mark, index) {
            let unread = |_| damaged(format!("frame {index} cannot be understood"));
            each(frame::changes(body).map_err(unread)?);
            end += frame::span(body).min(bytes.len() - end);
            index += 1;
        }
        check_rest(&bytes, end, mark, index).map_err(damaged)?;
        let (end, size) = (end.next_multiple_of(PAGE) as u64, bytes.len() as u64);
        let dir = dir.to_owned();
        Ok(Log { dir, file, sync, mark, index, end, size, buffer: Vec::new() })
    }

    /// Has the next opening read what is on the disk.
    pub(super) fn forget(dir: &Path) {
        forget_pages(&dir.join(NAME));
    }

    /// Writes one commit, durably. After a failure it must be opened again.
    pub(super) fn append(&mut self, changes: &Changes) -> Result<(), StoreError> {
        let io = |error| StoreError::io(&self.dir, "write the log", error);
        let too_large = || io(std::io::ErrorKind::FileTooLarge.into());
        frame::write(&mut self.buffer, self.mark, self.index, changes).ok_or_else(too_large)?;
        let end = self.end + self.buffer.len() as u64;
        if end > self.size {
            // Zeros are written, not only counted: blocks without data are no cheaper than none.
            let size = end.next_multiple_of(GROWTH);
            self.buffer.resize((size - self.end) as usize, 0);
            self.size = size;
        }
        self.file.write_all_at(&self.buffer, self.end).map_err(io)?;
        self.sync.sync(&self.dir, &self.file)?;
        self.end = end;
        self.index += 1;
        self.buffer.shrink_to(GROWTH as usize);
        Ok(())
    }

    /// The bytes of the frames that count.
    pub(super) fn bytes(&self) -> u64 {
        self.end
    }

    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    /// Begins anew: the database has made `mark` durable, so no frame counts any more.
    pub(super) fn restart(&mut self, mark: Mark) {
        self.mark = mark;
        self.index = 0;
        self.end = 0;
    }
}

/// The body of the frame at the start of `bytes`, where it is whole and the one that is due.
fn next(bytes: &[u8], mark: Mark, index: u64) -> Option<&[u8]> {
    let header = Header::read(bytes)?;
    if (header.mark, header.index) != (mark, index) {
        return None;
    }
    header.body(bytes)
}

/// Whether the frames could end at `end`, before frame `index`.
///
/// A frame is written when the one before it is durable. So what stands where the frame is missing
/// may be anything that is not whole, but no later frame may follow, not even in part: then the
/// missing one was acknowledged, and is damaged.
fn check_rest(bytes: &[u8], end: usize, mark: Mark, index: u64) -> Result<(), String> {
    for at in (end..bytes.len()).step_by(PAGE) {
        let Some(header) = Header::read(&bytes[at..]) else { continue };
        let (found, is_whole) = (header.mark, || header.body(&bytes[at..]).is_some());
        if found == mark && header.index > index && (at > end || is_whole()) {
            return Err(format!(
                "frame {index} cannot be read, but frame {} follows",
                header.index
            ));
        }
        if found.store == mark.store && found.epoch > mark.epoch && is_whole() {
            return Err("it is of a later state than the database".to_owned());
        }
        if found.store != mark.store && at == 0 && is_whole() {
            return Err("it belongs to another store".to_owned());
        }
    }
    Ok(())
}
