//! Both backends keep the same promises.

use std::path::Path;
use std::sync::Arc;

use actix::Actor;

use super::support::*;
use crate::clock::Timestamp;
use crate::money::NanoUsd;
use crate::store::backend::{Backend, Memory};
use crate::store::book::{Book, Counts};
use crate::store::logged::Logged;
use crate::store::{
    AuditFilter, Dimension, Entry, Flush, GetHealth, GetUsage, Note, Reader, RunStatus, Store,
    StoreOptions, SyncFile, UsageQuery, Write,
};

fn logged(dir: &Path, log_bytes: u64) -> Box<dyn Backend> {
    let options = StoreOptions { log_bytes, ..StoreOptions::default() };
    Box::new(Logged::open(dir, &options, SyncFile::real()).unwrap())
}

/// Runs a law on each backend: on disk with most of it in sled, some of it, and none.
fn on_both(law: impl Fn(Box<dyn Backend>)) {
    law(Box::new(Memory::default()));
    for log_bytes in [1, 40_000, 4 << 20] {
        let dir = tempfile::tempdir().unwrap();
        law(logged(&dir.path().join("store"), log_bytes));
    }
}

fn filled(backend: Box<dyn Backend>, tasks: u64) -> Book {
    let (mut book, _) = Book::open(backend).unwrap();
    book.write(&[started(Timestamp::EPOCH)]).unwrap();
    for first in (0..tasks).step_by(16) {
        let of = |n: u64| whole_task(n, Timestamp::from_millis(n * DAY / 50));
        let entries: Vec<_> = (first..tasks.min(first + 16)).flat_map(of).collect();
        book.write(&entries).unwrap();
    }
    book
}

#[test]
fn totals_are_the_sums_of_the_records_however_they_are_grouped_and_cut() {
    on_both(|backend| {
        let reader = Reader::on(filled(backend, 200).backend).unwrap();
        let at = |n: u64| Timestamp::from_millis(n * DAY / 50);
        let whole = [None, Some((at(0), at(200)))];
        let cut = [Some((at(13), at(171))), Some((at(50), at(150))), Some((at(7), at(9)))];
        for span in whole.into_iter().chain(cut) {
            for by in [vec![], vec![Dimension::Project], vec![Dimension::Day, Dimension::Agent]] {
                let (since, until) = (span.map(|s| s.0), span.map(|s| s.1));
                let query = UsageQuery { by, since, until, ..UsageQuery::default() };
                let report = reader.usage(&query).unwrap();
                let span = span.unwrap_or_else(|| (at(0), at(200)));
                let inside = (0..200).filter(|n| at(*n) >= span.0 && at(*n) < span.1);
                let cost: u64 = inside.clone().map(|n| n + 1).sum();
                assert_eq!(report.total.totals.cost, NanoUsd::from_nanos(cost), "{query:?}");
                assert_eq!(report.total.totals.calls, inside.count() as u64);
            }
        }
        let query = UsageQuery { project: Some("p2".into()), ..UsageQuery::default() };
        assert_eq!(reader.usage(&query).unwrap().total.totals.calls, 40);
        assert_eq!(reader.verify().unwrap(), []);
    });
}

#[test]
fn an_agent_a_worker_and_a_model_are_found_by_each_of_their_names() {
    on_both(|backend| {
        let reader = Reader::on(filled(backend, 200).backend).unwrap();
        let calls = |query: UsageQuery| {
            let mut records = 0;
            let count = &mut |_| {
                records += 1;
                true
            };
            reader.records_of(&query, count).unwrap();
            let total = reader.usage(&query).unwrap().total.totals.calls;
            assert_eq!(total, records, "{query:?}");
            total
        };
        for (name, expected) in [("backend", 67), ("backend-3", 29), ("nobody", 0)] {
            let agent = Some(name.to_owned());
            assert_eq!(calls(UsageQuery { agent, ..UsageQuery::default() }), expected, "{name}");
        }
        for (name, expected) in [("claude-sonnet-4-5-20250929", 200), ("claude-opus-4-5", 0)] {
            let model = Some(name.to_owned());
            assert_eq!(calls(UsageQuery { model, ..UsageQuery::default() }), expected, "{name}");
        }
    });
}

#[test]
fn rows_are_written_with_the_keys_of_the_command_line() {
    let reader = Reader::on(filled(Box::new(Memory::default()), 5).backend).unwrap();
    let by = vec![Dimension::Project, Dimension::Day];
    let report = reader.usage(&UsageQuery { by, ..UsageQuery::default() }).unwrap();
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(
        json["rows"][1],
        serde_json::json!({
            "project_id": "p1", "day": "1970-01-01", "calls": 1, "input_tokens": 10,
            "output_tokens": 1, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
            "cost_usd": "0.000000002", "presumed_cost_usd": "0",
        })
    );
    assert_eq!(json["rows"][0]["project_id"], serde_json::Value::Null);
    assert_eq!(json["total"]["calls"], 5);
}

