//! The store: what callers are told is on disk when they are told.
//!
//! ```text
//! Write ─► Store ─► its thread: whatever is queued ─► one atomic batch ─► flush ─► sync ─► answers
//! ```
//!
//! Records, rollups, journal and audit trail are keys and values behind one port, with two
//! implementations: sled on a thread of its own, and memory, which answers inline.

mod backend;
mod book;
mod codec;
mod entry;
mod error;
mod journal;
mod query;
mod reader;
mod rollup;
mod sled_backend;
#[cfg(test)]
mod tests;
mod transfer;
mod writer;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::{Semaphore, oneshot};

use crate::audit::{AuditEvent, AuditKind};
use crate::clock::{Clock, Timestamp};
use crate::record::{OpenAttempt, UsageRecord};
use crate::usage::TokenCounts;
use backend::Memory;
use book::Book;
use sled_backend::{Sled, SyncFile};
use writer::{Gauges, Job, Reply, Writer};

pub use entry::{CallStats, Entry, LeftTask, Recovered, RunStatus, UnfinishedRun};
pub use error::StoreError;
pub use query::{Dimension, UsageQuery, UsageReport, UsageRow};
pub use reader::{AuditFilter, Reader, Spending};
pub use rollup::Totals;
pub use transfer::Difference;

/// How a store on disk is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreOptions {
    /// The database's cache, in bytes. Default: 64 MiB.
    pub cache_bytes: u64,
    /// Most writes that wait at once; more make their senders wait. Default: 4,096.
    pub queue: usize,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions { cache_bytes: 64 << 20, queue: 4_096 }
    }
}

// === actor ===

/// Keeps records, rollups, the journal and the audit trail.
#[derive(Debug)]
pub struct Store {
    side: Side,
    gauges: Arc<Gauges>,
    permits: Arc<Semaphore>,
    watchers: Vec<Recipient<StoreNotice>>,
}

#[derive(Debug)]
enum Side {
    /// In memory, or on disk and not yet started.
    Here(Box<Book>),
    /// On its thread.
    Thread { jobs: mpsc::Sender<Job>, handle: Option<JoinHandle<()>> },
    /// The thread could not be started.
    Gone,
}

impl Store {
    /// A store in memory; it answers at once and nothing survives the process.
    pub fn memory() -> Store {
        let book = Book::open(Box::new(Memory::default()));
        let side = book.map_or(Side::Gone, |(book, _)| Side::Here(Box::new(book)));
        Store::with(side, StoreOptions::default().queue)
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
        Store::sled_with(dir, options, Arc::new(|file| file.sync_all()))
    }

    pub(crate) fn sled_with(
        dir: &Path,
        options: &StoreOptions,
        sync: SyncFile,
    ) -> Result<(Store, Recovered), StoreError> {
        let backend = Sled::open(dir, options.cache_bytes, sync)?;
        let (book, recovered) = Book::open(Box::new(backend))?;
        Ok((Store::with(Side::Here(Box::new(book)), options.queue), recovered))
    }

    fn with(side: Side, queue: usize) -> Store {
        let permits = Arc::new(Semaphore::new(queue.clamp(1, Semaphore::MAX_PERMITS)));
        Store { side, gauges: Arc::default(), permits, watchers: Vec::new() }
    }

