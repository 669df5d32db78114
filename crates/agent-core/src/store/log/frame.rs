//! A frame of the log: one commit, with what tells whether it is whole and whose it is.

use serde::{Deserialize, Serialize};

use super::super::codec::Changes;
use super::super::error::StoreError;

/// Frames begin at multiples of this, a page of the file: one that is durable is never written
/// over, and the kernel never has to read what it is given to write.
pub(super) const PAGE: usize = 4096;
/// Checksum, length, store, epoch, index; whole numbers with their lowest byte first.
const HEADER: usize = 32;
/// Stands for the length of a value where its key is removed.
const REMOVED: u32 = u32::MAX;

/// Which frames count: those of this store since its last checkpoint. Kept in the database, so
/// that what a checkpoint has taken over ceases to count with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Drawn when the store was made: a log that strayed in from another is not taken for its own.
    pub(crate) store: u64,
    /// The number of its checkpoints.
    pub(crate) epoch: u64,
}

/// What stands before the changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    sum: u32,
    len: u32,
    pub(super) mark: Mark,
    /// The number of the frame since the checkpoint.
    pub(super) index: u64,
}

impl Header {
    /// Reads the header at the start of `bytes`, whatever they are.
    pub(super) fn read(bytes: &[u8]) -> Option<Header> {
        let four = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        let eight = |at: usize| bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
        let mark = Mark { store: eight(8)?, epoch: eight(16)? };
        Some(Header { sum: four(0)?, len: four(4)?, mark, index: eight(24)? })
    }

    /// The changes, where all of the frame is at the start of `bytes` as it was written.
    pub(super) fn body<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let len = usize::try_from(self.len).ok()?;
        let whole = bytes.get(..HEADER.checked_add(len)?)?;
        (crc32fast::hash(&whole[4..]) == self.sum).then_some(&whole[HEADER..])
    }
}

/// The bytes from the start of a frame with such a body to that of the next.
pub(super) fn span(body: &[u8]) -> usize {
    (HEADER + body.len()).next_multiple_of(PAGE)
}

/// Writes a frame into `bytes`, up to the next page; `None` where it is too large for one.
pub(super) fn write(bytes: &mut Vec<u8>, mark: Mark, index: u64, changes: &Changes) -> Option<()> {
    bytes.clear();
    bytes.resize(HEADER, 0);
    let length = |of: &[u8]| u32::try_from(of.len()).ok().filter(|length| *length != REMOVED);
    for key in &changes.removes {
        bytes.extend(length(key)?.to_le_bytes());
        bytes.extend(REMOVED.to_le_bytes());
        bytes.extend(key);
    }
    for (key, value) in &changes.puts {
        bytes.extend(length(key)?.to_le_bytes());
        bytes.extend(length(value)?.to_le_bytes());
        bytes.extend(key);
        bytes.extend(value);
    }
    let len = length(&bytes[HEADER..])?;
    bytes[4..8].copy_from_slice(&len.to_le_bytes());
    bytes[8..16].copy_from_slice(&mark.store.to_le_bytes());
    bytes[16..24].copy_from_slice(&mark.epoch.to_le_bytes());
    bytes[24..32].copy_from_slice(&index.to_le_bytes());
    let sum = crc32fast::hash(&bytes[4..]);
    bytes[..4].copy_from_slice(&sum.to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(PAGE), 0);
    Some(())
}

/// Reads what [`write`] wrote as the body.
pub(super) fn changes(mut body: &[u8]) -> Result<Changes, StoreError> {
    let mut changes = Changes::default();
    while !body.is_empty() {
        let unknown = || StoreError::value("a frame of the log");
        let key_len = take(&mut body, 4).map(number).ok_or_else(unknown)?;
        let value_len = take(&mut body, 4).map(number).ok_or_else(unknown)?;
        let key = take(&mut body, key_len).ok_or_else(unknown)?.to_vec();
        if value_len == REMOVED as usize {
            changes.removes.push(key);
        } else {
            let value = take(&mut body, value_len).ok_or_else(unknown)?.to_vec();
            changes.puts.push((key, value));
        }
    }
    Ok(changes)
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}
