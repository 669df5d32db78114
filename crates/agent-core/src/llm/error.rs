//! Why an attempt failed, and what became of the money.

use std::time::Duration;

use thiserror::Error;

use crate::permits::RateHeaders;
use crate::task::ErrorCode;
use crate::usage::Usage;

/// Why an attempt failed. Built with [`LlmError::new`], then filled in.
#[derive(Debug, Clone, Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct LlmError {
    /// What kind of failure.
    pub kind: LlmErrorKind,
    /// What happened, in words that may be shown: bounded, and without secrets.
    pub message: String,
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
    /// The provider's `retry-after`.
    pub retry_after: Option<Duration>,
    /// The provider's `x-should-retry`.
    pub should_retry: Option<bool>,
    /// The provider's name for the exchange.
    pub request_id: Option<String>,
    /// Usage that was seen before the failure: billed at least.
    pub seen: Option<Usage>,
    /// Only a part of what the provider said was read. A refusal that may pass proves then as
    /// little as any answer that is cut off: it may have been billed.
    pub is_cut_off: bool,
    /// What the provider said of its limits.
    pub limits: RateHeaders,
}

/// The reactions that a failed attempt can call for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LlmErrorKind {
    /// The request never left: no connection, TLS or DNS failure, refused.
    NotSent,
    /// No whole answer in time, after the request left.
    Timeout,
    /// The connection broke, or the answer was cut off, after the request left.
    Broken,
    /// An answer that cannot be understood, or that is too large.
    NotUnderstood,
    /// 429.
    RateLimited,
    /// 529.
    Overloaded,
    /// Another 5xx, 408 or 409.
    Server,
    /// 402, credit used up, or the provider's own spend limit: the key is out of service.
    Billing,
    /// 401.
    Authentication,
    /// 403.
    Permission,
    /// 404.
    NotFound,
    /// 400, 413, 422 and every other 4xx.
    InvalidRequest,
}

/// What became of the money of a failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Nothing was billed: the reservation is released.
    NotBilled,
    /// It may have been billed: the reservation is charged at its bound, as presumed.
    Unknown,
    /// At least this was billed; for the rest of the bound it is unknown.
    AtLeast(Usage),
}

impl LlmError {
    /// A failure of which nothing else is known.
    pub fn new(kind: LlmErrorKind, message: impl Into<String>) -> LlmError {
        LlmError {
            kind,
            message: message.into(),
            status: None,
            retry_after: None,
            should_retry: None,
            request_id: None,
            seen: None,
            is_cut_off: false,
            limits: RateHeaders::default(),
        }
    }

    /// What became of the money.
    pub fn fate(&self) -> Fate {
        if let Some(usage) = &self.seen {
            return Fate::AtLeast(usage.clone());
        }
        if self.is_cut_off && self.kind.is_transient() {
            return Fate::Unknown;
        }
        match self.kind {
            LlmErrorKind::Timeout | LlmErrorKind::Broken | LlmErrorKind::NotUnderstood => {
                Fate::Unknown
            }
            LlmErrorKind::NotSent
            | LlmErrorKind::RateLimited
            | LlmErrorKind::Overloaded
            | LlmErrorKind::Server
            | LlmErrorKind::Billing
            | LlmErrorKind::Authentication
            | LlmErrorKind::Permission
            | LlmErrorKind::NotFound
            | LlmErrorKind::InvalidRequest => Fate::NotBilled,
        }
    }
}

impl LlmErrorKind {
    /// Whether the same request may succeed later.
    pub fn is_transient(self) -> bool {
        match self {
            LlmErrorKind::NotSent
            | LlmErrorKind::Timeout
            | LlmErrorKind::Broken
            | LlmErrorKind::RateLimited
            | LlmErrorKind::Overloaded
            | LlmErrorKind::Server => true,
            LlmErrorKind::NotUnderstood
            | LlmErrorKind::Billing
            | LlmErrorKind::Authentication
            | LlmErrorKind::Permission
            | LlmErrorKind::NotFound
            | LlmErrorKind::InvalidRequest => false,
        }
    }

    /// Whether the provider is struggling, so that fewer should call at once.
    pub fn is_congestion(self) -> bool {
        matches!(self, LlmErrorKind::RateLimited | LlmErrorKind::Overloaded | LlmErrorKind::Timeout)
    }

    /// The code of a task that ends with this failure.
    pub fn code(self) -> ErrorCode {
        match self {
            LlmErrorKind::NotSent | LlmErrorKind::Broken => ErrorCode::Connection,
            LlmErrorKind::Timeout => ErrorCode::Timeout,
            LlmErrorKind::NotUnderstood => ErrorCode::InvalidResponse,
            LlmErrorKind::RateLimited => ErrorCode::ProviderRateLimited,
            LlmErrorKind::Overloaded => ErrorCode::ProviderOverloaded,
            LlmErrorKind::Server => ErrorCode::ProviderError,
            LlmErrorKind::Billing => ErrorCode::Billing,
            LlmErrorKind::Authentication => ErrorCode::Authentication,
            LlmErrorKind::Permission => ErrorCode::Permission,
            LlmErrorKind::NotFound => ErrorCode::NotFound,
            LlmErrorKind::InvalidRequest => ErrorCode::InvalidRequest,
        }
    }

    /// Its name in audit events: `rate_limited`.
    pub fn as_str(self) -> &'static str {
        match self {
            LlmErrorKind::NotSent => "not_sent",
            LlmErrorKind::Timeout => "timeout",
            LlmErrorKind::Broken => "broken",
            LlmErrorKind::NotUnderstood => "not_understood",
            LlmErrorKind::RateLimited => "rate_limited",
            LlmErrorKind::Overloaded => "overloaded",
            LlmErrorKind::Server => "server",
            LlmErrorKind::Billing => "billing",
            LlmErrorKind::Authentication => "authentication",
            LlmErrorKind::Permission => "permission",
            LlmErrorKind::NotFound => "not_found",
            LlmErrorKind::InvalidRequest => "invalid_request",
        }
    }
}