#[test]
fn an_attempt_and_a_task_end_once_however_often_they_are_told_to() {
    on_both(|backend| {
        let mut book = filled(backend, 1);
        let again = [Entry::AttemptClosed(record(0, Timestamp::EPOCH)), ended(0)];
        book.write(&again).unwrap();
        assert_eq!(book.counts, Counts { records: 1, ignored: 2 });
        let reader = Reader::on(book.backend).unwrap();
        let total = reader.usage(&UsageQuery::default()).unwrap().total.totals;
        assert_eq!((total.calls, total.cost), (1, NanoUsd::from_nanos(1)));
        assert_eq!(reader.recovered().run.as_ref().unwrap().calls.attempts, 1);
    });
}

#[test]
fn a_killed_run_is_found_again_with_what_its_tasks_have_spent() {
    on_both(|backend| {
        let mut book = filled(backend, 3);
        let at = Timestamp::from_millis(5);
        let left = [accepted(9, at), accepted(8, at), Entry::AttemptOpened(open(8, at))];
        book.write(&left).unwrap();
        let mut retried = open(8, at);
        Arc::make_mut(&mut retried).attempt = 2;
        let closed = Entry::AttemptClosed(record(8, at));
        book.write(&[closed, Entry::AttemptOpened(retried.clone())]).unwrap();

        let live = std::mem::take(&mut book.live);
        let (book, recovered) = Book::open(book.backend).unwrap();
        assert_eq!(book.live, live, "what is open is known without the journal too");
        let run = recovered.run.unwrap();
        let ids: Vec<_> = run.tasks.iter().map(|left| left.task.id.as_str()).collect();
        assert_eq!((ids, run.ended.len(), run.status), (vec!["8", "9"], 3, None));
        assert_eq!(run.tasks[0].spent.cost, NanoUsd::from_nanos(9));
        assert_eq!(run.fleet.as_deref(), Some("fleet.toml"));
        assert_eq!(recovered.open_attempts, [retried]);
        drop(book);
    });
}

#[test]
fn a_new_run_carries_open_attempts_along_and_forgets_the_old_tasks() {
    on_both(|backend| {
        let mut book = filled(backend, 2);
        book.write(&[
            accepted(7, Timestamp::EPOCH),
            Entry::AttemptOpened(open(7, Timestamp::EPOCH)),
        ])
        .unwrap();
        let status = RunStatus::Discarded;
        let at = Timestamp::EPOCH;
        let run_id = "run".into();
        book.write(&[Entry::RunFinished { run_id, at, status }]).unwrap();
        let (mut book, recovered) = Book::open(book.backend).unwrap();
        assert_eq!(recovered.run, None);
        book.write(&[Entry::RunStarted { run_id: "next".into(), at, fleet: None }]).unwrap();
        let (_, recovered) = Book::open(book.backend).unwrap();
        assert_eq!(recovered.open_attempts, [open(7, Timestamp::EPOCH)]);
        let run = recovered.run.unwrap();
        assert_eq!((&*run.run_id, run.tasks.len()), ("next", 0));
    });
}

#[test]
fn an_outcome_larger_than_a_page_comes_back_whole() {
    on_both(|backend| {
        let mut book = filled(backend, 0);
        book.write(&[accepted(1, Timestamp::EPOCH)]).unwrap();
        let mut large = (*outcome(1)).clone();
        large.output = Some("ü".repeat(1_000_000));
        let large = Arc::new(large);
        book.write(&[Entry::TaskEnded { run_id: "run".into(), outcome: large.clone() }]).unwrap();
        let (_, recovered) = Book::open(book.backend).unwrap();
        assert_eq!(recovered.run.unwrap().ended.into_values().collect::<Vec<_>>(), [large]);
    });
}

#[test]
fn audit_events_come_in_the_order_of_time_through_the_filter() {
    on_both(|backend| {
        let (mut book, _) = Book::open(backend).unwrap();
        for n in [5, 3, 2_500, 4, 1_200] {
            book.write(&[Entry::Audit(event(n, Timestamp::from_millis(n)))]).unwrap();
        }
        let reader = Reader::on(book.backend).unwrap();
        let read = |filter: AuditFilter| {
            let mut times = Vec::new();
            reader
                .audit(&filter, &mut |event| {
                    times.push(event.timestamp.millis());
                    true
                })
                .unwrap();
            times
        };
        assert_eq!(read(AuditFilter::default()), [3, 4, 5, 1_200, 2_500]);
        let since = Some(Timestamp::from_millis(5));
        assert_eq!(read(AuditFilter { since, ..AuditFilter::default() }), [5, 1_200, 2_500]);
        let task = Some("4".to_owned());
        assert_eq!(read(AuditFilter { task, ..AuditFilter::default() }), [4]);
        let event = Some("key_loaded".to_owned());
        assert_eq!(read(AuditFilter { event, ..AuditFilter::default() }), [0; 0]);
    });
}

