//! What scripts rely on: exit codes, JSON, files, error messages.

use serde_json::{Value, json};

use crate::support::{FLEET, Place, json, stderr, stdout};

#[test]
fn a_run_over_http_completes_every_task_and_sums_them_up() {
    let place = Place::new();
    place.write("fleet.toml", FLEET);
    place.tasks(20);
    let mock = place.mock("");
    let output = place.run(&mock.url, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));

    let summary = json(&output);
    assert_eq!(summary["status"], "finished");
    assert_eq!(summary["tasks"], json!({"total": 20, "completed": 20, "failed": 0}));
    let calls = json!({"attempts": 20, "succeeded": 20, "failed": 0, "retried": 0});
    assert_eq!(summary["calls"], calls);
    for key in ["run_id", "usage", "wall_ms", "latency_ms", "audit_warnings", "agents", "restarts"]
    {
        assert!(!summary[key].is_null(), "{key} is missing: {summary}");
    }
    let outcomes = place.outcomes();
    assert_eq!(outcomes.len(), 20);
    let first = &outcomes[0];
    assert_eq!((&first["status"], &first["error"]), (&json!("completed"), &Value::Null));
    assert!(first["agent_id"].as_str().unwrap().starts_with("clerk-"));
    assert_eq!(place.read("ledger.jsonl").lines().count(), 20);

    let usage = place.output(&["usage", "--by", "project", "--store", "store"]);
    let usage = json(&usage);
    assert_eq!(usage["rows"][0]["project_id"], "web");
    assert_eq!(usage["total"]["calls"], 20);
    assert_eq!(usage["total"]["cost_usd"], summary["cost_usd"]);
    let audit = place.output(&["audit", "--task", "7", "--store", "store"]);
    let events: Vec<Value> =
        stdout(&audit).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events[0]["event"], "llm_call_start");
    assert_eq!(events[1]["event"], "llm_call_success");
    assert_eq!(events.len(), 2);
}

