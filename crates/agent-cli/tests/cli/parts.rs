//! Runs of several parts: a signal at the end, what is resumed, and how long all of it took.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use crate::support::{FLEET, Place, json, signal, sleep, stderr};

const SLOW: &str = "[latency]\nbase = \"900ms\"\n[output]\ntokens = 20\n";

/// A run of so many tasks that has so many calls under way.
fn run_with_calls(place: &Place, url: &str, calls: usize) -> Child {
    let run = place.run(url, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while place.read("store/audit-live.jsonl").matches("\"llm_call_start\"").count() < calls {
        sleep(5);
    }
    run
}

fn place_with(tasks: usize) -> Place {
    let place = Place::new();
    place.write("fleet.toml", FLEET);
    place.tasks(tasks);
    place
}

#[test]
fn a_signal_while_the_last_tasks_end_leaves_a_run_that_has_finished() {
    for name in ["-INT", "-TERM"] {
        let place = place_with(4);
        let mock = place.mock(SLOW);
        let run = run_with_calls(&place, &mock.url, 4);
        signal(&run, name);
        let output = run.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(json(&output)["status"], "finished");
        let next = place.run(&mock.url, &[]).output().unwrap();
        assert_eq!(next.status.code(), Some(0), "{}", stderr(&next));
    }
}

#[test]
fn a_signal_while_tasks_are_still_read_from_stdin_ends_the_run_before_it_began() {
    for name in ["-INT", "-TERM"] {
        let place = place_with(0);
        let run = ["run", "fleet.toml", "--tasks", "-", "--skip-bad-tasks", "--store", "store"];
        let mut run = place.impresario(&run);
        run.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut run = run.spawn().unwrap();
        // Once it has told of a bad line it reads on, and nothing more comes.
        let mut tasks = run.stdin.take().unwrap();
        tasks.write_all(b"no task\n").unwrap();
        let mut said = BufReader::new(run.stderr.take().unwrap()).lines();
        assert!(said.next().unwrap().unwrap().contains("line 1"));
        signal(&run, "-HUP");
        signal(&run, name);
        assert_eq!(run.wait().unwrap().code(), Some(3), "{name}");
        drop(tasks);
        assert!(said.next().unwrap().unwrap().contains("nothing was started"));
        assert!(!place.path("store").exists());
    }
}

#[test]
fn a_signal_while_nobody_reads_the_pipe_for_outcomes_ends_the_run_before_it_began() {
    let place = place_with(1);
    assert!(Command::new("mkfifo").arg(place.path("pipe")).status().unwrap().success());
    let run = ["run", "fleet.toml", "--tasks", "tasks.jsonl", "--out", "pipe", "--skip-bad-tasks"];
    place.write("tasks.jsonl", "no task\n");
    let run = place.impresario(&run).stderr(Stdio::piped()).spawn();
    let mut run = run.unwrap();
    let mut said = BufReader::new(run.stderr.take().unwrap()).lines();
    assert!(said.next().unwrap().unwrap().contains("line 1"));
    signal(&run, "-TERM");
    assert_eq!(run.wait().unwrap().code(), Some(3));
}

#[test]
fn resume_is_refused_where_there_is_nothing_to_resume() {
    let place = place_with(2);
    let mock = place.mock("");
    let refused = place.run(&mock.url, &["--resume"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    for word in ["store", "nothing to resume", "without --resume"] {
        assert!(stderr(&refused).contains(word), "{word}: {}", stderr(&refused));
    }
    assert!(!place.path("store/db").exists() && !place.path("out.jsonl").exists());
    // A mistyped folder must not look like a run that is done.
    assert_eq!(place.run(&mock.url, &[]).output().unwrap().status.code(), Some(0));
    let typo = ["run", "fleet.toml", "--tasks", "tasks.jsonl", "--resume", "--store", "stroe"];
    let typo = place.output(&typo);
    assert_eq!(typo.status.code(), Some(2), "{}", stderr(&typo));
    assert!(stderr(&typo).contains("stroe") && !place.path("stroe").exists());
}

#[test]
fn a_resumed_run_took_as_long_as_all_its_parts() {
    for kill in ["-INT", "-KILL"] {
        let place = place_with(5);
        let mut mock = place.mock(SLOW);
        let run = run_with_calls(&place, &mock.url, 4);
        if kill == "-KILL" {
            // Four outcomes are its last sign of life.
            while place.read("out.jsonl").lines().count() < 4 {
                sleep(5);
            }
        }
        signal(&run, kill);
        run.wait_with_output().unwrap();
        mock.end("-TERM");
        let quick = place.mock("");
        let resumed = place.run(&quick.url, &["--resume"]).output().unwrap();
        assert_eq!(resumed.status.code(), Some(0), "{}", stderr(&resumed));
        let wall_ms = json(&resumed)["wall_ms"].as_u64().unwrap();
        assert!(wall_ms >= 900, "{kill}: {wall_ms} ms, and the first part took 900 at least");
    }
}
