//! The `[[agent]]` tables of a fleet file.

use std::collections::BTreeSet;
use std::num::{NonZeroU32, NonZeroU64};

use super::groups::known;
use super::read::{Field, Section};
use super::{ConfigError, ModelName, ProviderKind};
use crate::agent::AgentSpec;
use crate::estimate::Bounding;
use crate::ledger::AGENT_SEPARATOR;
use crate::permits::{AgentRateLimit, LimitMode, ProviderLimits};
use crate::supervision::{GroupSpec, Restart};
use crate::wording::shown;

/// Most workers of a fleet.
pub(crate) const MAX_WORKERS: u64 = 1_000_000;

/// What of the rest of a fleet its agents depend on.
pub(super) struct Around<'a> {
    /// Calls a minute of each worker, from the environment.
    pub(super) calls: Option<NonZeroU32>,
    pub(super) groups: &'a [GroupSpec],
    pub(super) limits: &'a ProviderLimits,
    pub(super) provider: ProviderKind,
}

/// The agents, and the models that they name.
pub(super) fn agents(
    top: &Section<'_>,
    around: &Around<'_>,
) -> Result<(Vec<AgentSpec>, Vec<ModelName>), ConfigError> {
    let form = "an [[agent]] with a name and a model";
    let mut models = Vec::new();
    let agents = top.need("agent", form, |field| {
        let mut names = BTreeSet::new();
        let items = field.items("[[agent]] tables")?;
        if items.is_empty() {
            return Err(field.wrong(format_args!("is empty; write {form}")));
        }
        let mut read = |item: &Field<'_>| {
            let spec = agent(item, around, &mut models)?;
            if !names.insert(spec.name.clone()) {
                let problem = format!(
                    "is the second agent named \"{}\"; give each its own name, or raise count",
                    shown(&spec.name)
                );
                return Err(item.wrong(problem));
            }
            Ok(spec)
        };
        let agents: Vec<AgentSpec> = items.iter().map(&mut read).collect::<Result<_, _>>()?;
        let workers: u64 = agents.iter().map(|agent| u64::from(agent.count.get())).sum();
        if workers > MAX_WORKERS {
            return Err(field.wrong(format_args!(
                "has {workers} workers in all; lower the counts to {MAX_WORKERS} at most"
            )));
        }
        Ok(agents)
    })?;
    Ok((agents, models))
}

fn agent(
    field: &Field<'_>,
    &Around { calls, groups, limits, provider }: &Around<'_>,
    models: &mut Vec<ModelName>,
) -> Result<AgentSpec, ConfigError> {
    let table = field.section(&[
        "name",
        "type",
        "count",
        "model",
        "max_tokens",
        "system",
        "temperature",
        "stop_sequences",
        "rate_limit",
        "restart",
        "group",
        "clamp_max_tokens",
        "bounding",
    ])?;
    let restarts = [
        ("permanent", Restart::Permanent),
        ("transient", Restart::Transient),
        ("temporary", Restart::Temporary),
    ];
    let bounds = [
        ("strict", Bounding::Strict),
        ("calibrated", Bounding::Calibrated),
        ("counted", Bounding::Counted),
    ];
    let name = table.need("name", "a name in quotes, such as \"backend\"", |it| {
        let name = it.text()?;
        if name.contains(AGENT_SEPARATOR) {
            return Err(it.wrong(
                "has a \">\" in it, which stands between an agent and its sub-agents; leave it out",
            ));
        }
        Ok(name)
    })?;
    let model = "a model in quotes, such as \"claude-sonnet-4-5\"";
    let model = table.need("model", model, |it| Ok(it.model(&it.text()?)))?;
    let default = AgentSpec::new(name.clone(), model.model.clone());
    let max_tokens = max_tokens(&table, default.max_tokens, limits)?;
    models.push(ModelName { asked: Some((table.spot("max_tokens"), max_tokens)), ..model });
    Ok(AgentSpec {
        agent_type: table.or("type", name.clone(), Field::text)?,
        name,
        count: table.or("count", default.count, Field::count)?,
        model: default.model,
        max_tokens,
        system: table.maybe("system", Field::text)?,
        temperature: table.maybe("temperature", |it| temperature(it, provider))?,
        stop_sequences: table.or("stop_sequences", Vec::new(), |it| {
            it.items("a list of strings")?.iter().map(Field::text).collect()
        })?,
        rate_limit: Some(rate_limit(&table, calls)?),
        restart: table.or("restart", default.restart, |it| it.one_of(&restarts))?,
        group: table.maybe("group", |it| known(it, groups))?,
        clamp_max_tokens: table.or("clamp_max_tokens", false, Field::boolean)?,
        bounding: table.or("bounding", default.bounding, |it| it.one_of(&bounds))?,
        behaviour: default.behaviour,
    })
}

/// As much as the provider takes.
fn temperature(field: &Field<'_>, provider: ProviderKind) -> Result<f64, ConfigError> {
    let most = if provider == ProviderKind::Anthropic { 1.0 } else { 2.0 };
    match field.float()? {
        warm if (0.0..=most).contains(&warm) => Ok(warm),
        _ => Err(field.wrong(format_args!("is out of range; write a number from 0 to {most}"))),
    }
}

/// Most output of a call, which must fit into the provider's limit, or none would ever leave.
fn max_tokens(
    agent: &Section<'_>,
    default: NonZeroU32,
    limits: &ProviderLimits,
) -> Result<NonZeroU32, ConfigError> {
    let max_tokens = agent.or("max_tokens", default, Field::count)?;
    match limits.output_tokens_per_minute {
        Some(limit) if NonZeroU64::from(max_tokens) > limit => {
            let problem = format_args!(
                "is {max_tokens}, above limits.output_tokens_per_minute ({limit}), so that no call \
                 would ever be let go; lower it, or raise the limit"
            );
            Err(agent.wrong("max_tokens", problem))
        }
        _ => Ok(max_tokens),
    }
}

fn rate_limit(
    agent: &Section<'_>,
    calls: Option<NonZeroU32>,
) -> Result<AgentRateLimit, ConfigError> {
    let mut limit = AgentRateLimit::default();
    limit.calls = calls.unwrap_or(limit.calls);
    let Some(field) = agent.field("rate_limit") else { return Ok(limit) };
    let table = field.section(&["calls", "per", "mode"])?;
    let modes = [("wait", LimitMode::Wait), ("reject", LimitMode::Reject)];
    Ok(AgentRateLimit {
        calls: table.or("calls", limit.calls, Field::count)?,
        per: table.or("per", limit.per, Field::duration)?,
        mode: table.or("mode", limit.mode, |it| it.one_of(&modes))?,
    })
}
