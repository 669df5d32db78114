//! What is committed at once, and what becomes of it where that fails.

use std::ops::Range;

use super::charges::ReadCharges;
use super::entry::Entry;
use super::reply::Reply;

/// What is committed at once, and who is told.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) entries: Vec<Entry>,
    /// The entries of messages that are refused while the store is down, in order: a message is
    /// kept or refused as a whole.
    pub(super) refused: Vec<Range<usize>>,
    /// Who waits for the answer, and whether what it sent is kept while the store is down.
    pub(super) callers: Vec<(Reply, bool)>,
    pub(super) flushes: Vec<Reply>,
    pub(super) reads: Vec<ReadCharges>,
}

impl Group {
    /// Adds a message. One that nobody waits for is never refused.
    pub(super) fn add(&mut self, mut entries: Vec<Entry>, caller: Option<Reply>) {
        if let Some(reply) = caller {
            let kept = entries.iter().all(Entry::is_kept);
            if !kept {
                let start = self.entries.len();
                self.refused.push(start..start + entries.len());
            }
            self.callers.push((reply, kept));
        }
        self.entries.append(&mut entries);
    }
}

/// Parts the entries of a group into those that are kept and those that are refused.
pub(super) fn part(entries: Vec<Entry>, refused: &[Range<usize>]) -> (Vec<Entry>, Vec<Entry>) {
    let (mut kept, mut not) = (Vec::new(), Vec::new());
    let mut refused = refused.iter().peekable();
    for (index, entry) in entries.into_iter().enumerate() {
        while refused.next_if(|range| range.end <= index).is_some() {}
        let is_refused = refused.peek().is_some_and(|range| range.contains(&index));
        if is_refused { &mut not } else { &mut kept }.push(entry);
    }
    (kept, not)
}

/// A commit that may or may not be on disk.
#[derive(Debug)]
pub(crate) struct Doubtful {
    pub(super) seq: u64,
    pub(super) kept: Vec<Entry>,
    /// What its callers were refused.
    pub(super) refused: Vec<Entry>,
}
