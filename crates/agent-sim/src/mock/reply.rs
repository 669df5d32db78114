//! HTTP answers: the headers that all have, and errors in the API's form.

use std::borrow::Cow;
use std::io;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use serde::Serialize;

use super::limiter::{Standing, Standings};

pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// An error closes the connection without an answer.
pub(super) type Reply = Result<Response<Body>, io::Error>;

pub(super) const JSON: &str = "application/json";
pub(super) const EVENTS: &str = "text/event-stream; charset=utf-8";

const ORGANIZATION: HeaderValue = HeaderValue::from_static("00000000-0000-4000-8000-000000000001");

/// From this limit on, tokens that remain are told in thousands, as Anthropic does.
const ROUNDED_FROM: u64 = 10_000;

/// `limit`, `remaining` and `reset` of requests, input tokens and output tokens.
const LIMIT_HEADERS: [[&str; 3]; 3] = [
    [
        "anthropic-ratelimit-requests-limit",
        "anthropic-ratelimit-requests-remaining",
        "anthropic-ratelimit-requests-reset",
    ],
    [
        "anthropic-ratelimit-input-tokens-limit",
        "anthropic-ratelimit-input-tokens-remaining",
        "anthropic-ratelimit-input-tokens-reset",
    ],
    [
        "anthropic-ratelimit-output-tokens-limit",
        "anthropic-ratelimit-output-tokens-remaining",
        "anthropic-ratelimit-output-tokens-reset",
    ],
];

/// Both kinds of tokens together, told where both are limited.
const TOKENS_HEADERS: [&str; 3] = [
    "anthropic-ratelimit-tokens-limit",
    "anthropic-ratelimit-tokens-remaining",
    "anthropic-ratelimit-tokens-reset",
];

/// What the headers of one request's answer tell.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Head {
    /// The ordinal that its ids are made of.
    pub(super) id: u64,
    /// How the limits stand; nothing where none is set, or the request was not counted.
    pub(super) standings: Standings,
}

/// An answer that is an error.
#[derive(Debug, Default)]
pub(super) struct Problem<'a> {
    pub(super) status: u16,
    pub(super) message: Cow<'a, str>,
    pub(super) code: Option<&'a str>,
    /// In seconds.
    pub(super) retry_after: Option<u64>,
    /// What `x-should-retry` says; absent = as the API for that status.
    pub(super) should_retry: Option<bool>,
}

impl<'a> Problem<'a> {
    pub(super) fn new(status: u16, message: impl Into<Cow<'a, str>>) -> Problem<'a> {
        Problem { status, message: message.into(), ..Problem::default() }
    }
}

impl Head {
    /// The `request-id`.
    pub(super) fn request_id(&self) -> String {
        format!("req_{:024}", self.id)
    }

    /// An answer with a whole body.
    pub(super) fn reply(&self, status: u16, kind: &'static str, body: Bytes) -> Reply {
        let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
        self.reply_with(status, kind, body)
    }

    /// An answer with a body that comes as it comes.
    pub(super) fn reply_with(&self, status: u16, kind: &'static str, body: Body) -> Reply {
        let mut reply = Response::new(body);
        *reply.status_mut() = status.try_into().map_err(io::Error::other)?;
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        let id = HeaderValue::try_from(self.request_id()).map_err(io::Error::other)?;
        headers.insert(HeaderName::from_static("request-id"), id);
        headers.insert(HeaderName::from_static("anthropic-organization-id"), ORGANIZATION);
        self.tell_limits(headers)?;
        Ok(reply)
    }

