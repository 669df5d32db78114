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
count = 60
turns = { kind = "lognormal", median = 3, sigma = 0.5, max = 10 }
input = 3000
growth = 400
cached_share = 0.9
tool_gap = { kind = "lognormal", median = "1.8s", sigma = 1.0 }
"#;

#[test]
fn all_tasks_of_a_batch_are_done_and_their_time_is_accounted_for() {
    let run = simulate(&Scenario::parse(BATCH).unwrap(), 1).unwrap();
    assert_eq!((run.end, run.arrived, run.completed), (End::AllDone, 60, 60));
    assert!(run.attempts > 120, "{}", run.attempts);
    let waited: u128 = run.waits.iter().map(|ns| u128::from(*ns)).sum();
    assert_eq!(waited, run.latency_sum_ns);
}

#[test]
fn an_answer_without_a_word_costs_its_input_alone() {
    let text = BATCH.replace("count = 60", "count = 1\noutput = 0");
    let text =
        text.replace("turns = { kind = \"lognormal\", median = 3, sigma = 0.5, max = 10 }", "");
    let run = simulate(&Scenario::parse(&text).unwrap(), 1).unwrap();
    assert_eq!((run.completed, run.usage.output_tokens), (1, 0));
    // 300 tokens at 3 dollars a million, and 2,700 that are written to the cache at 3.75.
    assert_eq!(run.charged().to_string(), "0.011025");
}

#[test]
fn a_run_whose_time_is_over_ends_with_tasks_open() {
    let scenario = format!("[run]\nuntil = \"5s\"\n{BATCH}");
    let run = simulate(&Scenario::parse(&scenario).unwrap(), 1).unwrap();
    assert_eq!(run.end, End::TimeOver);
    assert!(run.completed < 60 && run.makespan <= Duration::from_secs(5), "{run:?}");
}

#[test]
fn tasks_arrive_when_their_process_says_and_users_wait_for_their_answers() {
    let one = |arrival: &str| {
        let text = BATCH.replace("count = 60", &format!("count = 30\narrival = {arrival}"));
        simulate(&Scenario::parse(&text).unwrap(), 1).unwrap()
    };
    let steady = one("{ kind = \"gamma\", rate = 0.1, cv = 0 }");
    // Thirty tasks ten seconds apart.
    assert!(steady.makespan > Duration::from_secs(290), "{:?}", steady.makespan);
    let alone = one("{ kind = \"closed\", users = 1, think = \"1s\" }");
    let five = one("{ kind = \"closed\", users = 5, think = \"1s\" }");
    assert_eq!((alone.completed, five.completed), (30, 30));
    assert!(five.makespan < alone.makespan / 3, "{:?} {:?}", five.makespan, alone.makespan);
}

#[test]
fn a_provider_that_is_out_is_called_again_until_it_is_back() {
    let outage = "[[fault]]\nat = \"0s\"\nfor = \"4s\"\neffect = \"outage\"\n";
    let text = BATCH.replace("count = 60", "count = 5");
    let run = simulate(&Scenario::parse(&format!("{text}{outage}")).unwrap(), 1).unwrap();
    assert_eq!(run.completed, 5);
    assert!(run.retried >= 5 && run.waits[Stage::Backoff as usize] > 0, "{run:?}");
}

#[test]
fn a_stricter_provider_refuses_until_its_headers_have_told_its_limit() {
    let turns = "turns = { kind = \"lognormal\", median = 3, sigma = 0.5, max = 10 }";
    let text = BATCH.replace("requests_per_minute = 600", "requests_per_minute = 100000");
    let text = text.replace("count = 60", "count = 20").replace(turns, "turns = 1");
    let strict = "[simulated]\nlimits = { requests_per_minute = 10 }\n[retry]\nmax_attempts = 9\n";
    let free = simulate(&Scenario::parse(&text).unwrap(), 1).unwrap();
    let run = simulate(&Scenario::parse(&format!("{strict}{text}")).unwrap(), 1).unwrap();
    // All twenty leave at once; then those that were refused come back one after the other.
    assert!((10..20).contains(&run.rate_limited) && free.rate_limited == 0, "{run:?}");
    assert_eq!((run.completed, run.usage, run.cost), (20, free.usage, free.cost));
    // Where no header tells it, others are refused later.
    let silent = strict.replace("[retry]", "headers = false\n[retry]");
    let later = simulate(&Scenario::parse(&format!("{silent}{text}")).unwrap(), 1).unwrap();
    assert!(later.rate_limited > run.rate_limited, "{} {}", later.rate_limited, run.rate_limited);
}

#[test]
fn what_is_read_from_the_cache_is_no_input_to_a_providers_limit() {
    let turns = "turns = { kind = \"lognormal\", median = 3, sigma = 0.5, max = 10 }";
    let text = BATCH.replace("count = 60", "count = 1").replace(turns, "turns = 5");
    let text = text.replace("input = 3000", "input = 20000").replace("1.8s", "0s");
    let limit = "[simulated]\nlatency = { base = \"1s\" }\nheaders = false\n\
                 limits = { input_tokens_per_minute = 30000 }\n";
    let refused = |share: &str| {
        let text = text.replace("cached_share = 0.9", &format!("cached_share = {share}"));
        simulate(&Scenario::parse(&format!("{limit}{text}")).unwrap(), 1).unwrap().rate_limited
    };
    // 20,000 tokens and 400 more in each further call, or five times all of them.
    assert_eq!(refused("1.0"), 0);
    assert!(refused("0") > 0);
}

