//! From the tables of a fleet file to a [`Fleet`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use std::{
    fmt,
    num::{NonZeroU32, NonZeroU64},
};

use toml::de::DeValue;

use super::agents::{Around, agents};
use super::budgets::budgets;
use super::groups;
use super::read::{Field, Section};
use super::{ConfigError, Fleet, Guards, ModelName, ProviderConfig, ProviderKind};
use crate::agent::AgentSpec;
use crate::llm::anthropic::check_base_url;
use crate::money::NanoUsd;
use crate::permits::ProviderLimits;
use crate::pricing::{Catalogue, Price, PriceOverride};
use crate::prompt::InjectionPolicy;
use crate::retry::{AttemptTimeout, RetryPolicy};
use crate::supervision::Supervision;
use crate::task::{self, Priority, Task};
use crate::wording::shown;

type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The keys at the top of a fleet file.
pub(super) const TOP: [&str; 11] = [
    "provider",
    "timeouts",
    "retry",
    "limits",
    "guards",
    "budget",
    "agent",
    "group",
    "supervision",
    "task",
    "prices",
];

pub(super) fn read(top: &Section<'_>, env: Env<'_>) -> Result<Fleet, ConfigError> {
    let calls = variable(env, "AGENT_RATE_LIMIT", "a whole number of at least 1, such as 10")?;
    let cost = variable(env, "MAX_COST_PER_TASK", "an amount of dollars, such as 1.50")?;
    let provider = top.or("provider", ProviderConfig::default(), provider)?;
    let supervision = top.or("supervision", Supervision::default(), supervision)?;
    let group = groups::groups(top, &supervision)?;
    let limits = top.or("limits", ProviderLimits::default(), limits)?;
    let around = Around { calls, groups: &group, limits: &limits, provider: provider.kind };
    let (agent, mut models) = agents(top, &around)?;
    groups::check(top, &group, &agent)?;
    let (budget, limited) = budgets(top, &agent)?;
    models.extend(limited);
    let task = tasks(top, &agent, &mut models)?;
    Ok(Fleet {
        provider,
        timeouts: top.or("timeouts", AttemptTimeout::default(), timeouts)?,
        retry: top.or("retry", RetryPolicy::default(), retry)?,
        limits,
        guards: guards(top, cost)?,
        budget,
        supervision,
        group,
        task,
        prices: top.or("prices", BTreeMap::new(), prices)?,
        agent,
        models,
    })
}

fn variable<T: FromStr>(
    env: Env<'_>,
    name: &'static str,
    form: &str,
) -> Result<Option<T>, ConfigError> {
    let problem = || format!("cannot be read; set it to {form}, or unset it");
    let wrong = |_| ConfigError::Environment { name, problem: problem() };
    env(name).map(|text| text.parse().map_err(wrong)).transpose()
}

fn provider(field: &Field<'_>) -> Result<ProviderConfig, ConfigError> {
    let table =
        field.section(&["kind", "base_url", "api_key_env", "api_key_file", "environment"])?;
    let kinds = [
        ("simulated", ProviderKind::Simulated),
        ("anthropic", ProviderKind::Anthropic),
        ("openai", ProviderKind::OpenAi),
    ];
    let kind = table.or("kind", ProviderKind::default(), |it| match it.one_of(&kinds)? {
        ProviderKind::OpenAi => Err(it
            .wrong("is \"openai\", which is not spoken yet; write \"anthropic\" or \"simulated\"")),
        kind => Ok(kind),
    })?;
    let api_key_env = table.maybe("api_key_env", |it| {
        name(it, "a variable's name, such as \"ANTHROPIC_API_KEY\", never the key itself", "_")
    })?;
    let api_key_file = table.maybe("api_key_file", |it| {
        if api_key_env.is_some() {
            return Err(it.wrong("stands beside api_key_env; keep one of the two"));
        }
        let path = it.text()?;
        if path.starts_with("sk-") {
            return Err(it.wrong("is no path; write a file's path, never the key itself"));
        }
        Ok(PathBuf::from(path))
    })?;
    let base_url = table.maybe("base_url", |it| {
        let url = it.text()?;
        check_base_url(&url).map_err(|reason| {
            let right = "write one such as \"https://api.anthropic.com\", without a key";
            it.wrong(format_args!("{reason}; {right}"))
        })?;
        Ok(url)
    })?;
    let environment =
        table.maybe("environment", |it| name(it, "a short name, such as \"dev\"", "_-"))?;
    Ok(ProviderConfig { kind, base_url, api_key_env, api_key_file, environment })
}

