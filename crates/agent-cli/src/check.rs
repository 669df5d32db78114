//! `impresario check`: validates a fleet file without calling anybody.

use std::io;

use agent_core::config::{ConfigError, Fleet};
use serde_json::{Value, json};
use thiserror::Error;

use crate::args::{Check, Common, Format};
use crate::output;

/// Why a fleet did not pass.
#[derive(Debug, Error)]
pub(crate) enum CheckError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("the result cannot be written to stdout")]
    Output(#[from] io::Error),
}

/// Reads the fleet and says what is in it.
pub(crate) fn run(args: &Check, common: &Common) -> Result<(), CheckError> {
    let fleet = Fleet::load(&args.fleet)?;
    if common.verbose > 0 && !common.quiet {
        output::note(&format!("store: {}", common.store.display()));
    }
    let found = summary(&fleet);
    let text = match output::format(common.format) {
        Format::Json => found.to_string(),
        Format::Table => table(&found),
    };
    Ok(output::result(&text)?)
}

fn summary(fleet: &Fleet) -> Value {
    let workers: u64 = fleet.agent.iter().map(|agent| u64::from(agent.count.get())).sum();
    json!({
        "agents": fleet.agent.len(),
        "workers": workers,
        "tasks": fleet.task.len(),
        "budgets": fleet.budget.len(),
        "max_cost_per_task_usd": fleet.guards.max_cost_per_task.to_string(),
    })
}

fn table(found: &Value) -> String {
    let mut table = comfy_table::Table::new();
    for (name, value) in found.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        table.add_row([name.replace('_', " "), value]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_counted_over_all_agents() {
        let text = "[[agent]]\nname='a'\nmodel='m'\ncount=3\n[[agent]]\nname='b'\nmodel='m'\n";
        let fleet = Fleet::parse(text, "f", &|_| None).unwrap();
        let expected = json!({
            "agents": 2, "workers": 4, "tasks": 0, "budgets": 0, "max_cost_per_task_usd": "1"
        });
        assert_eq!(summary(&fleet), expected);
    }
}