    /// An error in the API's form.
    pub(super) fn refuse(&self, problem: &Problem<'_>) -> Reply {
        if problem.status == 413 {
            // The edge refuses this one, and has its own form and none of our headers.
            let body = Outer {
                kind: None,
                error: Inner { kind: kind(413), message: &problem.message, details: None },
                request_id: None,
            };
            let mut reply = self.reply(413, JSON, json(&body)?)?;
            let only_type = reply.headers_mut().remove(CONTENT_TYPE);
            reply.headers_mut().clear();
            reply.headers_mut().extend(only_type.map(|kind| (CONTENT_TYPE, kind)));
            return Ok(reply);
        }
        let id = self.request_id();
        let body = Outer {
            kind: Some("error"),
            error: Inner {
                kind: kind(problem.status),
                message: &problem.message,
                details: problem.code.map(|error_code| Details { error_code }),
            },
            request_id: Some(&id),
        };
        let mut reply = self.reply(problem.status, JSON, json(&body)?)?;
        let headers = reply.headers_mut();
        if let Some(seconds) = problem.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        let retry = problem.should_retry.unwrap_or_else(|| is_worth_retrying(problem));
        let retry = HeaderValue::from_static(if retry { "true" } else { "false" });
        headers.insert(HeaderName::from_static("x-should-retry"), retry);
        Ok(reply)
    }

    fn tell_limits(&self, headers: &mut HeaderMap) -> io::Result<()> {
        let [requests, input, output] = self.standings;
        let rounded = |standing: Option<Standing>| {
            standing.map(|all| Standing { remaining: in_thousands(all), ..all })
        };
        let told = [requests, rounded(input), rounded(output)];
        for (standing, names) in told.into_iter().zip(LIMIT_HEADERS) {
            standing.map_or(Ok(()), |standing| tell(headers, names, standing))?;
        }
        if let (Some(input), Some(output)) = (told[1], told[2]) {
            let both = Standing {
                limit: input.limit + output.limit,
                remaining: input.remaining + output.remaining,
                reset: input.reset.max(output.reset),
            };
            tell(headers, TOKENS_HEADERS, both)?;
        }
        Ok(())
    }
}

fn tell(headers: &mut HeaderMap, names: [&'static str; 3], standing: Standing) -> io::Result<()> {
    let [limit, remaining, reset] = names.map(HeaderName::from_static);
    headers.insert(limit, standing.limit.into());
    headers.insert(remaining, standing.remaining.into());
    // In whole seconds, the first at which all is there again.
    let second = standing.reset.nanos().div_ceil(1_000_000_000);
    let at = agent_core::clock::Timestamp::from_millis(second.saturating_mul(1000)).to_jiff();
    let at = HeaderValue::try_from(format!("{at:.0}")).map_err(io::Error::other)?;
    headers.insert(reset, at);
    Ok(())
}

/// The nearest thousand of what remains.
fn in_thousands(standing: Standing) -> u64 {
    if standing.limit < ROUNDED_FROM {
        return standing.remaining;
    }
    ((standing.remaining + 500) / 1000 * 1000).min(standing.limit)
}

/// What the API says in `x-should-retry`: seen `false` with 401 and `true` with 429.
fn is_worth_retrying(problem: &Problem<'_>) -> bool {
    let is_spent = problem.code.is_some_and(|code| code.ends_with("_spend_limit_reached"));
    !is_spent && matches!(problem.status, 408 | 409 | 429 | 500..)
}

fn kind(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        409 => "conflict_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

/// What the API says of an error that a scenario gives no words for.
pub(super) fn usual_message(status: u16) -> &'static str {
    match status {
        401 => "invalid x-api-key",
        403 => "Your API key does not have permission to use the specified resource.",
        404 => "The requested resource could not be found.",
        413 => "Request exceeds the maximum size",
        429 => "This request would exceed your organization's rate limit. Please try again later.",
        504 => "The request timed out while processing.",
        529 => "Overloaded",
        500.. => "Internal server error",
        _ => "Error injected by the scenario",
    }
}

#[derive(Serialize)]
struct Outer<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    error: Inner<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Inner<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details<'a>>,
}

#[derive(Serialize)]
struct Details<'a> {
    error_code: &'a str,
}

fn json(body: &impl Serialize) -> io::Result<Bytes> {
    Ok(serde_json::to_vec(body)?.into())
}
