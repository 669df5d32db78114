//! The scenarios in `examples/scenarios`: each is read as it stands, runs, and shows what it is for.

use std::path::{Path, PathBuf};

use agent_core::task::ErrorCode;
use agent_sim::report::Report;
use agent_sim::scenario::{Change, Scenario};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/scenarios")
}

/// The report of an example made small: one run, less of it.
fn small(name: &str, less: &[&str]) -> Report {
    let mut changes: Vec<Change> = less.iter().map(|change| change.parse().unwrap()).collect();
    for change in ["run.replicas=1", "run.sensitivity=false"] {
        changes.push(change.parse().unwrap());
    }
    let scenario = Scenario::load(&folder().join(name), &changes).unwrap();
    Report::of(&scenario).unwrap()
}

#[test]
fn every_example_is_read_as_it_stands_and_begins_with_its_question_and_its_command() {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let scenarios: Vec<PathBuf> = entries.collect();
    assert!(scenarios.len() >= 5, "{scenarios:?}");
    for path in scenarios {
        Scenario::load(&path, &[]).unwrap_or_else(|error| panic!("{error}"));
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy();
        let command = format!("# impresario simulate examples/scenarios/{name} --report report");
        let comment: Vec<&str> = text.lines().take_while(|line| line.starts_with('#')).collect();
        assert_eq!(comment.last(), Some(&&*command), "{name}");
        assert!(comment.concat().contains('?') || comment.len() > 2, "{name} asks something");
    }
}

/// What an error says is known where `path` is given a key or a kind that is none.
fn known(path: &str) -> Vec<String> {
    let change: Change = format!("{path}=qqqqqqqqqq").parse().unwrap();
    let said = Scenario::load(&folder().join("keys.toml"), &[change]).unwrap_err().to_string();
    let list = said.split_once("known here: ").or_else(|| said.split_once("write one of "));
    let (_, list) = list.unwrap_or_else(|| panic!("{path}: {said}"));
    list.split(", ").map(|key| key.trim_matches('"').to_owned()).collect()
}

#[test]
fn the_example_of_all_keys_has_all_keys() {
    let text = std::fs::read_to_string(folder().join("keys.toml")).unwrap();
    let words: Vec<&str> =
        text.split(|c: char| !(c.is_alphanumeric() || "-_".contains(c))).collect();
    let places = [
        "qq",
        "run.qq",
        "goal.qq",
        "simulated.qq",
        "simulated.latency.qq",
        "simulated.load.qq",
        "simulated.limits.qq",
        "simulated.limits.enforcement",
        "workload.0.qq",
        "workload.0.priority",
        "workload.0.arrival.kind",
        "workload.1.arrival.qq",
        "workload.2.arrival.qq",
        "workload.3.arrival.qq",
        "workload.4.arrival.qq",
        "workload.5.arrival.qq",
        "workload.6.arrival.qq",
        "workload.0.input.kind",
        "workload.0.input.qq",
        "workload.0.turns.qq",
        "workload.0.growth.qq",
        "workload.0.output.qq",
        "workload.0.tool_gap.qq",
        "workload.7.input.qq",
        "workload.7.input.of",
        "fault.0.qq",
        "fault.0.effect",
    ];
    for place in places {
        for key in known(place) {
            assert!(words.contains(&&*key), "{place}: `{key}` is not in keys.toml");
        }
    }
}

#[test]
fn the_batch_ends() {
    let report = small("batch.toml", &["workload.0.count=300"]);
    assert!(report.verdict.met, "{:?}", report.verdict);
}

#[test]
fn the_day_has_quiet_hours_and_busy_ones() {
    let report = small("day.toml", &["workload.0.for=\"11h\""]);
    let run = report.first();
    let hour = (3_600_000_000_000 / run.series.length_ns) as usize;
    let arrived = |from: usize, to: usize| {
        run.series.sums[from * hour..to * hour].iter().map(|sums| sums.arrived).sum::<u64>()
    };
    assert!(arrived(9, 11) > 5 * arrived(2, 4), "{} and {}", arrived(9, 11), arrived(2, 4));
    assert_eq!(run.completed, run.arrived);
}

#[test]
fn sessions_read_most_of_their_context_from_the_cache() {
    let run = small("sessions.toml", &["workload.0.for=\"15m\""]).replicas.remove(0);
    assert!(run.attempts > 4 * run.arrived, "{} calls of {}", run.attempts, run.arrived);
    assert!(run.usage.cache_read_input_tokens > 2 * run.usage.input_tokens, "{:?}", run.usage);
}

#[test]
fn the_outage_is_retried_and_outlived() {
    let sooner = ["fault.0.at=\"1m\"", "fault.1.at=\"3m\"", "fault.2.at=\"9m\""];
    let run = small("outage.toml", &[&["workload.0.count=800"], &sooner[..]].concat());
    let run = run.first();
    assert!(run.retried > 20, "{}", run.retried);
    assert!(run.completed * 100 >= run.arrived * 99, "{} of {}", run.completed, run.arrived);
}

#[test]
fn the_budget_that_runs_out_fails_its_own_project_and_no_other() {
    let less = ["workload.0.count=200", "workload.1.count=80", "budget.0.limit=\"0.80\""];
    let report = small("budget.toml", &less);
    let run = report.first();
    assert!(run.failed > 0 && run.errors[&ErrorCode::BudgetExceeded] == run.failed, "{run:?}");
    let research = run.budgets.iter().find(|it| it.scope.to_string() == "project:research");
    let research = research.unwrap();
    assert!(research.fullest == research.total && research.total <= research.limit, "{research:?}");
    assert!(run.completed >= 80, "the other project is done: {}", run.completed);
}
