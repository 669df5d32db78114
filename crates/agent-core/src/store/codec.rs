//! Keys and values: a kind byte first; a stream of items cut into small versioned pieces.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::backend::Backend;
use super::error::StoreError;
use crate::clock::Timestamp;

/// The newest format that this program reads and the one that it writes.
///
/// 2: commits are in a log beside the database, which a program of format 1 would not see.
pub(crate) const FORMAT: u32 = 2;
/// The format of an export, which holds rows wherever they are kept.
///
/// 2: a last line tells how many there are, so that one which was cut off is known.
pub(crate) const EXPORT: u32 = 2;
/// The version byte of every value.
const VERSION: u8 = 1;
/// A page of sled holds up to twenty values and goes to a file of its own, which sled never
/// syncs, from 128 KiB on: pieces are small enough that no page grows so large.
const PIECE: usize = 4 * 1024;

pub(crate) const RECORD: u8 = b'c';
pub(crate) const AUDIT: u8 = b'a';
pub(crate) const JOURNAL: u8 = b'j';
pub(crate) const ROLLUP: u8 = b'r';
pub(crate) const META: &[u8] = b"m:state";
pub(crate) const FORMAT_KEY: &[u8] = b"m:format";
/// Which frames of the log count; never in the log itself.
pub(crate) const MARK: &[u8] = b"m:log";

/// What one commit changes: all of it or nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes {
    pub(crate) puts: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) removes: Vec<Vec<u8>>,
}

/// The second of a key, rounded down to `step` seconds.
pub(crate) fn bucket(at: Timestamp, step: u64) -> u64 {
    let seconds = at.millis() / 1_000;
    seconds - seconds % step
}

/// The key of a stream: its kind, its time in seconds (0 in the journal), its commit.
pub(crate) fn stream_key(kind: u8, seconds: u64, seq: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(19);
    key.push(kind);
    key.extend(seconds.to_be_bytes());
    key.extend(seq.to_be_bytes());
    key
}

/// The second and the commit of a stream's key.
pub(crate) fn key_parts(key: &[u8]) -> Option<(u64, u64)> {
    let seconds = u64::from_be_bytes(key.get(1..9)?.try_into().ok()?);
    let seq = u64::from_be_bytes(key.get(9..17)?.try_into().ok()?);
    Some((seconds, seq))
}

/// Adds one item to a stream.
pub(crate) fn push(stream: &mut Vec<u8>, item: &impl Serialize) -> Result<(), StoreError> {
    let pushed = postcard::serialize_with_flavor(item, Onto(stream));
    pushed.map_err(|e| StoreError::value(e.to_string()))
}

/// The end of a stream; postcard's own for a vector takes strings byte by byte.
struct Onto<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Onto<'_> {
    type Output = ();

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.push(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// One value on its own.
pub(crate) fn value(item: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    let mut bytes = vec![VERSION];
    push(&mut bytes, item)?;
    Ok(bytes)
}

/// Reads what [`value`] wrote.
pub(crate) fn read_value<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    let body = match bytes.split_first() {
        Some((&VERSION, body)) => body,
        _ => return Err(StoreError::value("unknown version")),
    };
    postcard::from_bytes(body).map_err(|e| StoreError::value(e.to_string()))
}

/// Writes a stream as pieces.
pub(crate) fn put_stream(changes: &mut Changes, key: &[u8], stream: &[u8]) {
    let count = stream.chunks(PIECE).count();
    for (index, piece) in stream.chunks(PIECE).enumerate() {
        let mut piece_key = key.to_vec();
        piece_key.extend(u32::try_from(index).unwrap_or(u32::MAX).to_be_bytes());
        let mut bytes = Vec::with_capacity(piece.len() + 2);
        bytes.extend([VERSION, u8::from(index + 1 < count)]);
        bytes.extend(piece);
        changes.puts.push((piece_key, bytes));
    }
}

/// Reads the items of one kind whose key's time is in `from..=to` seconds, in the order of keys.
///
/// `each` gets the second and the commit too, and ends the reading with `false`.
pub(crate) fn read_items<T: DeserializeOwned>(
    backend: &dyn Backend,
    kind: u8,
    (from, to): (u64, u64),
    each: &mut dyn FnMut(u64, u64, T) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let mut whole = Vec::new();
    let (low, mut high) = (stream_key(kind, from, 0), stream_key(kind, to, u64::MAX));
    high.extend([0xff; 5]);
    backend.scan(&low, &high, &mut |key, bytes| {
        let unknown = || StoreError::value(format!("piece {key:02x?}"));
        let (seconds, seq) = key_parts(key).ok_or_else(unknown)?;
        let [VERSION, more, piece @ ..] = bytes else { return Err(unknown()) };
        whole.extend_from_slice(piece);
        if *more == 1 {
            return Ok(true);
        }
        let stream = std::mem::take(&mut whole);
        let mut rest = stream.as_slice();
        while !rest.is_empty() {
            let (item, left) =
                postcard::take_from_bytes(rest).map_err(|e| StoreError::value(e.to_string()))?;
            rest = left;
            if !each(seconds, seq, item)? {
                return Ok(false);
            }
        }
        Ok(true)
    })
}
