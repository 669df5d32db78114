//! Kinds of scenarios, each of which must have met what it is there for.

use agent_core::task::ErrorCode;

use super::{SEEDS, agree, fleet};
use crate::engine::Replica;

/// A workload of `coder`s.
fn work(rest: &str) -> String {
    format!("[[workload]]\nname = \"t\"\nagent = \"coder\"\n{rest}\n")
}

/// Tasks of several calls with tools between them.
const SESSIONS: &str = r#"
turns = { kind = "lognormal", median = 4, sigma = 0.6, max = 12 }
input = { kind = "lognormal", median = 2000, sigma = 0.8, max = 30000 }
growth = { kind = "lognormal", median = 400, sigma = 1.0, max = 5000 }
cached_share = 0.9
tool_gap = { kind = "lognormal", median = "1.8s", sigma = 1.4 }
"#;

const FAST: &str = "rate_limit = { calls = 1000 }";

fn agree_on(text: &str) -> [Replica; 2] {
    SEEDS.map(|seed| agree(text, seed))
}

#[test]
fn calls_that_come_at_random_times_within_a_limit_on_requests() {
    let text = fleet("requests_per_minute = 60", &format!("count = 40\n{FAST}"))
        + &work("count = 300\narrival = { kind = \"poisson\", rate = 1.5 }");
    for run in agree_on(&text) {
        assert!(run.waits[1] > 0, "nobody waited for a permit");
    }
}

#[test]
fn bursts_of_calls_within_limits_on_tokens() {
    let limits = "input_tokens_per_minute = 60000\noutput_tokens_per_minute = 9000";
    let text = fleet(limits, &format!("count = 30\nmax_tokens = 1500\n{FAST}"))
        + &work("count = 200\narrival = { kind = \"gamma\", rate = 1.0, cv = 4.0 }");
    for run in agree_on(&text) {
        assert!(run.waits[1] > 0, "nobody waited for a permit");
    }
}

#[test]
fn sessions_with_turns_and_gaps() {
    let limits = "requests_per_minute = 200\nmax_concurrent = 12";
    let text = fleet(limits, &format!("count = 25\n{FAST}"))
        + &work(&format!("count = 80\narrival = {{ kind = \"poisson\", rate = 0.5 }}\n{SESSIONS}"));
    for run in agree_on(&text) {
        assert!(run.attempts > 240 && run.waits[5] > 0, "{}", run.attempts);
    }
}

#[test]
fn workers_that_rest_by_their_own_limit() {
    let text = fleet("", "count = 6\nrate_limit = { calls = 3, per = \"20s\" }")
        + &work(&format!("count = 60\n{SESSIONS}"));
    agree_on(&text);
    let text = fleet("", "count = 5\nrate_limit = { calls = 1, per = \"9s\" }")
        + &work("count = 90\narrival = { kind = \"poisson\", rate = 0.7 }");
    agree_on(&text);
}

#[test]
fn a_provider_that_is_stricter_than_the_fleet_thinks() {
    for enforcement in ["bucket", "sliding"] {
        let text = fleet("requests_per_minute = 400", &format!("count = 30\n{FAST}"))
            + &work("count = 60")
            + &format!(
                "[simulated]\nlimits = {{ requests_per_minute = 12, output_tokens_per_minute = \
                 200000, enforcement = \"{enforcement}\" }}\n\
                 [retry]\nmax_attempts = 8\n"
            );
        for run in agree_on(&text) {
            assert!(run.rate_limited > 0, "{enforcement}: nobody was refused");
        }
    }
}

#[test]
fn faults_of_all_kinds_with_retries() {
    let faults = r#"
[retry]
max_attempts = 5
[timeouts]
base = "20s"
[[fault]]
effect = "status"
mean_gap = "40s"
mean_length = "20s"
share = 0.5
[[fault]]
effect = "status"
status = 500
retry_after = "3s"
first_calls = 1
[[fault]]
effect = "outage"
at = "1m"
for = "10s"
[[fault]]
effect = "hang"
at = "90s"
for = "10s"
share = 0.3
[[fault]]
effect = "reset"
mean_gap = "30s"
mean_length = "20s"
share = 0.4
[[fault]]
effect = "slow"
factor = 9.0
at = "20s"
for = "30s"
[[fault]]
effect = "limits"
factor = 0.3
at = "30s"
for = "1m"
"#;
    let text = fleet("requests_per_minute = 300", &format!("count = 15\n{FAST}"))
        + &work(&format!("count = 60\narrival = {{ kind = \"poisson\", rate = 0.5 }}\n{SESSIONS}"))
        + faults;
    for run in agree_on(&text) {
        assert!(run.retried > 20 && !run.presumed.is_zero(), "{}", run.retried);
    }
}

