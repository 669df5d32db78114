//! The store: what callers are told is on disk when they are told.
//!
//! ```text
//! Write ─► Store ─► its thread: whatever is queued ─► one frame of the log ─► sync ─► answers
//!                                                                 └─ now and then ─► sled
//! ```
//!
//! Records, rollups, journal and audit trail are keys and values behind one port, with two
//! implementations: a log before sled, on a thread of its own, and memory, which answers inline.

mod backend;
mod book;
mod charges;
mod codec;
mod desk;
mod disk;
mod entry;
mod error;
mod group;
mod journal;
mod left;
mod live;
mod log;
mod logged;
mod messages;
mod past;
mod pending;
mod query;
mod reader;
mod reply;
mod rollup;
mod sled_backend;
#[cfg(test)]
mod tests;
mod transfer;
mod writer;

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use actix::prelude::*;

use crate::clock::{Clock, Timestamp};
use crate::panics::log;
use crate::record::UsageRecord;
use backend::{Backend, Memory};
use book::Book;
pub(crate) use desk::{Desk, Observer};
pub(crate) use disk::SyncFile;
use logged::Logged;
use writer::{Gauges, Job, Writer};

pub(crate) use charges::{Charges, ReadCharges};
pub use entry::{CallStats, Entry, LeftTask, Recovered, RunStatus, UnfinishedRun};
pub use error::StoreError;
pub(crate) use live::OpenTask;
pub(crate) use messages::WriteThen;
pub use messages::{Flush, GetHealth, GetUsage, Health, Note, StoreNotice, Watch, Write, Written};
pub use past::{PastRun, PastTask};
pub use query::{Dimension, UsageQuery, UsageReport, UsageRow};
pub use reader::{AuditFilter, Reader, Spending, Trail};
pub use rollup::Totals;
pub use transfer::Difference;

/// How a store on disk is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOptions {
    /// The database's cache, in bytes. Default: 64 MiB.
    pub cache_bytes: u64,
    /// A log that is longer is taken over into the database with the next commit: bounds memory,
    /// what opening has to replay, and how long that commit takes. Default: 4 MiB.
    pub log_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions { cache_bytes: 64 << 20, log_bytes: 4 << 20 }
    }
}

// === actor ===

/// Keeps records, rollups, the journal and the audit trail.
#[derive(Debug)]
pub struct Store {
    side: Side,
    gauges: Arc<Gauges>,
    watchers: Vec<Recipient<StoreNotice>>,
}

#[derive(Debug)]
enum Side {
    /// In memory.
    Memory(Desk),
    /// On disk, and not yet started.
    Disk(Box<Book>),
    /// On disk, on its thread.
    Thread { jobs: mpsc::Sender<Job>, handle: Option<JoinHandle<()>> },
    /// The thread could not be started.
    Gone,
}

impl Store {
    /// A store in memory; it answers at once and nothing survives the process.
    pub fn memory() -> Store {
        Store::in_memory(Box::new(Memory::default()), None)
    }

    /// A store that keeps nothing, and shows each entry to `observer` in the order of their writing.
    pub(crate) fn observed(observer: Observer) -> Store {
        Store::in_memory(Box::new(Memory::default()), Some(observer))
    }

    fn in_memory(backend: Box<dyn Backend>, observer: Option<Observer>) -> Store {
        let mut store = Store::with(Side::Gone);
        // It is empty: there is nothing that could not be read.
        if let Ok(desk) = Desk::new(backend, observer, store.gauges.clone()) {
            store.side = Side::Memory(desk);
        }
        store
    }

    /// Where entries are handed in without a message; none on disk, where they must be waited for.
    pub(crate) fn desk(&self) -> Option<Desk> {
        match &self.side {
            Side::Memory(desk) => Some(desk.clone()),
            Side::Disk(_) | Side::Thread { .. } | Side::Gone => None,
        }
    }

    /// Opens or makes the store in `dir`; its thread starts with the actor.
    ///
    /// Attempts that were left open are settled with [`Store::settle_left_open`], before anything
    /// else starts.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the folder is no usable store; it names the remedy.
    pub fn sled(dir: &Path, options: &StoreOptions) -> Result<(Store, Recovered), StoreError> {
        Store::sled_with(dir, options, SyncFile::real())
    }

