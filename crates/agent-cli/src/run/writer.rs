//! Outcomes are written on a thread of their own: a reader who is slow holds up nobody.

use std::io;
use std::sync::Arc;
use std::thread;

use agent_core::clock::{Clock, Timestamp};
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

    /// Waits until all of it is written, and durable where that can be; `false` where it was not by
    /// `deadline`: nobody may be reading.
    pub(super) async fn close(self, clock: &Clock, deadline: Timestamp) -> Result<bool, OutError> {
        let Writer { queue, mut ended } = self;
        if queue.is_closed() {
            // Its failure may have been told.
            return ended.try_recv().unwrap_or(Ok(())).map(|()| true);
        }
        drop(queue);
        match clock.timeout(deadline, ended).await {
            Ok(ended) => ended.unwrap_or(Ok(())).map(|()| true),
            Err(_) => Ok(false),
        }
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

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;
    use std::time::Duration;

    use agent_core::clock::VirtualClock;
    use agent_core::money::NanoUsd;
    use agent_core::task::Status;
    use agent_core::usage::TokenCounts;

    use super::*;
    use crate::run::out::Wanted;

    /// An outcome that fills a pipe twice.
    fn outcome() -> Arc<Outcome> {
        Arc::new(Outcome {
            task_id: "1".into(),
            status: Status::Completed,
            output: Some("x".repeat(1 << 17)),
            error: None,
            agent_id: None,
            project_id: None,
            model: None,
            attempts: 1,
            usage: TokenCounts::default(),
            cost_usd: NanoUsd::ZERO,
            presumed_cost_usd: NanoUsd::ZERO,
            duration_ms: 1,
            finished_at: Timestamp::EPOCH,
            stop_reason: None,
        })
    }

    #[test]
    fn a_reader_that_has_stopped_to_read_is_waited_for_until_the_deadline() {
        let (_unread, pipe) = io::pipe().unwrap();
        let path = format!("/dev/fd/{}", pipe.as_raw_fd());
        VirtualClock::run(Timestamp::EPOCH, |clock| async move {
            let out = Wanted::see(path.as_ref(), false).unwrap().begin(false).unwrap();
            let mut writer = Writer::start(out, 1).unwrap();
            writer.append(outcome()).unwrap();
            let deadline = clock.now() + Duration::from_secs(30);
            assert!(!writer.close(&clock, deadline).await.unwrap());
            assert_eq!(clock.now(), deadline);
        });
    }
}
