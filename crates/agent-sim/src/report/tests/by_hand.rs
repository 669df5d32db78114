//! Scenarios so plain that all of their figures can be computed by hand.

use super::*;
use crate::latency::Catalogue;

const TEN: &str = r#"
[run]
sensitivity = false
[simulated]
latency = { base = "1s" }
[[agent]]
name = "a"
model = "claude-sonnet-4-5"
count = 1
rate_limit = { calls = 1000 }
[[workload]]
name = "w"
count = 10
input = 1000
output = 100
"#;

fn json(text: &str, more: &str) -> Value {
    report(text, more).json()
}

#[test]
fn ten_tasks_of_a_second_each_one_after_the_other() {
    let json = json(TEN, "");
    assert_eq!(json["makespan_ms"], 10_000);
    let latency = ["mean", "p50", "p90", "p95", "p99"].map(|it| json["latency_ms"][it].as_u64());
    assert_eq!(latency, [5_500, 5_000, 9_000, 10_000, 10_000].map(Some));
    let waits = ["queue", "provider", "permit", "backoff"].map(|it| json["waits_ms"][it].as_u64());
    assert_eq!(waits, [4_500, 1_000, 0, 0].map(Some));
    // A thousand tokens at 3 dollars a million and a hundred at 15, ten times.
    assert_eq!(json["cost_usd"], "0.045");
    // Ten of the thousand that the worker may make in a minute, though it was at work for a sixth.
    assert_eq!(json["limits"]["rate_limit"]["use"], 0.01);
}

#[test]
fn a_connection_that_breaks_does_so_half_way_and_is_waited_for() {
    let json = json(
        &TEN.replace("count = 10", "count = 1"),
        "[[fault]]\nfirst_calls = 1\neffect = \"reset\"\n",
    );
    let waits = |stage: &str| json["waits_ms"][stage].as_u64().unwrap();
    assert_eq!((waits("provider"), waits("tools")), (1_500, 0));
    assert_eq!(waits("backoff"), json["makespan_ms"].as_u64().unwrap() - 1_500);
    assert!((2_000..4_000).contains(&waits("backoff")), "{json}");
}

#[test]
fn a_limit_is_the_lower_of_ours_and_the_providers_and_is_used_by_one_model_at_a_time() {
    let limits = "\nlimits = { requests_per_minute = 60, output_tokens_per_minute = 90000 }\n";
    let text = TEN.replace("{ base = \"1s\" }", &("{ base = \"1s\" }".to_owned() + limits));
    let ours = "[limits]\nrequests_per_minute = 120\noutput_tokens_per_minute = 10000\n";
    // Beside ten calls of one model, forty of another, at the same time.
    let other = "[[agent]]\nname = \"b\"\nmodel = \"claude-haiku-4-5\"\nmax_tokens = 100\n\
                 rate_limit = { calls = 1000 }\n\
                 [[workload]]\nname = \"v\"\nagent = \"b\"\ncount = 40\noutput = 100\n";
    let text = text.replace("name = \"w\"", "name = \"w\"\nagent = \"a\"");
    let json = json(&text, &format!("{ours}{other}"));
    let used = |name: &str| {
        let limit = &json["limits"][name];
        (limit["limit"].as_f64().unwrap(), limit["use"].as_f64().unwrap())
    };
    assert_eq!(json["makespan_ms"], 40_000);
    assert_eq!(used("requests_per_minute"), (60.0, 0.6667));
    assert_eq!(used("output_tokens_per_minute"), (10_000.0, 0.4));
}

#[test]
fn a_slow_provider_takes_so_many_times_as_long() {
    let slow = "[[fault]]\nat = \"2s\"\nfor = \"4s\"\neffect = \"slow\"\nfactor = 3\n";
    // Calls that begin at 0 and 1 take a second, at 2 and 5 three, and six more a second each.
    assert_eq!(json(TEN, slow)["makespan_ms"], 14_000);
}

