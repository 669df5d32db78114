//! Answers that come as events.

use std::time::Duration;

use agent_core::clock::Clock;
use tokio::io::AsyncReadExt;

use super::client::{BODY, KEY, post, send, start};
use super::pause;

fn streamed() -> String {
    BODY.replacen('{', r#"{"stream":true,"#, 1)
}

#[tokio::test]
async fn a_stream_has_the_events_of_the_api_in_their_order_and_says_the_same() {
    for latency in ["", "[latency]\nper_output_token = '1ms'"] {
        let mock = start(&format!("[output]\ntext = 'Zażółć gęślą jaźń.'\n{latency}")).await;
        let answer = post(&mock, &streamed()).await;
        assert_eq!(answer.header("content-type"), "text/event-stream; charset=utf-8");
        let events = answer.events();
        let mut kinds: Vec<&str> = events.iter().map(|e| e["type"].as_str().unwrap()).collect();
        kinds.dedup();
        assert_eq!(
            kinds,
            [
                "message_start",
                "content_block_start",
                "ping",
                "content_block_delta",
                "content_block_stop",
                "message_delta",
                "message_stop"
            ]
        );
        let pieces: Vec<_> = events.iter().filter_map(|e| e["delta"]["text"].as_str()).collect();
        assert_eq!(pieces.concat(), "Zażółć gęślą jaźń.");
        assert!(pieces.len() > 4, "{pieces:?}");
        let delta = &events[events.len() - 2];
        assert_eq!(delta["usage"]["output_tokens"], 9);
        assert_eq!(delta["delta"]["stop_reason"], "max_tokens");
        assert_eq!(events[0]["message"]["usage"]["input_tokens"], delta["usage"]["input_tokens"]);
        assert_eq!(mock.billed().output_tokens, 9);
    }
}

#[tokio::test]
async fn the_pieces_of_a_stream_come_one_by_one() {
    let mock = start("[latency]\nper_output_token = '10ms'").await;
    let clock = Clock::real();
    let start = clock.now();
    let body = streamed();
    let mut stream = send(mock.address(), "POST", "/v1/messages", KEY, &body).await.unwrap();
    let (mut seen, mut reads) = (String::new(), 0);
    while !seen.contains("message_stop") {
        let mut bytes = [0; 65536];
        let read = stream.read(&mut bytes).await.unwrap();
        seen += std::str::from_utf8(&bytes[..read]).unwrap();
        reads += 1;
    }
    // Nine tokens in five pieces.
    assert!(clock.now().since(start) >= Duration::from_millis(90));
    assert!(reads > 1, "{reads}");
}

#[tokio::test]
async fn a_stream_that_the_client_leaves_is_billed_for_what_was_sent() {
    let mock = start("[latency]\nper_output_token = '40ms'\n[output]\ntokens = 1000").await;
    let body = streamed().replace(":9", ":900");
    let mut stream = send(mock.address(), "POST", "/v1/messages", KEY, &body).await.unwrap();
    let mut seen = String::new();
    while !seen.contains("message_start") {
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).await.unwrap();
        seen += std::str::from_utf8(&bytes[..read]).unwrap();
    }
    drop(stream);
    while mock.bill().is_empty() {
        pause(5).await;
    }
    let billed = mock.billed();
    assert!(billed.input_tokens > 0 && billed.output_tokens < 900, "{billed:?}");
}

#[tokio::test]
async fn a_stream_that_fails_ends_with_an_error_and_bills_what_was_sent() {
    let mock = start("[[fault]]\nkind = 'stream_error'").await;
    let events = post(&mock, &streamed()).await.events();
    let last = &events[events.len() - 1];
    assert_eq!(
        (&last["type"], &last["error"]["type"]),
        (&"error".into(), &"overloaded_error".into())
    );
    assert!(events.iter().any(|event| event["type"] == "content_block_delta"));
    assert!((1..9).contains(&mock.billed().output_tokens), "{:?}", mock.billed());
    // It hits only streams.
    assert_eq!(post(&mock, BODY).await.json()["stop_reason"], "max_tokens");
}
