//! Outcomes are written on a thread of their own: a reader who is slow holds up nobody.

use std::io;
use std::sync::Arc;
use std::thread;

use agent_core::task::Outcome;
use tokio::sync::{mpsc, oneshot};

use super::out::{OutError, OutFile};

/// Hands outcomes to the thread that writes them, in their order.
#[derive(Debug)]
pub(super) struct Writer {
    queue: mpsc::Sender<Arc<Outcome>>,
    /// How it ended: told before the queue is closed from its side.
    ended: oneshot::Receiver<Result<(), OutError>>,
}

impl Writer {
    /// Writes to `out` at most so many outcomes: room for all of them, so that none is waited for.
    pub(super) fn start(out: OutFile, most: usize) -> io::Result<Writer> {
        let (queue, mut outcomes) = mpsc::channel(most.max(1));
        let (tell, ended) = oneshot::channel();
        let work = move || {
            let result = write(out, &mut outcomes);
            // Nobody may be there any more to hear it.
            _ = tell.send(result);
        };
        thread::Builder::new().name("outcomes".to_owned()).spawn(work)?;
        Ok(Writer { queue, ended })
    }

    /// Gives an outcome to be written; fails where an earlier one could not be.
    pub(super) fn append(&mut self, outcome: Arc<Outcome>) -> Result<(), OutError> {
        match self.queue.try_send(outcome) {
            Ok(()) => Ok(()),
            // It has ended, which it does before its time only where it failed.
            Err(_) => self.ended.try_recv().unwrap_or(Ok(())),
        }
    }

    /// Waits until all of it is written, and durable where that can be.
    pub(super) async fn close(self) -> Result<(), OutError> {
        let Writer { queue, mut ended } = self;
        if queue.is_closed() {
            // Its failure may have been told.
            return ended.try_recv().unwrap_or(Ok(()));
        }
        drop(queue);
        ended.await.unwrap_or(Ok(()))
    }
}

/// Writes what comes; what came together is flushed together.
fn write(mut out: OutFile, outcomes: &mut mpsc::Receiver<Arc<Outcome>>) -> Result<(), OutError> {
    while let Some(outcome) = outcomes.blocking_recv() {
        out.append(&outcome)?;
        while let Ok(outcome) = outcomes.try_recv() {
            out.append(&outcome)?;
        }
        out.flush()?;
    }
    out.sync()
}
