//! Each way in which an attempt can go wrong on the wire: its kind, its fate, and whether it is
//! tried again. The columns are those of "Fate of an attempt" in ARCHITECTURE.md.

use std::sync::atomic::Ordering;
use std::time::Duration;

use agent_core::clock::Clock;
use agent_core::llm::{Fate, LlmClient, LlmError, LlmErrorKind as K};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

use crate::wire::{
    GOOD, LIMIT, Server, Step, call, client, config, http, reply, request, with_length,
};

/// What becomes of the reservation.
#[derive(Debug, PartialEq)]
enum Money {
    Released,
    Presumed,
}

fn money(error: &LlmError) -> Money {
    match error.fate() {
        Fate::NotBilled => Money::Released,
        _ => Money::Presumed,
    }
}

fn check(name: &str, error: &LlmError, kind: K, fate: Money, is_retried: bool) {
    let seen = (error.kind, money(error), error.kind.is_transient());
    assert_eq!(seen, (kind, fate, is_retried), "{name}: {error:?}");
}

fn chunked(status: &str, chunks: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ntransfer-encoding: chunked\r\n\r\n{chunks}").into_bytes()
}

#[tokio::test]
async fn an_answer_that_does_not_come_whole_is_presumed_and_tried_again() {
    for (name, steps) in [
        ("closed without a byte", vec![Step::Close]),
        ("reset after the request", vec![Step::Reset]),
        ("closed in the headers", reply(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec())),
        ("reset in the headers", vec![Step::Send(b"HTTP/1.1 200".to_vec()), Step::Reset]),
        ("shorter than announced", reply(with_length("200 OK", "", GOOD, GOOD.len() + 1))),
        ("reset in the body", vec![Step::Send(with_length("200 OK", "", "{", 9)), Step::Reset]),
        ("no last chunk", reply(chunked("200 OK", "2\r\n{}\r\n"))),
        ("cut in a chunk", reply(chunked("200 OK", "ff\r\n{}"))),
    ] {
        let error = call(steps).await.unwrap_err();
        check(name, &error, K::Broken, Money::Presumed, true);
    }
}

