//! Anthropic's Messages API over HTTP: one attempt is one request.

mod answer;
mod fail;
pub mod stream;
mod wire;

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Client, Response, Url};
use thiserror::Error;

use self::fail::Head;
use super::{Answer, KeyRing, LlmClient, LlmError, LlmErrorKind, Request, redact};
use crate::clock::Clock;
use crate::panics::log;

/// How to reach the provider.
#[derive(Debug, Clone)]
pub struct AnthropicConfig {
    /// Where it is: `https://api.anthropic.com`; plain `http` for this machine alone.
    pub base_url: String,
    /// The version of the API.
    pub version: String,
    /// The key.
    pub keys: KeyRing,
    /// Longest wait for a connection. Default: 10 s.
    pub connect_timeout: Duration,
    /// Longest answer, in bytes. Default: 16 MiB.
    pub max_answer_bytes: usize,
    /// Tells when a `retry-after` that is a date has come.
    pub clock: Clock,
}

impl AnthropicConfig {
    /// The defaults, with this key.
    pub fn new(keys: KeyRing, clock: Clock) -> AnthropicConfig {
        AnthropicConfig {
            base_url: "https://api.anthropic.com".to_owned(),
            version: "2023-06-01".to_owned(),
            keys,
            connect_timeout: Duration::from_secs(10),
            max_answer_bytes: 16 << 20,
            clock,
        }
    }
}

/// Why no client can be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AnthropicError {
    /// Not a URL of the kind wanted.
    #[error("the provider's base URL {0}; it should be such as https://api.anthropic.com")]
    BaseUrl(&'static str),
    /// Not something that a header can carry.
    #[error("the provider's API version is not printable; it should be such as 2023-06-01")]
    Version,
    /// The HTTP library cannot start.
    #[error("cannot start the HTTP client")]
    Http(#[source] reqwest::Error),
}

/// A client of the Messages API, for any number of calls at once.
#[derive(Debug)]
pub struct Anthropic {
    http: Client,
    config: AnthropicConfig,
    messages: Url,
    count_tokens: Url,
}

impl Anthropic {
    /// A client that has not connected yet.
    ///
    /// # Errors
    ///
    /// [`AnthropicError`] where the base URL or the version cannot be used.
    pub fn new(config: AnthropicConfig) -> Result<Anthropic, AnthropicError> {
        let url = checked(&config.base_url).map_err(AnthropicError::BaseUrl)?;
        let mut headers = HeaderMap::new();
        let version = config.version.parse().map_err(|_| AnthropicError::Version)?;
        headers.insert("anthropic-version", version);
        // Without it a server may compress as it likes; and the limit on an answer is one on the
        // bytes that are read.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let http = Client::builder()
            .user_agent(concat!("impresario/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(config.connect_timeout)
            .pool_max_idle_per_host(4_096)
            .tcp_nodelay(true)
            .tcp_keepalive(Duration::from_secs(60))
            .http1_only()
            .https_only(url.scheme() == "https")
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            // Every attempt is metered: one that the library adds would not be.
            .retry(reqwest::retry::never())
            .build()
            .map_err(|error| AnthropicError::Http(error.without_url()))?;
        let base = url.as_str().trim_end_matches('/');
        let at = |path: &str| Url::parse(&format!("{base}{path}"));
        let urls = at("/v1/messages").and_then(|url| Ok((url, at("/v1/messages/count_tokens")?)));
        let (messages, count_tokens) =
            urls.map_err(|_| AnthropicError::BaseUrl("has no room for a path"))?;
        Ok(Anthropic { http, config, messages, count_tokens })
    }

    async fn post(&self, url: &Url, body: &wire::Body<'_>) -> Result<Whole, LlmError> {
        let body = serde_json::to_vec(body).map_err(|_| {
            LlmError::new(LlmErrorKind::InvalidRequest, "the request cannot be written as JSON")
        })?;
        let key = self.config.keys.current();
        let mut response = self
            .http
            .post(url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("x-api-key", key.header())
            .body(body)
            .send()
            .await
            .map_err(failed)?;
        drop(key);
        let status = response.status().as_u16();
        let headers = std::mem::take(response.headers_mut());
        let head = Head { status, headers, now: self.config.clock.now() };
        match status {
            ..200 => {
                Err(head
                    .complete(answer::not_understood(&format!("status {status} and no answer"))))
            }
            200..300 => match self.read(response).await {
                Ok(body) => Ok(Whole { head, body }),
                Err(error) => Err(head.complete(error)),
            },
            300..400 => Err(head.complete(redirected(&head))),
            400.. => match self.read(response).await {
                Ok(body) => Err(head.complete(fail::of_status(&head, &body))),
                Err(error) => Err(head.complete(fail::cut_off(&head, &error))),
            },
        }
    }

    /// The whole body, or nothing where it is over the limit.
    async fn read(&self, mut response: Response) -> Result<Vec<u8>, LlmError> {
        let limit = self.config.max_answer_bytes;
        let mut body = Vec::new();
        let too_large = || answer::not_understood(&format!("an answer of more than {limit} bytes"));
        if response.content_length().is_some_and(|length| length > limit as u64) {
            return Err(too_large());
        }
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    async fn count(&self, request: &Request) -> Result<u64, LlmError> {
        let body = wire::Body { request, only_count: true };
        let whole = self.post(&self.count_tokens, &body).await?;
        let count: Count = serde_json::from_slice(&whole.body)
            .map_err(|error| whole.head.complete(answer::unreadable(&error, &whole.body)))?;
        Ok(count.input_tokens)
    }
}

#[derive(serde::Deserialize)]
struct Count {
    input_tokens: u64,
}

struct Whole {
    head: Head,
    body: Vec<u8>,
}

impl LlmClient for Anthropic {
    fn complete<'a>(
        &'a self,
        request: &'a Request,
    ) -> LocalBoxFuture<'a, Result<Answer, LlmError>> {
        Box::pin(async move {
            let body = wire::Body { request, only_count: false };
            let whole = self.post(&self.messages, &body).await?;
            let mut answer =
                answer::parse(&whole.body).map_err(|error| whole.head.complete(error))?;
            answer.request_id = fail::request_id(&whole.head.headers);
            answer.limits = fail::limits(&whole.head.headers);
            Ok(answer)
        })
    }

    fn provider(&self) -> &str {
        "anthropic"
    }

    fn account(&self) -> Arc<str> {
        self.config.keys.current().account()
    }

    fn rotate(&self) -> Option<String> {
        self.config.keys.reload().unwrap_or_else(|error| {
            let cause = error.source().map(tracing::field::display);
            log!(warn, %error, cause, "key not read again, the old one stays in use");
            None
        })
    }

    fn key_source(&self) -> Option<String> {
        Some(self.config.keys.source().to_string())
    }

    fn mask(&self, text: &str) -> Option<String> {
        self.config.keys.mask(text)
    }

    fn count_tokens<'a>(
        &'a self,
        request: &'a Request,
    ) -> LocalBoxFuture<'a, Option<Result<u64, LlmError>>> {
        Box::pin(async move { Some(self.count(request).await) })
    }
}

/// Whether `base_url` can be a provider's: https, or plain http on this machine; no key in it.
///
/// # Errors
///
/// Why not: `is not a URL`.
pub fn check_base_url(base_url: &str) -> Result<(), &'static str> {
    checked(base_url).map(drop)
}