#[test]
fn a_call_longer_than_its_models_window_is_refused_for_good() {
    // Claude Sonnet 4.5 reads 200,000 tokens: the second call is the first that is too long.
    let turns = "turns = { kind = \"lognormal\", median = 3, sigma = 0.5, max = 10 }";
    let text = BATCH.replace(turns, "turns = 3").replace("input = 3000", "input = 199_700");
    let text = format!("[guards]\nmax_cost_per_task = \"100\"\n{text}");
    let run = simulate(&Scenario::parse(&text).unwrap(), 1).unwrap();
    assert_eq!((run.completed, run.succeeded, run.attempts, run.retried), (0, 60, 120, 0));
    assert_eq!(run.errors[&ErrorCode::InvalidRequest], 60);
}

#[test]
fn what_the_next_call_reads_from_the_cache_was_written_to_it_before_and_paid_for() {
    let turns = "turns = { kind = \"lognormal\", median = 3, sigma = 0.5, max = 10 }";
    let text = BATCH.replace(turns, "turns = 3").replace("count = 60", "count = 1");
    let text = text.replace("input = 3000\ngrowth = 400", "input = 1000\ngrowth = 100");
    let run = simulate(&Scenario::parse(&text).unwrap(), 1).unwrap();
    // Of 1,000, 1,100 and 1,200 tokens nine tenths are for the cache.
    let of = |text: &str| simulate(&Scenario::parse(text).unwrap(), 1).unwrap();
    let TokenCounts { input_tokens, output_tokens: output, .. } = run.usage;
    let (written, read) =
        (run.usage.cache_creation_input_tokens, run.usage.cache_read_input_tokens);
    assert_eq!((input_tokens, written, read), (330, 1_080, 1_890));
    let nanos = 330 * 3_000 + 1_080 * 3_750 + 1_890 * 300 + output * 15_000;
    assert_eq!(run.cost, NanoUsd::from_nanos(nanos));
    let plain = of(&text.replace("cached_share = 0.9", "cached_share = 0")).usage;
    assert_eq!((plain.input_tokens, plain.cache_creation_input_tokens), (3_300, 0));
}

#[test]
fn where_nothing_moves_any_more_it_is_told_who_waits_for_what() {
    let scenario = &Scenario::parse(BATCH).unwrap();
    let system: Rc<OnceCell<(AgentSystem, Clock)>> = Rc::default();
    let seen = Rc::clone(&system);
    let idle = |clock: Clock| async move {
        let provider = ScriptedProvider::new(scenario, 1, clock.clone());
        let builder = AgentSystem::builder(provider).fleet(&scenario.fleet).clock(clock.clone());
        _ = system.set((builder.start().await.unwrap(), clock));
        std::future::pending().await
    };
    let error =
        VirtualClock::run_or(scenario.run.start, idle, || stuck(seen, scenario)).unwrap_err();
    let told = error.to_string();
    assert!(told.contains("0 tasks wait for a worker") && told.contains("20 are ready"), "{told}");
}

#[test]
fn a_tool_that_works_for_hours_costs_no_worker_its_life() {
    let text =
        BATCH.replace("median = \"1.8s\"", "median = \"2h\"").replace("count = 60", "count = 3");
    let run = simulate(&Scenario::parse(&text).unwrap(), 1).unwrap();
    assert_eq!((run.completed, run.restarts), (3, 0), "{:?}", run.errors);
    assert!(run.waits[Stage::Tools as usize] > run.waits[Stage::Provider as usize], "{run:?}");
}

#[test]
fn a_wait_that_runs_out_is_a_wait_for_what_it_waited_for() {
    let text =
        BATCH.replace("requests_per_minute = 600", "requests_per_minute = 1\nmax_wait = \"10s\"");
    let run = simulate(&Scenario::parse(&text).unwrap(), 1).unwrap();
    assert!(run.errors[&ErrorCode::RateLimitWaitExceeded] > 10, "{:?}", run.errors);
    assert!(run.waits[Stage::Permit as usize] > 100_000_000_000, "{:?}", run.waits);
}

#[test]
fn users_who_are_refused_in_no_time_and_do_not_think_end_the_simulation_with_a_reason() {
    let closed = "for = \"1h\"\narrival = { kind = \"closed\", users = 3 }";
    let poor = "[[budget]]\nscope = \"global\"\nlimit = \"0.20\"\n";
    let text = format!("{poor}{}", BATCH.replace("count = 60", closed));
    let error = simulate(&Scenario::parse(&text).unwrap(), 1).unwrap_err().to_string();
    assert!(error.starts_with("workload \"coder\": at "), "{error}");
    assert!(error.contains("BUDGET_EXCEEDED") && error.contains("arrival.think"), "{error}");
    // Whoever thinks for a second meets the same refusals, and the hour ends.
    let text = text.replace("users = 3", "users = 3, think = \"1s\"");
    let run = simulate(&Scenario::parse(&text).unwrap(), 1).unwrap();
    assert!(run.errors[&ErrorCode::BudgetExceeded] > 3_000, "{:?}", run.errors);
}
