//! What the engine does with small scenarios.

use super::*;

const BATCH: &str = r#"
[limits]
requests_per_minute = 600
[[agent]]
name = "coder"
model = "claude-sonnet-4-5"
count = 20
max_tokens = 1000
rate_limit = { calls = 1000 }
[[workload]]
name = "coder"
count = 200
turns = { kind = "lognormal", median = 3, sigma = 0.5, max = 10 }
input = 3000
growth = 400
cached_share = 0.9
tool_gap = { kind = "lognormal", median = "1.8s", sigma = 1.0 }
"#;

#[test]
fn all_tasks_of_a_batch_are_done_and_their_time_is_accounted_for() {
    let run = simulate(&Scenario::parse(BATCH).unwrap(), 1).unwrap();
    assert_eq!((run.end, run.arrived, run.completed), (End::AllDone, 200, 200));
    assert!(run.attempts > 400, "{}", run.attempts);
    let waited: u128 = run.waits.iter().map(|ns| u128::from(*ns)).sum();
    assert_eq!(waited, run.latency_sum_ns);
}