#[tokio::test]
async fn an_answer_that_is_not_understood_is_presumed_and_not_tried_again() {
    let cut_in_character = [&http("200 OK", "", "\"12")[..], b"\xff"].concat();
    let long_head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n", "y".repeat(1 << 20));
    for (name, bytes) in [
        ("empty", http("200 OK", "", "")),
        ("no content", b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
        ("a page", http("200 OK", "content-type: text/html\r\n", "<html>proxy</html>")),
        ("half of an answer", http("200 OK", "", &GOOD[..40])),
        ("more than an answer", http("200 OK", "", &format!("{GOOD} x"))),
        ("nested too deep", http("200 OK", "", &"[".repeat(3_000))),
        ("not UTF-8", cut_in_character),
        ("not HTTP", b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()),
        ("endless headers", long_head.into_bytes()),
        ("another protocol", b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n".to_vec()),
    ] {
        let error = call(reply(bytes)).await.unwrap_err();
        check(name, &error, K::NotUnderstood, Money::Presumed, false);
    }
}

#[tokio::test]
async fn an_answer_over_the_limit_is_refused_before_it_is_held_in_memory() {
    let announced = vec![Step::Send(with_length("200 OK", "", "{", LIMIT + 1)), Step::Hang];
    let error = call(announced).await.unwrap_err();
    check("announced", &error, K::NotUnderstood, Money::Presumed, false);

    let chunk = format!("400\r\n{}\r\n", "x".repeat(0x400)).into_bytes();
    let steps = vec![Step::Send(chunked("200 OK", "")), Step::Endless(chunk)];
    let server = Server::always(steps).await;
    let error = client(&server.url).complete(&request()).await.unwrap_err();
    check("endless", &error, K::NotUnderstood, Money::Presumed, false);
    assert!(error.message.contains("more than 4096 bytes"), "{error}");
    let sent = server.seen.bytes_out.load(Ordering::SeqCst);
    assert!(sent < 64 << 20, "what the sockets hold, not what was read: {sent}");

    let most = format!("{GOOD}{}", " ".repeat(LIMIT - GOOD.len()));
    assert!(call(reply(http("200 OK", "", &most))).await.is_ok());
}

#[tokio::test]
async fn a_whole_refusal_is_released_and_only_what_may_pass_is_tried_again() {
    for (status, kind, is_retried) in [
        ("400 Bad Request", K::InvalidRequest, false),
        ("401 Unauthorized", K::Authentication, false),
        ("402 Payment Required", K::Billing, false),
        ("403 Forbidden", K::Permission, false),
        ("404 Not Found", K::NotFound, false),
        ("408 Request Timeout", K::Server, true),
        ("409 Conflict", K::Server, true),
        ("413 Content Too Large", K::InvalidRequest, false),
        ("422 Unprocessable Content", K::InvalidRequest, false),
        ("429 Too Many Requests", K::RateLimited, true),
        ("500 Internal Server Error", K::Server, true),
        ("503 Service Unavailable", K::Server, true),
        ("529 Site is overloaded", K::Overloaded, true),
    ] {
        let body = if is_retried { "<html>a proxy's page</html>" } else { "" };
        let error = call(reply(http(status, "", body))).await.unwrap_err();
        check(status, &error, kind, Money::Released, is_retried);
    }
}

/// DESIGN: a whole answer of these proves that nothing was done. One that is cut off proves as
/// little as any other answer that is cut off; what it says of waiting holds all the same.
#[tokio::test]
async fn a_refusal_that_may_pass_is_presumed_where_it_was_cut_off_or_over_the_limit() {
    for (status, kind) in [
        ("408 Request Timeout", K::Server),
        ("409 Conflict", K::Server),
        ("429 Too Many Requests", K::RateLimited),
        ("500 Internal Server Error", K::Server),
        ("529 Site is overloaded", K::Overloaded),
    ] {
        let headers = "retry-after: 7\r\nx-should-retry: false\r\nrequest-id: req_1\r\n";
        for length in [9, LIMIT + 1] {
            let error = call(reply(with_length(status, headers, "{", length))).await.unwrap_err();
            check(status, &error, kind, Money::Presumed, true);
            assert_eq!(error.status, status[..3].parse().ok());
            assert_eq!(error.retry_after, Some(Duration::from_secs(7)), "{status}");
            assert_eq!(error.should_retry, Some(false), "{status}");
            assert_eq!(error.request_id.as_deref(), Some("req_1"), "{status}");
        }
    }
}

#[tokio::test]
async fn a_refusal_for_good_is_released_even_where_it_was_cut_off() {
    for (status, kind) in [
        ("400 Bad Request", K::InvalidRequest),
        ("401 Unauthorized", K::Authentication),
        ("402 Payment Required", K::Billing),
        ("403 Forbidden", K::Permission),
        ("404 Not Found", K::NotFound),
        ("413 Content Too Large", K::InvalidRequest),
    ] {
        let error = call(reply(with_length(status, "", "{", 9))).await.unwrap_err();
        check(status, &error, kind, Money::Released, false);
    }
}

#[tokio::test]
async fn an_error_inside_a_200_has_the_kind_it_names_and_is_presumed() {
    for (name, kind, is_retried) in [
        ("overloaded_error", K::Overloaded, true),
        ("api_error", K::Server, true),
        ("rate_limit_error", K::RateLimited, true),
        ("invalid_request_error", K::InvalidRequest, false),
    ] {
        let body = format!(r#"{{"type":"error","error":{{"type":"{name}","message":"m"}}}}"#);
        let headers = "retry-after: 7\r\nx-should-retry: false\r\n";
        let error = call(reply(http("200 OK", headers, &body))).await.unwrap_err();
        check(name, &error, kind, Money::Presumed, is_retried);
        assert_eq!(error.retry_after, Some(Duration::from_secs(7)), "{name}");
        assert_eq!(error.should_retry, Some(false), "{name}");
    }
}

#[tokio::test]
async fn a_redirect_is_refused_and_the_key_goes_nowhere_else() {
    let elsewhere = Server::always(reply(http("200 OK", "", GOOD))).await;
    for status in [301, 302, 303, 307, 308] {
        let location = format!("location: {}/v1/messages\r\n", elsewhere.url);
        let bytes = http(&format!("{status} Moved"), &location, "");
        let error = call(reply(bytes)).await.unwrap_err();
        check(&status.to_string(), &error, K::InvalidRequest, Money::Released, false);
        assert!(error.message.contains("redirected to 127.0.0.1"), "{error}");
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn an_attempt_that_hangs_or_drips_ends_at_its_deadline_and_hangs_up() {
    let drip = |bytes: Vec<u8>| vec![Step::Drip(bytes, Duration::from_millis(50)), Step::Hang];
    let body = b"1\r\n \r\n".repeat(99);
    for (name, steps) in [
        ("hang", vec![Step::Hang]),
        ("hang in the body", vec![Step::Send(with_length("200 OK", "", "{", 9)), Step::Hang]),
        ("drip of headers", drip(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n ".to_vec())),
        ("drip of a body", [vec![Step::Send(chunked("200 OK", ""))], drip(body)].concat()),
    ] {
        let server = Server::always(steps).await;
        let (client, clock) = (client(&server.url), Clock::real());
        // As the worker does it.
        let deadline = clock.now() + Duration::from_millis(200);
        let request = request();
        let result = clock.timeout(deadline, client.complete(&request)).await;
        assert!(result.is_err(), "{name}: {result:?}");
        assert!(clock.now() >= deadline, "{name}");
        assert_eq!((server.requests(), server.connections()), (1, 1), "{name}");
        if name.starts_with("hang") {
            server.hang_up().await;
        }
    }
}

#[tokio::test]
async fn what_never_reached_the_provider_is_released_and_tried_again() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let plain = Server::always(reply(http("200 OK", "", GOOD))).await;
    let silent = Server::always(vec![Step::Hang]).await;
    // One place in its queue, which is taken: a connection to it never comes about.
    let full = TcpSocket::new_v4().unwrap();
    full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = full.listen(0).unwrap();
    let queued = tokio::net::TcpStream::connect(full.local_addr().unwrap()).await.unwrap();
    let label = "x".repeat(64);
    for (name, url) in [
        ("refused", format!("http://{closed}")),
        ("no such name", format!("https://{label}.invalid")),
        ("TLS to a plain port", plain.url.replace("http:", "https:")),
        ("TLS to a silent port", silent.url.replace("http:", "https:")),
        ("never accepted", format!("http://{}", full.local_addr().unwrap())),
    ] {
        let mut config = config(&url);
        config.connect_timeout = Duration::from_millis(200);
        let client = agent_core::llm::anthropic::Anthropic::new(config).unwrap();
        let error = client.complete(&request()).await.unwrap_err();
        check(name, &error, K::NotSent, Money::Released, true);
        assert!(!format!("{error:?}").contains("secret"), "{name}");
    }
    assert_eq!(plain.requests() + silent.requests(), 0);
    drop(queued);
}

/// Whether a byte gets out before the server closes is a race, so it is run often.
#[tokio::test]
async fn a_request_that_counts_as_unsent_has_sent_no_byte() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (report, mut reports) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            socket.shutdown().await.unwrap();
            report.send(socket.read_to_end(&mut Vec::new()).await.unwrap_or(1)).unwrap();
        }
    });
    let client = client(&url);
    for _ in 0..100 {
        let error = client.complete(&request()).await.unwrap_err();
        let bytes = reports.recv().await.unwrap();
        let is_unsent = error.kind == K::NotSent;
        assert!(bytes == 0 || !is_unsent, "{bytes} bytes: {error:?}");
        let (kind, fate) =
            if is_unsent { (K::NotSent, Money::Released) } else { (K::Broken, Money::Presumed) };
        check("closed at once", &error, kind, fate, true);
    }
}
