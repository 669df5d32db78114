//! The thread that owns the database: group commit, and what happens when it fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::WeakAddr;
use tokio::sync::oneshot;

use super::book::{Book, Counts};
use super::charges::ReadCharges;
use super::entry::Entry;
use super::error::StoreError;
use super::group::{self, Doubtful, Group};
use super::messages::Answered;
use super::query::{UsageQuery, UsageReport};
use super::reply::Reply;
use super::{Store, StoreNotice};
use crate::clock::{Clock, Timestamp};
use crate::panics::log;

/// Most entries in one commit.
const GROUP: usize = 4_096;
/// Least time between two commits while several callers write: each costs a sync, whatever it
/// holds. A caller that writes alone does not wait.
const GATHER: Duration = Duration::from_millis(4);
/// How long it sleeps at a time while it gathers.
const NAP: Duration = Duration::from_millis(1);
/// So many callers are not kept waiting for more.
const ENOUGH: usize = 64;
/// Entries for which room is kept from commit to commit: to get it anew costs more than to fill it.
const ROOM: usize = 1_024;
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);
/// A commit that takes longer is reported.
const SLOW: Duration = Duration::from_secs(2);

/// What the actor asks of the thread.
#[derive(Debug)]
pub(crate) enum Job {
    /// Write, and tell whoever waits.
    Write(Vec<Entry>, Option<Reply>),
    /// Answer once all that was asked before is durable.
    Flush(Reply),
    /// Read what was spent, once all that was asked before is durable.
    Charges(ReadCharges),
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

