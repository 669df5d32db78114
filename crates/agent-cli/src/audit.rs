//! `impresario audit`: the audit trail, in the order of time.

mod follow;

use std::io::{self, Write};

use agent_core::audit::AuditEvent;
use agent_core::clock::Clock;
use agent_core::store::{AuditFilter, Reader, StoreError};
use serde_json::{Map, Value};

use crate::args::{self, Common, Format};
use crate::exit::{Exit, Failure};
use crate::{output, when};

pub(crate) use follow::Live;
use follow::Tail;

/// Prints the events that are wanted, and with `--follow` those to come.
pub(crate) async fn run(args: &args::Audit, common: &Common) -> Result<Exit, Failure> {
    let filter = AuditFilter {
        task: args.task.clone(),
        agent: args.agent.clone(),
        event: args.event.clone(),
        run: None,
        since: when::parse("--since", args.since.as_deref(), Clock::real().now())?,
    };
    let format = output::format(common.format);
    let tail = match Reader::open(&common.store) {
        Ok(mut reader) => {
            reader.settle_left_open(Clock::real().now())?;
            stored(&reader, &filter, format)?;
            // While no run can begin: what is in the live file by now was in the store.
            Tail::from_end(&common.store)
        }
        // A run holds the store: what it has written so far stands in its live file.
        Err(StoreError::InUse { .. }) if args.follow => Tail::from_start(&common.store),
        Err(StoreError::Missing { dir }) if args.follow => {
            if !common.quiet {
                output::note(&format!("no store in {} yet; waiting for a run", dir.display()));
            }
            Tail::from_start(&common.store)
        }
        Err(error) => return Err(error.into()),
    };
    if args.follow {
        follow::run(tail?, &filter, format).await?;
    }
    Ok(Exit::Done)
}

fn stored(reader: &Reader, filter: &AuditFilter, format: Format) -> Result<(), Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut result = Ok(());
    reader.audit(filter, &mut |event: AuditEvent| {
        result = print(&mut out, &event.to_json(), format);
        result.is_ok()
    })?;
    Ok(result.and_then(|()| out.flush()).map_err(output::StdoutError)?)
}

/// One event: an object a line, or for a person its time, name, task and what is its own.
fn print(out: &mut dyn Write, event: &Map<String, Value>, format: Format) -> io::Result<()> {
    if format != Format::Table {
        return writeln!(out, "{}", serde_json::to_string(event)?);
    }
    let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
    let common = [
        "event",
        "timestamp",
        "run_id",
        "call_id",
        "agent_id",
        "agent_type",
        "task_id",
        "project_id",
        "user_id",
        "model",
    ];
    let own: Vec<String> = event
        .iter()
        .filter(|(key, value)| !common.contains(&key.as_str()) && !value.is_null())
        .map(|(key, value)| match value.as_str() {
            Some(text) => format!("{key}={text}"),
            None => format!("{key}={value}"),
        })
        .collect();
    let line = format!(
        "{} {:<24} task={} agent={} {}",
        text("timestamp"),
        text("event"),
        text("task_id"),
        text("agent_id"),
        own.join(" ")
    );
    writeln!(out, "{}", output::visible(&line))
}
