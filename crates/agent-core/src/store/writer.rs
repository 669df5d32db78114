//! The thread that owns the database: group commit, and what happens when it fails.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::WeakAddr;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tracing::{error, info};

use super::book::Book;
use super::entry::Entry;
use super::error::StoreError;
use super::messages::Answered;
use super::query::{UsageQuery, UsageReport};
use super::reply::Reply;
use super::{Store, StoreNotice};
use crate::clock::{Clock, Timestamp};

/// Most entries in one commit.
const GROUP: usize = 4_096;
/// Least time between two commits while several callers write: a commit costs as much for one
/// entry as for a hundred. A caller that writes alone does not wait.
const GATHER: Duration = Duration::from_millis(4);
/// So many callers are not kept waiting for more.
const ENOUGH: usize = 64;
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);
/// A commit that takes longer is reported.
const SLOW: Duration = Duration::from_secs(2);

/// What the actor asks of the thread.
#[derive(Debug)]
pub(crate) enum Job {
    /// Write; a permit bounds how many wait.
    Write(Vec<Entry>, Option<(Reply, OwnedSemaphorePermit)>),
    /// Answer once all that was asked before is durable.
    Flush(Reply),
    /// Read totals.
    Query(UsageQuery, oneshot::Sender<Result<UsageReport, StoreError>>),
}

/// Figures that both sides see.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    pub(crate) queued: AtomicU64,
    pub(crate) backlog: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) ignored: AtomicU64,
    /// When the commit that is under way began, in nanoseconds; 0 where none is.
    pub(crate) busy_since: AtomicU64,
    pub(crate) down: Mutex<Option<String>>,
}

impl Gauges {
    pub(crate) fn down(&self) -> Option<String> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_down(&self, reason: Option<String>) {
        *self.down.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }
}

/// The thread's state.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) book: Book,
    pub(crate) gauges: Arc<Gauges>,
    pub(crate) clock: Clock,
    pub(crate) actor: WeakAddr<Store>,
    /// What is written when the store is back.
    pub(crate) backlog: Vec<Entry>,
    /// Until when entries are gathered for the next commit.
    pub(crate) gather_until: Timestamp,
    /// The commit that failed, and whether it is on disk is not known.
    pub(crate) doubtful: Option<(u64, Vec<Entry>)>,
}

