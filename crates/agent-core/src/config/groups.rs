//! The `[[group]]` tables of a fleet file.

use std::collections::BTreeSet;

use super::ConfigError;
use super::fleet::intensity;
use super::read::{Field, Section};
use crate::agent::AgentSpec;
use crate::supervision::{GroupSpec, Strategy, Supervision, Tree, TreeError};
use crate::wording::shown;

/// The groups; where they say nothing else, they restart as workers do.
pub(super) fn groups(
    top: &Section<'_>,
    default: &Supervision,
) -> Result<Vec<GroupSpec>, ConfigError> {
    let Some(field) = top.field("group") else { return Ok(Vec::new()) };
    let mut names = BTreeSet::new();
    let read = |item: &Field<'_>| {
        let group = group(item, default)?;
        if !names.insert(group.name.clone()) {
            let problem = format!(
                "is the second group named \"{}\"; give each its own name",
                shown(&group.name)
            );
            return Err(item.wrong(problem));
        }
        Ok(group)
    };
    field.items("[[group]] tables")?.iter().map(read).collect()
}

/// Whether the groups and the agents in them are a tree.
pub(super) fn check(
    top: &Section<'_>,
    groups: &[GroupSpec],
    agents: &[AgentSpec],
) -> Result<(), ConfigError> {
    let members: Vec<_> =
        agents.iter().map(|spec| (&*spec.name, spec.group.as_deref(), 0..1)).collect();
    let Err(error) = Tree::new(groups, &members, &Supervision::default()) else { return Ok(()) };
    let at_group = |name: &str| {
        let place = groups.iter().position(|group| group.name == *name).unwrap_or_default();
        let items = top.field("group").map(|field| field.items("[[group]] tables")).transpose()?;
        Ok::<_, ConfigError>(items.and_then(|items| items.into_iter().nth(place)))
    };
    let named = match &error {
        TreeError::Cycle(name) | TreeError::Empty(name) => at_group(name)?,
        // Names are checked where they stand.
        _ => None,
    };
    let field = named.or_else(|| top.field("agent"));
    match field {
        Some(field) => Err(field.wrong(format_args!("cannot be used: {error}"))),
        None => Ok(()),
    }
}

/// The name of a group that there is.
pub(super) fn known(field: &Field<'_>, groups: &[GroupSpec]) -> Result<String, ConfigError> {
    let name = field.text()?;
    if groups.iter().any(|group| group.name == name) {
        return Ok(name);
    }
    let known: Vec<_> = groups.iter().map(|group| group.name.as_str()).collect();
    let remedy = match known.is_empty() {
        true => "add a [[group]] of that name".to_owned(),
        false => format!("known: {}", known.join(", ")),
    };
    Err(field.wrong(format_args!("names no group; {remedy}")))
}

fn group(field: &Field<'_>, default: &Supervision) -> Result<GroupSpec, ConfigError> {
    let table = field.section(&[
        "name",
        "strategy",
        "parent",
        "max_restarts",
        "within",
        "backoff",
        "max_backoff",
    ])?;
    let strategies = [
        ("one_for_one", Strategy::OneForOne),
        ("one_for_all", Strategy::OneForAll),
        ("rest_for_one", Strategy::RestForOne),
    ];
    Ok(GroupSpec {
        name: table.need("name", "a name in quotes, such as \"web\"", Field::text)?,
        strategy: table.or("strategy", Strategy::default(), |it| it.one_of(&strategies))?,
        parent: table.maybe("parent", Field::text)?,
        policy: Some(intensity(&table, default)?),
    })
}