fn checked(base_url: &str) -> Result<Url, &'static str> {
    let url = Url::parse(base_url).map_err(|_| "is not a URL")?;
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    let is_here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user or a password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a query or a fragment");
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_here => Ok(url),
        "http" => Err("would send the key unencrypted, as plain http may on loopback only"),
        _ => Err("is neither https nor http"),
    }
}

fn redirected(head: &Head) -> LlmError {
    let location = head.headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let target = location.and_then(|text| Url::parse(text).ok());
    let host = target.as_ref().and_then(Url::host_str).unwrap_or("elsewhere");
    let message = format!("status {}: redirected to {host}, which is refused", head.status);
    LlmError::new(LlmErrorKind::InvalidRequest, redact(&message))
}

/// What a failure of the HTTP library means; its URL and body are left out.
fn failed(error: reqwest::Error) -> LlmError {
    let is_hyper = |is: fn(&hyper::Error) -> bool| {
        let causes = std::iter::successors(error.source(), |&cause| cause.source());
        causes.filter_map(|cause| cause.downcast_ref()).any(is)
    };
    let (kind, what) = if error.is_connect() {
        (LlmErrorKind::NotSent, "could not connect")
    } else if is_hyper(hyper::Error::is_canceled) {
        // The library says so only where it still holds the request as a whole.
        (LlmErrorKind::NotSent, "the connection broke before the request was written")
    } else if error.is_builder() {
        (LlmErrorKind::InvalidRequest, "the request cannot be built")
    } else if error.is_timeout() {
        (LlmErrorKind::Timeout, "no answer in time")
    } else if is_hyper(hyper::Error::is_parse) {
        (LlmErrorKind::NotUnderstood, "the provider sent an answer that is not HTTP")
    } else {
        (LlmErrorKind::Broken, "the connection broke")
    };
    let error = error.without_url();
    let mut message = what.to_owned();
    let mut cause = error.source();
    while let Some(inner) = cause {
        message = format!("{message}: {inner}");
        cause = inner.source();
    }
    LlmError::new(kind, redact(&message))
}
