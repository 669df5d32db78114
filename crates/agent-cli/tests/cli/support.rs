//! A workplace for the binary: a folder, a mock provider, a fleet, tasks.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

/// A key as the provider's are, with a part that must never be seen.
pub(crate) const KEY: &str = "sk-ant-api03-canary5ecret5ecret5ecret-7wxyz";

/// A fleet of four workers that calls the real API, in vain without `--provider-url`.
pub(crate) const FLEET: &str = r#"
[provider]
kind = "anthropic"

[retry]
initial_backoff = "10ms"
max_backoff = "20ms"

[[budget]]
scope = "global"
limit = "5.00"

[[agent]]
name = "clerk"
type = "clerk"
count = 4
model = "claude-haiku-4-5"
max_tokens = 100
rate_limit = { calls = 1000, per = "1m" }
"#;

pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Place {
        Place { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// So many good tasks.
    pub(crate) fn tasks(&self, count: usize) -> PathBuf {
        let line = |id| format!(r#"{{"id":{id},"title":"File letter {id}","project_id":"web"}}"#);
        let lines: Vec<String> = (1..=count).map(line).collect();
        self.write("tasks.jsonl", &(lines.join("\n") + "\n"))
    }

    /// The binary, in this folder, with a key and nothing else in its environment.
    pub(crate) fn impresario(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_impresario"));
        command
            .current_dir(self.folder.path())
            .env_clear()
            .env("ANTHROPIC_API_KEY", KEY)
            .args(args);
        command
    }

    pub(crate) fn output(&self, args: &[&str]) -> Output {
        self.impresario(args).output().unwrap()
    }

    /// Runs `fleet.toml` with `tasks.jsonl` against `url`.
    pub(crate) fn run(&self, url: &str, more: &[&str]) -> Command {
        let mut command = self.impresario(&["run", "fleet.toml", "--tasks", "tasks.jsonl"]);
        command.args(["--out", "out.jsonl", "--provider-url", url, "--store", "store"]).args(more);
        command
    }

    pub(crate) fn outcomes(&self) -> Vec<Value> {
        self.read("out.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(crate) fn mock(&self, scenario: &str) -> Mock {
        let scenario = self.write("scenario.toml", scenario);
        let mut command = self.impresario(&["mock-provider", "--ledger", "ledger.jsonl"]);
        Place::serving(command.arg("--scenario").arg(scenario))
    }

    /// A mock provider that bills to the file `ledger`; its stderr is kept.
    pub(crate) fn mock_with(&self, ledger: &str) -> Mock {
        let mut command = self.impresario(&["mock-provider", "--ledger", ledger]);
        Place::serving(command.stderr(Stdio::piped()))
    }

    fn serving(command: &mut Command) -> Mock {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Mock { child, url }
    }
}

/// A mock provider in a process of its own.
pub(crate) struct Mock {
    child: Child,
    pub(crate) url: String,
}

impl Mock {
    /// Sends it a signal and waits for its end.
    pub(crate) fn end(&mut self, signal: &str) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        self.child.wait().unwrap()
    }
}

impl Mock {
    /// Ends it; what it said on stderr.
    pub(crate) fn ends_saying(&mut self) -> String {
        self.end("-TERM");
        let mut said = String::new();
        let stderr = self.child.stderr.as_mut();
        stderr.map(|stderr| stderr.read_to_string(&mut said).unwrap());
        said
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        // It may have been ended.
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The one JSON object on stdout.
pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_str(&stdout(output))
        .unwrap_or_else(|error| panic!("{error}: {} {}", stdout(output), stderr(output)))
}

/// Every byte below `folder`.
pub(crate) fn all_bytes(folder: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        bytes.extend(if path.is_dir() { all_bytes(&path) } else { fs::read(path).unwrap() });
    }
    bytes
}

pub(crate) fn sleep(millis: u64) {
    #[expect(clippy::disallowed_methods, reason = "the process under test runs in real time")]
    std::thread::sleep(Duration::from_millis(millis));
}

/// Begins a run and waits until `holds`, for a minute at most.
///
/// # Panics
///
/// With what the run said, where it ends before that.
pub(crate) fn begun(command: &mut Command, holds: impl FnMut() -> bool) -> Child {
    let run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until(run, holds)
}

/// The same, for a run that has begun.
pub(crate) fn wait_until(mut run: Child, mut holds: impl FnMut() -> bool) -> Child {
    for _ in 0..60_000 {
        let has_ended = run.try_wait().unwrap().is_some();
        if holds() {
            return run;
        }
        if has_ended {
            break;
        }
        sleep(1);
    }
    // It may have ended.
    let _ = run.kill();
    let output = run.wait_with_output().unwrap();
    let said = (stdout(&output), stderr(&output));
    panic!("what is waited for did not come; {}: {}{}", output.status, said.0, said.1);
}

pub(crate) fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
}

pub(crate) fn nanos(value: &Value) -> u64 {
    value.as_str().unwrap().parse::<agent_core::money::NanoUsd>().unwrap().nanos()
}

/// What the mock billed, at the price of Claude Haiku 4.5: $1 and $5 a million tokens.
pub(crate) fn billed(place: &Place) -> u64 {
    let line = |line: &str| {
        let bill: Value = serde_json::from_str(line).unwrap();
        bill["input_tokens"].as_u64().unwrap() * 1_000
            + bill["output_tokens"].as_u64().unwrap() * 5_000
    };
    place.read("ledger.jsonl").lines().map(line).sum()
}

pub(crate) fn ids(place: &Place) -> BTreeSet<String> {
    let outcomes = place.outcomes();
    let ids: BTreeSet<String> =
        outcomes.iter().map(|outcome| outcome["task_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), outcomes.len(), "an outcome is there twice");
    ids
}