fn name(field: &Field<'_>, form: &str, marks: &str) -> Result<String, ConfigError> {
    let text = field.text()?;
    let fits = text.chars().all(|c| c.is_ascii_alphanumeric() || marks.contains(c));
    if fits && shown(&text) == text {
        Ok(text)
    } else {
        Err(field.wrong(format_args!("is no name; write {form}")))
    }
}

fn timeouts(field: &Field<'_>) -> Result<AttemptTimeout, ConfigError> {
    let table = field.section(&["connect", "base", "per_1k_tokens"])?;
    let default = AttemptTimeout::default();
    Ok(AttemptTimeout {
        connect: table.or("connect", default.connect, Field::duration)?,
        base: table.or("base", default.base, Field::duration)?,
        per_1k_tokens: table.or("per_1k_tokens", default.per_1k_tokens, Field::pause)?,
    })
}

fn retry(field: &Field<'_>) -> Result<RetryPolicy, ConfigError> {
    let table = field.section(&["max_attempts", "initial_backoff", "max_backoff"])?;
    let default = RetryPolicy::default();
    let (initial_backoff, max_backoff) =
        backoffs(&table, "initial_backoff", (default.initial_backoff, default.max_backoff))?;
    let max_attempts = table.or("max_attempts", default.max_attempts, Field::count)?;
    Ok(RetryPolicy { max_attempts, initial_backoff, max_backoff })
}

/// The first pause, under the key `first`, and the longest.
fn backoffs(
    table: &Section<'_>,
    first: &str,
    (first_default, longest_default): (Duration, Duration),
) -> Result<(Duration, Duration), ConfigError> {
    let longest = table.or("max_backoff", longest_default, Field::pause)?;
    let shortest = table.or(first, first_default, Field::pause)?;
    let Some(field) = table.field(first).or_else(|| table.field("max_backoff")) else {
        return Ok((shortest, longest));
    };
    if shortest <= longest {
        return Ok((shortest, longest));
    }
    let [shortest, longest] = [shortest, longest].map(humantime::format_duration);
    Err(field.wrong(format_args!(
        "does not fit: the first pause, {first}, would be {shortest}, and the longest, \
         max_backoff, {longest}; make the first no longer than the longest"
    )))
}

fn limits(field: &Field<'_>) -> Result<ProviderLimits, ConfigError> {
    let table = field.section(&[
        "requests_per_minute",
        "input_tokens_per_minute",
        "output_tokens_per_minute",
        "max_concurrent",
        "max_wait",
    ])?;
    let default = ProviderLimits::default();
    Ok(ProviderLimits {
        requests_per_minute: table.maybe("requests_per_minute", Field::count)?,
        input_tokens_per_minute: table.maybe("input_tokens_per_minute", Field::count)?,
        output_tokens_per_minute: table.maybe("output_tokens_per_minute", Field::count)?,
        max_concurrent: table.or("max_concurrent", default.max_concurrent, Field::count)?,
        max_wait: table.or("max_wait", default.max_wait, Field::pause)?,
    })
}

