//! The file of outcomes that is no file, and the one of a process that is refused the store.

use std::process::{Child, Command, Output, Stdio};

use crate::support::{FLEET, Place, begun, json, signal, sleep, stderr, stdout};

fn place_with(tasks: usize) -> Place {
    let place = Place::new();
    place.write("fleet.toml", FLEET);
    place.tasks(tasks);
    place
}

fn out_to(place: &Place, url: &str, out: &str, more: &[&str]) -> Command {
    let args = ["run", "fleet.toml", "--tasks", "tasks.jsonl", "--store", "store", "--out", out];
    let mut command = place.impresario(&args);
    command.args(["--provider-url", url]).args(more);
    command
}

/// Outcomes and, after them, the summary.
fn assert_outcomes_and_summary(output: &Output, tasks: usize) {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    let text = stdout(output);
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), tasks + 1, "{text}");
    assert!(lines[..tasks].iter().all(|line| line["status"] == "completed"), "{text}");
    assert_eq!(lines[tasks]["status"], "finished");
}

#[test]
fn outcomes_that_go_into_a_pipe_end_the_run_as_those_in_a_file_do() {
    let place = place_with(3);
    let mock = place.mock("");
    for _ in 0..2 {
        // The second is not refused: the first is not left unfinished.
        let output = out_to(&place, &mock.url, "/dev/stdout", &[]).output().unwrap();
        assert_outcomes_and_summary(&output, 3);
    }

    let fifo = place.path("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let reader = Command::new("cat").arg(&fifo).stdout(Stdio::piped()).spawn().unwrap();
    let output = out_to(&place, &mock.url, "fifo", &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stdout(&reader.wait_with_output().unwrap()).lines().count(), 3);
}

#[test]
fn resume_refuses_a_pipe_for_outcomes_since_it_cannot_be_repaired() {
    let place = place_with(3);
    let mock = place.mock("");
    assert_eq!(place.run(&mock.url, &[]).output().unwrap().status.code(), Some(0));
    let output = out_to(&place, &mock.url, "/dev/stdout", &["--resume"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    for word in ["/dev/stdout", "--resume", "repaired"] {
        assert!(stderr(&output).contains(word), "{word}: {}", stderr(&output));
    }
    assert!(output.stdout.is_empty());
}

#[test]
fn a_process_that_is_refused_the_store_leaves_files_of_outcomes_as_they_were() {
    let place = place_with(4);
    let mock = place.mock("[latency]\nbase = \"900ms\"\n");
    let first = begun(&mut place.run(&mock.url, &[]), || {
        place.read("store/audit-live.jsonl").contains("llm_call_start")
    });
    // It has the store for as long as the others take to begin.
    signal(&first, "-STOP");
    place.write("torn.jsonl", "{\"task_id\":\"1\"");
    for (out, more) in [("new.jsonl", &[][..]), ("torn.jsonl", &[]), ("torn.jsonl", &["--resume"])]
    {
        let second = out_to(&place, &mock.url, out, more).output().unwrap();
        assert_eq!(second.status.code(), Some(2), "{}", stderr(&second));
        assert!(stderr(&second).contains("in use"), "{}", stderr(&second));
    }
    assert!(!place.path("new.jsonl").exists());
    assert_eq!(place.read("torn.jsonl"), "{\"task_id\":\"1\"");
    signal(&first, "-CONT");
    let first = first.wait_with_output().unwrap();
    assert_eq!(json(&first)["tasks"]["completed"], 4);
}

/// A run of a hundred tasks whose outcomes are more than a pipe holds, and a reader of the pipe
/// that reads when there is a file `go`; all agents have done their work.
fn played_to_a_slow_reader() -> (Place, Child, Child) {
    let place = place_with(100);
    let text = "word ".repeat(800);
    let mock = place.mock(&format!("[output]\ntext = \"{text}\"\ntokens = 90\n"));
    assert!(Command::new("mkfifo").arg(place.path("fifo")).status().unwrap().success());
    let wait = "exec 3<fifo; while [ ! -e go ]; do sleep 0.05; done; cat <&3";
    let mut reader = Command::new("sh");
    reader.args(["-c", wait]).current_dir(place.path(".")).stdout(Stdio::piped());
    let reader = reader.spawn().unwrap();
    let mut run = out_to(&place, &mock.url, "fifo", &[]);
    let run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let live = place.path("store/audit-live.jsonl");
    let live = || std::fs::read_to_string(&live).unwrap_or_default();
    let done = || live().matches("llm_call_success").count();
    let in_time = (0..600).any(|_| {
        sleep(50);
        done() == 100
    });
    if !in_time {
        place.write("go", "");
    }
    assert!(in_time, "the agents stood still after {} calls", done());
    (place, run, reader)
}

#[test]
fn a_reader_that_does_not_read_holds_up_no_agent_and_loses_nothing() {
    let (place, run, reader) = played_to_a_slow_reader();
    place.write("go", "");
    let lines = stdout(&reader.wait_with_output().unwrap());
    assert_eq!(lines.lines().filter(|line| line.contains("\"completed\"")).count(), 100);
    assert_eq!(run.wait_with_output().unwrap().status.code(), Some(0));
}

#[test]
fn a_run_that_waits_for_its_reader_alone_can_be_interrupted() {
    let (place, run, reader) = played_to_a_slow_reader();
    sleep(200);
    signal(&run, "-INT");
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    place.write("go", "");
    drop(reader.wait_with_output());
}

#[test]
fn a_dash_is_no_file_to_write_since_stdout_has_the_result() {
    let place = place_with(1);
    for args in [
        &["run", "fleet.toml", "--tasks", "tasks.jsonl", "--out", "-"][..],
        &["mock-provider", "--ledger", "-"],
        &["calibrate", "--out", "-"],
    ] {
        let output = place.output(args);
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {told}");
        assert!(told.contains("stdout is the result's; name a file"), "{told}");
        assert!(!place.path("-").exists(), "{args:?}");
    }
}
