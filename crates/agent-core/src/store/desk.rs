//! A store without a thread: in memory, or on disk and not yet started.

use std::fmt;
use std::sync::atomic::Ordering;

use super::book::Book;
use super::entry::Entry;
use super::error::StoreError;
use super::writer::{Gauges, guarded};

/// Entries that are filed at once: a row that many of them change is written once.
const GROUP: usize = 256;

/// Is shown entries instead of their being kept.
pub(crate) struct Observer(Box<Observe>);

type Observe = dyn FnMut(&[Entry]) + Send;

impl Observer {
    pub(crate) fn new(observe: impl FnMut(&[Entry]) + Send + 'static) -> Observer {
        Observer(Box::new(observe))
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").finish_non_exhaustive()
    }
}

/// A book, and what is not yet filed in it. Nothing here survives the process anyway, so callers
/// are not kept waiting for a group to fill.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) book: Book,
    pending: Vec<Vec<Entry>>,
    /// Entries in it.
    count: usize,
    /// Where there is one, the book stays empty.
    observer: Option<Observer>,
}

impl Desk {
    pub(super) fn new(book: Book) -> Desk {
        Desk { book, pending: Vec::new(), count: 0, observer: None }
    }

    /// Shows entries to `observer` from now on, and keeps none.
    pub(super) fn observed(mut self, observer: Observer) -> Desk {
        self.observer = Some(observer);
        self
    }

    /// Takes entries; they are filed with the next group, or before anything is read.
    pub(super) fn write(&mut self, entries: Vec<Entry>, gauges: &Gauges) -> Result<(), StoreError> {
        if let Some(Observer(observe)) = &mut self.observer {
            observe(&entries);
            return Ok(());
        }
        self.count += entries.len();
        self.pending.push(entries);
        if self.count >= GROUP
            && let Err(error) = self.file(gauges)
        {
            tracing::error!(%error, "entries could not be filed, and are pending still");
        }
        Ok(())
    }

    /// Files what is pending, each entry once: where that fails, or panics, it starts afresh with
    /// what was filed, and what was not is pending still.
    pub(super) fn file(&mut self, gauges: &Gauges) -> Result<(), StoreError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let Desk { book, pending, .. } = self;
        let before = book.meta.seq;
        let result = guarded(|| book.write(pending.iter().flatten()));
        if result.is_err() {
            guarded(|| book.reopen())?;
            if book.meta.seq == before {
                return result;
            }
        }
        self.pending.clear();
        self.count = 0;
        gauges.commits.fetch_add(1, Ordering::Relaxed);
        gauges.records.store(self.book.records, Ordering::Relaxed);
        gauges.ignored.store(self.book.ignored, Ordering::Relaxed);
        Ok(())
    }
}
