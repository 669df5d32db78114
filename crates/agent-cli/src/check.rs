//! `impresario check`: validates a fleet file without calling anybody.

use std::path::Path;

use agent_core::config::Fleet;
use serde_json::{Value, json};
use thiserror::Error;

use crate::args::{Check, Common, Format};
use crate::output;
use crate::provider::{self, ProviderError};

/// Why a fleet did not pass.
#[derive(Debug, Error)]
pub(crate) enum CheckError {
    #[error(transparent)]
    Provider(#[from] ProviderError),
    #[error(transparent)]
    Output(#[from] output::StdoutError),
}

/// Reads the fleet and says what is in it.
pub(crate) fn run(args: &Check, common: &Common) -> Result<(), CheckError> {
    let (fleet, _) = provider::load_fleet(&args.fleet)?;
    let keys = provider::keys(&fleet, None).map_err(ProviderError::from)?;
    if common.verbose > 0 && !common.quiet {
        output::note(&format!("store: {}", common.store.display()));
    }
    let key = keys.map(|keys| keys.current().masked().to_owned());
    let found = summary(&fleet, key.as_deref());
    let text = match output::format(common.format) {
        Format::Table => table(&found, &args.fleet),
        Format::Json | Format::Jsonl | Format::Csv => found.to_string(),
    };
    Ok(output::result(&text)?)
}

fn summary(fleet: &Fleet, key: Option<&str>) -> Value {
    let workers: u64 = fleet.agent.iter().map(|agent| u64::from(agent.count.get())).sum();
    json!({
        "valid": true,
        "key": key,
        "agents": fleet.agent.len(),
        "workers": workers,
        "tasks": fleet.task.len(),
        "budgets": fleet.budget.len(),
        "max_cost_per_task_usd": fleet.guards.max_cost_per_task.to_string(),
    })
}

fn table(found: &Value, fleet: &Path) -> String {
    let mut table = output::Table::new(&["fleet", &fleet.display().to_string()]);
    for (name, value) in found.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        table.row(&[name.replace('_', " "), value]);
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
            "valid": true, "key": null, "agents": 2, "workers": 4, "tasks": 0, "budgets": 0, "max_cost_per_task_usd": "1"
        });
        assert_eq!(summary(&fleet, None), expected);
    }
}