fn guards(top: &Section<'_>, cost: Option<NanoUsd>) -> Result<Guards, ConfigError> {
    let mut guards = Guards::default();
    guards.max_cost_per_task = cost.unwrap_or(guards.max_cost_per_task);
    let Some(field) = top.field("guards") else { return Ok(guards) };
    let table = field.section(&["max_cost_per_task", "injection", "max_field_chars"])?;
    let policies = [
        ("warn", InjectionPolicy::Warn),
        ("reject", InjectionPolicy::Reject),
        ("ignore", InjectionPolicy::Ignore),
    ];
    Ok(Guards {
        max_cost_per_task: table.or("max_cost_per_task", guards.max_cost_per_task, Field::money)?,
        injection: table.or("injection", guards.injection, |it| it.one_of(&policies))?,
        max_field_chars: table.or("max_field_chars", guards.max_field_chars, Field::count)?,
    })
}

fn supervision(field: &Field<'_>) -> Result<Supervision, ConfigError> {
    let table = field.section(&[
        "max_restarts",
        "within",
        "backoff",
        "max_backoff",
        "poison_limit",
        "wedged_after",
    ])?;
    let default = Supervision::default();
    Ok(Supervision {
        poison_limit: table.or("poison_limit", default.poison_limit, Field::count)?,
        wedged_after: table.or("wedged_after", default.wedged_after, Field::duration)?,
        ..intensity(&table, &default)?
    })
}

/// How often and how fast something is restarted.
pub(super) fn intensity(
    table: &Section<'_>,
    default: &Supervision,
) -> Result<Supervision, ConfigError> {
    let (backoff, max_backoff) =
        backoffs(table, "backoff", (default.backoff, default.max_backoff))?;
    Ok(Supervision {
        max_restarts: table.or("max_restarts", default.max_restarts, |it| {
            let wrong = |_| it.wrong("is out of range; write a whole number from 0");
            u32::try_from(it.whole()?).map_err(wrong)
        })?,
        within: table.or("within", default.within, Field::duration)?,
        backoff,
        max_backoff,
        poison_limit: default.poison_limit,
        wedged_after: default.wedged_after,
    })
}

fn tasks(
    top: &Section<'_>,
    agents: &[AgentSpec],
    models: &mut Vec<ModelName>,
) -> Result<Vec<Task>, ConfigError> {
    let mut ids = BTreeSet::new();
    top.or("task", Vec::new(), |field| {
        let read = |item: &Field<'_>| {
            let task = task(item, agents, models)?;
            if !ids.insert(task.id.clone()) {
                let id = shown(task.id.as_str());
                return Err(item.wrong(format_args!(
                    "is the second task with the id \"{id}\"; give each its own"
                )));
            }
            Ok(task)
        };
        field.items("[[task]] tables")?.iter().map(read).collect()
    })
}

fn task(
    field: &Field<'_>,
    agents: &[AgentSpec],
    models: &mut Vec<ModelName>,
) -> Result<Task, ConfigError> {
    let table = field.section(&crate::tasks::KEYS)?;
    let priorities =
        [("low", Priority::Low), ("normal", Priority::Normal), ("high", Priority::High)];
    let id = table
        .need("id", "an id, a string or a number", |it| number(it).unwrap_or_else(|| it.text()))?;
    let named = |it: &Field<'_>| {
        let text = || it.str("a string in quotes, or a number").map(str::to_owned);
        number(it).unwrap_or_else(text).map(task::name)
    };
    let string = |it: &Field<'_>| it.str("a string in quotes").map(str::to_owned);
    Ok(Task {
        id: id.into(),
        title: table.maybe("title", string)?,
        description: table.maybe("description", string)?,
        project_id: table.maybe("project_id", named)?.flatten(),
        user_id: table.maybe("user_id", named)?.flatten(),
        model: table.maybe("model", |it| {
            let model = it.text()?;
            models.push(it.model(&model));
            Ok(model)
        })?,
        max_tokens: table.maybe("max_tokens", Field::count::<NonZeroU32>)?.map(NonZeroU32::get),
        priority: table.or("priority", Priority::default(), |it| it.one_of(&priorities))?,
        deadline: table.maybe("deadline", |it| it.parsed("\"10m\" or a time in quotes"))?,
        agent: table.maybe("agent", |it| known_agent(it, agents))?,
        metadata: table.maybe("metadata", |it| match json(it.value.get_ref()) {
            serde_json::Value::Object(map) => Ok(map),
            _ => Err(it.wrong("is no table; write a table, such as { ticket = \"7\" }")),
        })?,
    })
}

