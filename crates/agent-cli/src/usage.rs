//! `impresario usage`: what was spent, from the store's totals; `usage export`: every record.

use std::io::{self, Write};

use agent_core::clock::Clock;
use agent_core::record::UsageRecord;
use agent_core::store::{Dimension, Reader, UsageQuery, UsageReport, UsageRow};
use serde_json::{Value, json};

use crate::args::{self, Common, Format, UsageCommand};
use crate::exit::{Exit, Failure};
use crate::{output, when};

const COUNTS: [&str; 7] = [
    "calls",
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "cost_usd",
    "presumed_cost_usd",
];

/// Prints totals or records.
pub(crate) fn run(args: &args::Usage, common: &Common) -> Result<Exit, Failure> {
    let query = query(args)?;
    let mut reader = Reader::open(&common.store)?;
    reader.settle_left_open(Clock::real().now())?;
    if let Some(UsageCommand::Export) = args.export {
        export(&reader, &query, common)?;
        return Ok(Exit::Done);
    }
    let report = reader.usage(&query)?;
    match output::format(common.format) {
        Format::Json | Format::Jsonl => output::result(&serde_json::to_string(&report)?)?,
        Format::Table => output::result(&table(&query, &report))?,
        Format::Csv => csv(&query, &report).map_err(output::StdoutError)?,
    }
    Ok(Exit::Done)
}

fn query(args: &args::Usage) -> Result<UsageQuery, Failure> {
    let now = Clock::real().now();
    if args.export.is_some() && !args.by.is_empty() {
        return Err("usage export writes every record; leave out --by, or export".into());
    }
    let mut by = Vec::new();
    for word in &args.by {
        let dimension = Dimension::from_word(word)
            .ok_or_else(|| format!("--by: {word:?} is none of project, agent, model, user, day"))?;
        if by.contains(&dimension) {
            return Err(format!("--by: {word} stands twice; write it once").into());
        }
        by.push(dimension);
    }
    if by.is_empty() {
        by.push(Dimension::Project);
    }
    let since = when::parse("--since", args.since.as_deref(), now)?;
    let until = when::parse("--until", args.until.as_deref(), now)?;
    if let (Some(from), Some(to)) = (since, until)
        && to < from
    {
        let word = args.until.as_deref().unwrap_or_default();
        return Err(format!("--until: {word} is before --since; write a later time").into());
    }
    Ok(UsageQuery {
        by,
        project: args.project.clone(),
        agent: args.agent.clone(),
        model: args.model.clone(),
        user: None,
        since,
        until,
    })
}

/// The names and counts of a row, as text.
fn cells(row: &UsageRow, none: &str) -> Vec<String> {
    let totals = &row.totals;
    let names = row.group.iter().map(|(_, name)| name.clone().unwrap_or_else(|| none.to_owned()));
    let usage = &totals.usage;
    let counts = [
        totals.calls.to_string(),
        usage.input_tokens.to_string(),
        usage.output_tokens.to_string(),
        usage.cache_creation_input_tokens.to_string(),
        usage.cache_read_input_tokens.to_string(),
        totals.cost.to_string(),
        totals.presumed.to_string(),
    ];
    names.chain(counts).collect()
}

fn table(query: &UsageQuery, report: &UsageReport) -> String {
    let names = query.by.iter().map(|dimension| dimension.word());
    let counts =
        ["calls", "input", "output", "cache writes", "cache reads", "cost $", "presumed $"];
    let mut table = output::Table::new(&names.chain(counts).collect::<Vec<_>>());
    for row in &report.rows {
        table.row(&cells(row, "(none)"));
    }
    let mut total = cells(&report.total, "");
    for _ in &query.by {
        total.insert(0, String::new());
    }
    if let Some(first) = total.first_mut().filter(|_| !query.by.is_empty()) {
        *first = "total".to_owned();
    }
    table.row(&total);
    table.right_after(query.by.len());
    table.to_string()
}

fn csv(query: &UsageQuery, report: &UsageReport) -> io::Result<()> {
    let mut out = csv::Writer::from_writer(io::stdout().lock());
    out.write_record(query.by.iter().map(|d| d.key()).chain(COUNTS))?;
    let rows = if query.by.is_empty() { std::slice::from_ref(&report.total) } else { &report.rows };
    for row in rows {
        out.write_record(cells(row, "").iter().map(|cell| harmless(cell)))?;
    }
    out.flush()
}

/// A cell that no spreadsheet takes for a formula.
fn harmless(cell: &str) -> String {
    let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if formula { format!("'{cell}") } else { cell.to_owned() }
}

/// The fields of a record, in the order of the file's columns.
fn fields(record: &UsageRecord) -> Vec<(&'static str, Value)> {
    let (subject, usage) = (&record.subject, &record.usage);
    vec![
        ("call_id", json!(record.call_id)),
        ("attempt", json!(record.attempt)),
        ("timestamp", json!(record.at)),
        ("run_id", json!(subject.run_id)),
        ("task_id", json!(subject.task_id)),
        ("project_id", json!(subject.project_id)),
        ("user_id", json!(subject.user_id)),
        ("agent", json!(subject.agent)),
        ("agent_id", json!(subject.agent_id)),
        ("agent_type", json!(subject.agent_type)),
        ("provider", json!(record.provider)),
        ("model", json!(subject.model)),
        ("answered_by", json!(record.answered_by)),
        ("key", json!(record.account)),
        ("input_tokens", json!(usage.input_tokens)),
        ("output_tokens", json!(usage.output_tokens)),
        ("cache_creation_input_tokens", json!(usage.cache_creation_input_tokens)),
        ("cache_read_input_tokens", json!(usage.cache_read_input_tokens)),
        ("max_tokens", json!(record.max_tokens)),
        ("cost_usd", json!(record.cost)),
        ("presumed_cost_usd", json!(record.presumed)),
        ("priced", json!(record.priced)),
        ("duration_ms", json!(record.duration_ms)),
        ("permit_wait_ms", json!(record.permit_wait_ms)),
        ("money_wait_ms", json!(record.money_wait_ms)),
        ("status", json!(record.status)),
        ("error_type", json!(record.error)),
        ("stop_reason", json!(record.stop_reason)),
        ("provider_request_id", json!(record.request_id)),
    ]
}

fn export(reader: &Reader, query: &UsageQuery, common: &Common) -> Result<(), Failure> {
    let as_csv = common.format == Some(Format::Csv);
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut lines = csv::Writer::from_writer(Vec::new());
    let (mut header, mut result) = (as_csv, Ok(()));
    reader.records_of(query, &mut |record| {
        result = if as_csv {
            csv_line(&mut lines, &record, std::mem::take(&mut header), &mut out)
        } else {
            let object: serde_json::Map<_, _> =
                fields(&record).into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
            writeln!(out, "{}", Value::Object(object))
        };
        result.is_ok()
    })?;
    Ok(result.and_then(|()| out.flush()).map_err(output::StdoutError)?)
}

fn csv_line(
    lines: &mut csv::Writer<Vec<u8>>,
    record: &UsageRecord,
    header: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let fields = fields(record);
    if header {
        lines.write_record(fields.iter().map(|(name, _)| name))?;
    }
    lines.write_record(fields.iter().map(|(_, value)| match value {
        Value::Null => String::new(),
        Value::String(text) => harmless(text),
        value => value.to_string(),
    }))?;
    lines.flush()?;
    let bytes = std::mem::replace(lines, csv::Writer::from_writer(Vec::new()));
    out.write_all(&bytes.into_inner().map_err(io::Error::other)?)
}
