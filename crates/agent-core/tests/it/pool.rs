//! Connections and requests: how many, through what, and never one more than was asked for.

use std::sync::Arc;
use std::time::Duration;

use agent_core::clock::Clock;
use agent_core::llm::{LlmClient, LlmErrorKind};
use futures_util::future::join_all;
use tokio::sync::Barrier;

use crate::wire::{GOOD, KEY, Server, Step, client, http, reply, request};

const CALLS: usize = 1_000;

/// Both ends of each connection are open files of this process.
fn allow_open_files(files: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < files) {
        let raised = Rlimit { current: Some(files), maximum: limit.maximum };
        setrlimit(Resource::Nofile, raised).unwrap();
    }
}

#[tokio::test]
async fn a_thousand_calls_at_once_need_a_thousand_connections_and_the_next_thousand_none() {
    allow_open_files(2 * CALLS as u64 + 200);
    // No call is answered before all have arrived: none can use the connection of another.
    let all = Step::Meet(Arc::new(Barrier::new(CALLS)));
    let server = Server::always(vec![all, Step::Send(http("200 OK", "", GOOD))]).await;
    let (client, request) = (client(&server.url), request());
    for wave in 1..=2 {
        let answers = join_all((0..CALLS).map(|_| client.complete(&request))).await;
        assert!(answers.iter().all(Result::is_ok), "wave {wave}");
        assert_eq!(server.requests(), wave * CALLS);
        // The last connections go back to the pool.
        Clock::real().sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.connections(), CALLS);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_in_between_costs_no_second_request() {
    let steps = [Step::Send(http("200 OK", "", GOOD)), Step::Close];
    let server = Server::always(steps.to_vec()).await;
    let (client, request) = (client(&server.url), request());
    for calls in 1..=5 {
        assert!(client.complete(&request).await.is_ok());
        assert_eq!((server.requests(), server.connections()), (calls, calls));
        // The close arrives.
        Clock::real().sleep(Duration::from_millis(20)).await;
    }
}

/// The worst moment to lose a connection: it was used before, so a library may feel free to send
/// the request again; and the provider has it.
#[tokio::test]
async fn a_request_that_was_lost_on_a_used_connection_is_not_sent_again_by_the_library() {
    for end in [Step::Close, Step::Reset] {
        let server = Server::start(move |number, _| match number {
            0 => vec![Step::Send(http("200 OK", "", GOOD))],
            _ => vec![end.clone()],
        })
        .await;
        let (client, request) = (client(&server.url), request());
        assert!(client.complete(&request).await.is_ok());
        let error = client.complete(&request).await.unwrap_err();
        assert_eq!(error.kind, LlmErrorKind::Broken, "{error:?}");
        assert_eq!((server.requests(), server.connections()), (2, 1));
    }
}

#[tokio::test]
async fn no_refusal_is_retried_by_the_library() {
    let storm = http("429 Too Many Requests", "retry-after: 0\r\nx-should-retry: true\r\n", "{}");
    let server = Server::always(vec![Step::Send(storm)]).await;
    let (client, request) = (client(&server.url), request());
    for calls in 1..=20 {
        let error = client.complete(&request).await.unwrap_err();
        assert_eq!(error.kind, LlmErrorKind::RateLimited);
        assert_eq!((server.requests(), server.connections()), (calls, 1));
    }
}

#[tokio::test]
async fn the_key_goes_into_one_header_of_a_request_to_the_path_wanted() {
    let server = Server::always(vec![Step::Send(http("200 OK", "", GOOD))]).await;
    for base in [server.url.clone(), format!("{}/", server.url)] {
        client(&base).complete(&request()).await.unwrap();
    }
    for seen in server.seen.requests.lock().unwrap().iter() {
        assert_eq!(seen.matches(KEY).count(), 1);
        assert!(seen.contains(&format!("x-api-key: {KEY}\r\n")));
        assert!(seen.contains("anthropic-version: 2023-06-01\r\n"));
        assert!(seen.starts_with("POST /v1/messages HTTP/1.1\r\n"), "{seen}");
    }
}

/// Runs the test below in a process of its own, whose environment names a proxy.
#[tokio::test]
async fn a_proxy_that_the_environment_names_is_ignored() {
    let proxy = Server::always(reply(http("200 OK", "", GOOD))).await;
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "pool::the_key_goes_into_one_header_of_a_request_to_the_path_wanted"]);
    for name in ["http_proxy", "https_proxy", "all_proxy"] {
        child.env(name, &proxy.url).env(name.to_uppercase(), &proxy.url);
    }
    child.env_remove("no_proxy").env_remove("NO_PROXY");
    let output = tokio::task::spawn_blocking(move || child.output().unwrap()).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert_eq!(proxy.connections(), 0);
}
