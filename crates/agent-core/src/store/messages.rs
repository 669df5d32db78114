//! The messages of the store actor, and what answers them.

use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::Duration;

use actix::dev::{MessageResponse, OneshotSender};
use actix::prelude::*;
use tokio::sync::oneshot;

use super::entry::Entry;
use super::error::StoreError;
use super::query::{self, UsageQuery, UsageReport};
use super::reply::{Reply, Then};
use super::writer::Job;
use super::{Side, Store};
use crate::clock::{Clock, Timestamp};
use crate::panics::{self, log};

// === Write ===

/// Writes entries, all or none; answered when they are durable.
///
/// While the store is down, a message of which every entry [is kept](Entry::is_kept) is kept in
/// memory, and answered when the store is back; any other message is refused as a whole. So send
/// what must not be lost in a message of its own, and bound the wait where there is no time.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub struct Write {
    /// What to write.
    pub entries: Vec<Entry>,
}

impl Handler<Write> for Store {
    type Result = Written;

    fn handle(&mut self, msg: Write, _: &mut Context<Self>) -> Written {
        Written(self.answer(msg.entries))
    }
}

/// The answer to a [`Write`]: the caller's own channel goes where the entries go.
#[derive(Debug)]
pub struct Written(Answer);

#[derive(Debug)]
enum Answer {
    Now(Result<(), StoreError>),
    /// From the store's thread.
    Later(Vec<Entry>, mpsc::Sender<Job>),
}

impl MessageResponse<Store, Write> for Written {
    fn handle(self, _: &mut Context<Store>, caller: Option<OneshotSender<Result<(), StoreError>>>) {
        self.0.give(caller.map_or_else(Reply::nobody, Reply::from));
    }
}

impl Store {
    fn answer(&mut self, entries: Vec<Entry>) -> Answer {
        match &mut self.side {
            Side::Memory(desk) => Answer::Now(desk.write(entries)),
            Side::Disk(_) | Side::Gone => Answer::Now(Err(StoreError::Closed)),
            Side::Thread { jobs, .. } => {
                self.gauges.queued.fetch_add(1, Ordering::Relaxed);
                Answer::Later(entries, jobs.clone())
            }
        }
    }
}

impl Answer {
    /// Gives it, or sends the reply to the thread with the entries.
    fn give(self, reply: Reply) {
        match self {
            Answer::Now(result) => reply.give(result),
            // Where the thread is gone, so is the reply, and is told that.
            Answer::Later(entries, jobs) => drop(jobs.send(Job::Write(entries, Some(reply)))),
        }
    }
}

// === WriteThen ===

/// Writes entries, all or none, and does `then` when they are durable, or cannot be made so.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct WriteThen {
    entries: Vec<Entry>,
    then: Reply,
}

impl WriteThen {
    /// `then` is done on the store actor's thread, or on its own while it closes; with
    /// [`StoreError::Closed`] where there is none.
    pub(crate) fn new(
        entries: Vec<Entry>,
        then: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) -> WriteThen {
        WriteThen { entries, then: Reply::from(Box::new(then) as Then) }
    }
}

impl Handler<WriteThen> for Store {
    type Result = ();

    fn handle(&mut self, WriteThen { entries, then }: WriteThen, _: &mut Context<Self>) {
        self.answer(entries).give(then);
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
            Side::Memory(desk) => desk.write(msg.entries).is_ok(),
            Side::Thread { jobs, .. } => {
                self.gauges.queued.fetch_add(1, Ordering::Relaxed);
                jobs.send(Job::Write(msg.entries, None)).is_ok()
            }
            Side::Disk(_) | Side::Gone => false,
        };
        if !written {
            log!(error, "a note could not be written, the store is closed");
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
        match &mut self.side {
            Side::Memory(desk) => Box::pin(std::future::ready(desk.read(|_| Ok(())))),
            Side::Disk(_) | Side::Gone => Box::pin(std::future::ready(Err(StoreError::Closed))),
            Side::Thread { jobs, .. } => {
                let (reply, answer) = oneshot::channel();
                drop(jobs.send(Job::Flush(reply.into())));
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
        match &mut self.side {
            Side::Memory(desk) => {
                let report = desk.read(|book| query::usage(&*book.backend, &query));
                Box::pin(std::future::ready(report))
            }
            Side::Disk(_) | Side::Gone => Box::pin(std::future::ready(Err(StoreError::Closed))),
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
        if let Side::Memory(desk) = &self.side
            && let Err(error) = desk.read(|_| Ok(()))
        {
            log!(error, %error, "entries could not be filed");
        }
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

/// One commit's answers. They are given where this is dropped: by the actor, on its own thread, with
/// one wake-up for all of them; or wherever it ends where the actor does not read its mail any more.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Answered {
    pub(super) replies: Vec<(Reply, Result<(), StoreError>)>,
}

impl Drop for Answered {
    fn drop(&mut self) {
        for (reply, result) in self.replies.drain(..) {
            // Each is told, whatever another does then.
            if let Err(reason) = panics::contain(|| reply.give(result)) {
                log!(error, reason, "who was told of a commit panicked");
            }
        }
    }
}

impl Handler<Answered> for Store {
    type Result = ();

    fn handle(&mut self, answered: Answered, _: &mut Context<Self>) {
        drop(answered);
    }
}
