//! API keys: what a key may look like, and how little of it is ever shown.

mod redact;
mod ring;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

pub use redact::redact;
pub use ring::{KeyRing, KeySource};

const PREFIX: &str = "sk-ant-";

/// Keys of another kind, by how they begin, the longest first where one begins another.
const OTHERS: [(&str, &str); 17] = [
    ("sk-ant-admin", "an Anthropic admin key, which may not call models"),
    ("sk-ant-oat", "an Anthropic OAuth token, not an API key"),
    ("sk-ant-ort", "an Anthropic OAuth token, which only gets others"),
    ("sk-ant-sid", "an Anthropic session key, not an API key"),
    ("sk-ant-api01", "an Anthropic compliance key, which may not call models"),
    ("sk-proj-", "an OpenAI key"),
    ("sk-svcacct-", "an OpenAI key"),
    ("sk-admin-", "an OpenAI admin key"),
    ("sk-or-", "an OpenRouter key"),
    ("AIza", "a Google key"),
    ("gsk_", "a Groq key"),
    ("xai-", "an xAI key"),
    ("hf_", "a Hugging Face token"),
    ("pplx-", "a Perplexity key"),
    ("ghp_", "a GitHub token"),
    ("github_pat_", "a GitHub token"),
    ("AKIA", "an AWS access key"),
];

/// A key that was checked. Shown only as `sk-ant-***` and its last four characters.
pub struct ApiKey {
    secret: SecretString,
    header: HeaderValue,
    masked: Arc<str>,
}

impl ApiKey {
    /// Checks `text`: `sk-ant-` and more, printable ASCII, no white space, no other kind.
    ///
    /// # Errors
    ///
    /// [`KeyFault`] says what is wrong, without the key.
    pub fn parse(text: &str) -> Result<ApiKey, KeyFault> {
        if text.is_empty() {
            return Err(KeyFault::Empty);
        }
        if let Some((_, what)) = OTHERS.iter().find(|(prefix, _)| text.starts_with(prefix)) {
            return Err(KeyFault::Other(what));
        }
        if text.starts_with("sk-") && !text.starts_with("sk-ant") {
            return Err(KeyFault::Other("an OpenAI key, or one of a provider like it"));
        }
        if text.chars().any(char::is_whitespace) {
            return Err(KeyFault::WhiteSpace);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(KeyFault::NotPrintable);
        }
        match text.strip_prefix(PREFIX) {
            None => return Err(KeyFault::Prefix),
            Some("") => return Err(KeyFault::Short),
            Some(_) => {}
        }
        let mut header = HeaderValue::from_str(text).map_err(|_| KeyFault::NotPrintable)?;
        header.set_sensitive(true);
        Ok(ApiKey { secret: SecretString::from(text), header, masked: masked(text).into() })
    }

    /// `sk-ant-***` and the last four characters, or none of them where the key is so short that
    /// they would give most of it away.
    pub fn masked(&self) -> &str {
        &self.masked
    }

    /// The same, shared: the name of who is billed.
    pub(crate) fn account(&self) -> Arc<str> {
        Arc::clone(&self.masked)
    }

    /// The key as a header that is never printed.
    pub(crate) fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    /// `text` with the key masked wherever it stands; `None` where it does not.
    fn mask(&self, text: &str) -> Option<String> {
        let secret = self.secret.expose_secret();
        text.contains(secret).then(|| text.replace(secret, &self.masked))
    }

    fn is_same(&self, other: &ApiKey) -> bool {
        self.secret.expose_secret() == other.secret.expose_secret()
    }
}

fn masked(key: &str) -> String {
    let tail = &key[PREFIX.len()..];
    let shown = if tail.len() >= 8 { &tail[tail.len() - 4..] } else { "" };
    mask(shown)
}

/// What is shown of a key: `sk-ant-***` and its last characters.
pub(crate) fn mask(tail: &str) -> String {
    format!("{PREFIX}***{tail}")
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({})", self.masked())
    }
}

/// What is wrong with a key; never holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyFault {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// Another kind of key.
    #[error("it is {0}; an Anthropic API key begins sk-ant-api03-")]
    Other(&'static str),
    /// Does not begin as it must.
    #[error("it does not begin sk-ant-")]
    Prefix,
    /// Nothing after the prefix.
    #[error("it is sk-ant- and nothing more")]
    Short,
    /// White space in or around it.
    #[error("it has white space in or around it; quote the value without it")]
    WhiteSpace,
    /// Something that no header can carry.
    #[error("it holds characters that are not printable ASCII")]
    NotPrintable,
}

/// Why no key could be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No variable is set.
    #[error("no API key: {looked} not set; set it with `export {var}=sk-ant-...`")]
    NotSet {
        /// Every variable that was read, joined: `A and B are`.
        looked: String,
        /// The one to set.
        var: String,
    },
    /// A variable holds no key.
    #[error("the API key in {var} is refused: {fault}")]
    InVariable {
        /// The variable.
        var: String,
        /// What is wrong.
        fault: KeyFault,
    },
    /// The file cannot be read.
    #[error("cannot read the API key file {}; put the key alone into it", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file holds no key.
    #[error("the API key in {} is refused: {fault}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: KeyFault,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sk-ant-api03-abcdefghijklmnop1234";

    #[test]
    fn a_key_shows_four_characters_and_a_short_one_none() {
        let key = ApiKey::parse(KEY).unwrap();
        assert_eq!(key.masked(), "sk-ant-***1234");
        assert_eq!(format!("{key:?} {:?}", key.header()), "ApiKey(sk-ant-***1234) Sensitive");
        assert_eq!(ApiKey::parse("sk-ant-abcd").unwrap().masked(), "sk-ant-***");
    }

    #[test]
    fn what_is_no_key_is_refused_by_name_and_never_shown() {
        for (text, says) in [
            ("", "empty"),
            ("sk-ant-", "nothing more"),
            ("sk-ant-api03-secret secret", "white space"),
            ("sk-ant-api03-s\u{e9}cret", "not printable"),
            ("secret", "does not begin"),
            ("sk-ant-admin01-secret", "admin"),
            ("sk-ant-oat01-secret", "OAuth"),
            ("sk-ant-ort01-secret", "OAuth"),
            ("sk-ant-sid01-secret", "session"),
            ("sk-ant-api01-secret", "compliance"),
            ("sk-proj-secret", "OpenAI"),
            ("sk-secretsecretsecret", "OpenAI"),
            ("AIzasecret", "Google"),
            ("xai-secret", "xAI"),
        ] {
            let fault = ApiKey::parse(text).unwrap_err();
            let shown = format!("{fault} {fault:?}");
            assert!(fault.to_string().contains(says), "{text}: {shown}");
            assert!(!shown.contains("secret"), "{shown}");
        }
    }
}
