//! What an answer other than a success means.

use std::time::Duration;

use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::clock::Timestamp;
use crate::llm::{LlmError, LlmErrorKind, redact};
use crate::permits::{Headroom, RateHeaders};
use crate::usage::Usage;

const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 3600);

/// An answer before its body, and when it came.
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) now: Timestamp,
}

impl Head {
    /// Adds to a failure what the headers say.
    ///
    /// `retry-after` comes with successes too, where it tells of the rate limits: it is for those
    /// failures alone that are the provider's word.
    pub(super) fn complete(&self, mut failure: LlmError) -> LlmError {
        failure.status = Some(self.status);
        let told = header(&self.headers, "x-should-retry");
        failure.should_retry = told.and_then(|text| text.to_ascii_lowercase().parse().ok());
        failure.request_id = request_id(&self.headers).or(failure.request_id);
        failure.limits = limits(&self.headers);
        if !matches!(failure.kind, LlmErrorKind::Broken | LlmErrorKind::NotUnderstood) {
            failure.retry_after = retry_after(&self.headers, self.now);
        }
        failure
    }
}

/// A refusal of which the body was not read to its end.
///
/// Its kind is that of its status, so that everyone still waits as long as the provider said, but
/// only a whole answer proves that nothing was done.
pub(super) fn cut_off(head: &Head, error: &LlmError) -> LlmError {
    let message = format!("status {}, but {}", head.status, error.message);
    let mut failure = LlmError::new(kind_of_status(head.status), redact(&message));
    failure.is_cut_off = true;
    failure
}

/// The failure that a status of 400 and more stands for; without what the headers say.
pub(super) fn of_status(head: &Head, body: &[u8]) -> LlmError {
    let Head { status, ref headers, now } = *head;
    let parsed: Option<Value> = serde_json::from_slice(body).ok();
    let error = parsed.as_ref().and_then(|body| body.get("error"));
    let said = |key: &str| error.and_then(|error| error.get(key)).and_then(Value::as_str);
    let words = said("message").unwrap_or_default();
    let code = error.and_then(|error| error.pointer("/details/error_code")).and_then(Value::as_str);
    let kind = if is_billing(status, words, code, retry_after(headers, now)) {
        LlmErrorKind::Billing
    } else {
        kind_of_status(status)
    };
    let message = match said("type") {
        Some(name) => format!("status {status}, {name}: {words}"),
        None => format!("status {status} with a body that is not the provider's"),
    };
    let mut failure = LlmError::new(kind, redact(&message));
    let name = parsed.as_ref().and_then(|body| body.get("request_id"));
    failure.request_id = name.and_then(Value::as_str).map(redact);
    failure
}

/// An error told after a 200: what was seen is billed at least.
pub(super) fn inside_200(error: &Value, seen: Option<Usage>) -> LlmError {
    let said = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default();
    let kind = match said("type") {
        "overloaded_error" => LlmErrorKind::Overloaded,
        "rate_limit_error" => LlmErrorKind::RateLimited,
        "authentication_error" => LlmErrorKind::Authentication,
        "permission_error" => LlmErrorKind::Permission,
        "billing_error" => LlmErrorKind::Billing,
        "not_found_error" => LlmErrorKind::NotFound,
        "invalid_request_error" | "request_too_large" => LlmErrorKind::InvalidRequest,
        _ => LlmErrorKind::Server,
    };
    let message = format!("status 200, then {}: {}", said("type"), said("message"));
    let mut failure = LlmError::new(kind, redact(&message));
    failure.status = Some(200);
    failure.seen = Some(seen.unwrap_or_default());
    failure
}

fn kind_of_status(status: u16) -> LlmErrorKind {
    match status {
        401 => LlmErrorKind::Authentication,
        402 => LlmErrorKind::Billing,
        403 => LlmErrorKind::Permission,
        404 => LlmErrorKind::NotFound,
        408 | 409 => LlmErrorKind::Server,
        429 => LlmErrorKind::RateLimited,
        529 => LlmErrorKind::Overloaded,
        500.. => LlmErrorKind::Server,
        _ => LlmErrorKind::InvalidRequest,
    }
}

