//! The mock provider over real sockets.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

const BODY: &str =
    r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"Task #7: x"}]}"#;

async fn post(mock: &MockProvider, key: &str, body: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(mock.address()).await?;
    let length = body.len();
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n"
    );
    stream.write_all((head + body).as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

async fn start(toml: &str) -> MockProvider {
    let scenario = Scenario::from_toml(toml).unwrap();
    MockProvider::start(LOCAL, scenario, None).await.unwrap()
}

#[tokio::test]
async fn an_answer_is_billed_to_the_ledger_with_its_task() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.jsonl");
    let mock = MockProvider::start(LOCAL, Scenario::default(), Some(path.clone())).await.unwrap();
    let answer = post(&mock, "sk-ant-abcd", BODY).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"output_tokens\":9"));
    let line = std::fs::read_to_string(path).unwrap();
    assert!(line.contains("\"key\":\"abcd\"") && line.contains("\"task\":\"7\""), "{line}");
}

#[tokio::test]
async fn bad_keys_and_bodies_are_refused_and_not_billed() {
    let mock = start("").await;
    assert!(post(&mock, "nope", BODY).await.unwrap().contains("authentication_error"));
    assert!(post(&mock, "sk-ant-a", "{").await.unwrap().contains("invalid_request_error"));
    assert!(post(&mock, "sk-ant-a", "{}").await.unwrap().contains("model: Field required"));
    assert_eq!((mock.bill().len(), mock.requests()[&400]), (0, 2));
}

#[tokio::test]
async fn a_stream_ends_with_message_stop() {
    let body = BODY.replacen('{', r#"{"stream":true,"#, 1);
    let answer = post(&start("").await, "sk-ant-a", &body).await.unwrap();
    assert!(answer.ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"));
}

#[tokio::test]
async fn a_call_above_the_limit_is_told_when_to_come_back() {
    let mock = start("requests_per_minute = 1").await;
    post(&mock, "sk-ant-a", BODY).await.unwrap();
    let answer = post(&mock, "sk-ant-a", BODY).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 429") && answer.contains("retry-after: "), "{answer}");
}

#[tokio::test]
async fn faults_hit_their_calls_and_bill_work_that_was_done() {
    let mock = start(
        "[[fault]]\nkind='reset'\ncalls=[1]\n[[fault]]\nkind='truncate'\ncalls=[2]\n\
         [[fault]]\nkind='status'\nstatus=529\ncalls=[3]\n[[fault]]\nkind='close'\ncalls=[4]",
    )
    .await;
    let reset = post(&mock, "sk-ant-a", BODY).await.unwrap_err();
    assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
    let cut = post(&mock, "sk-ant-a", BODY).await.unwrap_or_default();
    assert!(!cut.ends_with('}'), "{cut}");
    assert!(post(&mock, "sk-ant-a", BODY).await.unwrap().contains("overloaded_error"));
    assert_eq!(post(&mock, "sk-ant-a", BODY).await.unwrap(), "");
    assert_eq!(mock.bill().len(), 3);
}

#[test]
fn an_unknown_key_in_a_scenario_is_named() {
    let error = Scenario::from_toml("[latency]\nbase_ms = 3").unwrap_err().to_string();
    assert!(error.contains("base_ms"), "{error}");
}
