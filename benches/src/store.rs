//! Durable records a second, against sled with a sync for each; and totals over a million of them.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr};
use agent_core::clock::{Clock, Timestamp};
use agent_core::money::NanoUsd;
use agent_core::record::{CallId, OpenAttempt, Subject, UsageRecord};
use agent_core::store::{
    Dimension, Entry, GetUsage, Note, Reader, Store, StoreOptions, UsageQuery, Write,
};
use agent_core::usage::TokenCounts;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::Failure;
use crate::measure::{Took, measure, median, ratio};

const IN_FLIGHT: u64 = 256;
const RECORDS: u64 = 40_000;
const ONE_BY_ONE: u64 = 400;
const ROUNDS: usize = 5;
const MANY: u64 = 1_000_000;
const FEW: u64 = 10_000;
const QUERIES: usize = 101;
const DAY_MS: u64 = 86_400_000;

/// The opening and the record of one call; calls are spread over thirty days.
fn call(n: u64) -> [Entry; 2] {
    let at = Timestamp::from_millis(DAY_MS + n * (30 * DAY_MS / MANY));
    let subject = Arc::new(Subject {
        run_id: "run".into(),
        agent_id: Some(format!("clerk-{}", n % 1_000).into()),
        agent: Some(["clerk", "judge", "scribe"][(n % 3) as usize].into()),
        agent_type: Some("clerk".into()),
        task_id: Some(n.to_string().into()),
        project_id: Some(format!("project-{}", n % 20).into()),
        user_id: Some(format!("user-{}", n % 7).into()),
        model: Some("claude-haiku-4-5".into()),
    });
    let open = OpenAttempt {
        call_id: CallId::new(at, u128::from(n)),
        attempt: 1,
        at,
        bound: NanoUsd::from_nanos(900_000),
        account: "sk-ant-***abcd".into(),
        provider: "anthropic".into(),
        subject,
    };
    let usage =
        TokenCounts { input_tokens: 400, output_tokens: 100 + n % 50, ..TokenCounts::default() };
    let record = UsageRecord {
        usage,
        max_tokens: 1_000,
        cost: NanoUsd::from_nanos(650_000 + n),
        stop_reason: Some("end_turn".to_owned()),
        request_id: Some(format!("req_{n:024}")),
        ..open.ended(at + Duration::from_secs(3))
    };
    [Entry::AttemptOpened(open.into()), Entry::AttemptClosed(record)]
}

/// Writes calls, so many at a time: the opening, unwaited, and the record, until it is durable.
async fn write(store: &Addr<Store>, calls: u64) -> Result<(), Failure> {
    let mut next = 0..calls;
    let mut writing = FuturesUnordered::new();
    loop {
        while writing.len() < IN_FLIGHT as usize
            && let Some(n) = next.next()
        {
            let [open, record] = call(n);
            store.do_send(Note { entries: vec![open] });
            writing.push(store.send(Write { entries: vec![record] }));
        }
        match writing.next().await {
            Some(written) => written??,
            None => return Ok(()),
        }
    }
}

async fn ours(folder: &Path) -> Result<Took, Failure> {
    let store = Store::sled(folder, &StoreOptions::default())?.0.start();
    let (took, written) = measure(write(&store, RECORDS)).await;
    written?;
    Ok(took)
}

/// What makes one record durable with sled alone: its flush does not sync.
async fn one_by_one(folder: &Path) -> Result<Took, Failure> {
    let db = sled::Config::new().path(folder).mode(sled::Mode::LowSpace).open()?;
    let file = File::options().read(true).write(true).open(folder.join("db"))?;
    let value = vec![7u8; 300];
    let (took, written) = measure(async {
        for n in 0..ONE_BY_ONE {
            db.insert(n.to_be_bytes(), value.as_slice())?;
            db.flush()?;
            file.sync_all()?;
        }
        Ok::<(), Failure>(())
    })
    .await;
    written?;
    Ok(took)
}

/// The median time of totals by project, over so many records.
async fn totals(records: u64) -> Result<(Duration, Duration), Failure> {
    let folder = tempfile::tempdir()?;
    let store = Store::sled(folder.path(), &StoreOptions::default())?.0.start();
    write(&store, records).await?;
    let query = || UsageQuery { by: vec![Dimension::Project], ..UsageQuery::default() };
    let mut asked = Vec::new();
    for _ in 0..QUERIES {
        let (took, report) = measure(store.send(GetUsage(query()))).await;
        assert_eq!(report??.total.totals.calls, records);
        asked.push(took);
    }
    drop(store);
    // The store's thread closes the database.
    let clock = Clock::real();
    let reader = loop {
        match Reader::open(folder.path()) {
            Ok(reader) => break reader,
            Err(_) => clock.sleep(Duration::from_millis(50)).await,
        }
    };
    let mut read = Vec::new();
    for _ in 0..QUERIES {
        let (took, report) = measure(async { reader.usage(&query()) }).await;
        assert_eq!(report?.total.totals.calls, records);
        read.push(took);
    }
    let wall = |rounds: &[Took]| median(rounds, |took| took.wall);
    Ok((wall(&asked), wall(&read)))
}

pub(crate) fn run() -> Result<(), Failure> {
    actix::System::new().block_on(async {
        let (mut shared, mut each) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let folder = tempfile::tempdir_in(".")?;
            each.push(one_by_one(folder.path()).await?);
            let folder = tempfile::tempdir_in(".")?;
            shared.push(ours(folder.path()).await?);
        }
        let of_one = |rounds: &[Took], count: u64| {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            median(rounds, |took| took.wall) / count
        };
        let (ours, reference) = (of_one(&shared, RECORDS), of_one(&each, ONE_BY_ONE));
        println!("durable records, {IN_FLIGHT} in flight, rollups included, median of {ROUNDS}");
        println!("{:<44} {:>12} a second", "store", (1.0 / ours.as_secs_f64()) as u64);
        let name = "sled, a sync for each record (reference)";
        println!("{name:<44} {:>12} a second", (1.0 / reference.as_secs_f64()) as u64);
        println!("ratio {:.1}", ratio(reference, ours));
        println!("\ntotals by project, median of {QUERIES} queries");
        println!("{:<44} {:>12} {:>12}", "records", "actor", "reader");
        for records in [FEW, MANY] {
            let (actor, reader) = totals(records).await?;
            println!("{records:<44} {actor:>12.1?} {reader:>12.1?}");
        }
        Ok(())
    })
}
