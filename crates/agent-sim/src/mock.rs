//! The mock provider: an HTTP server with the Messages API, faults and a ledger of what it bills.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

mod bill;
mod scenario;
mod serve;
mod wire;

pub use bill::BilledAnswer;
pub use scenario::{Fault, FaultKind, Latency, Output, Scenario};

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
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    bill: bill::Bill,
    calls: u64,
    statuses: BTreeMap<u16, u64>,
    random: fastrand::Rng,
    // Requests left and when that was so, by key and model.
    buckets: BTreeMap<(String, String), (f64, agent_core::clock::Timestamp)>,
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running mock provider; dropping it stops it.
#[derive(Debug)]
pub struct MockProvider {
    address: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

impl MockProvider {
    /// Listens on `listen` (port 0 = any free one), and appends bills to the file `ledger`.
    ///
    /// # Errors
    ///
    /// [`MockError`] where the address or the ledger cannot be had.
    #[expect(clippy::unused_async, reason = "needs a tokio runtime, which awaiting makes plain")]
    pub async fn start(
        listen: SocketAddr,
        scenario: Scenario,
        ledger: Option<PathBuf>,
    ) -> Result<MockProvider, MockError> {
        let file = ledger.map(|path| {
            let file = OpenOptions::new().create(true).append(true).open(&path);
            file.map_err(|e| MockError::Ledger(path, e))
        });
        let bill = bill::Bill { answers: Vec::new(), file: file.transpose()? };
        let listener = bind(listen).map_err(|e| MockError::Listen(listen, e))?;
        let address = listener.local_addr().map_err(|e| MockError::Listen(listen, e))?;
        let random = fastrand::Rng::with_seed(scenario.seed);
        let (calls, statuses, buckets) = (0, BTreeMap::new(), BTreeMap::new());
        let inner = Mutex::new(Inner { bill, calls, statuses, random, buckets });
        let state = Arc::new(State { scenario, inner });
        let accepting = tokio::spawn(accept(listener, state.clone()));
        Ok(MockProvider { address, state, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL for a client.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All that was billed so far.
    pub fn bill(&self) -> Vec<BilledAnswer> {
        self.state.lock().bill.answers.clone()
    }

    /// How many requests were answered, by status; those never answered count under 0.
    pub fn requests(&self) -> BTreeMap<u16, u64> {
        self.state.lock().statuses.clone()
    }

    /// Stops: no new connection is taken, and open ones are closed.
    pub fn stop(self) {}
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

async fn accept(listener: TcpListener, state: Arc<State>) {
    // Aborts every connection when it is dropped.
    let mut open = tokio::task::JoinSet::new();
    loop {
        while open.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            pause(Duration::from_millis(10)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let Ok(socket) = SockRef::from(&stream).try_clone().map(Arc::new) else { continue };
        let state = state.clone();
        open.spawn(async move {
            let answer =
                service_fn(move |request| serve::answer(state.clone(), socket.clone(), request));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

#[expect(clippy::disallowed_methods, reason = "a server for clients in other processes: real time")]
async fn pause(duration: Duration) {
    if !duration.is_zero() {
        tokio::time::sleep(duration).await;
    }
}

/// Any free port of this machine, for tests.
pub const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

#[cfg(test)]
mod tests;
