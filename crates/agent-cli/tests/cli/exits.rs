//! Exit codes where files and pipes fail: 2 only where nothing was started.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::process::{Output, Stdio};

use crate::support::{FLEET, Place, stderr};

fn out_to(place: &Place, url: &str, out: &str) -> Output {
    let args = ["run", "fleet.toml", "--tasks", "tasks.jsonl", "--store", "store", "--out", out];
    place.impresario(&args).args(["--provider-url", url]).output().unwrap()
}

#[test]
fn a_file_that_a_command_reads_is_not_the_one_that_it_writes() {
    let place = Place::new();
    place.write("fleet.toml", FLEET);
    place.tasks(2);
    place.write("mock.toml", "seed = 1\n");
    place.write("trace.csv", "arrival_s,input_tokens,output_tokens\n0,10,10\n");
    symlink("tasks.jsonl", place.path("link")).unwrap();
    let files = ["fleet.toml", "tasks.jsonl", "mock.toml", "trace.csv"];
    let before = files.map(|file| place.read(file));
    let run = ["run", "fleet.toml", "--tasks", "tasks.jsonl", "--store", "store"];
    for args in [
        &[&run[..], &["--out", "tasks.jsonl"]].concat()[..],
        &[&run[..], &["--out", "./link", "--resume"]].concat(),
        &[&run[..], &["--out", "fleet.toml"]].concat(),
        &["calibrate", "--trace", "trace.csv", "--out", "trace.csv"],
        &["calibrate", "--against", "trace.csv", "--out", "trace.csv"],
        &["mock-provider", "--scenario", "mock.toml", "--ledger", "mock.toml"],
    ] {
        let output = place.output(args);
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {told}");
        assert!(told.contains("is read by the same command; name another file"), "{told}");
    }
    assert_eq!(files.map(|file| place.read(file)), before);
}

#[test]
fn a_file_of_outcomes_that_cannot_be_opened_starts_nothing() {
    let place = Place::new();
    place.write("fleet.toml", FLEET);
    place.tasks(2);
    let mock = place.mock("");
    let output = out_to(&place, &mock.url, "no/such/folder.jsonl");
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("no/such/folder.jsonl"), "{}", stderr(&output));
    // No run was left unfinished.
    let output = place.run(&mock.url, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn a_file_of_outcomes_that_is_full_interrupts_the_run_which_can_be_resumed() {
    if !std::path::Path::new("/dev/full").exists() {
        return;
    }
    let place = Place::new();
    place.write("fleet.toml", FLEET);
    place.tasks(20);
    let mock = place.mock("");
    let output = out_to(&place, &mock.url, "/dev/full");
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).contains("/dev/full"), "{}", stderr(&output));
    let output = place.run(&mock.url, &["--resume"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(place.outcomes().len(), 20);
}

#[test]
fn a_reader_that_has_read_enough_is_no_error_of_any_command() {
    let place = Place::new();
    place.write("fleet.toml", FLEET);
    place.tasks(2);
    let mock = place.mock("");
    assert_eq!(place.run(&mock.url, &[]).output().unwrap().status.code(), Some(0));
    for args in [
        &["check", "fleet.toml"][..],
        &["usage", "--format", "csv"],
        &["usage", "export", "--format", "csv"],
        &["audit"],
        &["store", "export"],
    ] {
        let mut command = place.impresario(args);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        command.args(["--store", "store"]).stdout(writer).stderr(Stdio::piped());
        let output = command.spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
        assert_eq!(stderr(&output), "", "{args:?}");
    }
}

#[test]
fn a_run_whose_summary_nobody_reads_still_tells_by_its_code_that_tasks_failed() {
    let place = Place::new();
    place.write("fleet.toml", FLEET);
    place.write("tasks.jsonl", "{\"id\":1}\n");
    let mock = place.mock("");
    let (mut reader, writer) = std::io::pipe().unwrap();
    let child = place.run(&mock.url, &[]).stdout(writer).spawn().unwrap();
    let mut first = [0; 1];
    let _ = reader.read(&mut first).unwrap();
    drop(reader);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(1));
    if let Ok(full) = File::options().write(true).open("/dev/full") {
        let output = place.run(&mock.url, &[]).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    }
}

#[test]
fn a_result_that_cannot_be_written_is_told_as_that_of_stdout() {
    if !std::path::Path::new("/dev/full").exists() {
        return;
    }
    let place = Place::new();
    place.write("fleet.toml", FLEET);
    place.tasks(2);
    let mock = place.mock("");
    assert_eq!(place.run(&mock.url, &[]).output().unwrap().status.code(), Some(0));
    for args in [
        &["check", "fleet.toml"][..],
        &["usage"],
        &["usage", "--format", "csv"],
        &["usage", "export"],
        &["audit"],
        &["store", "verify"],
        &["store", "export"],
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = place.impresario(args).args(["--store", "store"]).stdout(full).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let message = stderr(&output);
        let told = message.contains("to stdout") || message.contains("the export cannot");
        assert!(told && message.contains("No space left"), "{args:?}: {message}");
    }
}

#[test]
fn no_cause_is_told_twice() {
    let place = Place::new();
    let keyed = "kind = \"anthropic\"\napi_key_file = \"no-such-key\"";
    place.write("fleet.toml", &FLEET.replace("kind = \"anthropic\"", keyed));
    let output = place.output(&["check", "fleet.toml"]);
    assert_eq!(output.status.code(), Some(2));
    let message = stderr(&output);
    assert!(message.contains("no-such-key"), "{message}");
    assert_eq!(message.matches("No such file").count(), 1, "{message}");
}

#[test]
fn what_cannot_be_started_with_is_refused_by_name_and_with_what_would_be_right() {
    let place = Place::new();
    place.write("fleet.toml", FLEET);
    place.tasks(1);
    for (args, told) in [
        (&["run", "fleet.toml", "--format", "csv"][..], "[possible values: table, json]"),
        (
            &["--format", "csv", "run", "fleet.toml"],
            "`run` does not write csv; it writes table, json",
        ),
        (&["check", "fleet.toml", "--format", "jsonl"], "[possible values: table, json]"),
        (&["usage", "export", "--format", "table"], "[possible values: csv, jsonl, json]"),
        (
            &[
                "run",
                "fleet.toml",
                "--tasks",
                "tasks.jsonl",
                "--provider-url",
                "http://example.com",
            ],
            "--provider-url is refused",
        ),
        (&["usage", "--since", "-1s"], "--since: \"-1s\" is no time; write a date"),
        (&["run", "fleet.toml", "--tasks", "."], "task file . cannot be read; name a file"),
    ] {
        let output = place.output(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains(told), "{args:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    let output = place.impresario(&["check", "fleet.toml"]).env("IMPRESARIO_LOG", "a=b=c").output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("IMPRESARIO_LOG"), "{}", stderr(&output));
}