#[test]
fn what_is_wrong_with_a_task_fails_that_task_alone() {
    let place = Place::new();
    let budget = "[[budget]]\nscope = \"project:*\"\nlimit = \"1.00\"\n";
    place.write("fleet.toml", &format!("{FLEET}{budget}"));
    let lines = [
        r#"{"id":"good","title":"t","project_id":"p"}"#,
        r#"{"id":"blank","project_id":"p"}"#,
        r#"{"id":"nobody pays","title":"t"}"#,
        r#"{"id":"unknown agent","title":"t","project_id":"p","agent":"poet"}"#,
        r#"{"id":"unknown model","title":"t","project_id":"p","model":"gpt-none"}"#,
        r#"{"id":"dear","title":"t","project_id":"p","model":"claude-opus-4-5","max_tokens":64000}"#,
    ];
    place.write("tasks.jsonl", &lines.join("\n"));
    let mock = place.mock("");
    let output = place.run(&mock.url, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let errors = &json(&output)["errors"];
    assert_eq!(errors, &json!({"INVALID_TASK": 4, "COST_LIMIT_EXCEEDED": 1}));
    // Nothing was asked of the provider but the one good task.
    assert_eq!(place.read("ledger.jsonl").lines().count(), 1);
    assert_eq!(place.outcomes().len(), 6);
}

#[test]
fn a_bad_line_fails_the_command_before_anything_runs_unless_it_is_skipped() {
    let place = Place::new();
    place.write("fleet.toml", FLEET);
    place.write("tasks.jsonl", "{\"id\":1,\"title\":\"a\"}\n{\"id\":2,\"titel\":\"b\"}\n");
    let mock = place.mock("");
    let output = place.run(&mock.url, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("line 2"), "{}", stderr(&output));
    assert!(stderr(&output).contains("`title`"), "{}", stderr(&output));
    assert!(!place.path("store").join("db").exists());

    let output = place.run(&mock.url, &["--skip-bad-tasks"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(place.outcomes().len(), 1);
}

#[test]
fn an_id_that_stands_twice_is_a_bad_line_wherever_it_stood_first() {
    let place = Place::new();
    let task = "[[task]]\nid = \"fleet\"\ntitle = \"t\"\n";
    place.write("fleet.toml", &format!("{FLEET}{task}"));
    let mock = place.mock("");
    for lines in [
        ["{\"id\":1,\"title\":\"a\"}", "{\"id\":\"1\",\"title\":\"b\"}"],
        ["{\"id\":1,\"title\":\"a\"}", "{\"id\":\"fleet\",\"title\":\"b\"}"],
    ] {
        place.write("tasks.jsonl", &lines.join("\n"));
        let output = place.run(&mock.url, &[]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        for word in ["tasks.jsonl", "line 2", "`id`", "--skip-bad-tasks"] {
            assert!(stderr(&output).contains(word), "{word}: {}", stderr(&output));
        }
        assert!(!place.path("store").join("db").exists());
    }
    let output = place.run(&mock.url, &["--skip-bad-tasks"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("line 2"), "{}", stderr(&output));
    assert_eq!(json(&output)["tasks"]["total"], 2);
}

#[test]
fn a_project_or_user_without_a_name_is_none_in_a_fleet_as_in_a_task_file() {
    let place = Place::new();
    let task = "[[task]]\nid = \"a\"\ntitle = \"t\"\nproject_id = \"\"\nuser_id = \" \"\n";
    place.write("fleet.toml", &format!("{FLEET}{task}"));
    place.write("tasks.jsonl", r#"{"id":"b","title":"t","project_id":"","user_id":" "}"#);
    let mock = place.mock("");
    let output = place.run(&mock.url, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let outcomes = place.outcomes();
    assert!(outcomes.iter().all(|outcome| outcome["project_id"].is_null()), "{outcomes:?}");
    let audit = place.output(&["audit", "--event", "llm_call_start", "--store", "store"]);
    for line in stdout(&audit).lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert!(event["project_id"].is_null() && event["user_id"].is_null(), "{event}");
    }
}

#[test]
fn an_agent_that_asks_for_more_than_a_minutes_output_is_refused_with_its_place() {
    let place = Place::new();
    let fleet = FLEET.replace("[[budget]]", "[limits]\noutput_tokens_per_minute = 99\n[[budget]]");
    place.write("fleet.toml", &fleet);
    place.tasks(1);
    let line = 1 + fleet.lines().position(|line| line.starts_with("max_tokens")).unwrap();
    for args in [&["check", "fleet.toml"][..], &["run", "fleet.toml", "--tasks", "tasks.jsonl"]] {
        let output = place.output(args);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        let place = format!("fleet.toml:{line}");
        for word in [&place, "agent[0].max_tokens", "100", "output_tokens_per_minute", "99"] {
            assert!(stderr(&output).contains(word), "{word}: {}", stderr(&output));
        }
    }
}

#[test]
fn a_budget_is_never_overspent_and_names_itself_when_it_has_no_room() {
    let place = Place::new();
    let fleet = FLEET.replace("\"5.00\"", "\"0.0021\"");
    place.write("fleet.toml", &fleet);
    place.tasks(20);
    let mock = place.mock("[output]\ntokens = 100\n");
    let output = place.run(&mock.url, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let summary = json(&output);
    let cost: f64 = summary["cost_usd"].as_str().unwrap().parse().unwrap();
    assert!(cost > 0.0 && cost <= 0.0021, "{cost}");
    let refused: Vec<Value> =
        place.outcomes().into_iter().filter(|outcome| !outcome["error"].is_null()).collect();
    assert!(!refused.is_empty());
    for outcome in refused {
        assert_eq!(outcome["error"]["code"], "BUDGET_EXCEEDED");
        let message = outcome["error"]["message"].as_str().unwrap();
        assert!(message.contains("global") && message.contains("0.0021"), "{message}");
    }
}

#[test]
fn a_bad_key_stops_everything_and_is_never_shown() {
    let place = Place::new();
    place.write("fleet.toml", FLEET);
    place.tasks(1);
    for (key, says) in [
        (None, "ANTHROPIC_API_KEY"),
        (Some("sk-ant-admin01-secret5ecret"), "admin"),
        (Some(" sk-ant-api03-secret5ecret"), "white space"),
        (Some("sk-proj-secret5ecret"), "OpenAI"),
        (Some("sk-secret5ecretsecret5ecret"), "OpenAI"),
        (Some("sk-ant-"), "sk-ant-"),
    ] {
        for args in [&["check", "fleet.toml"][..], &["run", "fleet.toml", "--tasks", "tasks.jsonl"]]
        {
            let mut command = place.impresario(args);
            command.env_remove("ANTHROPIC_API_KEY");
            if let Some(key) = key {
                command.env("ANTHROPIC_API_KEY", key);
            }
            let output = command.output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{key:?}");
            let message = stderr(&output);
            assert!(!message.contains("secret5ecret"), "{message}");
            assert!(message.contains(says), "{key:?}: {message}");
        }
    }
}

#[test]
fn a_bad_fleet_is_named_with_its_line_and_the_nearest_key() {
    let place = Place::new();
    place.write("fleet.toml", "[limits]\nrequests_per_minut = 3\n[[agent]]\nname='a'\nmodel='m'\n");
    for args in [["check", "fleet.toml"], ["run", "fleet.toml"]] {
        let output = place.output(&args);
        assert_eq!(output.status.code(), Some(2));
        let message = stderr(&output);
        assert!(message.contains("fleet.toml:2"), "{message}");
        assert!(message.contains("requests_per_minute"), "{message}");
    }
}