    fn book(&self) -> Result<&Book, StoreError> {
        match &self.side {
            Side::Here(book) => Ok(book),
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
        let Side::Here(book) = &mut self.side else { return Err(StoreError::Closed) };
        let records: Vec<_> =
            recovered.open_attempts.iter().map(|open| presumed(open, now)).collect();
        if records.is_empty() {
            return Ok(records);
        }
        let entries = records.iter().flat_map(|record| {
            let kind =
                AuditKind::UsagePresumed { attempt: record.attempt, presumed: record.presumed };
            let event = AuditEvent {
                timestamp: now,
                call_id: Some(record.call_id),
                subject: record.subject.clone(),
                kind,
            };
            [Entry::AttemptClosed(record.clone()), Entry::Audit(event)]
        });
        let entries: Vec<_> = entries.collect();
        book.write(&entries)?;
        recovered.open_attempts.clear();
        if let Some(run) = &mut recovered.run {
            for closed in records.iter().map(journal::Closed::from) {
                if closed.run_id != run.run_id {
                    continue;
                }
                run.calls.add(&closed);
                let is_its =
                    |task: &&mut LeftTask| Some(task.task.id.as_str()) == closed.task_id.as_deref();
                if let Some(task) = run.tasks.iter_mut().find(is_its) {
                    task.spent.add(&closed);
                }
            }
        }
        Ok(records)
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
        each: &mut dyn FnMut(&Spending),
    ) -> Result<(), StoreError> {
        let book = self.book()?;
        reader::spending(&*book.backend, fine_since, each)
    }
}

fn presumed(open: &OpenAttempt, now: Timestamp) -> UsageRecord {
    let duration = now.since(open.at).as_millis();
    UsageRecord {
        call_id: open.call_id,
        attempt: open.attempt,
        at: now,
        opened_at: open.at,
        duration_ms: u64::try_from(duration).unwrap_or(u64::MAX),
        permit_wait_ms: 0,
        money_wait_ms: 0,
        usage: TokenCounts::default(),
        max_tokens: 0,
        cost: crate::money::NanoUsd::ZERO,
        presumed: open.bound,
        priced: true,
        error: Some("process_killed".to_owned()),
        status: None,
        stop_reason: None,
        request_id: None,
        answered_by: None,
        account: open.account.clone(),
        provider: open.provider.clone(),
        subject: open.subject.clone(),
    }
}

impl Actor for Store {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        // Work is bounded by permits, notices are not refused: the mailbox need not be.
        ctx.set_mailbox_capacity(self.permits.available_permits().max(16));
        let is_disk = matches!(&self.side, Side::Here(book) if book.backend.blocks());
        if !is_disk {
            return;
        }
        let Side::Here(book) = std::mem::replace(&mut self.side, Side::Gone) else { return };
        let (jobs, inbox) = mpsc::channel();
        let writer = Writer {
            book: *book,
            gauges: self.gauges.clone(),
            clock: Clock::real(),
            actor: ctx.address().downgrade(),
            backlog: Vec::new(),
            doubtful: None,
        };
        let thread = std::thread::Builder::new().name("store".to_owned());
        match thread.spawn(move || writer.run(&inbox)) {
            Ok(handle) => self.side = Side::Thread { jobs, handle: Some(handle) },
            Err(error) => tracing::error!(%error, "failed to start the store's thread"),
        }
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
                tracing::error!("the store's thread panicked");
            }
        }
    }
}

// === Write ===

/// Writes entries, all or none; answered when they are durable.
///
/// Entries that are only half of a kind that [is kept](Entry::is_kept) are refused while the store
/// is down: send what must not be lost in a message of its own.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct Write {
    /// What to write.
    pub entries: Vec<Entry>,
}

impl Handler<Write> for Store {
    type Result = ResponseFuture<Result<(), StoreError>>;

    fn handle(&mut self, msg: Write, _: &mut Context<Self>) -> Self::Result {
        let jobs = match &mut self.side {
            Side::Here(book) => {
                let result = book.write(&msg.entries);
                self.gauges.commits.fetch_add(1, Ordering::Relaxed);
                self.gauges.records.store(book.records, Ordering::Relaxed);
                self.gauges.ignored.store(book.ignored, Ordering::Relaxed);
                return Box::pin(std::future::ready(result));
            }
            Side::Thread { jobs, .. } => jobs.clone(),
            Side::Gone => return Box::pin(std::future::ready(Err(StoreError::Closed))),
        };
        let (reply, answer) = oneshot::channel();
        let gauges = self.gauges.clone();
        let send = move |permit| {
            gauges.queued.fetch_add(1, Ordering::Relaxed);
            jobs.send(Job::Write(msg.entries, Some((reply, permit)))).is_ok()
        };
        let permits = self.permits.clone();
        if let Ok(permit) = permits.clone().try_acquire_owned() {
            send(permit);
            return Box::pin(async move { answer.await.unwrap_or(Err(StoreError::Closed)) });
        }
        Box::pin(async move {
            let permit = permits.acquire_owned().await.map_err(|_| StoreError::Closed)?;
            send(permit);
            answer.await.unwrap_or(Err(StoreError::Closed))
        })
    }
}

// === Note ===

/// Writes entries with the next commit; nobody is told when. Never refused.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Note {
    /// What to write.
    pub entries: Vec<Entry>,
}

impl Handler<Note> for Store {
    type Result = ();

    fn handle(&mut self, msg: Note, _: &mut Context<Self>) {
        let written = match &mut self.side {
            Side::Here(book) => book.write(&msg.entries).is_ok(),
            Side::Thread { jobs, .. } => {
                self.gauges.queued.fetch_add(1, Ordering::Relaxed);
                jobs.send(Job::Write(msg.entries, None)).is_ok()
            }
            Side::Gone => false,
        };
        if !written {
            tracing::error!("a note could not be written, the store is closed");
        }
    }
}

