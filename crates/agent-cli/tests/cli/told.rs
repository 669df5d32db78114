//! What is said of tasks: which failed and why, and what is written down of their calls.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::support::{FLEET, KEY, Place, all_bytes, begun, json, stderr, stdout};

/// The events of this name.
fn events(place: &Place, name: &str) -> Vec<Value> {
    let audit = place.output(&["audit", "--event", name, "--store", "store"]);
    stdout(&audit).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_table_names_the_first_ten_tasks_that_failed_and_why_and_counts_the_rest() {
    let place = Place::new();
    place.write("fleet.toml", FLEET);
    let lines: Vec<String> = (1..=13).map(|id| format!("{{\"id\":\"blank-{id}\"}}")).collect();
    place.write("tasks.jsonl", &lines.join("\n"));
    let mock = place.mock("");
    let output = place.run(&mock.url, &["--format", "table"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let text = stdout(&output);
    let named = text.lines().filter(|line| line.contains("INVALID_TASK") && line.contains("blank"));
    let named: Vec<&str> = named.collect();
    assert_eq!(named.len(), 10, "{text}");
    assert!(named.iter().all(|line| line.contains("neither a title nor a description")), "{text}");
    assert!(text.contains("3 more"), "{text}");
}

#[test]
fn a_retry_that_the_cost_guard_refuses_is_neither_announced_nor_counted() {
    let place = Place::new();
    let guard = "[guards]\nmax_cost_per_task = \"0.0010\"\n";
    place.write("fleet.toml", &format!("{FLEET}{guard}"));
    place.tasks(1);
    let mock = place.mock("[[fault]]\nkind = \"reset\"\ncalls = [1]\n");
    let output = place.run(&mock.url, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let summary = json(&output);
    assert_eq!(summary["errors"]["COST_LIMIT_EXCEEDED"], 1, "{summary}");
    assert_eq!(summary["calls"]["attempts"], 1);
    assert_eq!(summary["calls"]["retried"], 0);
    assert_eq!(events(&place, "llm_call_failure")[0]["will_retry"], false);
}

#[test]
fn the_input_that_is_shown_is_the_estimate_and_not_the_bound() {
    let place = Place::new();
    place.write("fleet.toml", FLEET);
    let title = "x".repeat(3_000);
    place.write("tasks.jsonl", &format!("{{\"id\":1,\"title\":\"{title}\"}}\n"));
    let mock = place.mock("");
    assert_eq!(place.run(&mock.url, &[]).output().unwrap().status.code(), Some(0));
    let shown = events(&place, "llm_call_start")[0]["estimated_input_tokens"].as_u64().unwrap();
    // A third of some 3,600 bytes, and 64.
    assert!((1_000..2_000).contains(&shown), "{shown}");
}

#[test]
fn an_attempt_that_the_deadline_cuts_is_not_said_to_have_had_its_whole_timeout() {
    let place = Place::new();
    place.write("fleet.toml", FLEET);
    place.write("tasks.jsonl", "{\"id\":1,\"title\":\"t\",\"deadline\":\"400ms\"}\n");
    let mock = place.mock("[[fault]]\nkind = \"hang\"\ncalls = [1]\n");
    let output = place.run(&mock.url, &[]).output().unwrap();
    assert_eq!(json(&output)["errors"]["DEADLINE_EXCEEDED"], 1, "{}", stderr(&output));
    let message = events(&place, "llm_call_failure")[0]["error_message"].to_string();
    assert!(message.contains("deadline") && !message.contains("31s"), "{message}");
}

/// Answers one request with what it was sent as a key.
fn echo(mut stream: &TcpStream) {
    let mut reader = BufReader::new(stream);
    let (mut key, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim().split_once(": ") {
            Some(("x-api-key", value)) => value.clone_into(&mut key),
            Some(("content-length", value)) => length = value.parse().unwrap(),
            None if line.trim().is_empty() => break,
            _ => {}
        }
    }
    reader.read_exact(&mut vec![0; length]).unwrap();
    let (head, tail) = key.split_at(20);
    let body = serde_json::json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-4-5",
        "content": [
            { "type": "text", "text": format!("your key is {key}, that is {head}") },
            { "type": "text", "text": tail },
        ],
        "stop_reason": "end_turn", "usage": { "input_tokens": 10, "output_tokens": 10 },
    });
    let body = body.to_string();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
    write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
}

#[test]
fn a_key_that_the_provider_echoes_is_masked_wherever_the_answer_is_kept() {
    let place = Place::new();
    place.write("fleet.toml", FLEET);
    place.tasks(1);
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.local_addr().unwrap());
    server.set_nonblocking(true).unwrap();
    let mut request = None;
    let run = begun(&mut place.run(&url, &["-vvv"]), || {
        request = server.accept().ok();
        request.is_some()
    });
    let (stream, _) = request.unwrap();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    echo(&stream);
    // Nobody is answered twice: a run that asks again is told at once.
    drop((server, stream));
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let masked = "your key is sk-ant-***wxyz, that is sk-ant-***wxyz";
    assert_eq!(place.outcomes()[0]["output"], masked);
    let mut seen = all_bytes(&place.path("store"));
    seen.extend([output.stdout, output.stderr].concat());
    let secret = &KEY.as_bytes()["sk-ant-api03-".len()..KEY.len() - 4];
    assert!(!seen.windows(secret.len()).any(|window| window == secret), "the key is shown");
}

#[test]
fn an_event_that_there_is_not_is_refused_and_the_nearest_is_named() {
    let place = Place::new();
    place.write("fleet.toml", FLEET);
    place.tasks(1);
    let mock = place.mock("");
    assert_eq!(place.run(&mock.url, &[]).output().unwrap().status.code(), Some(0));
    let audit = place.output(&["audit", "--store", "store", "--event", "llm_call_sucess"]);
    assert_eq!(audit.status.code(), Some(2), "{}", stdout(&audit));
    for word in ["--event", "llm_call_sucess", "'llm_call_success'", "prompt_truncated"] {
        assert!(stderr(&audit).contains(word), "{word}: {}", stderr(&audit));
    }
    assert_eq!(events(&place, "llm_call_success").len(), 1);
    // One that has not occurred is no mistake.
    let none = place.output(&["audit", "--store", "store", "--event", "key_rotated"]);
    assert_eq!((none.status.code(), stdout(&none).as_str()), (Some(0), ""));
}

#[test]
fn a_task_file_without_a_task_is_said_to_be_empty_and_is_no_failure() {
    let place = Place::new();
    place.write("fleet.toml", FLEET);
    place.write("tasks.jsonl", "\n");
    let mock = place.mock("");
    let output = place.run(&mock.url, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(json(&output)["tasks"]["total"], 0);
    assert!(stderr(&output).contains("tasks.jsonl has no task"), "{}", stderr(&output));
    let quiet = place.run(&mock.url, &["--quiet"]).output().unwrap();
    assert!(!stderr(&quiet).contains("has no task"), "{}", stderr(&quiet));
}

#[test]
fn a_budget_that_stops_the_run_is_told_once_however_many_workers_it_refuses() {
    let place = Place::new();
    let budget = "[[budget]]\nscope = \"project:web\"\nlimit = \"0.001\"\n\
                  on_exhausted = \"stop_run\"\n";
    place.write("fleet.toml", &format!("{}{budget}", FLEET.replace("count = 4", "count = 20")));
    place.tasks(60);
    let mock = place.mock("[latency]\nbase = \"50ms\"\n");
    let output = place.run(&mock.url, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert_eq!(stderr(&output).matches("budget used up").count(), 1, "{}", stderr(&output));
}
