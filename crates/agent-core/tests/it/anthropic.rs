//! The Messages API over real HTTP: recorded answers, and servers that misbehave.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agent_core::clock::Clock;
use agent_core::llm::anthropic::{Anthropic, AnthropicConfig, stream};
use agent_core::llm::{
    Answer, Fate, KeyRing, KeySource, LlmClient, LlmError, LlmErrorKind, Message, Request,
};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const KEY: &str = "sk-ant-api03-very-secret-key-WXYZ";

pub(crate) fn client(base_url: &str, max_answer_bytes: usize) -> Anthropic {
    let keys = KeyRing::load(KeySource::default(), |_| Some(KEY.to_owned())).unwrap();
    let mut config = AnthropicConfig::new(keys, Clock::real());
    config.base_url = base_url.to_owned();
    config.max_answer_bytes = max_answer_bytes;
    let client = Anthropic::new(config).unwrap();
    assert!(!format!("{client:?}").contains("secret"));
    client
}

pub(crate) fn request() -> Request {
    Request {
        model: "claude-sonnet-4-5".into(),
        max_tokens: 9,
        messages: vec![Message::user("hello")],
        ..Request::default()
    }
}

struct Server {
    url: String,
    connections: Arc<AtomicUsize>,
    heads: Arc<std::sync::Mutex<Vec<String>>>,
}

/// Answers every request with `reply`, and closes after it where `closes`.
async fn server(reply: Vec<u8>, closes: bool) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let heads = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (count, log) = (connections.clone(), heads.clone());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let (reply, log) = (reply.clone(), log.clone());
            tokio::spawn(async move {
                let mut text = Vec::new();
                let mut chunk = [0; 4096];
                while let Ok(n @ 1..) = socket.read(&mut chunk).await {
                    text.extend_from_slice(&chunk[..n]);
                    if !text.ends_with(b"}]}]}") {
                        continue;
                    }
                    let whole = String::from_utf8(std::mem::take(&mut text)).unwrap();
                    log.lock().unwrap().push(whole);
                    if socket.write_all(&reply).await.is_err() || closes {
                        return;
                    }
                }
            });
        }
    });
    Server { url, connections, heads }
}

pub(crate) fn http(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}").into_bytes()
}

pub(crate) async fn call(reply: Vec<u8>) -> Result<Answer, LlmError> {
    let server = server(reply, true).await;
    let result = client(&server.url, 4_096).complete(&request()).await;
    assert_eq!(server.heads.lock().unwrap().len(), 1, "one attempt is one request");
    if let Err(error) = &result {
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
    result
}

const GOOD: &str = r#"{"type":"message","content":[{"type":"text","text":"hi"}],
    "usage":{"input_tokens":3,"output_tokens":1}}"#;

#[tokio::test]
async fn the_key_goes_into_one_header_and_connections_are_used_again() {
    let server = server(http("200 OK", "request-id: req_1\r\n", GOOD), false).await;
    let client = client(&format!("{}/", server.url), 4_096);
    for _ in 0..50 {
        let answer = client.complete(&request()).await.unwrap();
        assert_eq!((answer.text().as_str(), answer.usage.input_tokens), ("hi", 3));
        assert_eq!(answer.request_id.as_deref(), Some("req_1"));
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    let heads = server.heads.lock().unwrap();
    assert_eq!(heads.len(), 50);
    assert_eq!(heads[0].matches(KEY).count(), 1);
    assert!(heads[0].contains(&format!("x-api-key: {KEY}\r\n")));
    assert!(heads[0].starts_with("POST /v1/messages HTTP/1.1"));
}

#[tokio::test]
async fn every_way_to_misbehave_has_its_kind_and_its_fate() {
    use LlmErrorKind as K;
    let big = "x".repeat(5_000);
    let echo = format!(r#"{{"error":{{"type":"authentication_error","message":"bad {KEY}"}}}}"#);
    let negative = GOOD.replace("3", "-3");
    let twice = GOOD.replace("\"input_tokens\":3", "\"input_tokens\":3,\"input_tokens\":0");
    let cut = http("200 OK", "", GOOD)[..90].to_vec();
    for (reply, kind) in [
        (Vec::new(), K::Broken),
        (cut, K::Broken),
        (http("200 OK", "", ""), K::NotUnderstood),
        (http("200 OK", "", "<html>proxy</html>"), K::NotUnderstood),
        (http("200 OK", "", &GOOD[..40]), K::NotUnderstood),
        (http("200 OK", "", &format!("{GOOD} x")), K::NotUnderstood),
        (http("200 OK", "", &"[".repeat(3_000)), K::NotUnderstood),
        (http("200 OK", "", &negative), K::NotUnderstood),
        (http("200 OK", "", &twice), K::NotUnderstood),
        (http("200 OK", "", &big), K::NotUnderstood),
        (http("401 Unauthorized", "", &echo), K::Authentication),
        (http("302 Found", "location: https://evil.test/?a=b\r\n", ""), K::InvalidRequest),
        (http("502 Bad Gateway", "", "<html>"), K::Server),
    ] {
        let shown = String::from_utf8_lossy(&reply[..reply.len().min(200)]).into_owned();
        let error = call(reply).await.unwrap_err();
        assert_eq!(error.kind, kind, "{shown}: {error}");
        let is_unknown = matches!(kind, K::Broken | K::NotUnderstood);
        assert_eq!(error.fate() == Fate::Unknown, is_unknown, "{shown}");
    }
    let limited = http("429 Too Many Requests", "retry-after: 7\r\n", "{}");
    assert_eq!(call(limited).await.unwrap_err().retry_after, Some(Duration::from_secs(7)));
    let refused = client("http://127.0.0.1:1", 9).complete(&request()).await.unwrap_err();
    assert_eq!((refused.kind, refused.fate()), (K::NotSent, Fate::NotBilled));
}

fn recordings() -> Vec<Value> {
    let path = std::env::var("ANTHROPIC_RECORDINGS").ok();
    let text = path.map_or_else(
        || include_str!("../fixtures/anthropic-messages.jsonl").to_owned(),
        |path| std::fs::read_to_string(path).unwrap(),
    );
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn every_recorded_answer_is_understood() {
    let mut wrong = Vec::new();
    for recording in recordings().iter().filter(|recording| recording["endpoint"] == "messages") {
        let body = recording["response"]["body"].as_str().unwrap();
        let status = recording["response"]["status"].as_u64().unwrap();
        let is_stream = body.starts_with("event:") || body.starts_with("data:");
        let result = if is_stream {
            let mut pieces = stream::Assembler::default();
            body.as_bytes().chunks(7).for_each(|piece| pieces.feed(piece).unwrap());
            let whole = stream::assemble(body.as_bytes());
            assert_eq!(whole.as_ref().ok(), pieces.finish().ok().as_ref());
            whole
        } else {
            let server = server(http(&format!("{status} x"), "", body), true).await;
            client(&server.url, 16 << 20).complete(&request()).await
        };
        let is_right = match &result {
            Ok(answer) => status == 200 && answer.usage.counts().total() > 0,
            Err(error) => status != 200 && error.status == Some(status as u16),
        };
        if !is_right {
            wrong.push(format!("{}: {:?}", recording["id"], result.map(|answer| answer.usage)));
        }
    }
    assert!(wrong.is_empty(), "{} not understood: {wrong:#?}", wrong.len());
}
