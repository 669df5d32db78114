//! What is durable of the money, for a budget that is built anew.

use std::fmt;
use std::sync::Arc;

use actix::prelude::*;

use super::book::Book;
use super::error::StoreError;
use super::live::OpenTask;
use super::query;
use super::reader::{self, Spending};
use super::writer::Job;
use super::{Side, Store};
use crate::clock::Timestamp;
use crate::record::{OpenAttempt, UsageRecord};

/// The store at one moment.
#[derive(Debug)]
pub(crate) struct Charges<'a>(pub(super) &'a Book);

impl Charges<'_> {
    /// Tells what was spent when, as [`Store::spending`] does.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it cannot be read.
    pub(crate) fn spending(
        &self,
        fine_since: Timestamp,
        each: &mut dyn FnMut(Spending),
    ) -> Result<(), StoreError> {
        reader::spending(&*self.0.backend, fine_since, each)
    }

    /// Tells each record of a call opened at `since` or later.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it cannot be read.
    pub(crate) fn records(
        &self,
        since: Timestamp,
        each: &mut dyn FnMut(&UsageRecord),
    ) -> Result<(), StoreError> {
        query::records(&*self.0.backend, since, Timestamp::NEVER, &mut |record| {
            each(&record);
            Ok(true)
        })
    }

    /// Attempts whose fate is open, oldest first.
    pub(crate) fn open_attempts(&self) -> Vec<Arc<OpenAttempt>> {
        self.0.live.open_attempts()
    }

    /// Tasks of the run that have not ended, with what they have spent.
    pub(crate) fn open_tasks(&self) -> impl Iterator<Item = &OpenTask> {
        self.0.live.tasks.values()
    }
}

type Read = dyn FnOnce(Result<Charges<'_>, StoreError>) + Send;

/// Reads what is durable, behind everything that was sent before. Done on the store's thread;
/// dropped undone where there is none any more.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct ReadCharges(Box<Read>);

impl fmt::Debug for ReadCharges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadCharges").finish_non_exhaustive()
    }
}

impl ReadCharges {
    /// `read` is given an error where something that was sent before is not durable.
    pub(crate) fn new(
        read: impl FnOnce(Result<Charges<'_>, StoreError>) + Send + 'static,
    ) -> ReadCharges {
        ReadCharges(Box::new(read))
    }

    pub(super) fn read(self, book: Result<&Book, StoreError>) {
        (self.0)(book.map(Charges));
    }
}

impl Handler<ReadCharges> for Store {
    type Result = ();

    fn handle(&mut self, msg: ReadCharges, _: &mut Context<Self>) {
        match &mut self.side {
            Side::Memory(desk) => {
                let mut unread = Some(msg);
                let read = desk.read(|book| Ok(unread.take().map(|msg| msg.read(Ok(book)))));
                if let (Err(error), Some(msg)) = (read, unread) {
                    msg.read(Err(error));
                }
            }
            Side::Disk(book) => msg.read(Ok(book)),
            // Where the thread is gone it is dropped, which tells that.
            Side::Thread { jobs, .. } => drop(jobs.send(Job::Charges(msg))),
            Side::Gone => {}
        }
    }
}