    pub(crate) fn sled_with(
        dir: &Path,
        options: &StoreOptions,
        sync: SyncFile,
    ) -> Result<(Store, Recovered), StoreError> {
        let backend = Logged::open(dir, options, sync)?;
        let (book, recovered) = Book::open(Box::new(backend))?;
        Ok((Store::with(Side::Disk(Box::new(book))), recovered))
    }

    fn with(side: Side) -> Store {
        Store { side, gauges: Arc::default(), watchers: Vec::new() }
    }

    /// Reads what is there; only before the actor is started.
    fn read<T>(&self, read: impl FnOnce(&Book) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match &self.side {
            Side::Memory(desk) => desk.read(read),
            Side::Disk(book) => read(book),
            Side::Thread { .. } | Side::Gone => Err(StoreError::Closed),
        }
    }

    fn write(&mut self, entries: Vec<Entry>) -> Result<(), StoreError> {
        match &mut self.side {
            Side::Memory(desk) => desk.write(entries),
            Side::Disk(book) => book.write(&entries),
            Side::Thread { .. } | Side::Gone => Err(StoreError::Closed),
        }
    }

    /// Charges each attempt that a killed process left open at its bound, durably.
    ///
    /// What was charged is added to the unfinished run in `recovered` and returned.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it cannot be written, or the actor was started already.
    pub fn settle_left_open(
        &mut self,
        recovered: &mut Recovered,
        now: Timestamp,
    ) -> Result<Vec<UsageRecord>, StoreError> {
        left::settle(recovered, now, |entries| self.write(entries))
    }

    /// Writes the first entries of a run, durably; only before the actor is started.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where they cannot be written, or it was started.
    pub(crate) fn begin(&mut self, entries: Vec<Entry>) -> Result<(), StoreError> {
        self.write(entries)
    }

    /// Whether there is a store in `dir`.
    pub(crate) fn is_there(dir: &Path) -> bool {
        reader::is_there(dir)
    }

    /// What the audit trail tells of a run that started at `since`; only before the actor is
    /// started.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it cannot be read.
    pub fn trail(&self, run_id: &str, since: Timestamp) -> Result<Trail, StoreError> {
        self.read(|book| reader::trail(&*book.backend, run_id, since))
    }

    /// Tells what was spent when, to rebuild budgets; only before the actor is started.
    ///
    /// Calls opened on the day of `fine_since` or later are told one by one, those before it as
    /// one sum for each day, project, agent, model, user and key.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it cannot be read.
    pub fn spending(
        &self,
        fine_since: Timestamp,
        each: &mut dyn FnMut(Spending),
    ) -> Result<(), StoreError> {
        self.charges(|charges| charges.spending(fine_since, each))
    }

    /// Reads what is durable of the money; only before the actor is started.
    ///
    /// # Errors
    ///
    /// Those of `read`; [`StoreError::Closed`] after that.
    pub(crate) fn charges<T>(
        &self,
        read: impl FnOnce(Charges<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.read(|book| read(Charges(book)))
    }
}

impl Actor for Store {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        // Bounded by who writes: each waits for its answer before it writes again. What is noted
        // must not be refused.
        ctx.set_mailbox_capacity(0);
        let book = match std::mem::replace(&mut self.side, Side::Gone) {
            Side::Disk(book) => *book,
            other => {
                self.side = other;
                return;
            }
        };
        let (jobs, inbox) = mpsc::channel();
        let writer = Writer {
            book,
            gauges: self.gauges.clone(),
            clock: Clock::real(),
            actor: ctx.address().downgrade(),
            backlog: Vec::new(),
            waiting: Vec::new(),
            gather_until: Timestamp::EPOCH,
            doubtful: None,
            room: Vec::new(),
        };
        let thread = std::thread::Builder::new().name("store".to_owned());
        match thread.spawn(move || writer.run(&inbox)) {
            Ok(handle) => self.side = Side::Thread { jobs, handle: Some(handle) },
            Err(error) => log!(error, %error, "failed to start the store's thread"),
        }
    }
}

impl Supervised for Store {
    /// What was given to the thread, or is to be filed, is there; the rest waits in the mailbox.
    fn restarting(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(0);
    }
}

impl Drop for Store {
    /// Waits until what was accepted is written and the database is closed.
    fn drop(&mut self) {
        if let Side::Thread { handle, .. } = &mut self.side {
            let handle = handle.take();
            // The thread ends when the sender is gone.
            self.side = Side::Gone;
            if handle.is_some_and(|handle| handle.join().is_err()) {
                log!(error, "the store's thread panicked");
            }
        }
    }
}
