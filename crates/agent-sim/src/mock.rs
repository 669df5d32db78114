//! The mock provider: an HTTP server with the Messages API, limits, faults and a ledger of what it
//! bills.
//!
//! It serves `POST /v1/messages`, whole and streamed, `POST /v1/messages/count_tokens` and
//! `GET /v1/models`, with either `x-api-key` or `authorization: Bearer`, well enough for the
//! official SDKs. Its [`Scenario`] says what it does; `examples/mock.toml` shows every key.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_core::clock::{Clock, Timestamp};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use crate::engine::ScriptedProvider;

mod answer;
mod bill;
mod call;
mod charge;
mod fault;
pub(crate) mod limiter;
mod models;
mod quota;
mod reply;
mod request;
pub(crate) mod room;
mod scenario;
mod scripted;
mod serve;
mod spoil;

pub use bill::{Billed, BilledAnswer};
pub use fault::{Fault, FaultKind};
pub use scenario::{Enforcement, Keys, Latency, Limits, Output, Scenario};

const BACKLOG: i32 = 4096;

/// Why a mock provider cannot start.
#[derive(Debug, Error)]
pub enum MockError {
    /// The address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// The ledger cannot be opened.
    #[error("cannot open the ledger {0}: {1}")]
    Ledger(PathBuf, io::Error),
    /// The scenario cannot be read.
    #[error("the scenario is invalid: {0}")]
    Scenario(String),
}

#[derive(Debug)]
struct State {
    scenario: Scenario,
    clock: Clock,
    started: Timestamp,
    /// Requests of any kind; their ids are made of it.
    requests: AtomicU64,
    /// Well-formed requests for an answer.
    calls: AtomicU64,
    statuses: Mutex<BTreeMap<u16, u64>>,
    picker: Mutex<fault::Picker>,
    limiter: Mutex<limiter::Limiter>,
    bill: Mutex<bill::Bill>,
    /// Answers instead, where there is one.
    scripted: Option<ScriptedProvider>,
}

impl State {
    fn statuses(&self) -> MutexGuard<'_, BTreeMap<u16, u64>> {
        lock(&self.statuses)
    }

    fn limiter(&self) -> MutexGuard<'_, limiter::Limiter> {
        lock(&self.limiter)
    }

    fn bill(&self) -> MutexGuard<'_, bill::Bill> {
        lock(&self.bill)
    }

    /// Takes `amounts` from the limits, where they have room now.
    fn admit(&self, key: &str, model: &str, amounts: limiter::Amounts) -> limiter::Admission {
        let mut limiter = self.limiter();
        // Read under the lock, so that the limiter never sees time go back.
        limiter.admit(key, model, amounts, self.clock.now())
    }

    /// The fault that a call meets.
    fn pick(&self, call: fault::Call<'_>) -> Option<&Fault> {
        let faults = &self.scenario.fault;
        if faults.is_empty() { None } else { lock(&self.picker).pick(faults, call) }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running mock provider; dropping it stops it.
#[derive(Debug)]
pub struct MockProvider {
    address: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
    // Absent once it was told to end.
    end: Option<oneshot::Sender<()>>,
}

impl MockProvider {
    /// Listens on `listen` (port 0 = any free one), and appends bills to the file `ledger`.
    ///
    /// # Errors
    ///
    /// [`MockError`] where the address or the ledger cannot be had, or the scenario is wrong.
    #[expect(clippy::unused_async, reason = "needs a tokio runtime, which awaiting makes plain")]
    pub async fn start(
        listen: SocketAddr,
        scenario: Scenario,
        ledger: Option<PathBuf>,
    ) -> Result<MockProvider, MockError> {
        MockProvider::serve(listen, scenario, ledger, None)
    }

    /// Listens on `listen`, and answers as the provider of a simulated scenario does in the replica
    /// with this seed: the same answers after the same times, in real time. Nothing is billed.
    ///
    /// # Errors
    ///
    /// [`MockError::Listen`] where the address cannot be had.
    #[expect(clippy::unused_async, reason = "needs a tokio runtime, which awaiting makes plain")]
    pub async fn start_scripted(
        listen: SocketAddr,
        scenario: &crate::scenario::Scenario,
        seed: u64,
    ) -> Result<MockProvider, MockError> {
        let scripted = ScriptedProvider::new(scenario, seed, Clock::real());
        MockProvider::serve(listen, Scenario::default(), None, Some(scripted))
    }

    fn serve(
        listen: SocketAddr,
        scenario: Scenario,
        ledger: Option<PathBuf>,
        scripted: Option<ScriptedProvider>,
    ) -> Result<MockProvider, MockError> {
        scenario.validate()?;
        let file = ledger.map(|path| {
            let file = OpenOptions::new().create(true).append(true).open(&path);
            file.map_err(|e| MockError::Ledger(path, e))
        });
        let file = file.transpose()?;
        let listener = bind(listen).map_err(|e| MockError::Listen(listen, e))?;
        let address = listener.local_addr().map_err(|e| MockError::Listen(listen, e))?;
        let clock = Clock::real();
        let state = Arc::new(State {
            started: clock.now(),
            clock,
            requests: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            statuses: Mutex::default(),
            picker: Mutex::new(fault::Picker::new(scenario.seed, scenario.fault.len())),
            limiter: Mutex::new(limiter::Limiter::new(scenario.limits.clone())),
            bill: Mutex::new(bill::Bill::new(file)),
            scripted,
            scenario,
        });
        let (end, ended) = oneshot::channel();
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state), ended));
        Ok(MockProvider { address, state, accepting, end: Some(end) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL for a client.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was billed, oldest first: the last 100,000 answers. The ledger has all.
    pub fn bill(&self) -> Vec<BilledAnswer> {
        self.state.bill().answers()
    }

    /// The sum of all that was billed.
    pub fn billed(&self) -> Billed {
        self.state.bill().sum()
    }

    /// How many requests were answered, by status; those never answered count under 0.
    pub fn requests(&self) -> BTreeMap<u16, u64> {
        self.state.statuses().clone()
    }

    /// Stops: no new connection is taken, and open ones are closed.
    pub fn stop(self) {}

    /// Stops, and returns when no connection is open and the ledger is on the disk. What was not
    /// answered yet is billed, as all abandoned calls are.
    ///
    /// # Errors
    ///
    /// Where the ledger cannot be written to the disk.
    pub async fn shutdown(mut self) -> io::Result<()> {
        // Dropping the sender tells it too.
        drop(self.end.take());
        // It neither panics nor was it aborted.
        let _ = (&mut self.accepting).await;
        self.state.bill().sync()
    }
}

impl Drop for MockProvider {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(listen), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&listen.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

async fn accept(listener: TcpListener, state: Arc<State>, mut ended: oneshot::Receiver<()>) {
    // Aborts every connection when it is dropped.
    let mut open = JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        let accepted = tokio::select! {
            biased;
            _ = &mut ended => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of files, most likely: some are closed soon.
            state.clock.sleep(Duration::from_millis(10)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let Ok(socket) = SockRef::from(&stream).try_clone().map(Arc::new) else { continue };
        let state = Arc::clone(&state);
        open.spawn(async move {
            let answer =
                service_fn(move |request| serve::answer(state.clone(), socket.clone(), request));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
    drop(listener);
    open.shutdown().await;
}

/// Any free port of this machine, for tests.
pub const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

#[cfg(test)]
mod tests;
