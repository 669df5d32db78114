//! How levers are weighed against each other, and of which run it is told what is missing.

use super::*;

#[test]
fn what_is_raised_by_more_than_a_fifth_is_weighed_by_what_a_fifth_of_it_would_do() {
    let run = plain("").first().clone();
    let effect = |lever, raised, makespan| Effect {
        lever,
        raised,
        makespan,
        latency: 0.0,
        cost: 0.0,
        success: 0.0,
    };
    // Twice the workers take half the time: a fifth more of them a sixth less.
    let few = effect(Lever::Workers, 1.0, -0.5);
    for (other, first) in [(-0.12, Lever::Workers), (-0.18, Lever::OutputTokensPerMinute)] {
        let effects = [effect(Lever::OutputTokensPerMinute, 0.2, other), few];
        assert_eq!(Bottleneck::of(&effects, &run).lever, Some(first), "{other}");
        assert_eq!(levers::suggestions(&effects)[0].lever, first, "{other}");
    }
}

#[test]
fn what_is_missing_is_told_with_the_seed_of_the_run_that_lacks_it_where_there_are_several() {
    let single = QUEUE.replace("replicas = 3", "replicas = 1");
    let one = plain_of(&single, "[goal]\nmax_cost_usd = \"0.01\"");
    assert!(one.text().contains("\n            it costs $"), "{}", one.text());
    let mut report = one.clone();
    report.replicas = vec![one.first().clone(), one.first().clone()];
    report.replicas[0].cost = NanoUsd::ZERO;
    report.replicas[1].seed = 77;
    let goal = Scenario::parse(&format!("{QUEUE}\n[goal]\nmax_cost_usd = \"0.01\"")).unwrap();
    report.verdict = Verdict::of(&goal, &report.replicas);
    assert!(report.text().contains("\n            seed 77: it costs $"), "{}", report.text());
    assert!(report.html().contains("<li>seed 77: it costs $"));
}

#[test]
fn of_ten_runs_the_first_the_fifth_and_the_tenth_are_told_as_the_interval() {
    let mut report = plain("");
    let run = report.first().clone();
    // In an order of their own.
    report.replicas = [7, 3, 10, 1, 5, 9, 2, 8, 6, 4].map(|s| with_makespan(&run, s)).into();
    assert_eq!(report.interval(|run| run.makespan.as_secs()), [1, 5, 10]);
    report.replicas.truncate(1);
    assert_eq!(report.interval(|run| run.makespan.as_secs()), [7, 7, 7]);
}

fn with_makespan(run: &Replica, seconds: u64) -> Replica {
    Replica { makespan: Duration::from_secs(seconds), ..run.clone() }
}

#[test]
fn a_run_that_is_cut_short_before_its_deadline_is_farther_from_the_goal_than_one_that_is_late() {
    let run = plain("").first().clone();
    let goal = Goal { deadline: Some(Duration::from_secs(100)), ..Goal::default() };
    let late = Shortfall::of(&goal, &with_makespan(&run, 300));
    assert_eq!(late.total(), 2.0);
    let cut = Replica { end: crate::engine::End::TimeOver, ..with_makespan(&run, 50) };
    let cut = Shortfall::of(&goal, &cut);
    assert!(late.is_closer_than(&cut) && !cut.is_closer_than(&late), "{cut:?}");
    assert_eq!(Shortfall::of(&goal, &with_makespan(&run, 50)), Shortfall::NONE);
}

#[test]
fn a_budget_is_waited_for_by_who_has_a_worker_and_not_in_the_queue_before() {
    let text = QUEUE.replace("replicas = 3", "replicas = 1").replace("count = 10\n", "count = 2\n");
    let budget = "[[budget]]\nscope = \"global\"\nlimit = \"0.25\"\nwindow = \"1m\"\n\
                  on_exhausted = \"wait\"\n";
    let json = report(&text.replace("count = 100\n", "count = 60\n"), budget).json();
    let waits = |stage: &str| json["waits_ms"][stage].as_f64().unwrap();
    let at_work: f64 = ["permit", "money", "backoff", "provider", "tools"].map(waits).iter().sum();
    assert_eq!(json["bottleneck"]["name"], "budget");
    let share = json["bottleneck"]["share"].as_f64().unwrap();
    assert!((share - waits("money") / at_work).abs() < 1e-3, "{json}");
    assert!(waits("queue") > at_work && waits("money") > 0.0, "{json}");
}
