//! Verdicts, bottlenecks and the JSON of small scenarios.

mod by_hand;
mod weighed;

use agent_core::money::NanoUsd;
use serde_json::Value;

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
    plain_of(QUEUE, more)
}

fn plain_of(text: &str, more: &str) -> Report {
    report(&text.replace("[run]", "[run]\nsensitivity = false"), more)
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
fn in_the_json_times_are_whole_milliseconds_and_money_is_a_decimal_string() {
    fn check(key: &str, value: &Value) {
        match value {
            Value::Object(inner) => inner.iter().for_each(|(name, it)| {
                check(if key.ends_with("_ms") { key } else { name }, it);
            }),
            Value::Array(inner) => inner.iter().for_each(|it| check(key, it)),
            it if key.ends_with("_ms") => assert!(it.is_u64(), "{key}: {it}"),
            it if key.ends_with("_usd") => assert!(it.is_string(), "{key}: {it}"),
            _ => {}
        }
    }
    let json = plain("[[budget]]\nscope = \"global\"\nlimit = \"0.50\"").json();
    check("", &json);
    let budget = &json["limits"]["budget global"];
    assert_eq!((&budget["limit_usd"], budget.get("limit")), (&"0.5".into(), None), "{budget}");
}

#[test]
fn a_profile_that_ends_needs_no_count_and_one_that_ends_too_soon_is_told() {
    let profile = "arrival = { kind = \"profile\", steps = [{ for = \"50s\", rate = 1.0 }] }";
    let with = |count: &str| {
        let text = QUEUE.replace("count = 100", &format!("{count}{profile}"));
        Report::of(&Scenario::parse(&text.replace("[run]", "[run]\nsensitivity = false")).unwrap())
    };
    let said = "its profile ends after about 50 tasks, before all 1000 have come";
    let too_soon = with("count = 1000\n").unwrap();
    assert!(
        too_soon.text().contains(&format!("note        arrival of w: {said}")),
        "{}",
        too_soon.text()
    );
    assert_eq!(too_soon.json()["assumptions"][1]["source"], said);
    assert!(too_soon.is_calibrated() && too_soon.text().lines().count() <= 15);
    let free = with("").unwrap();
    assert_eq!(free.first().arrived, too_soon.first().arrived);
    assert!(!free.text().contains("note  "), "{}", free.text());
    assert!(!with("count = 20\n").unwrap().text().contains("note  "));
}

#[test]
fn a_change_of_nothing_has_no_minus() {
    let change = |share, places| text::signed(share, places);
    assert_eq!([change(-0.001, 0), change(0.0, 1), change(-0.0002, 1)], ["+0", "+0.0", "+0.0"]);
    assert_eq!([change(-0.174, 0), change(0.0151, 1)], ["-17", "+1.5"]);
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

#[test]
fn a_budget_with_a_window_is_told_by_its_fullest_window_and_by_all_it_spent() {
    let hours = QUEUE.replace("count = 100", "arrival = { kind = \"profile\", steps = [{ for = \"50m\", rate = 0.1 }, { for = \"1h\", rate = 0.01 }] }\nfor = \"110m\"");
    let budgets = "[[budget]]\nscope = \"global\"\nlimit = \"9.00\"\nwindow = \"hour\"\n\
                   [[budget]]\nscope = \"project:*\"\nlimit = \"9.00\"";
    let report = report(
        &hours
            .replace("[run]", "[run]\nsensitivity = false\nreplicas = 1")
            .replace("replicas = 3\n", "")
            .replace("name = \"w\"", "name = \"w\"\nproject_id = \"web\""),
        budgets,
    );
    let run = report.first();
    let spent = |name: &str| run.budgets.iter().find(|it| it.scope.to_string() == name).unwrap();
    let (hour, total) = (spent("global"), spent("project:web"));
    assert_eq!(
        (hour.total, total.total, total.fullest),
        (run.charged(), run.charged(), run.charged())
    );
    // Nearly all of it is spent in the first hour.
    assert!(hour.fullest < hour.total, "{hour:?}");
    assert!(hour.fullest.nanos() > hour.total.nanos() * 3 / 4, "{hour:?}");
    let json = report.json();
    let limits = &json["limits"];
    let share = |name: &str| limits[name]["use"].as_f64().unwrap();
    assert!((share("budget global") * 9.0 - hour.fullest.nanos() as f64 / 1e9).abs() < 1e-3);
    assert_eq!(limits["budget global"]["use_of"], "fullest_window", "{limits}");
    assert_eq!(limits["budget global"]["window"], "hour", "{limits}");
    assert_eq!(limits["budget global"]["spent_usd"], serde_json::json!(hour.total), "{limits}");
    assert_eq!(limits["workers"]["use_of"], "average", "{limits}");
}

#[test]
fn a_run_that_a_budget_stops_lasts_until_what_was_in_flight_has_ended() {
    let budget = "[[budget]]\nscope = \"global\"\nlimit = \"0.20\"\non_exhausted = \"stop_run\"";
    let report = plain(budget);
    for run in &report.replicas {
        assert_eq!(run.end, crate::engine::End::Stopped);
        let closed = run.series.sums.iter().rposition(|sums| sums.in_flight_ns > 0).unwrap();
        let from = Duration::from_nanos(closed as u64 * run.series.length_ns);
        assert!(run.makespan > from, "{:?} {from:?}", run.makespan);
    }
    let cut = report.first().clone();
    let short = plain("").first().makespan / 2;
    let until = format!("until = \"{}ms\"", short.as_millis());
    let over =
        self::report(&QUEUE.replace("[run]", &format!("[run]\nsensitivity = false\n{until}")), "");
    assert_eq!(over.first().makespan.as_millis(), short.as_millis(), "{cut:?}");
}

#[test]
fn a_sensitivity_says_of_what_it_is() {
    let json = report(QUEUE, "").json();
    let found = &json["bottleneck"];
    let effects = json["sensitivity"].as_array().unwrap();
    let effect = effects.iter().find(|it| it["lever"] == found["name"]).unwrap();
    let of = if found["sensitivity_of"] == "makespan" { "makespan" } else { "latency" };
    assert_eq!(found["sensitivity"], effect[of], "{found} {effect}");
    let none = plain("").json();
    assert_eq!(none["bottleneck"]["sensitivity_of"], Value::Null);
    // Tasks that come one by one take as long as they come; each of them can be sooner.
    let steady =
        QUEUE.replace("count = 100", "count = 100\narrival = { kind = \"poisson\", rate = 4.5 }");
    let report = report(&steady, "");
    let json = report.json();
    assert_eq!(json["bottleneck"]["sensitivity_of"], "mean_latency", "{}", json["bottleneck"]);
    assert!(report.text().contains(", a task's mean -"), "{}", report.text());
}

#[test]
fn what_workers_may_call_themselves_is_a_limit_whose_use_is_told() {
    // Ten calls in any minute of each of two workers: a hundred take four minutes and ten seconds.
    let own = QUEUE.replace("sigma = 0.1", "sigma = 0").replace("base = \"2s\"", "base = \"1s\"");
    let own = own.replace("count = 10\nrate_limit = { calls = 1000 }", "count = 2");
    let json = report(&own, "").json();
    assert_eq!(json["makespan_ms"], 250_000);
    let of = &json["limits"]["rate_limit"];
    assert_eq!((of["limit"].as_f64(), of["use"].as_f64()), (Some(20.0), Some(1.0)), "{json}");
    assert_eq!(json["limits"]["workers"]["use"], 0.2);
}

#[test]
fn a_minutes_worth_is_used_of_a_limit_however_short_a_run_is_and_what_is_cached_counts() {
    let limits = "requests_per_minute = 200\ninput_tokens_per_minute = 600000\nmax_concurrent";
    let text = QUEUE.replace("max_concurrent", limits).replace("count = 10\n", "count = 100\n");
    let more = "input = 3000\ncached_share = 0.9\n";
    let used = plain_of(&text, more).uses;
    let of = |name: &str| used.iter().find(|it| it.name == name).unwrap().share;
    // A hundred calls in two seconds, nine tenths of each written to the cache.
    assert_eq!([of("requests_per_minute"), of("input_tokens_per_minute")], [0.5, 0.5]);
}

#[test]
fn one_more_of_few_workers_is_told_as_what_it_is_and_not_as_a_fifth() {
    let few = report(&QUEUE.replace("count = 10\n", "count = 2\n"), "");
    let workers = few.effects.iter().find(|it| it.lever == Lever::Workers).unwrap();
    assert_eq!(workers.raised, 0.5);
    assert!(few.text().contains("  +50 % workers"), "{}", few.text());
    let of_ten = report(QUEUE, "");
    assert!(of_ten.effects.iter().all(|it| it.raised == 0.2), "{:?}", of_ten.effects);
    let json = of_ten.json();
    let sensitivity = json["sensitivity"].as_array().unwrap();
    let sooner = sensitivity.iter().find(|it| it["lever"] == "provider_latency").unwrap();
    assert_eq!(sooner["raised"], -0.1667, "a fifth faster is a sixth less time: {sooner}");
}

#[test]
fn where_a_budget_stands_in_the_way_the_sensitivity_is_of_the_tasks_that_complete() {
    let report = report(QUEUE, "[[budget]]\nscope = \"global\"\nlimit = \"0.20\"");
    let (found, effects) = (&report.json()["bottleneck"], &report.effects);
    let budget = effects.iter().find(|it| it.lever == Lever::Budget).unwrap();
    assert!(budget.success > 0.005, "{budget:?}");
    assert_eq!((&found["name"], &found["sensitivity_of"]), (&"budget".into(), &"success".into()));
    assert_eq!(found["sensitivity"], budget.success);
}

#[test]
fn what_is_missed_by_little_is_told_with_as_many_digits_as_it_takes() {
    let run = plain("").first().clone();
    let deadline = format!("[goal]\ndeadline = \"{}ns\"", run.makespan.as_nanos() - 1_000);
    let why = plain(&deadline).verdict.why_not.remove(0);
    let (took, hoped) =
        why.strip_prefix("it takes ").unwrap().split_once(", longer than ").unwrap();
    assert_ne!(took, hoped, "{why}");
    let cost = run.charged().nanos() - 1;
    let most = format!("[goal]\nmax_cost_usd = \"{}\"", NanoUsd::from_nanos(cost));
    let why = plain(&most).verdict.why_not.remove(0);
    let (costs, hoped) = why.strip_prefix("it costs ").unwrap().split_once(", more than ").unwrap();
    assert_ne!(costs, hoped, "{why}");
    let far = plain("[goal]\nmax_cost_usd = \"0.044999\"").verdict.why_not.remove(0);
    assert!(far.ends_with(", more than $0.044999"), "a goal is told as it is written: {far}");
    let share =
        plain("[[budget]]\nscope = \"global\"\nlimit = \"0.20\"\n[goal]\nmin_success = 1.0");
    let all = share.first().success();
    let least = format!(
        "[[budget]]\nscope = \"global\"\nlimit = \"0.20\"\n[goal]\nmin_success = {}",
        all + 1e-9
    );
    let why = plain(&least).verdict.why_not.remove(0);
    let (found, hoped) = why.split_once(" % of its tasks complete, fewer than ").unwrap();
    assert_ne!(found, hoped.trim_end_matches(" %"), "{why}");
}

#[test]
fn what_is_told_as_presumed_is_of_the_run_whose_cost_is_told() {
    let mut report = plain("");
    for (run, (cost, presumed)) in
        report.replicas.iter_mut().zip([("3", "0.50"), ("2", "0.25"), ("1", "0")])
    {
        (run.cost, run.presumed) = (cost.parse().unwrap(), presumed.parse().unwrap());
    }
    let (text, page) = (report.text(), report.html());
    assert!(text.contains("cost        $2.25, $0.25 of it presumed"), "{text}");
    assert!(page.contains(">$0.25 of it presumed"), "{page}");
}

#[test]
fn no_percentile_is_above_the_longest_task() {
    let report = plain("");
    for run in &report.replicas {
        let longest = Duration::from_nanos(run.slowest[0].took_ns);
        assert!(run.latency_at(100.0) <= longest, "{:?} {longest:?}", run.latency_at(100.0));
        assert!(longest - run.latency_at(100.0) < Duration::from_micros(1));
    }
    let json = report.json();
    let p99 = json["latency_ms"]["p99"].as_u64().unwrap();
    assert!(p99 <= ms(Duration::from_nanos(report.first().slowest[0].took_ns)), "{p99}");
}

#[test]
fn terminal_and_page_round_a_duration_alike() {
    let spaces = ['\u{202f}', '\u{a0}'];
    for (ms, said) in [
        (59_960, "60.0s"),
        (99_960, "1m 40s"),
        (3_599_600, "1h"),
        (5_699_000, "1h 35m"),
        (12, "12ms"),
    ] {
        let duration = Duration::from_millis(ms);
        assert_eq!(span::short(duration), said);
        let page = span::page(duration.as_nanos() as f64);
        let page = page.replace("\u{a0}", " ").replace("\u{202f}", "").replace("min", "m");
        assert_eq!(page, said);
        assert!(!said.contains(spaces));
    }
}
