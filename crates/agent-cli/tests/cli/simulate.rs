//! `simulate` and `plan`: what they print, how they end, and what they refuse.

use serde_json::Value;

use crate::support::{Place, json, stderr, stdout};

const SCENARIO: &str = r#"
[goal]
deadline = "2m"
[simulated]
latency = { base = "1s", sigma = 0.2 }
[[agent]]
name = "a"
model = "claude-haiku-4-5"
count = 5
rate_limit = { calls = 1000 }
[[workload]]
name = "w"
count = 40
"#;

fn place() -> Place {
    let place = Place::new();
    place.write("s.toml", SCENARIO);
    place
}

#[test]
fn the_json_has_what_scripts_read_and_is_the_same_twice() {
    let place = place();
    let run = || place.output(&["simulate", "s.toml", "--format", "json", "--seed", "7"]);
    let (first, second) = (run(), run());
    assert_eq!(first.status.code(), Some(0), "{}", stderr(&first));
    assert_eq!(first.stdout, second.stdout);
    let report = json(&first);
    assert_eq!(report["seed"], 7);
    assert_eq!(report["goal_met"], true);
    assert_eq!(report["tasks"]["total"], 40);
    assert_eq!(
        (&report["tasks"]["completed"], &report["tasks"]["failed"]),
        (&40.into(), &0.into())
    );
    for (object, keys) in [
        ("latency_ms", &["mean", "p50", "p90", "p95", "p99"][..]),
        ("waits_ms", &["queue", "permit", "money", "backoff", "provider", "tools"]),
        ("bottleneck", &["name", "share", "sensitivity"]),
        ("limits", &["workers", "max_concurrent"]),
    ] {
        for key in keys {
            assert!(!report[object][key].is_null(), "{object}.{key}: {report}");
        }
    }
    assert!(report["makespan_ms"].is_u64() && report["event_hash"].is_string(), "{report}");
    assert!(report["cost_usd"].is_string() && report["presumed_cost_usd"].is_string(), "{report}");
}

#[test]
fn a_goal_that_is_not_met_ends_with_1_and_a_scenario_that_is_wrong_with_2() {
    let place = place();
    let late = place.output(&["simulate", "s.toml", "--set", "goal.deadline=2s"]);
    assert_eq!(late.status.code(), Some(1), "{}", stderr(&late));
    for (set, says) in [
        ("workload.0.imput=1", "did you mean `input`?"),
        ("agent.7.count=1", "from 0 to below 1"),
        ("run.seed", "write PATH=VALUE"),
    ] {
        let wrong = place.output(&["simulate", "s.toml", "--set", set]);
        assert_eq!(wrong.status.code(), Some(2), "{set}");
        assert!(stderr(&wrong).contains(says), "{set}: {}", stderr(&wrong));
        assert!(stdout(&wrong).is_empty());
    }
    place.write("bad.jsonl", "{}");
    let bad = stderr(&place.output(&["simulate", "s.toml", "--tasks", "bad.jsonl"]));
    assert!(bad.contains("bad.jsonl, line 1: `id` is missing"), "{bad}");
    assert!(!bad.contains("--skip-bad-tasks"), "it has no such flag: {bad}");
    let missing = place.output(&["simulate", "nothing.toml"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(stderr(&missing).contains("nothing.toml"), "{}", stderr(&missing));
}

#[test]
fn what_befalls_a_simulated_fleet_is_no_error_of_the_command_and_is_logged_where_more_is_asked_for()
{
    let place = place();
    let budget = "budget=[{scope=\"global\",limit=\"0.005\",on_exhausted=\"stop_run\"}]";
    let told = |more: &[&str]| {
        let output = place.output(&[&["simulate", "s.toml", "--set", budget], more].concat());
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        stderr(&output)
    };
    assert_eq!(told(&["--quiet"]), "");
    assert!(!told(&[]).contains("ERROR"), "{}", told(&[]));
    assert!(told(&["-v"]).contains("budget used up"), "{}", told(&["-v"]));
}

#[test]
fn a_sweep_has_a_point_for_each_combination_in_order() {
    let place = place();
    let sweep = ["--sweep", "agent.0.count=2,4", "--sweep", "workload.0.count=5..15:5"];
    let output = place.output(&[&["simulate", "s.toml", "--format", "json"], &sweep[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let points = json(&output)["points"].as_array().unwrap().clone();
    let set = |point: &Value| {
        let set = &point["set"];
        (set["agent.0.count"].clone(), set["workload.0.count"].clone())
    };
    let seen: Vec<_> = points.iter().map(set).collect();
    let expected = ["2", "4"].map(|a| ["5", "10", "15"].map(|b| (a.into(), b.into())));
    assert_eq!(seen, expected.concat());
    let makespan = |place: usize| points[place]["report"]["makespan_ms"].as_u64().unwrap();
    assert!(makespan(5) < makespan(2), "four workers are faster than two");
}

#[test]
fn a_report_is_written_into_its_folder() {
    let place = place();
    let output = place.output(&["simulate", "s.toml", "--report", "out", "--format", "table"]);
    assert!(stdout(&output).starts_with("GOAL MET"), "{}", stdout(&output));
    assert!(stdout(&output).lines().count() <= 15, "{}", stdout(&output));
    let report: Value = serde_json::from_str(&place.read("out/report.json")).unwrap();
    assert_eq!(report["goal_met"], true);
}

#[test]
fn a_plan_names_the_smallest_fleet_or_says_that_there_is_none() {
    let place = place();
    place.write("s.toml", &SCENARIO.replace("count = 40", "count = 20"));
    let plan = |deadline: &str| {
        let set = format!("goal.deadline={deadline}");
        place.output(&["plan", "s.toml", "--format", "json", "--set", &set])
    };
    let found = plan("6s");
    assert_eq!(found.status.code(), Some(0), "{}", stderr(&found));
    let best = &json(&found)["best"];
    assert!((4..=6).contains(&best["workers"].as_u64().unwrap()), "{best}");
    assert!(best["budget_usd"].is_string(), "{best}");
    let none = plan("10ms");
    assert_eq!((none.status.code(), json(&none)["met"].as_bool()), (Some(1), Some(false)));
    place.write("s.toml", &SCENARIO.replace("[goal]\ndeadline = \"2m\"\n", ""));
    let no_goal = place.output(&["plan", "s.toml"]);
    assert_eq!(no_goal.status.code(), Some(2), "{}", stdout(&no_goal));
}

#[test]
fn the_tasks_of_a_run_can_be_rehearsed_as_they_are() {
    let place = place();
    place.write("fleet.toml", crate::support::FLEET);
    place.tasks(12);
    let args = ["simulate", "fleet.toml", "--tasks", "tasks.jsonl", "--format", "json"];
    let output = place.output(&args);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(json(&output)["tasks"]["completed"], 12);
    place.write("tasks.jsonl", "{\"id\":1,\"title\":\"a\"}\n{\"id\":1,\"title\":\"b\"}\n");
    let twice = place.output(&args);
    assert_eq!(twice.status.code(), Some(2));
    assert!(stderr(&twice).contains("tasks.jsonl, line 2"), "{}", stderr(&twice));
}