#[test]
fn a_storm_that_pauses_everybody() {
    let text = fleet("max_concurrent = 20", &format!("count = 40\n{FAST}"))
        + &work("count = 400")
        + "[[fault]]\neffect = \"status\"\nstatus = 429\nretry_after = \"7s\"\nshare = 0.1\n\
           at = \"0s\"\nfor = \"10m\"\n";
    for run in agree_on(&text) {
        assert!(run.rate_limited > 20, "{}", run.rate_limited);
    }
}

#[test]
fn failures_that_end_their_tasks() {
    let text = fleet("max_concurrent = 20\nmax_wait = \"4s\"", &format!("count = 40\n{FAST}"))
        + &work("count = 150")
        + "[retry]\nmax_attempts = 1\n[[fault]]\neffect = \"status\"\nstatus = 400\nshare = 0.2\nat = \"0s\"\nfor = \"1h\"\n\
           [[fault]]\neffect = \"status\"\nstatus = 401\nshare = 0.1\nat = \"0s\"\nfor = \"1h\"\n\
           [[fault]]\neffect = \"hang\"\nshare = 0.1\nat = \"0s\"\nfor = \"1h\"\n";
    for run in agree_on(&text) {
        for code in [
            ErrorCode::InvalidRequest,
            ErrorCode::Authentication,
            ErrorCode::Timeout,
            ErrorCode::RateLimitWaitExceeded,
        ] {
            assert!(run.errors.contains_key(&code), "{code:?}: {:?}", run.errors);
        }
    }
}

#[test]
fn budgets_that_refuse_once_what_is_in_flight_has_come_back() {
    for scope in ["global", "project:web", "model:claude-sonnet-4-5", "agent:coder", "task:*"] {
        let limit = if scope == "task:*" { "0.07" } else { "1.20" };
        let text = fleet("max_concurrent = 30", &format!("count = 30\nmax_tokens = 1000\n{FAST}"))
            + &work(&format!("count = 60\nproject_id = \"web\"\n{SESSIONS}"))
            + &format!("[[budget]]\nscope = \"{scope}\"\nlimit = \"{limit}\"\n");
        for run in agree_on(&text) {
            assert!(run.errors.contains_key(&ErrorCode::BudgetExceeded), "{scope}");
            assert!(run.completed > 0, "{scope}");
        }
    }
}

#[test]
fn two_budgets_over_the_same_calls() {
    let text = fleet("max_concurrent = 9", &format!("count = 30\nmax_tokens = 1000\n{FAST}"))
        + &work(&format!("count = 60\nproject_id = \"web\"\n{SESSIONS}"))
        + "[[budget]]\nscope = \"global\"\nlimit = \"2.00\"\n\
           [[budget]]\nscope = \"project:web\"\nlimit = \"1.10\"\n\
           [[budget]]\nscope = \"task:*\"\nlimit = \"0.09\"\n";
    for run in agree_on(&text) {
        assert!(run.errors.contains_key(&ErrorCode::BudgetExceeded));
    }
}

#[test]
fn a_task_may_not_cost_more_than_it_may() {
    let text = "[guards]\nmax_cost_per_task = \"0.08\"\n".to_owned()
        + &fleet("", &format!("count = 8\nmax_tokens = 1000\n{FAST}"))
        + &work(&format!("count = 60\n{SESSIONS}"))
        + "[[fault]]\neffect = \"reset\"\nshare = 0.3\nat = \"0s\"\nfor = \"1h\"\n";
    for run in agree_on(&text) {
        assert!(run.errors.contains_key(&ErrorCode::CostLimitExceeded), "{:?}", run.errors);
    }
}

#[test]
fn users_who_send_the_next_when_they_have_their_answer() {
    let arrival = "arrival = { kind = \"closed\", users = 12, think = { kind = \"lognormal\", \
                   median = \"4s\", sigma = 1.0 } }";
    let text = fleet("requests_per_minute = 80", &format!("count = 10\n{FAST}"))
        + &work(&format!("count = 120\n{arrival}\n{SESSIONS}"));
    agree_on(&text);
    let text =
        fleet("", &format!("count = 10\n{FAST}")) + &work(&format!("for = \"5m\"\n{arrival}"));
    agree_on(&text);
}

#[test]
fn several_agents_and_workloads_of_several_priorities() {
    let text = r#"
[limits]
requests_per_minute = 150
max_concurrent = 10
[[agent]]
name = "coder"
model = "claude-sonnet-4-5"
count = 5
[[agent]]
name = "critic"
model = "claude-haiku-4-5"
count = 3
max_tokens = 500
[simulated]
load = { sigma = 0.3, reversion = "1m" }
[[workload]]
name = "anyone"
count = 60
arrival = { kind = "weibull", rate = 0.5, shape = 0.6 }
priority = "low"
[[workload]]
name = "code"
agent = "coder"
count = 60
priority = "high"
arrival = { kind = "profile", steps = [{ for = "1m", rate = 0.2 }, { for = "30s", rate = 2.0 }], repeat = true }
[[workload]]
name = "batch"
count = 60
"#;
    agree_on(text);
}