#[test]
fn what_an_answer_does_not_use_of_its_max_tokens_comes_back_and_no_more() {
    let limits = "\nlimits = { output_tokens_per_minute = 6000 }\nheaders = false\n";
    let text = TEN.replace("{ base = \"1s\" }", &("{ base = \"1s\" }".to_owned() + limits));
    let text = text.replace("output = 100", "output = 1000");
    let text = text.replace("rate_limit", "max_tokens = 4000\nrate_limit");
    let first = "[run]\nuntil = \"5s\"";
    let json = json(&text.replace("[run]", first), "[retry]\nmax_attempts = 1\n");
    // Each needs 4,000 of 6,000, and leaves 1,000 fewer, but for 100 that come anew each second:
    // 6,000, 5,100 and 4,200 are enough; 3,300 are not.
    assert_eq!(json["tasks"]["completed"], 3);
    assert_eq!(json["errors"]["PROVIDER_RATE_LIMITED"], json["tasks"]["failed"]);
}

#[test]
fn half_of_its_limits_is_half_of_what_a_provider_admits() {
    let limits = "\nlimits = { requests_per_minute = 60 }\nheaders = false\n";
    let text = TEN.replace("{ base = \"1s\" }", &("{ base = \"1s\" }".to_owned() + limits));
    let text = text.replace("count = 10", "count = 100").replace("count = 1\n", "count = 100\n");
    let once = "[retry]\nmax_attempts = 1\n[limits]\nmax_concurrent = 100\n";
    let fault = "[[fault]]\nat = \"0s\"\nfor = \"1m\"\neffect = \"limits\"\nfactor = 0.5\n";
    let completed = |more: &str| json(&text, more)["tasks"]["completed"].clone();
    assert_eq!(completed(once), 60);
    assert_eq!(completed(&format!("{once}{fault}")), 30);
}

#[test]
fn tasks_that_are_left_open_do_not_complete() {
    let json = json(&TEN.replace("[run]", "[run]\nuntil = \"5500ms\""), "");
    assert_eq!((&json["tasks"]["completed"], &json["tasks"]["open"]), (&5.into(), &5.into()));
    assert_eq!(json["why_not"][0], "50 % of its tasks complete, fewer than 100 %");
}

#[test]
fn a_run_that_is_cut_short_has_not_kept_a_deadline_that_was_still_to_come() {
    let cut = TEN.replace("[run]", "[run]\nuntil = \"5500ms\"");
    let missing = |deadline: &str| {
        let goal = format!("[goal]\ndeadline = \"{deadline}\"\nmin_success = 0.5\n");
        json(&cut, &goal)["why_not"].clone()
    };
    assert_eq!(missing("20s"), serde_json::json!(["it does not come to its end"]));
    assert_eq!(missing("5s"), serde_json::json!(["it takes 5.50s, longer than 5.00s"]));
}

#[test]
fn a_goal_is_met_by_nine_runs_of_ten_and_not_by_eight() {
    let scenario = Scenario::parse(&format!("{TEN}[goal]\ndeadline = \"10s\"\n")).unwrap();
    let run = Report::of(&scenario).unwrap().first().clone();
    let mut runs = vec![run; 10];
    let verdict = |runs: &[Replica]| Verdict::of(&scenario, runs);
    assert_eq!((verdict(&runs).met, verdict(&runs).probability), (true, 1.0));
    runs[4].makespan += Duration::from_nanos(1);
    assert_eq!((verdict(&runs).met, verdict(&runs).probability), (true, 0.9));
    runs[7].makespan += Duration::from_nanos(1);
    assert_eq!((verdict(&runs).met, verdict(&runs).probability), (false, 0.8));
}

#[test]
fn a_provider_that_is_a_fifth_faster_takes_five_sixths_of_the_time() {
    let by_model = TEN.replace("latency = { base = \"1s\" }", "");
    for (text, before) in [(TEN, 1.0), (&by_model, 1.8)] {
        let faster = Lever::ProviderLatency.raised(&Scenario::parse(text).unwrap()).provider;
        let model = match &faster.latency {
            LatencyChoice::Inline(model) => model,
            _ => Catalogue::find(&faster.models, "claude-sonnet-4-5").unwrap().model,
        };
        assert!((model.total.base_s - before / 1.2).abs() < 1e-9, "{:?}", model.total);
    }
}
