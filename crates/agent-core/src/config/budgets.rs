//! The `[[budget]]` tables of a fleet file.

use std::sync::Arc;

use super::read::{Field, Section};
use super::{ConfigError, ModelName};
use crate::agent::AgentSpec;
use crate::ledger::{BudgetSpec, OnExhausted, Scope, ScopeKind, ScopePattern, Window};
use crate::llm::mask;
use crate::wording::{nearest, shown};

/// The budgets, and the models that they name.
pub(super) fn budgets(
    top: &Section<'_>,
    agents: &[AgentSpec],
) -> Result<(Vec<BudgetSpec>, Vec<ModelName>), ConfigError> {
    let mut models = Vec::new();
    let budgets = top.or("budget", Vec::new(), |field| {
        let items = field.items("[[budget]] tables")?;
        items.iter().map(|item| budget(item, agents, &mut models)).collect()
    })?;
    Ok((budgets, models))
}

fn budget(
    field: &Field<'_>,
    agents: &[AgentSpec],
    models: &mut Vec<ModelName>,
) -> Result<BudgetSpec, ConfigError> {
    let table = field.section(&["scope", "limit", "window", "on_exhausted", "thresholds"])?;
    let reactions = [
        ("reject", OnExhausted::Reject),
        ("wait", OnExhausted::Wait),
        ("stop_run", OnExhausted::StopRun),
    ];
    let percent = |it: &Field<'_>| match it.whole()? {
        percent @ 1..=100 => Ok(percent as u8),
        _ => Err(it.wrong("is no percentage; write a whole number from 1 to 100")),
    };
    let scope = "a scope in quotes, such as \"global\" or \"project:web\"";
    let limit = "dollars in quotes, such as \"5.00\"";
    Ok(BudgetSpec {
        scope: table.need("scope", scope, |it| {
            let mut scope = it.parsed(scope)?;
            if let ScopePattern::One(Scope { kind, name }) = &mut scope {
                match kind {
                    ScopeKind::Agent => known_agent(it, agents, name)?,
                    ScopeKind::Model => models.push(it.model(name)),
                    ScopeKind::Key => *name = key(it, name)?,
                    _ => {}
                }
            }
            Ok(scope)
        })?,
        limit: table.need("limit", limit, Field::money)?,
        window: table.or("window", Window::default(), |it| {
            it.parsed("a window in quotes: \"total\", \"hour\", \"day\", \"month\" or a duration")
        })?,
        on_exhausted: table
            .or("on_exhausted", OnExhausted::default(), |it| it.one_of(&reactions))?,
        thresholds: table.or("thresholds", vec![50, 80, 100], |it| {
            it.items("a list of percentages, such as [50, 80, 100]")?.iter().map(percent).collect()
        })?,
    })
}

/// The account of a key that is named by its mask or by its last four characters.
fn key(field: &Field<'_>, name: &str) -> Result<Arc<str>, ConfigError> {
    let is_tail = |tail: &str| tail.len() == 4 && tail.bytes().all(|it| it.is_ascii_graphic());
    if is_tail(name) {
        return Ok(mask(name).into());
    }
    // A key that is too short to show anything of it has an empty tail.
    let tail = name.strip_prefix(&mask(""));
    if tail.is_some_and(|tail| tail.is_empty() || is_tail(tail)) {
        return Ok(name.into());
    }
    let what = if name.starts_with("sk-") { "must not hold a key itself" } else { "names no key" };
    Err(field.wrong(format_args!(
        "{what}; write its mask, \"key:{}\", or its last four characters, \"key:abcd\"",
        mask("abcd")
    )))
}

/// A budget for an agent that is not there would never hold anything back.
fn known_agent(field: &Field<'_>, agents: &[AgentSpec], name: &str) -> Result<(), ConfigError> {
    let names: Vec<&str> = agents.iter().map(|agent| agent.name.as_str()).collect();
    if names.contains(&name) {
        return Ok(());
    }
    let remedy = match nearest(name, &names) {
        Some(near) => format!("did you mean \"agent:{}\"?", shown(near)),
        None => format!(
            "agents: {}",
            names.iter().map(|name| shown(name)).collect::<Vec<_>>().join(", ")
        ),
    };
    Err(field.wrong(format_args!("names no agent of this file; {remedy}")))
}