fn is_billing(status: u16, words: &str, code: Option<&str>, wait: Option<Duration>) -> bool {
    let words = words.to_lowercase();
    let is_spent = words.contains("usage limits") || words.contains("credit balance");
    match status {
        402 => true,
        400 => is_spent,
        429 => {
            code.is_some_and(|c| c.ends_with("spend_limit_reached")) || wait.is_none() && is_spent
        }
        _ => false,
    }
}

/// How long the provider wants us to wait: `retry-after-ms`, or `retry-after` in seconds or as a
/// date; never negative, at most a year.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let seconds = |text: &str, unit: f64| {
        let value = text.trim().parse::<f64>().ok().filter(|value| !value.is_nan())?;
        Some(Duration::from_secs_f64((value * unit).clamp(0.0, LONGEST_WAIT.as_secs_f64())))
    };
    if let Some(wait) = header(headers, "retry-after-ms").and_then(|text| seconds(text, 0.001)) {
        return Some(wait);
    }
    let text = header(headers, "retry-after")?;
    seconds(text, 1.0).or_else(|| {
        let at = httpdate::parse_http_date(text.trim()).ok()?;
        let since = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Some((Timestamp::EPOCH + since).since(now).min(LONGEST_WAIT))
    })
}

/// The provider's name for the exchange.
pub(super) fn request_id(headers: &HeaderMap) -> Option<String> {
    header(headers, "request-id").map(redact)
}

/// What the provider said of its limits; a limit that is told in part is left out.
pub(super) fn limits(headers: &HeaderMap) -> RateHeaders {
    let of = |name: &str| {
        let part = |part: &str| header(headers, &format!("anthropic-ratelimit-{name}-{part}"));
        Some(Headroom {
            limit: part("limit")?.parse().ok()?,
            remaining: part("remaining")?.parse().ok()?,
            reset: part("reset")?.parse().ok()?,
        })
    };
    RateHeaders {
        requests: of("requests"),
        input_tokens: of("input-tokens"),
        output_tokens: of("output-tokens"),
        tokens: of("tokens"),
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect()
    }

    #[test]
    fn retry_after_is_read_in_all_its_forms_and_bounded() {
        let now: Timestamp = "2026-11-24T10:00:00Z".parse().unwrap();
        for (text, wait) in [
            ("7", Some(7.0)),
            ("0.5", Some(0.5)),
            ("-5", Some(0.0)),
            ("1e99", Some(31_536_000.0)),
            ("NaN", None),
            ("Tue, 24 Nov 2026 10:00:09 GMT", Some(9.0)),
            ("Tue, 24 Nov 2020 10:00:09 GMT", Some(0.0)),
        ] {
            let read = retry_after(&headers(&[("retry-after", text)]), now);
            assert_eq!(read, wait.map(Duration::from_secs_f64), "{text}");
        }
        let both = headers(&[("retry-after", "7"), ("retry-after-ms", "250")]);
        assert_eq!(retry_after(&both, now), Some(Duration::from_millis(250)));
    }

    #[test]
    fn every_status_has_its_kind_and_a_spend_limit_is_no_rate_limit() {
        use LlmErrorKind as K;
        let spent = br#"{"error":{"type":"e","message":"reached your API usage limits"}}"#;
        let coded = br#"{"error":{"type":"rate_limit_error","message":"x",
            "details":{"error_code":"enforced_spend_limit_reached"}}}"#;
        let credit = br#"{"error":{"type":"e","message":"Your credit balance is too low"}}"#;
        let wait = [("retry-after", "3")];
        for (status, pairs, body, kind) in [
            (400, &[][..], &b"{}"[..], K::InvalidRequest),
            (400, &[], credit, K::Billing),
            (401, &[], b"", K::Authentication),
            (402, &[], b"", K::Billing),
            (403, &[], b"", K::Permission),
            (404, &[], b"", K::NotFound),
            (409, &[], b"", K::Server),
            (413, &[], b"", K::InvalidRequest),
            (429, &wait, spent, K::RateLimited),
            (429, &[], spent, K::Billing),
            (429, &wait, coded, K::Billing),
            (502, &[], b"<html>", K::Server),
            (529, &[], b"", K::Overloaded),
        ] {
            let head = Head { status, headers: headers(pairs), now: Timestamp::EPOCH };
            assert_eq!(of_status(&head, body).kind, kind, "{status}");
        }
    }
}
