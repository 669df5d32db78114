//! A client as plain as can be: one connection a request.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::mock::{LOCAL, MockProvider, Scenario};

pub(super) const KEY: &str = "x-api-key: sk-ant-abcd";
const VERSION: &str = "anthropic-version: 2023-06-01";
pub(super) const BODY: &str =
    r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"Task #7: x"}]}"#;

/// An answer, its body put together from its chunks as far as it came.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: BTreeMap<String, String>,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The data of all events of a stream.
    pub(super) fn events(&self) -> Vec<Value> {
        let data = self.body.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|data| serde_json::from_str(data).unwrap()).collect()
    }

    fn read(text: &str) -> Option<Answer> {
        let (head, rest) = text.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let pair = |line: &str| line.split_once(": ").map(|(k, v)| (k.to_owned(), v.to_owned()));
        let headers: BTreeMap<_, _> = lines.filter_map(pair).collect();
        let is_chunked = headers.contains_key("transfer-encoding");
        let body = if is_chunked { joined(rest) } else { rest.to_owned() };
        Some(Answer { status, headers, body })
    }
}

fn joined(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        let Some(chunk) = after.get(..size).filter(|chunk| !chunk.is_empty()) else { break };
        body += chunk;
        rest = after[size..].trim_start_matches("\r\n");
    }
    body
}

pub(super) async fn start(toml: &str) -> MockProvider {
    let scenario = Scenario::from_toml(toml).unwrap();
    MockProvider::start(LOCAL, scenario, None).await.unwrap()
}

/// Sends a request and leaves the connection open.
pub(super) async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    header: &str,
    body: &str,
) -> io::Result<TcpStream> {
    send_bare(address, method, path, &format!("{VERSION}\r\n{header}"), body).await
}

/// The same with no header but these.
async fn send_bare(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n"
    );
    stream.write_all((head + body).as_bytes()).await?;
    Ok(stream)
}

/// All bytes that come before the connection ends.
pub(super) async fn raw(address: SocketAddr, body: &str) -> io::Result<String> {
    let mut stream = send(address, "POST", "/v1/messages", KEY, body).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

pub(super) async fn request(
    mock: &MockProvider,
    method: &str,
    path: &str,
    header: &str,
    body: &str,
) -> io::Result<Answer> {
    answered(send(mock.address(), method, path, header, body).await?).await
}

/// Asks with a good key and, where it is given, this `anthropic-version`.
pub(super) async fn versioned(mock: &MockProvider, path: &str, version: Option<&str>) -> Answer {
    let version = version.map(|version| format!("\r\nanthropic-version: {version}"));
    let headers = format!("{KEY}{}", version.unwrap_or_default());
    let stream = send_bare(mock.address(), "POST", path, &headers, BODY).await.unwrap();
    answered(stream).await.unwrap()
}

async fn answered(mut stream: TcpStream) -> io::Result<Answer> {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(Answer::read(&answer).unwrap_or_else(|| panic!("no answer: {answer:?}")))
}

/// Asks for an answer with a good key.
pub(super) async fn post(mock: &MockProvider, body: &str) -> Answer {
    request(mock, "POST", "/v1/messages", KEY, body).await.unwrap()
}
