//! The store in memory: what is handed in is taken on the caller's own thread, at once.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::backend::Backend;
use super::book::Book;
use super::entry::Entry;
use super::error::StoreError;
use super::writer::{Gauges, guarded};
use crate::panics::log;

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

/// A book in memory that all who hold this write in. Nothing in it survives the process, so nobody
/// waits for anything, and what is open is known without a journal.
#[derive(Debug, Clone)]
pub(crate) struct Desk(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    pages: Mutex<Pages>,
    /// Whether an observer is shown what is written.
    is_observed: bool,
    gauges: Arc<Gauges>,
}

#[derive(Debug)]
struct Pages {
    book: Book,
    /// Records and events that are not in it yet.
    pending: Vec<Entry>,
    /// Where there is one, the book stays empty.
    observer: Option<Observer>,
}

impl Desk {
    pub(super) fn new(
        backend: Box<dyn Backend>,
        observer: Option<Observer>,
        gauges: Arc<Gauges>,
    ) -> Result<Desk, StoreError> {
        let (book, _) = Book::open(backend)?;
        let is_observed = observer.is_some();
        let pages = Mutex::new(Pages { book, pending: Vec::new(), observer });
        Ok(Desk(Arc::new(Shared { pages, is_observed, gauges })))
    }

    /// Whether nothing is kept, and an observer is shown it instead.
    pub(crate) fn is_observed(&self) -> bool {
        self.0.is_observed
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        // What may panic while it writes is caught there, and what else may panic only reads.
        self.0.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes entries; they are filed with the next group, or before anything is read.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the observer panicked.
    pub(crate) fn write(&self, entries: Vec<Entry>) -> Result<(), StoreError> {
        let pages = &mut *self.pages();
        if let Some(Observer(observe)) = &mut pages.observer {
            return guarded(|| {
                observe(&entries);
                Ok(())
            });
        }
        for entry in entries {
            if !pages.book.live.admit(&entry) {
                pages.book.counts.ignored += 1;
            } else if entry.is_filed() {
                pages.pending.push(entry);
            }
        }
        if pages.pending.len() >= GROUP
            && let Err(error) = pages.file(&self.0.gauges)
        {
            log!(error, %error, "entries could not be filed, and are pending still");
        }
        Ok(())
    }

    /// Reads what all that was written has become.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it cannot be filed or read.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&Book) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut pages = self.pages();
        pages.file(&self.0.gauges)?;
        read(&pages.book)
    }
}

impl Pages {
    /// Files what is pending, each entry once: where that fails, or panics, it starts afresh with
    /// what was filed, and what was not is pending still.
    fn file(&mut self, gauges: &Gauges) -> Result<(), StoreError> {
        let Pages { book, pending, .. } = self;
        if !pending.is_empty() {
            let before = book.meta.seq;
            let result = guarded(|| book.file(pending));
            if result.is_err() {
                guarded(|| book.refresh())?;
                if book.meta.seq == before {
                    return result;
                }
            }
            pending.clear();
            gauges.commits.fetch_add(1, Ordering::Relaxed);
        }
        gauges.show(book.counts);
        Ok(())
    }
}
