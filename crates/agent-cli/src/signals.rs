//! Signals: Ctrl-C and SIGTERM end a run, SIGHUP has the key read again.

use std::io;

use tokio::signal::unix::{self, SignalKind, signal};

/// A signal that a run heeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Ctrl-C or SIGTERM.
    End,
    /// SIGHUP.
    HangUp,
}

/// The signals that a run listens for.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hang_up: unix::Signal,
}

impl Signals {
    /// Listens from now on.
    pub(crate) fn new() -> io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next.
    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => Signal::End,
            _ = self.terminate.recv() => Signal::End,
            _ = self.hang_up.recv() => Signal::HangUp,
        }
    }

    /// Waits for the next that ends a run.
    pub(crate) async fn end(&mut self) {
        while self.next().await != Signal::End {}
    }
}
