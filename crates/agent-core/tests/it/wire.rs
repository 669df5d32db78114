//! A provider of a few lines, so that a test controls each byte on the wire.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_core::clock::Clock;
use agent_core::llm::anthropic::{Anthropic, AnthropicConfig};
use agent_core::llm::{Answer, KeyRing, KeySource, LlmClient, LlmError, Message, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;

pub(crate) const KEY: &str = "sk-ant-api03-very-secret-key-WXYZ";

/// The longest answer that [`client`] takes.
pub(crate) const LIMIT: usize = 4_096;

pub(crate) const GOOD: &str = r#"{"type":"message","content":[{"type":"text","text":"hi"}],
    "usage":{"input_tokens":3,"output_tokens":1}}"#;

/// What the server does about a request, one after the other.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends these bytes one by one, with such a pause after each.
    Drip(Vec<u8>, Duration),
    /// Sends these bytes again and again for as long as they are taken.
    Endless(Vec<u8>),
    /// Does nothing for so long.
    Wait(Duration),
    /// Waits until as many requests have come to this point as the barrier says.
    Meet(Arc<Barrier>),
    /// Ends the connection in good order.
    Close,
    /// Resets the connection.
    Reset,
    /// Does nothing more until the client hangs up.
    Hang,
}

/// What a server saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) connections: AtomicUsize,
    pub(crate) requests: Mutex<Vec<String>>,
    pub(crate) hung_up: AtomicUsize,
    pub(crate) bytes_out: AtomicUsize,
}

pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) seen: Arc<Seen>,
}

impl Server {
    /// Does to the request of each number (the first is 0) what `script` says.
    pub(crate) async fn start(
        script: impl Fn(usize, &str) -> Vec<Step> + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (seen, script) = (Arc::new(Seen::default()), Arc::new(script));
        let log = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                log.connections.fetch_add(1, Ordering::SeqCst);
                let (log, script) = (Arc::clone(&log), Arc::clone(&script));
                tokio::spawn(async move {
                    while let Some(request) = read_request(&mut socket).await {
                        let number = {
                            let mut requests = log.requests.lock().unwrap();
                            requests.push(request.clone());
                            requests.len() - 1
                        };
                        for step in script(number, &request) {
                            if !act(&mut socket, step, &log).await {
                                return;
                            }
                        }
                    }
                    log.hung_up.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Server { url, seen }
    }

    /// Does the same to every request.
    pub(crate) async fn always(steps: Vec<Step>) -> Server {
        Server::start(move |_, _| steps.clone()).await
    }

    pub(crate) fn requests(&self) -> usize {
        self.seen.requests.lock().unwrap().len()
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Waits until a client has hung up.
    pub(crate) async fn hang_up(&self) {
        while self.seen.hung_up.load(Ordering::SeqCst) == 0 {
            Clock::real().sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Whether the connection goes on.
async fn act(socket: &mut TcpStream, step: Step, seen: &Seen) -> bool {
    match step {
        Step::Send(bytes) => socket.write_all(&bytes).await.is_ok(),
        Step::Drip(bytes, pause) => {
            for byte in bytes {
                if socket.write_all(&[byte]).await.is_err() {
                    break;
                }
                Clock::real().sleep(pause).await;
            }
            true
        }
        Step::Endless(bytes) => {
            while socket.write_all(&bytes).await.is_ok() {
                seen.bytes_out.fetch_add(bytes.len(), Ordering::SeqCst);
            }
            false
        }
        Step::Wait(pause) => {
            Clock::real().sleep(pause).await;
            true
        }
        Step::Meet(barrier) => {
            barrier.wait().await;
            true
        }
        Step::Close => false,
        Step::Reset => {
            socket.set_zero_linger().unwrap();
            false
        }
        Step::Hang => {
            let mut rest = [0; 1_024];
            while let Ok(1..) = socket.read(&mut rest).await {}
            seen.hung_up.fetch_add(1, Ordering::SeqCst);
            false
        }
    }
}

/// One whole request as text; `None` where the client hung up.
async fn read_request(socket: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4_096];
    loop {
        if let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.parse().unwrap());
            if bytes.len() >= head + 4 + length {
                return Some(text);
            }
        }
        match socket.read(&mut chunk).await {
            Ok(read @ 1..) => bytes.extend_from_slice(&chunk[..read]),
            _ => return None,
        }
    }
}

/// A whole answer; `headers` end in a line break each.
pub(crate) fn http(status: &str, headers: &str, body: &str) -> Vec<u8> {
    with_length(status, headers, body, body.len())
}

/// An answer that announces `length` bytes of body.
pub(crate) fn with_length(status: &str, headers: &str, body: &str, length: usize) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}").into_bytes()
}

/// The steps that send `bytes` and close.
pub(crate) fn reply(bytes: Vec<u8>) -> Vec<Step> {
    vec![Step::Send(bytes), Step::Close]
}

pub(crate) fn config(base_url: &str) -> AnthropicConfig {
    let keys = KeyRing::load(KeySource::default(), |_| Some(KEY.to_owned())).unwrap();
    let mut config = AnthropicConfig::new(keys, Clock::real());
    config.base_url = base_url.to_owned();
    config.max_answer_bytes = LIMIT;
    config
}

pub(crate) fn client(base_url: &str) -> Anthropic {
    Anthropic::new(config(base_url)).unwrap()
}

pub(crate) fn request() -> Request {
    Request {
        model: "claude-sonnet-4-5".into(),
        max_tokens: 9,
        messages: vec![Message::user("hello")],
        ..Request::default()
    }
}

/// One attempt against a server that does `steps`: it sends one request and never shows the key.
pub(crate) async fn call(steps: Vec<Step>) -> Result<Answer, LlmError> {
    let server = Server::always(steps).await;
    let result = client(&server.url).complete(&request()).await;
    assert_eq!(server.requests(), 1, "one attempt is one request");
    if let Err(error) = &result {
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("secret") && !shown.contains("WXYZ"), "{shown}");
    }
    result
}