impl Writer {
    /// Works until every sender is gone and everything is written, or cannot be.
    pub(crate) fn run(mut self, jobs: &Receiver<Job>) {
        let mut wait = FIRST_RETRY;
        loop {
            let first = if self.is_down() {
                match jobs.recv_timeout(wait) {
                    Ok(job) => Some(job),
                    Err(RecvTimeoutError::Timeout) => {
                        wait =
                            if self.try_back() { FIRST_RETRY } else { (wait * 2).min(LAST_RETRY) };
                        None
                    }
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            } else {
                match jobs.recv() {
                    Ok(job) => Some(job),
                    Err(_) => break,
                }
            };
            if let Some(first) = first {
                self.group(first, jobs);
            }
        }
        if self.is_down() && !self.try_back() {
            let lost = self.backlog.len();
            error!(entries = lost, "store is still down at the end, entries are lost");
        }
    }

    fn is_down(&self) -> bool {
        self.doubtful.is_some() || !self.backlog.is_empty() || self.gauges.down().is_some()
    }

    /// Takes what is queued, gathers more where it is too little, and commits all of it at once.
    fn group(&mut self, first: Job, jobs: &Receiver<Job>) {
        let mut entries = Vec::new();
        let mut shares = Vec::new();
        let mut flushes = Vec::new();
        let mut permits = Vec::new();
        let mut next = Some(first);
        while let Some(job) = next.take() {
            match job {
                Job::Write(mut more, reply) => {
                    self.gauges.queued.fetch_sub(1, Ordering::Relaxed);
                    if let Some((reply, permit)) = reply {
                        shares.push((reply, more.iter().all(Entry::is_kept)));
                        permits.push(permit);
                    }
                    entries.append(&mut more);
                }
                Job::Flush(reply) => flushes.push(reply),
                Job::Query(query, reply) => {
                    drop(reply.send(super::query::usage(&*self.book.backend, &query)));
                }
            }
            if entries.len() < GROUP {
                next = self.next(jobs, shares.len() < ENOUGH);
            }
        }
        let several = shares.len() > 1;
        let pause = if several { GATHER } else { Duration::ZERO };
        self.gather_until = self.clock.now() + pause;
        let result = self.write(entries);
        let mut replies = Vec::with_capacity(shares.len() + flushes.len());
        for (reply, kept) in shares {
            replies.push((reply, result.clone().map_err(|reason| refusal(reason, kept))));
        }
        for reply in flushes {
            replies.push((reply, result.clone().map_err(|reason| refusal(reason, true))));
        }
        if !replies.is_empty() {
            self.tell(Answered { replies });
        }
    }

    /// What is queued, or comes while entries are gathered.
    fn next(&self, jobs: &Receiver<Job>, waits: bool) -> Option<Job> {
        let left = self.gather_until.since(self.clock.now());
        match jobs.try_recv() {
            Err(TryRecvError::Empty) if waits && !left.is_zero() => jobs.recv_timeout(left).ok(),
            queued => queued.ok(),
        }
    }

    fn write(&mut self, entries: Vec<Entry>) -> Result<(), String> {
        if self.is_down() {
            self.backlog.extend(entries.into_iter().filter(Entry::is_kept));
            self.gauges.backlog.store(self.backlog.len() as u64, Ordering::Relaxed);
            let down = self.gauges.down();
            return Err(down.unwrap_or_else(|| "it is being reopened".to_owned()));
        }
        if entries.is_empty() {
            return Ok(());
        }
        let began = self.clock.now();
        self.gauges.busy_since.store(began.nanos().max(1), Ordering::Relaxed);
        let result = self.book.write(&entries);
        self.gauges.busy_since.store(0, Ordering::Relaxed);
        let took = self.clock.now().since(began);
        if took > SLOW {
            self.tell(StoreNotice::Slow { took });
        }
        match result {
            Ok(()) => {
                self.gauges.commits.fetch_add(1, Ordering::Relaxed);
                self.gauges.records.store(self.book.records, Ordering::Relaxed);
                self.gauges.ignored.store(self.book.ignored, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => {
                let reason = chain(&error);
                error!(reason, "store is down, no new attempts start");
                self.doubtful = Some((self.book.meta.seq, entries));
                self.gauges.set_down(Some(reason.clone()));
                self.tell(StoreNotice::Down { reason: reason.clone() });
                Err(reason)
            }
        }
    }

    /// Reopens the database and writes what was kept.
    pub(crate) fn try_back(&mut self) -> bool {
        match self.back() {
            Ok(()) => {
                info!("store is back, what was kept is written");
                self.gauges.set_down(None);
                self.gauges.backlog.store(0, Ordering::Relaxed);
                self.tell(StoreNotice::Back);
                true
            }
            Err(error) => {
                self.gauges.set_down(Some(chain(&error)));
                false
            }
        }
    }

    fn back(&mut self) -> Result<(), StoreError> {
        self.book.reopen()?;
        if let Some((seq, entries)) = self.doubtful.clone() {
            if self.book.meta.seq >= seq {
                // It is there; what was refused to the callers is taken back.
                self.book.withdraw(&entries)?;
            } else {
                let kept: Vec<_> = entries.into_iter().filter(Entry::is_kept).collect();
                self.backlog.splice(0..0, kept);
            }
            self.doubtful = None;
        }
        let entries = std::mem::take(&mut self.backlog);
        if let Err(error) = self.book.write(&entries) {
            self.doubtful = Some((self.book.meta.seq, entries));
            return Err(error);
        }
        Ok(())
    }

    fn tell<M>(&self, message: M)
    where
        M: actix::Message + Send + 'static,
        M::Result: Send,
        Store: actix::Handler<M>,
    {
        if let Some(actor) = self.actor.upgrade() {
            actor.do_send(message);
        }
    }
}

fn refusal(reason: String, kept: bool) -> StoreError {
    if kept { StoreError::Kept { reason } } else { StoreError::Down { reason } }
}

fn chain(error: &StoreError) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
