//! What was spent, asked for by every name that it goes by.

use serde_json::Value;

use crate::support::{FLEET, Place, json, stderr, stdout};

fn calls(place: &Place, args: &[&str]) -> u64 {
    let output = place.output(&[&["usage", "--store", "store"], args].concat());
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
    json(&output)["total"]["calls"].as_u64().unwrap()
}

fn played(tasks: usize) -> Place {
    let place = Place::new();
    place.write("fleet.toml", FLEET);
    place.tasks(tasks);
    let mock = place.mock("");
    let output = place.run(&mock.url, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    place
}

#[test]
fn an_agent_a_worker_of_it_and_a_model_by_any_name_are_found() {
    let place = played(12);
    let worker = place.outcomes()[0]["agent_id"].as_str().unwrap().to_owned();
    let its = place.outcomes().iter().filter(|it| it["agent_id"] == *worker).count() as u64;
    assert!((1..12).contains(&its), "{worker} has {its}");
    for (args, expected) in [
        (&["--agent", "clerk"][..], 12),
        (&["--agent", &worker], its),
        (&["--agent", &worker, "--by", "day", "--since", "1h"], its),
        (&["--agent", "nobody"], 0),
        (&["--model", "claude-haiku-4-5"], 12),
        (&["--model", "claude-haiku-4-5-20251001", "--by", "agent"], 12),
        (&["--model", "anthropic/claude-haiku-4-5"], 12),
        (&["--model", "claude-sonnet-4-5"], 0),
    ] {
        assert_eq!(calls(&place, args), expected, "{args:?}");
    }
    let by_agent = json(&place.output(&["usage", "--by", "agent", "--store", "store"]));
    assert_eq!(by_agent["rows"][0]["agent_id"], "clerk");
    for (agent, lines) in [("clerk", 12), (&worker, its)] {
        let args = ["usage", "export", "--agent", agent, "--store", "store"];
        assert_eq!(stdout(&place.output(&args)).lines().count() as u64, lines, "{agent}");
    }
}

#[test]
fn every_record_is_exported_in_either_form() {
    let place = played(3);
    let export = |format| {
        let args = ["usage", "export", "--format", format, "--store", "store"];
        stdout(&place.output(&args))
    };
    let records: Vec<Value> =
        export("jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 3);
    assert!(records.iter().all(|it| it["cost_usd"].is_string() && it["key"] == "sk-ant-***wxyz"));
    let csv = export("csv");
    assert!(csv.starts_with("call_id,attempt,timestamp,run_id,task_id,"), "{csv}");
    assert_eq!(csv.lines().count(), 4);
}

#[test]
fn a_dimension_that_stands_twice_is_refused_and_a_store_without_calls_has_a_total() {
    let place = Place::new();
    place.write("fleet.toml", FLEET);
    place.write("tasks.jsonl", "{\"id\":1}\n");
    let mock = place.mock("");
    assert_eq!(place.run(&mock.url, &[]).output().unwrap().status.code(), Some(1));
    let output = place.output(&["usage", "--by", "project,project", "--store", "store"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--by: project stands twice"), "{}", stderr(&output));
    assert_eq!(calls(&place, &["--by", "project"]), 0);
    assert_eq!(calls(&place, &[]), 0);
    let table = place.output(&["usage", "--by", "day", "--format", "table", "--store", "store"]);
    assert!(stdout(&table).contains("total"), "{}", stdout(&table));
}

#[test]
fn without_a_word_on_rows_there_is_one_for_each_project() {
    let place = played(12);
    let usage = json(&place.output(&["usage", "--store", "store"]));
    let by_project = json(&place.output(&["usage", "--store", "store", "--by", "project"]));
    assert_eq!(usage, by_project);
    assert_eq!(usage["rows"][0]["project_id"], "web", "{usage}");
}

#[test]
fn what_a_question_about_usage_would_leave_unheard_is_refused() {
    let place = played(1);
    for (args, says) in [
        (&["usage", "--by", "day", "export"][..], "leave out --by"),
        (&["usage", "--since", "2026-11-02", "--until", "2026-11-01"], "--until: 2026-11-01"),
    ] {
        let output = place.output(&[args, &["--store", "store"]].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stdout(&output));
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
    }
    assert_eq!(calls(&place, &["--since", "2026-11-01", "--until", "2026-11-01"]), 0);
}
