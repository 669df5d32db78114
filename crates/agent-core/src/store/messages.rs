//! The messages of the store actor, and what answers them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::entry::Entry;
use super::error::StoreError;
use super::query::{self, UsageQuery, UsageReport};
use super::writer::{Job, Reply};
use super::{Side, Store};
use crate::clock::{Clock, Timestamp};

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
pub(super) struct Answered {
    pub(super) replies: Vec<(Reply, Result<(), StoreError>)>,
}

impl Handler<Answered> for Store {
    type Result = ();

    fn handle(&mut self, Answered { replies }: Answered, _: &mut Context<Self>) {
        for (reply, result) in replies {
            drop(reply.send(result));
        }
    }
}
