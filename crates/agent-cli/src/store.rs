//! `impresario store`: checks, copies, thins out and restores a store.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write as _};
use std::path::Path;

use agent_core::clock::{Clock, Timestamp};
use agent_core::store::{Difference, Reader, Totals};
use serde_json::{Value, json};

use crate::args::{Common, Format, StoreCommand};
use crate::exit::{Exit, Failure};
use crate::output::{self, StdoutError};
use crate::when;

/// Does what is asked of the store, which nobody else has open.
pub(crate) fn run(command: &StoreCommand, common: &Common) -> Result<Exit, Failure> {
    match command {
        StoreCommand::Verify => verify(&Reader::open(&common.store)?, common),
        StoreCommand::Export => export(&Reader::open(&common.store)?),
        StoreCommand::Import { file } => verify(&import(file, &common.store)?, common),
        StoreCommand::Retain { since } => retain(since, common),
    }
}

fn export(reader: &Reader) -> Result<Exit, Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    reader.export(&mut out)?;
    out.flush().map_err(StdoutError)?;
    Ok(Exit::Done)
}

fn import(file: &Path, store: &Path) -> Result<Reader, Failure> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let mut lines: Box<dyn BufRead> = if file.as_os_str() == "-" {
        Box::new(BufReader::new(io::stdin()))
    } else {
        Box::new(BufReader::new(File::open(file).map_err(|error| named(&error))?))
    };
    // Before a store is made: what cannot be read at all leaves nothing behind.
    lines.fill_buf().map_err(|error| named(&error))?;
    Ok(Reader::create(store)?.import(&mut lines).map_err(|error| named(&error))?)
}

/// 0 where every total is the sum of its records, else 1.
fn verify(reader: &Reader, common: &Common) -> Result<Exit, Failure> {
    let differences = reader.verify()?;
    let text = match output::format(common.format) {
        Format::Table => table(&differences),
        _ => {
            let rows: Vec<Value> = differences.iter().map(object).collect();
            json!({ "consistent": rows.is_empty(), "differences": rows }).to_string()
        }
    };
    output::result(&text)?;
    Ok(if differences.is_empty() { Exit::Done } else { Exit::SomeFailed })
}

fn object(difference: &Difference) -> Value {
    let Difference { day, names, stored, expected } = difference;
    let [project, agent, model, user, key] = names;
    let totals = |totals: &Totals| {
        json!({
            "calls": totals.calls,
            "input_tokens": totals.usage.input_tokens,
            "output_tokens": totals.usage.output_tokens,
            "cost_usd": totals.cost,
            "presumed_cost_usd": totals.presumed,
        })
    };
    json!({
        "day": day.map(day_text), "project_id": project, "agent_id": agent, "model": model,
        "user_id": user, "key": key, "stored": totals(stored), "expected": totals(expected),
    })
}

fn table(differences: &[Difference]) -> String {
    if differences.is_empty() {
        return "every total is the sum of its records".to_owned();
    }
    let header = ["day", "of", "calls stored", "expected", "cost $ stored", "expected"];
    let mut table = output::Table::new(&header);
    for Difference { day, names, stored, expected } in differences {
        let names: Vec<&str> = names.iter().flatten().map(|name| &**name).collect();
        table.row(&[
            day.map_or_else(|| "all".to_owned(), day_text),
            if names.is_empty() { "all".to_owned() } else { names.join(", ") },
            stored.calls.to_string(),
            expected.calls.to_string(),
            stored.cost.to_string(),
            expected.cost.to_string(),
        ]);
    }
    table.right_after(2);
    table.to_string()
}

fn retain(since: &str, common: &Common) -> Result<Exit, Failure> {
    let now = Clock::real().now();
    let since = when::parse("--since", Some(since), now)?.unwrap_or(now);
    if since > now {
        return Err("--since: this is still to come; name a day up to today".into());
    }
    let dropped = Reader::open(&common.store)?.retain(since.day())?;
    let kept_from = day_text(since.day());
    let text = match output::format(common.format) {
        Format::Table => format!("kept from {kept_from} on; {dropped} values dropped"),
        _ => json!({ "kept_from": kept_from, "dropped_values": dropped }).to_string(),
    };
    output::result(&text)?;
    Ok(Exit::Done)
}

/// `2026-11-24`.
fn day_text(day: u32) -> String {
    let at = Timestamp::from_millis(u64::from(day) * 86_400_000).to_string();
    at.split('T').next().unwrap_or_default().to_owned()
}