    pub(super) fn show(&self, counts: Counts) {
        self.records.store(counts.records, Ordering::Relaxed);
        self.ignored.store(counts.ignored, Ordering::Relaxed);
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
    /// Who is told when the backlog is durable.
    pub(crate) waiting: Vec<Reply>,
    /// Until when entries are gathered for the next commit.
    pub(crate) gather_until: Timestamp,
    /// The commit that failed, and whether it is on disk is not known.
    pub(crate) doubtful: Option<Doubtful>,
    /// Room for the entries of the next commit.
    pub(crate) room: Vec<Entry>,
}

impl Writer {
    /// Works until every sender is gone and everything is written, or cannot be.
    pub(crate) fn run(mut self, jobs: &Receiver<Job>) {
        let mut wait = FIRST_RETRY;
        let mut retry_at = None;
        loop {
            let first = if self.is_down() {
                // A moment, not a wait after the last job: those who ask again and again must not
                // keep it from coming back.
                let now = self.clock.now();
                let left = retry_at.get_or_insert(now + wait).since(now);
                if left.is_zero() {
                    retry_at = None;
                    wait = if self.try_back() { FIRST_RETRY } else { (wait * 2).min(LAST_RETRY) };
                    continue;
                }
                match jobs.recv_timeout(left) {
                    Ok(job) => job,
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            } else {
                match jobs.recv() {
                    Ok(job) => job,
                    Err(_) => break,
                }
            };
            self.group(first, jobs);
        }
        if self.is_down() && !self.try_back() {
            let kept = self.doubtful.as_ref().map_or(0, |doubtful| doubtful.kept.len());
            let lost = self.backlog.len() + kept;
            log!(
                error,
                entries = lost,
                "store is still down at the end, what was kept in memory is lost: attempts that \
                 it closed will be charged at their bounds, tasks that it ended will run again"
            );
        }
    }

    fn is_down(&self) -> bool {
        self.doubtful.is_some() || !self.backlog.is_empty() || self.gauges.down().is_some()
    }

    /// Takes what is queued, gathers more where it is too little, and commits all of it at once.
    fn group(&mut self, first: Job, jobs: &Receiver<Job>) {
        let entries = std::mem::take(&mut self.room);
        let mut group = Group { entries, ..Group::default() };
        let mut next = Some(first);
        while let Some(job) = next.take() {
            match job {
                Job::Write(entries, caller) => {
                    self.gauges.queued.fetch_sub(1, Ordering::Relaxed);
                    group.add(entries, caller);
                }
                Job::Flush(reply) => group.flushes.push(reply),
                Job::Charges(read) => group.reads.push(read),
                Job::Query(query, reply) => {
                    let usage = || super::query::usage(&*self.book.backend, &query);
                    drop(reply.send(guarded(usage)));
                }
            }
            if group.entries.len() < GROUP {
                next = self.next(jobs, group.callers.len() < ENOUGH);
            }
        }
        let several = group.callers.len() > 1;
        let pause = if several { GATHER } else { Duration::ZERO };
        self.gather_until = self.clock.now() + pause;
        let Group { entries, refused, callers, flushes, reads } = group;
        let result = self.write(entries, &refused);
        let mut replies = Vec::with_capacity(callers.len() + flushes.len());
        for (reply, kept) in callers {
            match &result {
                Ok(()) => replies.push((reply, Ok(()))),
                Err(_) if kept => self.waiting.push(reply),
                Err(reason) => {
                    replies.push((reply, Err(StoreError::Down { reason: reason.clone() })));
                }
            }
        }
        for reply in flushes {
            let kept = |reason| StoreError::Kept { reason };
            replies.push((reply, result.clone().map_err(kept)));
        }
        if !replies.is_empty() {
            self.tell(Answered { replies });
        }
        for read in reads {
            let down = |reason| StoreError::Down { reason };
            let book = result.clone().map(|()| &self.book).map_err(down);
            // Who asked is told of a panic by the drop of what it asked.
            drop(guarded(|| {
                read.read(book);
                Ok(())
            }));
        }
    }

    /// What is queued, or comes while entries are gathered. The thread sleeps meanwhile: one that
    /// waited for the next job would be woken for each, at the cost of its sender too.
    fn next(&self, jobs: &Receiver<Job>, waits: bool) -> Option<Job> {
        loop {
            let left = self.gather_until.since(self.clock.now());
            match jobs.try_recv() {
                Err(TryRecvError::Empty) if waits && !left.is_zero() => {
                    #[expect(clippy::disallowed_methods, reason = "the store's own thread")]
                    std::thread::sleep(left.min(NAP));
                }
                queued => return queued.ok(),
            }
        }
    }

    fn write(
        &mut self,
        mut entries: Vec<Entry>,
        refused: &[std::ops::Range<usize>],
    ) -> Result<(), String> {
        if self.is_down() {
            self.backlog.extend(group::part(entries, refused).0);
            self.gauges.backlog.store(self.backlog.len() as u64, Ordering::Relaxed);
            let down = self.gauges.down();
            return Err(down.unwrap_or_else(|| "it is being reopened".to_owned()));
        }
        if entries.is_empty() {
            return Ok(());
        }
        let began = self.clock.now();
        self.gauges.busy_since.store(began.nanos().max(1), Ordering::Relaxed);
        let result = guarded(|| self.book.write(&entries));
        self.gauges.busy_since.store(0, Ordering::Relaxed);
        let took = self.clock.now().since(began);
        if took > SLOW {
            self.tell(StoreNotice::Slow { took });
        }
        match result {
            Ok(()) => {
                self.gauges.commits.fetch_add(1, Ordering::Relaxed);
                self.gauges.show(self.book.counts);
                entries.clear();
                entries.shrink_to(ROOM);
                self.room = entries;
                Ok(())
            }
            Err(error) => {
                let reason = chain(&error);
                log!(error, reason, "store is down, no new attempts start");
                let (kept, refused) = group::part(entries, refused);
                self.doubtful = Some(Doubtful { seq: self.book.meta.seq, kept, refused });
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
                log!(info, "store is back, what was kept is written");
                self.gauges.set_down(None);
                self.gauges.backlog.store(0, Ordering::Relaxed);
                self.gauges.show(self.book.counts);
                let replies = self.waiting.drain(..).map(|reply| (reply, Ok(()))).collect();
                self.tell(Answered { replies });
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
        guarded(|| self.book.reopen())?;
        if let Some(Doubtful { seq, refused, .. }) = &self.doubtful
            && self.book.meta.seq >= *seq
        {
            // It is there; what was refused to the callers is taken back.
            guarded(|| self.book.withdraw(refused))?;
            self.doubtful = None;
        }
        if let Some(Doubtful { kept, .. }) = self.doubtful.take() {
            self.backlog.splice(0..0, kept);
        }
        let entries = std::mem::take(&mut self.backlog);
        if let Err(error) = guarded(|| self.book.write(&entries)) {
            let seq = self.book.meta.seq;
            self.doubtful = Some(Doubtful { seq, kept: entries, refused: Vec::new() });
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

/// Does `work` with the database; a panic in it is a failure like any other.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        let reason = format!("the database panicked: {}", text.unwrap_or("without a word"));
        Err(StoreError::Down { reason })
    })
}

fn chain(error: &StoreError) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
