//! Kills and signals: nothing that was told is lost, nothing that was billed is uncounted.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{
    FLEET, Place, begun, billed, ids, json, nanos, signal, sleep, stderr, stdout,
};

const SLOW: &str = "[latency]\nbase = \"20ms\"\n[output]\ntokens = 20\n";

/// Every record, as the export writes it.
fn records(place: &Place) -> Vec<Value> {
    let export = place.output(&["usage", "export", "--format", "jsonl", "--store", "store"]);
    stdout(&export).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Outcomes, records, totals, summary and the provider's own bill tell the same story.
fn assert_all_agree(place: &Place, summary: &Value, tasks: usize, seed: u64) {
    assert_eq!(ids(place).len(), tasks, "seed {seed}");
    assert_eq!(summary["tasks"]["completed"], tasks, "seed {seed}");
    let (cost, presumed) = (nanos(&summary["cost_usd"]), nanos(&summary["presumed_cost_usd"]));
    let billed = billed(place);
    // An answer that came is charged as it was billed; one that a kill cut off is presumed.
    assert!(cost <= billed, "seed {seed}: {cost} known, {billed} billed");
    assert!(billed <= cost + presumed, "seed {seed}: {billed} billed, {cost} + {presumed} charged");

    let records = records(place);
    let attempts: BTreeSet<String> =
        records.iter().map(|it| format!("{} {}", it["call_id"], it["attempt"])).collect();
    assert_eq!(attempts.len(), records.len(), "seed {seed}: two records of one attempt");
    assert_eq!(summary["calls"]["attempts"], records.len(), "seed {seed}");
    let sum = |of: &[Value], key: &str| of.iter().map(|it| nanos(&it[key])).sum::<u64>();
    let outcomes = place.outcomes();
    for (what, all) in [("records", &records), ("outcomes", &outcomes)] {
        let sums = (sum(all, "cost_usd"), sum(all, "presumed_cost_usd"));
        assert_eq!(sums, (cost, presumed), "seed {seed}: {what}");
    }
    let usage = json(&place.output(&["usage", "--store", "store"]));
    assert_eq!(usage["total"]["cost_usd"], summary["cost_usd"], "seed {seed}");
    assert_eq!(usage["total"]["presumed_cost_usd"], summary["presumed_cost_usd"], "seed {seed}");
    // What was charged without an answer is told of, in whichever part of the run it happened.
    let killed = records.iter().filter(|it| it["error_type"] == "process_killed").count();
    let told = summary["audit_warnings"]["usage_presumed"].as_u64().unwrap_or_default();
    assert_eq!(told, killed as u64, "seed {seed}");
}

#[test]
fn a_run_killed_at_random_moments_ends_every_task_once_and_accounts_for_every_bill() {
    let seed = std::env::var("IMPRESARIO_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    eprintln_seed(seed);
    let mut random = fastrand::Rng::with_seed(seed);
    let place = Place::new();
    place.write("fleet.toml", FLEET);
    place.tasks(150);
    let mock = place.mock(SLOW);
    let mut has_run = false;
    for kill in 0..12 {
        let resume: &[&str] = if has_run { &["--resume"] } else { &[] };
        let mut run = place.run(&mock.url, resume).stdout(Stdio::null()).spawn().unwrap();
        // The first may be killed before its store has a run at all; the second has one.
        let has_begun = || place.path("store/audit-live.jsonl").exists();
        while kill == 1 && !has_begun() && run.try_wait().unwrap().is_none() {
            sleep(5);
        }
        // Some die while they recover, some while they work.
        sleep(random.u64(if kill % 3 == 0 { 1..40 } else { 40..250 }));
        run.kill().unwrap();
        // One that was not killed was refused: what the first had begun can be resumed.
        has_run |= run.wait().unwrap().code() == Some(2) || has_begun();
    }
    let output = place.run(&mock.url, &["--resume"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "seed {seed}: {}", stderr(&output));
    assert_all_agree(&place, &json(&output), 150, seed);
}

#[test]
#[should_panic(expected = "fleet.toml")]
fn a_test_that_waits_for_a_run_that_has_ended_fails_with_what_the_run_said() {
    let place = Place::new();
    begun(&mut place.run("http://127.0.0.1:9", &[]), || false).wait().unwrap();
}

#[test]
fn a_signal_that_comes_while_the_store_is_opened_is_heeded_when_it_is_open() {
    let place = Place::new();
    place.write("fleet.toml", FLEET);
    place.tasks(200);
    let mock = place.mock(SLOW);
    let opened = || place.path("store/conf").exists();
    let begin = |name| {
        let run = begun(&mut place.run(&mock.url, &[]), opened);
        signal(&run, name);
        run.wait_with_output().unwrap()
    };
    let output = begin("-TERM");
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert_eq!(json(&output)["status"], "interrupted");

    std::fs::remove_dir_all(place.path("store")).unwrap();
    let output = begin("-HUP");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn a_signal_that_comes_while_the_fleet_file_is_read_ends_the_run_in_order() {
    for name in ["-INT", "-TERM"] {
        let place = Place::new();
        let fleet = place.path("fleet.toml");
        assert!(Command::new("mkfifo").arg(&fleet).status().unwrap().success());
        let mut writing = OpenOptions::new();
        writing.write(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
        // It can be opened for writing as soon as somebody reads it, and says nothing.
        let mut writer = None;
        let run = begun(&mut place.run("http://127.0.0.1:9", &[]), || {
            writer = writing.open(&fleet).ok();
            writer.is_some()
        });
        signal(&run, name);
        let output = run.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{name}: {}", stderr(&output));
        assert!(stderr(&output).contains("nothing was started"), "{}", stderr(&output));
    }
}

#[test]
fn what_a_killed_process_left_open_is_charged_as_soon_as_anybody_looks() {
    let place = Place::new();
    place.write("fleet.toml", FLEET);
    place.tasks(10);
    // A provider that takes a request and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    silent.set_nonblocking(true).unwrap();
    let mut request = None;
    let mut run = begun(&mut place.run(&url, &[]), || {
        request = silent.accept().ok();
        request.is_some()
    });
    let (mut request, _) = request.unwrap();
    request.read_exact(&mut [0; 10]).unwrap();
    run.kill().unwrap();
    run.wait().unwrap();

    let usage = || json(&place.output(&["usage", "--store", "store"]))["total"].clone();
    let total = usage();
    let first = nanos(&total["presumed_cost_usd"]);
    assert!(first > 0, "what may have been billed is shown: {total}");
    let audit = place.output(&["audit", "--event", "usage_presumed", "--store", "store"]);
    assert_eq!(total["calls"], stdout(&audit).lines().count());
    assert_eq!(usage(), total, "it is charged once");

    let mock = place.mock("");
    let output = place.run(&mock.url, &["--resume"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(nanos(&json(&output)["presumed_cost_usd"]), first);
}

#[test]
fn resume_of_a_run_that_had_finished_does_nothing_again_and_says_the_same() {
    let place = Place::new();
    place.write("fleet.toml", FLEET);
    place.tasks(10);
    let mock = place.mock("");
    // A kill just after the end looks like this: all is done, and nobody has heard of it.
    let output = place.run(&mock.url, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let again = place.run(&mock.url, &["--resume"]).output().unwrap();
    assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
    let (output, again) = (json(&output), json(&again));
    for key in ["run_id", "tasks", "calls", "usage", "cost_usd", "latency_ms"] {
        assert_eq!(again[key], output[key], "{key}");
    }
    assert_all_agree(&place, &again, 10, 0);
    assert_eq!(place.read("ledger.jsonl").lines().count(), 10);

    // Other tasks are another run.
    place.write("tasks.jsonl", r#"{"id":"new","title":"File letter 11"}"#);
    let other = place.run(&mock.url, &["--resume"]).output().unwrap();
    assert_eq!(json(&other)["tasks"]["total"], 1);
    assert_ne!(json(&other)["run_id"], output["run_id"]);
}

#[test]
fn an_outcome_file_that_cannot_be_written_interrupts_the_run_and_loses_nothing() {
    let place = Place::new();
    place.write("fleet.toml", FLEET);
    place.tasks(30);
    let mock = place.mock(SLOW);
    let run = ["run", "fleet.toml", "--tasks", "tasks.jsonl", "--store", "store"];
    let full = ["--provider-url", &mock.url, "--out", "/dev/full"];
    let output = place.output(&[&run[..], &full].concat());
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{message}");
    for word in ["/dev/full", "No space left", "--resume"] {
        assert!(message.contains(word), "{word:?} is missing: {message}");
    }
    assert_eq!(json(&output)["status"], "interrupted");
    let output = place.run(&mock.url, &["--resume"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_all_agree(&place, &json(&output), 30, 0);
}

#[expect(clippy::print_stderr, reason = "a failure is replayed with its seed")]
fn eprintln_seed(seed: u64) {
    eprintln!("IMPRESARIO_SEED={seed}");
}

#[test]
fn an_interrupted_run_keeps_what_was_accepted_and_goes_on_with_resume() {
    for name in ["-INT", "-TERM"] {
        let place = Place::new();
        place.write("fleet.toml", FLEET);
        place.tasks(100);
        let mock = place.mock(SLOW);
        let run = begun(&mut place.run(&mock.url, &[]), || !place.read("out.jsonl").is_empty());
        signal(&run, name);
        let output = run.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(json(&output)["status"], "interrupted");
        assert!(ids(&place).len() < 100);

        let refused = place.run(&mock.url, &[]).output().unwrap();
        assert_eq!(refused.status.code(), Some(2));
        for flag in ["--resume", "--discard-unfinished"] {
            assert!(stderr(&refused).contains(flag), "{}", stderr(&refused));
        }
        let resumed = place.run(&mock.url, &["--resume"]).output().unwrap();
        assert_eq!(resumed.status.code(), Some(0), "{}", stderr(&resumed));
        assert_eq!(ids(&place).len(), 100);
        assert_eq!(json(&resumed)["tasks"]["completed"], 100);
    }
}

#[test]
fn a_budget_that_stops_the_run_keeps_the_tasks_for_resume() {
    let place = Place::new();
    let stop = "limit = \"0.002\"\non_exhausted = \"stop_run\"";
    place.write("fleet.toml", &FLEET.replace("limit = \"5.00\"", stop));
    place.tasks(40);
    let mock = place.mock(SLOW);
    let output = place.run(&mock.url, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert_eq!(json(&output)["status"], "stopped");
    let done = ids(&place).len();
    assert!(done > 0 && done < 40, "{done}");

    place.write("fleet.toml", FLEET);
    let resumed = place.run(&mock.url, &["--resume"]).output().unwrap();
    assert_eq!(resumed.status.code(), Some(0), "{}", stderr(&resumed));
    assert_eq!(ids(&place).len(), 40);
}
