//! How one request is answered: who asks, for what, and whether it is admitted.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Request};
use serde::Serialize;
use socket2::Socket;

use super::limiter::{Amounts, Refusal};
use super::reply::{Head, JSON, Problem, Reply, usual_message};
use super::room::LARGEST_BODY;
use super::{State, call, models, request, scripted};

/// The newest is what the Python SDK 2 sends, the one before it what all others do.
const VERSIONS: [&str; 3] = ["2023-01-01", "2023-06-01", "2026-10-21"];

const NO_CREDIT: &str = "Your credit balance is too low to access the Anthropic API. Please go to \
                         Plans & Billing to upgrade or purchase credits.";

/// Answers a request; an error closes the connection without an answer.
pub(super) async fn answer(
    state: Arc<State>,
    socket: Arc<Socket>,
    request: Request<Incoming>,
) -> Reply {
    let reply = route(&state, &socket, request).await;
    let status = reply.as_ref().map_or(0, |reply| reply.status().as_u16());
    *state.statuses().entry(status).or_default() += 1;
    reply
}

async fn route(state: &Arc<State>, socket: &Socket, request: Request<Incoming>) -> Reply {
    let id = state.requests.fetch_add(1, Ordering::Relaxed) + 1;
    let head = Head { id, ..Head::default() };
    let (parts, body) = request.into_parts();
    let key = match key(state, &parts.headers) {
        Ok(key) => key,
        Err(message) => return head.refuse(&Problem::new(401, message)),
    };
    let version = match version(&parts.headers) {
        Ok(version) => version,
        Err(message) => return head.refuse(&Problem::new(400, message)),
    };
    let path = parts.uri.path();
    let is_counted = path == "/v1/messages/count_tokens";
    if is_counted || path == "/v1/messages" {
        if parts.method != "POST" {
            return head.refuse(&Problem::new(405, "Method Not Allowed"));
        }
        let Ok(body) = Limited::new(body, LARGEST_BODY).collect().await else {
            return head.refuse(&Problem::new(413, usual_message(413)));
        };
        let body = body.to_bytes();
        if let Some(scripted) = state.scripted.as_ref().filter(|_| !is_counted) {
            return scripted::answer(scripted, head, &body).await;
        }
        let asker = Asker { key, version, is_counted };
        return messages(state, socket, head, asker, body).await;
    }
    models(state, head, &parts)
}

fn models(state: &State, head: Head, parts: &Parts) -> Reply {
    let not_found = |what: String| head.refuse(&Problem::new(404, what));
    let Some(rest) = parts.uri.path().strip_prefix("/v1/models") else {
        return not_found(usual_message(404).to_owned());
    };
    if parts.method != "GET" {
        return head.refuse(&Problem::new(405, "Method Not Allowed"));
    }
    match rest.strip_prefix('/') {
        None if rest.is_empty() => {
            match models::page(&state.scenario, parts.uri.query().unwrap_or_default()) {
                Ok(page) => head.reply(200, JSON, json(&page)?),
                Err(message) => head.refuse(&Problem::new(400, message)),
            }
        }
        Some(id) => match models::one(&state.scenario, id) {
            Some(model) => head.reply(200, JSON, json(&model)?),
            None => not_found(format!("model: {id}")),
        },
        None => not_found(usual_message(404).to_owned()),
    }
}

fn json(body: &impl Serialize) -> std::io::Result<Bytes> {
    Ok(serde_json::to_vec(body)?.into())
}

/// Who asks, and for what.
struct Asker<'a> {
    key: &'a str,
    version: &'a str,
    /// Only wants to know how many tokens the request has.
    is_counted: bool,
}

async fn messages(
    state: &Arc<State>,
    socket: &Socket,
    mut head: Head,
    asker: Asker<'_>,
    body: Bytes,
) -> Reply {
    let Asker { key, version, is_counted } = asker;
    let asked = match request::Request::read(&body, is_counted, version) {
        Ok(asked) => asked,
        Err(message) => return head.refuse(&Problem::new(400, message)),
    };
    if let Some(problem) = refusal(state, &asked) {
        head.standings = state.admit(key, &asked.model, Amounts::default()).standings;
        return head.refuse(&problem);
    }
    let counted = state.scenario.output.input_tokens;
    let input_tokens = counted.unwrap_or_else(|| asked.input_tokens());
    let amounts = [1, input_tokens, asked.max_tokens];
    // To count tokens takes nothing: the API has other limits for it.
    let amounts = if is_counted { Amounts::default() } else { amounts };
    let admission = state.admit(key, &asked.model, amounts);
    head.standings = admission.standings;
    if is_counted {
        return head.reply(200, JSON, format!("{{\"input_tokens\":{input_tokens}}}").into());
    }
    let ordinal = state.calls.fetch_add(1, Ordering::Relaxed) + 1;
    if let Some(refusal) = admission.refusal {
        return head.refuse(&limited(refusal));
    }
    let admitted = call::Admitted { ordinal, at: admission.at, input_tokens };
    call::Call::new(state, head, key, &asked, admitted).answer(socket).await
}

/// Why a well-formed request is refused whatever the limits have room for.
fn refusal(state: &State, asked: &request::Request<'_>) -> Option<Problem<'static>> {
    let scenario = &state.scenario;
    if !models::exists(scenario, &asked.model) {
        return Some(Problem::new(404, format!("model: {}", asked.model)));
    }
    if scenario.output.input_tokens.is_none()
        && let Some(message) = asked.too_long()
    {
        return Some(Problem::new(400, message));
    }
    let is_spent = scenario.spend_limit_usd.is_some_and(|limit| state.bill().spent() >= limit);
    is_spent.then(|| Problem::new(400, NO_CREDIT))
}

fn limited(refusal: Refusal) -> Problem<'static> {
    let message = format!(
        "This request would exceed the rate limit for your organization \
         (00000000-0000-4000-8000-000000000001) of {} {} per minute. For details, refer to: \
         https://docs.anthropic.com/en/api/rate-limits. You can see the response headers for \
         current usage. Please reduce the prompt length or the maximum tokens requested, or try \
         again later.",
        grouped(refusal.limit),
        refusal.name.replace('-', " "),
    );
    let seconds = refusal.wait.as_nanos().div_ceil(1_000_000_000).max(1);
    let retry_after = u64::try_from(seconds).ok();
    Problem { retry_after, ..Problem::new(429, message) }
}

/// `30000` as `30,000`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The version of the API that is spoken; the error is the message of a 400.
fn version(headers: &HeaderMap) -> Result<&str, String> {
    let version =
        header(headers, "anthropic-version").ok_or("anthropic-version: header is required")?;
    if VERSIONS.contains(&version) {
        return Ok(version);
    }
    Err(format!("anthropic-version: \"{version}\" is not a valid version"))
}

/// The key of a client that is served; the error is the message of a 401.
fn key<'h>(state: &State, headers: &'h HeaderMap) -> Result<&'h str, &'static str> {
    let bearer = header(headers, "authorization")
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, key)| (key, "Invalid bearer token"));
    let (key, message) = header(headers, "x-api-key")
        .map(|key| (key, "invalid x-api-key"))
        .or(bearer)
        .ok_or("x-api-key header is required")?;
    if state.scenario.valid_keys.accept(key) { Ok(key) } else { Err(message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_written_with_its_thousands_apart() {
        let grouped = [1, 999, 1_000, 30_000, 1_234_567].map(grouped);
        assert_eq!(grouped, ["1", "999", "1,000", "30,000", "1,234,567"]);
    }
}
