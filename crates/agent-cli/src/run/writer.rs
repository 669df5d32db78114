//! Outcomes are written on a thread of their own: a reader who is slow holds up nobody.

use std::io;
use std::path::PathBuf;
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
    /// Whether its end was told on: it is told once.
    is_told: bool,
    path: PathBuf,
}

impl Writer {
    /// Writes to `out` at most so many outcomes: room for all of them, so that none is waited for.
    pub(super) fn start(out: OutFile, most: usize) -> io::Result<Writer> {
        let (queue, mut outcomes) = mpsc::channel(most.max(1));
        let (tell, ended) = oneshot::channel();
        let path = out.path().to_owned();
        let work = move || {
            let result = write(out, &mut outcomes);
            // Nobody may be there any more to hear it.
            _ = tell.send(result);
        };
        thread::Builder::new().name("outcomes".to_owned()).spawn(work)?;
        Ok(Writer { queue, ended, is_told: false, path })
    }

    /// Gives an outcome to be written; fails where an earlier one could not be.
    pub(super) fn append(&mut self, outcome: Arc<Outcome>) -> Result<(), OutError> {
        match self.queue.try_send(outcome) {
            Ok(()) => Ok(()),
            Err(_) => self.end_before_its_time(),
        }
    }

    /// What there is to be told of a thread that has ended although more was to come: it failed, or
    /// it panicked.
    fn end_before_its_time(&mut self) -> Result<(), OutError> {
        if std::mem::replace(&mut self.is_told, true) {
            return Ok(());
        }
        let ended = self.ended.try_recv();
        ended.unwrap_or_else(|_| Err(OutError::Ended(self.path.clone())))
    }

    /// Waits until all of it is written, and durable where that can be; `false` where it was not by
    /// `deadline`: nobody may be reading.
    pub(super) async fn close(
        mut self,
        clock: &Clock,
        deadline: Timestamp,
    ) -> Result<bool, OutError> {
        if self.queue.is_closed() {
            return self.end_before_its_time().map(|()| true);
        }
        let Writer { queue, ended, path, .. } = self;
        drop(queue);
        match clock.timeout(deadline, ended).await {
            Ok(ended) => ended.unwrap_or(Err(OutError::Ended(path))).map(|()| true),
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

    use super::*;
    use crate::run::out::Wanted;
    use crate::run::out::tests::outcome;

    /// An outcome that fills a pipe twice.
    fn long() -> Arc<Outcome> {
        Arc::new(Outcome { output: Some("x".repeat(1 << 17)), ..outcome("1") })
    }

    #[test]
    fn an_outcome_that_nobody_writes_any_more_is_an_error_and_told_once() {
        let writer = || {
            let (queue, _) = mpsc::channel(1);
            let (_, ended) = oneshot::channel();
            Writer { queue, ended, is_told: false, path: "out.jsonl".into() }
        };
        VirtualClock::run(Timestamp::EPOCH, |clock| async move {
            let mut first = writer();
            let error = first.append(long()).unwrap_err().to_string();
            assert!(error.starts_with("outcome file out.jsonl: the thread"), "{error}");
            assert!(first.close(&clock, Timestamp::NEVER).await.unwrap());
            assert!(writer().close(&clock, Timestamp::NEVER).await.is_err());
        });
    }

    #[test]
    fn a_reader_that_has_stopped_to_read_is_waited_for_until_the_deadline() {
        let (_unread, pipe) = io::pipe().unwrap();
        let path = format!("/dev/fd/{}", pipe.as_raw_fd());
        VirtualClock::run(Timestamp::EPOCH, |clock| async move {
            let out = Wanted::see(path.as_ref(), false).unwrap().begin(false).unwrap();
            let mut writer = Writer::start(out, 1).unwrap();
            writer.append(long()).unwrap();
            let deadline = clock.now() + Duration::from_secs(30);
            assert!(!writer.close(&clock, deadline).await.unwrap());
            assert_eq!(clock.now(), deadline);
        });
    }
}
