//! How one request is answered.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use agent_core::clock::{Clock, Timestamp};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, Limited, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::{HeaderMap, Request, Response};
use socket2::Socket;

use super::bill::BilledAnswer;
use super::{Fault, FaultKind, Inner, Scenario, State, pause, wire};

const MAX_BODY: usize = 32 * 1024 * 1024;
const JSON: &str = "application/json";

type Body = UnsyncBoxBody<Bytes, io::Error>;
type Answer = Result<Response<Body>, io::Error>;

/// Answers a request; an error closes the connection without an answer.
pub(super) async fn answer(
    state: Arc<State>,
    socket: Arc<Socket>,
    request: Request<Incoming>,
) -> Answer {
    let answer = route(&state, &socket, request).await;
    let status = answer.as_ref().map_or(0, |a| a.status().as_u16());
    *state.lock().statuses.entry(status).or_default() += 1;
    answer
}

async fn route(state: &State, socket: &Socket, request: Request<Incoming>) -> Answer {
    let (call, id) = {
        let mut inner = state.lock();
        inner.calls += 1;
        (inner.calls, format!("req_{:024}", inner.calls))
    };
    let Some(key) = key(request.headers()) else {
        return error(401, "invalid x-api-key", &id, None);
    };
    let path = request.uri().path().to_owned();
    let counts = path == "/v1/messages/count_tokens";
    if request.method() != "POST" || !(counts || path == "/v1/messages") {
        return error(404, "Not found", &id, None);
    }
    let Ok(body) = Limited::new(request.into_body(), MAX_BODY).collect().await else {
        return error(413, "Request exceeds the maximum size", &id, None);
    };
    let body = body.to_bytes();
    let asked = match wire::Request::read(&body, !counts) {
        Ok(asked) => asked,
        Err(message) => return error(400, &message, &id, None),
    };
    let scenario = &state.scenario;
    let input_tokens = scenario.output.input_tokens.unwrap_or_else(|| asked.input_tokens());
    if counts {
        return respond(
            200,
            JSON,
            format!("{{\"input_tokens\":{input_tokens}}}").into(),
            &id,
            None,
        );
    }
    let model = asked.model.clone().unwrap_or_default();
    let now = Clock::real().now();
    let (wait, fault) = {
        let mut inner = state.lock();
        (admit(&mut inner, scenario, &key, &model, now), pick(&mut inner, scenario, call))
    };
    if let Some(seconds) = wait {
        let message =
            "This request would exceed your organization's rate limit of requests per minute";
        return error(429, message, &id, Some(seconds));
    }
    let max_tokens = asked.max_tokens.unwrap_or(0);
    let output_tokens = scenario.output.tokens.min(max_tokens);
    let stop = if scenario.output.tokens > max_tokens { "max_tokens" } else { "end_turn" };
    let tokens = u32::try_from(output_tokens).unwrap_or(u32::MAX);
    let each = scenario.latency.per_output_token.saturating_mul(tokens);
    pause(scenario.latency.base.saturating_add(each)).await;
    let bill = BilledAnswer {
        at: Clock::real().now(),
        request_id: id,
        key: key.chars().rev().take(4).collect::<Vec<_>>().into_iter().rev().collect(),
        model,
        task: asked.task(),
        input_tokens,
        output_tokens,
        cache_creation_input_tokens: 0,
        cache_read_input_tokens: 0,
    };
    if fault.is_none_or(|f| f.billed.unwrap_or_else(|| f.kind.is_billed())) {
        state.lock().bill.add(bill.clone())?;
    }
    let with_usage = fault.is_none_or(|f| f.kind != FaultKind::NoUsage);
    let make = if asked.stream { wire::events } else { wire::answer };
    let body = make(&bill, &scenario.output.text, stop, with_usage);
    let kind = if asked.stream { "text/event-stream; charset=utf-8" } else { JSON };
    match fault {
        Some(fault) => spoil(fault, socket, body, kind, &bill.request_id).await,
        None => respond(200, kind, body, &bill.request_id, None),
    }
}

async fn spoil(fault: &Fault, socket: &Socket, body: Bytes, kind: &str, id: &str) -> Answer {
    let half = body.slice(..body.len() / 2);
    match fault.kind {
        FaultKind::Hang => std::future::pending().await,
        FaultKind::Reset => {
            socket.set_linger(Some(Duration::ZERO))?;
            Err(io::ErrorKind::ConnectionReset.into())
        }
        FaultKind::Close => Err(io::ErrorKind::ConnectionAborted.into()),
        FaultKind::Truncate => {
            let frames = [Ok(Frame::data(half)), Err(io::ErrorKind::UnexpectedEof.into())];
            let mut answer = respond(200, kind, Bytes::new(), id, None)?;
            answer.headers_mut().insert("content-length", body.len().into());
            *answer.body_mut() = StreamBody::new(stream::iter(frames)).boxed_unsync();
            Ok(answer)
        }
        FaultKind::Malformed => respond(200, kind, half, id, None),
        FaultKind::Html => respond(200, "text/html", "<html>Gateway</html>".into(), id, None),
        FaultKind::Empty => respond(200, kind, Bytes::new(), id, None),
        FaultKind::NoUsage => respond(200, kind, body, id, None),
        FaultKind::Status => {
            error(fault.status.unwrap_or(500), "Injected fault", id, fault.retry_after)
        }
    }
}

fn key(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let bearer = || text("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let key = text("x-api-key").or_else(bearer)?;
    key.starts_with("sk-ant-").then(|| key.to_owned())
}

/// The seconds to wait where the limit has no room.
fn admit(
    inner: &mut Inner,
    scenario: &Scenario,
    key: &str,
    model: &str,
    now: Timestamp,
) -> Option<u64> {
    let limit = f64::from(scenario.requests_per_minute?);
    let id = (key.to_owned(), model.to_owned());
    let (left, at) = inner.buckets.entry(id).or_insert((limit, now));
    *left = (*left + now.since(*at).as_secs_f64() * limit / 60.0).min(limit);
    *at = now;
    if *left >= 1.0 {
        *left -= 1.0;
        return None;
    }
    Some((((1.0 - *left) * 60.0 / limit).ceil() as u64).max(1))
}

fn pick<'a>(inner: &mut Inner, scenario: &'a Scenario, call: u64) -> Option<&'a Fault> {
    scenario.fault.iter().find(|fault| {
        (fault.calls.is_empty() || fault.calls.contains(&call))
            && fault.every.is_none_or(|n| call.is_multiple_of(n))
            && fault.probability.is_none_or(|share| inner.random.f64() < share)
    })
}

fn error(status: u16, message: &str, id: &str, retry_after: Option<u64>) -> Answer {
    respond(status, JSON, wire::error(status, message, id), id, retry_after)
}

fn respond(status: u16, kind: &str, body: Bytes, id: &str, retry_after: Option<u64>) -> Answer {
    let mut answer = Response::builder().status(status).header("content-type", kind);
    answer = answer.header("request-id", id);
    if let Some(seconds) = retry_after {
        answer = answer.header("retry-after", seconds);
    }
    let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
    answer.body(body).map_err(io::Error::other)
}