#[test]
fn an_export_is_imported_without_loss() {
    on_both(|backend| {
        let mut book = filled(backend, 60);
        let odd = Timestamp::from_nanos(1_234_567_891);
        book.write(&[accepted(99, odd), Entry::AttemptOpened(open(99, odd))]).unwrap();
        let reader = Reader::on(book.backend).unwrap();
        let mut lines = Vec::new();
        reader.export(&mut lines).unwrap();
        let empty = Reader::on(Box::new(Memory::default())).unwrap();
        let copy = empty.import(&mut lines.as_slice()).unwrap();
        assert_eq!(copy.recovered(), reader.recovered());
        assert_eq!(copy.verify().unwrap(), []);
        let mut again = Vec::new();
        copy.export(&mut again).unwrap();
        assert!(again == lines, "the second export differs");
        let occupied = copy.import(&mut lines.as_slice());
        assert!(occupied.unwrap_err().to_string().contains("not empty"));
    });
}

#[test]
fn retention_drops_records_and_keeps_totals_and_the_last_run() {
    on_both(|backend| {
        let mut reader = Reader::on(filled(backend, 200).backend).unwrap();
        let before = reader.usage(&UsageQuery::default()).unwrap();
        assert!(reader.retain(2).unwrap() > 0);
        assert_eq!(reader.usage(&UsageQuery::default()).unwrap(), before);
        assert_eq!(reader.verify().unwrap(), []);
        let mut oldest = u32::MAX;
        reader
            .records(Timestamp::EPOCH, Timestamp::NEVER, &mut |record| {
                oldest = oldest.min(record.opened_at.day());
                true
            })
            .unwrap();
        assert_eq!(oldest, 2);
        let (_, recovered) = Book::open(reader.book.backend).unwrap();
        assert_eq!(recovered.run.unwrap().ended.len(), 200);
    });
}

#[test]
fn verify_tells_of_a_total_that_is_wrong() {
    let mut book = filled(Box::new(Memory::default()), 3);
    let key = crate::store::rollup::key(0, 0, &Default::default()).unwrap();
    let mut changes = crate::store::codec::Changes::default();
    changes.puts.push((key, crate::store::codec::value(&crate::store::Totals::default()).unwrap()));
    book.backend.commit(changes).unwrap();
    let differences = Reader::on(book.backend).unwrap().verify().unwrap();
    assert_eq!((differences.len(), differences[0].expected.calls), (1, 3));
}

#[test]
fn spending_is_fine_from_its_day_on_and_summed_up_before() {
    on_both(|backend| {
        let book = filled(backend, 200);
        for fine in [0, DAY + 5, 9 * DAY] {
            let fine_day = Timestamp::from_millis(fine).day();
            let (mut sum, mut single) = (0, 0);
            crate::store::reader::spending(
                &*book.backend,
                Timestamp::from_millis(fine),
                &mut |spending| {
                    sum += spending.spent.nanos();
                    single += usize::from(spending.at.day() >= fine_day);
                    // A sum leaves no rolling window before the last of what it sums up.
                    let is_sum = spending.at.day() < fine_day;
                    assert!(!is_sum || spending.at.millis() % DAY == DAY - 1, "{spending:?}");
                    let scopes: Vec<_> = spending.scopes.iter().map(|s| s.to_string()).collect();
                    assert!(scopes.contains(&"key:sk-ant-***abcd".to_owned()));
                    assert!(!scopes.iter().any(|scope| scope.starts_with("task:")), "{scopes:?}");
                },
            )
            .unwrap();
            assert_eq!(sum, (1..=200).sum::<u64>());
            assert_eq!(single, 200 - 50 * (fine / DAY).min(4) as usize);
        }
    });
}

#[test]
fn what_an_actor_was_told_is_there_when_another_opens_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("store");
    for disk in [false, true] {
        let total = on_a_system(async {
            let store = match disk {
                true => Store::sled(&dir, &StoreOptions::default()).unwrap().0,
                false => Store::memory(),
            };
            let store = store.start();
            store.send(Write { entries: vec![started(Timestamp::EPOCH)] }).await.unwrap().unwrap();
            let tasks = (0..50)
                .map(|n| store.send(Write { entries: whole_task(n, Timestamp::from_millis(n)) }));
            for written in futures_util::future::join_all(tasks).await {
                written.unwrap().unwrap();
            }
            store.do_send(Note { entries: vec![Entry::Audit(event(1, Timestamp::EPOCH))] });
            store.send(Flush).await.unwrap().unwrap();
            let health = store.send(GetHealth).await.unwrap();
            assert_eq!((health.records, health.queued, health.down), (50, 0, None));
            store.send(GetUsage(UsageQuery::default())).await.unwrap().unwrap().total.totals
        });
        assert_eq!(total.calls, 50);
    }
    let reader = Reader::open(&dir).unwrap();
    assert_eq!(reader.usage(&UsageQuery::default()).unwrap().total.totals.calls, 50);
    assert_eq!(reader.recovered().run.as_ref().unwrap().ended.len(), 50);
}
