//! The provider of a fleet: which client, which key, which prices.

use std::path::Path;
use std::sync::Arc;

use agent_core::audit::AuditKind;
use agent_core::clock::Clock;
use agent_core::config::{ConfigError, Fleet, ProviderConfig, ProviderKind};
use agent_core::llm::anthropic::{Anthropic, AnthropicConfig, AnthropicError};
use agent_core::llm::{KeyError, KeyRing, KeySource, LlmClient};
use agent_core::pricing::{Catalogue, OverrideError};
use agent_core::system::AgentSystem;
use agent_sim::simulated::SimulatedProvider;
use thiserror::Error;

/// Why a fleet's provider cannot be used. Nothing was started.
#[derive(Debug, Error)]
pub(crate) enum ProviderError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("the provider's key")]
    Key(#[from] KeyError),
    #[error(transparent)]
    Client(#[from] AnthropicError),
    #[error("--provider-url is refused: {0}")]
    Url(AnthropicError),
    #[error(transparent)]
    Prices(#[from] OverrideError),
}

/// Reads the fleet file, and checks that every model in it has a price; with the file's text.
pub(crate) fn load_fleet(path: &Path) -> Result<(Fleet, String), ProviderError> {
    let (fleet, text) = Fleet::load_with_text(path)?;
    fleet.check_models(&*catalogue(&fleet)?)?;
    Ok((fleet, text))
}

/// The built-in prices, with the fleet's own before them.
pub(crate) fn catalogue(fleet: &Fleet) -> Result<Arc<Catalogue>, OverrideError> {
    let builtin = Catalogue::builtin();
    if fleet.prices.is_empty() { Ok(builtin) } else { Ok(Arc::new(builtin.with(&fleet.prices)?)) }
}

fn source(config: &ProviderConfig) -> KeySource {
    match &config.api_key_file {
        Some(path) => KeySource::File(path.clone()),
        None => KeySource::Env {
            var: config.api_key_env.clone().unwrap_or_else(|| "ANTHROPIC_API_KEY".to_owned()),
            environment: config.environment.clone(),
        },
    }
}

/// Reads the key of a fleet whose provider needs one; another address needs one too.
pub(crate) fn keys(fleet: &Fleet, url: Option<&str>) -> Result<Option<KeyRing>, KeyError> {
    if fleet.provider.kind == ProviderKind::Simulated && url.is_none() {
        return Ok(None);
    }
    // What is not UTF-8 is no key; it must not pass for absent.
    let env = |name: &str| std::env::var_os(name).map(|it| it.to_string_lossy().into_owned());
    KeyRing::load(source(&fleet.provider), env).map(Some)
}

/// The client of a fleet, and what is known of its key.
pub(crate) fn client(
    fleet: &Fleet,
    url: Option<&str>,
    clock: &Clock,
) -> Result<Arc<dyn LlmClient>, ProviderError> {
    let Some(keys) = keys(fleet, url)? else {
        return Ok(Arc::new(SimulatedProvider::new(clock.clone(), 0)));
    };
    let mut config = AnthropicConfig::new(keys, clock.clone());
    config.connect_timeout = fleet.timeouts.connect;
    if let Some(base_url) = url.or(fleet.provider.base_url.as_deref()) {
        config.base_url = base_url.to_owned();
    }
    let client = Anthropic::new(config).map_err(|error| match error {
        AnthropicError::BaseUrl(_) if url.is_some() => ProviderError::Url(error),
        error => ProviderError::Client(error),
    })?;
    Ok(Arc::new(client))
}

/// Records which key was read, where there is one.
pub(crate) fn audit_key(system: &AgentSystem, client: &dyn LlmClient) {
    if let Some(source) = client.key_source() {
        system.audit(AuditKind::KeyLoaded { key: client.account().to_string(), source });
    }
}

/// Reads the key's source again.
pub(crate) fn rotate(system: &AgentSystem, client: &dyn LlmClient) {
    match client.rotate() {
        Some(key) => {
            system.restore_account(&key);
            let source = client.key_source().unwrap_or_default();
            system.audit(AuditKind::KeyRotated { key, source });
        }
        None => tracing::info!("the key's source holds the key in use"),
    }
}
