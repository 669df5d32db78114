//! Verdicts, bottlenecks and the JSON of small scenarios.

use super::*;
use crate::scenario::Change;

const QUEUE: &str = r#"
[run]
seed = 5
replicas = 3
[limits]
max_concurrent = 1000
[simulated]
latency = { base = "2s", sigma = 0.1 }
[[agent]]
name = "a"
model = "claude-sonnet-4-5"
count = 10
rate_limit = { calls = 1000 }
[[workload]]
name = "w"
count = 100
"#;

/// Without the runs that find what is in the way.
fn plain(more: &str) -> Report {
    report(&QUEUE.replace("[run]", "[run]\nsensitivity = false"), more)
}

fn report(text: &str, more: &str) -> Report {
    Report::of(&Scenario::parse(&format!("{text}\n{more}")).unwrap()).unwrap()
}

#[test]
fn the_same_scenario_gives_the_same_json_byte_for_byte() {
    let json = || serde_json::to_string(&plain("").json()).unwrap();
    assert_eq!(json(), json());
}

#[test]
fn another_seed_gives_another_run() {
    let report = plain("");
    let hashes: Vec<u64> = report.replicas.iter().map(|run| run.event_hash).collect();
    assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2], "{hashes:?}");
}

#[test]
fn too_few_workers_are_in_the_way_where_tasks_queue_for_them() {
    let bottleneck = report(QUEUE, "").bottleneck;
    assert_eq!(bottleneck.name(), "workers");
    assert!(bottleneck.share > 0.8 && bottleneck.sensitivity < -0.1, "{bottleneck:?}");
}

#[test]
fn a_limit_is_in_the_way_where_workers_wait_for_it() {
    let limited = QUEUE.replace("max_concurrent = 1000", "requests_per_minute = 60");
    let report = report(&limited, "");
    assert_eq!(report.bottleneck.name(), "requests_per_minute");
    let used = report.uses.iter().find(|it| it.name == "requests_per_minute").unwrap();
    assert!(used.share > 0.9, "{used:?}");
}

#[test]
fn a_goal_is_met_or_it_is_said_what_is_missing() {
    let met = plain("[goal]\ndeadline = \"1m\"\nmax_cost_usd = \"10\"").verdict;
    assert!(met.met && met.why_not.is_empty(), "{met:?}");
    let late = plain("[goal]\ndeadline = \"10s\"").verdict;
    assert!(!late.met && late.why_not[0].starts_with("it takes "), "{late:?}");
}

#[test]
fn a_budget_that_runs_out_is_in_the_way_and_never_overspent() {
    let budget = "[[budget]]\nscope = \"global\"\nlimit = \"0.20\"";
    let report = report(QUEUE, budget);
    let run = report.first();
    assert!(run.failed > 0 && run.charged() <= "0.20".parse().unwrap(), "{run:?}");
    assert_eq!(report.bottleneck.name(), "budget");
}

#[test]
fn a_change_from_outside_counts_before_the_file() {
    let change: Change = "agent.0.count=20".parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.toml");
    std::fs::write(&path, QUEUE).unwrap();
    let makespan = |changes: &[Change]| {
        let scenario = Scenario::load(&path, changes).unwrap();
        Report::of(&scenario).unwrap().first().makespan
    };
    assert!(makespan(&[change]) < makespan(&[]) * 2 / 3);
}
