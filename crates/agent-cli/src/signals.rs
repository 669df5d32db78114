//! Signals: Ctrl-C and SIGTERM end a run, SIGHUP has the key read again.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that a run listens for.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
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

    /// Waits for Ctrl-C or SIGTERM.
    pub(crate) async fn interrupted(&mut self) {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Waits for SIGHUP.
    pub(crate) async fn hung_up(&mut self) {
        self.hang_up.recv().await;
    }
}