// === Flush ===

/// Answered when all that was sent before is durable.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct Flush;

impl Handler<Flush> for Store {
    type Result = ResponseFuture<Result<(), StoreError>>;

    fn handle(&mut self, _: Flush, _: &mut Context<Self>) -> Self::Result {
        match &self.side {
            Side::Here(_) => Box::pin(std::future::ready(Ok(()))),
            Side::Gone => Box::pin(std::future::ready(Err(StoreError::Closed))),
            Side::Thread { jobs, .. } => {
                let (reply, answer) = oneshot::channel();
                drop(jobs.send(Job::Flush(reply)));
                Box::pin(async move { answer.await.unwrap_or(Err(StoreError::Closed)) })
            }
        }
    }
}

// === GetUsage ===

/// Totals of what was used.
#[derive(Debug, Message)]
#[rtype(result = "Result<UsageReport, StoreError>")]
pub struct GetUsage(pub UsageQuery);

impl Handler<GetUsage> for Store {
    type Result = ResponseFuture<Result<UsageReport, StoreError>>;

    fn handle(&mut self, GetUsage(query): GetUsage, _: &mut Context<Self>) -> Self::Result {
        match &self.side {
            Side::Here(book) => Box::pin(std::future::ready(query::usage(&*book.backend, &query))),
            Side::Gone => Box::pin(std::future::ready(Err(StoreError::Closed))),
            Side::Thread { jobs, .. } => {
                let (reply, answer) = oneshot::channel();
                drop(jobs.send(Job::Query(query, reply)));
                Box::pin(async move { answer.await.unwrap_or(Err(StoreError::Closed)) })
            }
        }
    }
}

// === GetHealth ===

/// How the store is.
#[derive(Debug, Message)]
#[rtype(result = "Health")]
pub struct GetHealth;

/// How the store is, since it was started.
#[derive(Debug, Clone, PartialEq, Eq, MessageResponse)]
pub struct Health {
    /// Writes that wait for their commit.
    pub queued: u64,
    /// Entries kept in memory until the store is back.
    pub backlog: u64,
    /// Why it is down, where it is.
    pub down: Option<String>,
    /// Commits.
    pub commits: u64,
    /// Usage records written.
    pub records: u64,
    /// Second ends of an attempt or a task that were ignored.
    pub ignored: u64,
    /// For how long the commit that is under way has been; long ones mean a disk that hangs.
    pub busy: Option<Duration>,
}

impl Handler<GetHealth> for Store {
    type Result = Health;

    fn handle(&mut self, _: GetHealth, _: &mut Context<Self>) -> Health {
        let gauges = &self.gauges;
        let since = gauges.busy_since.load(Ordering::Relaxed);
        let busy = (since > 0).then(|| Clock::real().now().since(Timestamp::from_nanos(since)));
        Health {
            queued: gauges.queued.load(Ordering::Relaxed),
            backlog: gauges.backlog.load(Ordering::Relaxed),
            down: gauges.down(),
            commits: gauges.commits.load(Ordering::Relaxed),
            records: gauges.records.load(Ordering::Relaxed),
            ignored: gauges.ignored.load(Ordering::Relaxed),
            busy,
        }
    }
}

// === Watch ===

/// Sends notices about the store's health from now on.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Watch(pub Recipient<StoreNotice>);

/// The store's health has changed.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub enum StoreNotice {
    /// Nothing can be made durable; it is reopened by itself.
    Down {
        /// Why.
        reason: String,
    },
    /// It was reopened, and what was kept is durable.
    Back,
    /// One commit took long.
    Slow {
        /// How long.
        took: Duration,
    },
}

impl Handler<Watch> for Store {
    type Result = ();

    fn handle(&mut self, Watch(watcher): Watch, _: &mut Context<Self>) {
        self.watchers.push(watcher);
    }
}

impl Handler<StoreNotice> for Store {
    type Result = ();

    fn handle(&mut self, notice: StoreNotice, _: &mut Context<Self>) {
        for watcher in &self.watchers {
            watcher.do_send(notice.clone());
        }
    }
}

/// One commit's answers, given out on the actor's own thread: one wake-up for all of them.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Answered {
    replies: Vec<(Reply, Result<(), StoreError>)>,
}

impl Handler<Answered> for Store {
    type Result = ();

    fn handle(&mut self, Answered { replies }: Answered, _: &mut Context<Self>) {
        for (reply, result) in replies {
            drop(reply.send(result));
        }
    }
}