/// The name that a number stands for, as in a line of a task file; `None` where it is none.
fn number(field: &Field<'_>) -> Option<Result<String, ConfigError>> {
    let text = match field.value.get_ref() {
        DeValue::Integer(number) => {
            let number = i128::from_str_radix(number.as_str(), number.radix()).ok();
            let whole = i128::from(i64::MIN)..=i128::from(u64::MAX);
            number.filter(|number| whole.contains(number)).map(|number| number.to_string())
        }
        DeValue::Float(number) => number.as_str().parse().ok().and_then(task::number),
        _ => return None,
    };
    Some(text.ok_or_else(|| field.wrong(task::INEXACT)))
}

fn known_agent(field: &Field<'_>, agents: &[AgentSpec]) -> Result<String, ConfigError> {
    let name = field.text()?;
    if agents.iter().any(|agent| agent.name == name) {
        return Ok(name);
    }
    let names: Vec<_> = agents.iter().map(|agent| shown(&agent.name)).collect();
    Err(field.wrong(format_args!("names no agent of this file; write one of {}", names.join(", "))))
}

fn json(value: &DeValue<'_>) -> serde_json::Value {
    fn text(it: &dyn fmt::Display) -> serde_json::Value {
        it.to_string().into()
    }
    match value {
        DeValue::String(it) => text(it),
        DeValue::Integer(it) => i64::from_str_radix(it.as_str(), it.radix())
            .map_or_else(|_| it.as_str().into(), Into::into),
        DeValue::Float(it) => {
            let number = it.as_str().parse().ok().filter(|number: &f64| number.is_finite());
            number.map_or_else(|| it.as_str().into(), Into::into)
        }
        DeValue::Boolean(it) => (*it).into(),
        DeValue::Datetime(it) => text(it),
        DeValue::Array(list) => list.iter().map(|it| json(it.get_ref())).collect(),
        DeValue::Table(map) => {
            map.iter().map(|(key, it)| (key.get_ref().to_string(), json(it.get_ref()))).collect()
        }
    }
}

fn prices(field: &Field<'_>) -> Result<BTreeMap<String, PriceOverride>, ConfigError> {
    let entries = field.entries()?;
    let priced = |(model, field): (String, Field<'_>)| {
        let price = price(&model, &field)?;
        Ok((model, price))
    };
    entries.into_iter().map(priced).collect()
}

fn price(model: &str, field: &Field<'_>) -> Result<PriceOverride, ConfigError> {
    let table = field.section(&[
        "input",
        "output",
        "cache_read",
        "cache_write_5m",
        "cache_write_1h",
        "context_window",
        "max_output",
    ])?;
    let form = "dollars a million tokens in quotes, such as \"3.00\"";
    let dollars = |it: &Field<'_>| {
        let text = it.str(form)?;
        match text.parse::<Price>() {
            Ok(price) => Ok(price),
            Err(error) => Err(it.wrong(format_args!("is {error}"))),
        }
    };
    let is_known = Catalogue::builtin().resolve(model).is_some();
    let main = |key: &str| match is_known {
        true => table.maybe(key, dollars),
        false => {
            let form = format!("{form}: the catalogue does not know this model");
            table.need(key, &form, dollars).map(Some)
        }
    };
    Ok(PriceOverride {
        input: main("input")?,
        output: main("output")?,
        cache_read: table.maybe("cache_read", dollars)?,
        cache_write_5m: table.maybe("cache_write_5m", dollars)?,
        cache_write_1h: table.maybe("cache_write_1h", dollars)?,
        context_window: table.maybe("context_window", Field::count)?.map(NonZeroU64::get),
        max_output: table.maybe("max_output", Field::count)?.map(NonZeroU32::get),
        ..PriceOverride::default()
    })
}
