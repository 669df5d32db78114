//! What is planned for small goals, where the answer is known.

use super::*;

const SCENARIO: &str = r#"
[simulated]
latency = { base = "1s" }
[guards]
max_cost_per_task = "5"
[[agent]]
name = "a"
model = "claude-haiku-4-5"
count = 3
max_tokens = 100
rate_limit = { calls = 10000 }
[[workload]]
name = "w"
count = 60
input = 100
output = 100
"#;

fn plan(goal: &str) -> Plan {
    Plan::of(&Scenario::parse(&format!("{SCENARIO}\n[goal]\n{goal}")).unwrap()).unwrap()
}

#[test]
fn sixty_calls_of_a_second_in_seven_take_nine_workers_and_the_second_tier() {
    let plan = plan("deadline = \"7s 500ms\"");
    let best = &plan.options[plan.best.unwrap()];
    // The first tier has fifty requests a minute. Of nine workers eight call in the first second,
    // since the limiter lets no more go before it has seen how many tokens a call has.
    assert_eq!((best.choice, best.workers), (Choice::Tier(2), 9));
    assert!(plan.budget.unwrap() >= best.report.first().charged());
}

#[test]
fn a_budget_is_planned_where_calls_at_once_reserve_many_times_what_they_cost() {
    let text = SCENARIO.replace("count = 60\ninput = 100\n", "count = 20\ninput = 10000\n");
    let text = format!("{text}\n[goal]\ndeadline = \"1s\"");
    let plan = Plan::of(&Scenario::parse(&text).unwrap()).unwrap();
    let best = &plan.options[plan.best.unwrap()];
    let (budget, cost) = (plan.budget.unwrap(), best.report.first().charged());
    assert!(budget.nanos() > cost.nanos() * 3 / 2, "{budget} {cost}");
    // A fiftieth less does not meet the goal.
    let less = NanoUsd::from_nanos(budget.nanos() / 50 * 49);
    let fleet = with_workers(&best.choice.of(&Scenario::parse(&text).unwrap()), best.workers);
    let mut limited = fleet.clone();
    limited.fleet.budget.push(BudgetSpec::new(ScopePattern::global(), less));
    assert!(!meets_goal(&limited).unwrap(), "{budget}");
}

/// Whether the best fleet of a plan meets the goal of `text` with a budget of `limit` over all.
fn meets_with(text: &str, plan: &Plan, limit: NanoUsd) -> bool {
    let scenario = Scenario::parse(text).unwrap();
    let best = &plan.options[plan.best.unwrap()];
    let mut limited = with_workers(&best.choice.of(&scenario), best.workers);
    limited.fleet.budget.push(BudgetSpec::new(ScopePattern::global(), limit));
    meets_goal(&limited).unwrap()
}

#[test]
fn a_budget_over_all_that_the_scenario_has_is_looked_for_anew_and_one_of_a_project_stays() {
    let text = SCENARIO.replace("count = 60", "project_id = \"web\"\ncount = 8");
    let plan = |scope: &str| {
        let budget = format!("[[budget]]\nscope = \"{scope}\"\nlimit = \"0.0001\"\n");
        let goal = "[run]\nsensitivity = false\n[goal]\ndeadline = \"1m\"\n";
        Plan::of(&Scenario::parse(&format!("{text}\n{budget}{goal}")).unwrap()).unwrap()
    };
    let over_all = plan("global");
    assert!(over_all.best.is_some() && over_all.budget.is_some(), "{}", over_all.text());
    assert_eq!(plan("project:web").best, None);
}

#[test]
fn a_budget_is_planned_from_what_nine_of_ten_runs_spend() {
    // One worker, so that no more than one call at a time is reserved beside what is spent.
    let output = "output = { kind = \"lognormal\", median = 600, sigma = 1.2, max = 4000 }";
    let one = SCENARIO.replace("output = 100", output);
    let one = one.replace("max_tokens = 100", "max_tokens = 4000");
    let text =
        format!("{one}\n[run]\nreplicas = 10\nsensitivity = false\n[goal]\ndeadline = \"20m\"");
    let plan = Plan::of(&Scenario::parse(&text).unwrap()).unwrap();
    let best = &plan.options[plan.best.unwrap()];
    assert_eq!(best.workers, 1);
    let mut spent: Vec<NanoUsd> = best.report.replicas.iter().map(Replica::charged).collect();
    spent.sort_unstable();
    let budget = plan.budget.unwrap();
    let enough = (spent[8], spent[9]);
    assert!(enough.0 <= budget && budget < enough.1, "{enough:?} {budget}");
    assert!(meets_with(&text, &plan, budget));
    let less = NanoUsd::from_nanos(budget.nanos() - 2 * CENT);
    assert!(!meets_with(&text, &plan, less), "{budget}");
}

#[test]
fn where_half_of_the_tasks_may_fail_no_budget_for_all_of_them_is_planned() {
    let text = SCENARIO.replace("count = 60\ninput = 100\n", "count = 20\ninput = 20000\n");
    let text = format!(
        "{text}\n[run]\nreplicas = 10\nsensitivity = false\n[goal]\ndeadline = \"20m\"\nmin_success = 0.5"
    );
    let plan = Plan::of(&Scenario::parse(&text).unwrap()).unwrap();
    let best = &plan.options[plan.best.unwrap()];
    let (budget, cost) = (plan.budget.unwrap(), best.report.first().charged());
    assert!(budget.nanos() < cost.nanos() * 8 / 10, "{budget} of {cost}");
    assert!(meets_with(&text, &plan, budget));
    let less = NanoUsd::from_nanos(budget.nanos() - 2 * CENT);
    assert!(!meets_with(&text, &plan, less), "{budget}");
}

#[test]
fn a_plan_says_what_is_missing_only_of_what_does_not_do_and_dollars_to_the_cent() {
    let noisy = SCENARIO.replace("base = \"1s\"", "base = \"1s\", sigma = 0.5");
    let noisy = noisy.replace("count = 60", "count = 12");
    let text =
        format!("{noisy}\n[run]\nreplicas = 10\nsensitivity = false\n[goal]\ndeadline = \"4s\"");
    let mut plan = Plan::of(&Scenario::parse(&text).unwrap()).unwrap();
    plan.budget = Some("0.6".parse().unwrap());
    // A tenth of the runs of what is met may miss it.
    plan.options[plan.best.unwrap()].verdict.why_not = vec!["it is late".to_owned()];
    let text = plan.text();
    assert!(!text.contains("it is late") && text.contains("not met"), "{text}");
    assert!(text.lines().next().unwrap().ends_with("a budget of $0.60"), "{text}");
}

#[test]
fn a_goal_that_no_fleet_meets_has_no_plan_and_says_why() {
    let plan = plan("deadline = \"900ms\"");
    assert_eq!((plan.best, plan.budget), (None, None));
    for option in &plan.options {
        assert!(option.verdict.why_not[0].starts_with("it takes"), "{:?}", option.verdict);
    }
}

#[test]
fn a_fleet_that_needs_a_higher_cap_on_calls_at_once_says_which() {
    // Forty calls of a second at once, where twenty are let.
    let scenario = |cap: u32| {
        let text = format!(
            "[run]\nsensitivity = false\n[goal]\ndeadline = \"1500ms\"\n\
             [simulated]\nlatency = {{ base = \"1s\" }}\nlimits = \"none\"\n\
             [limits]\nmax_concurrent = {cap}\n\
             [[agent]]\nname = \"a\"\nmodel = \"claude-sonnet-4-5\"\ncount = 5\n\
             [[workload]]\nname = \"w\"\ncount = 40\ninput = 100\noutput = 10\n"
        );
        Scenario::parse(&text).unwrap()
    };
    let plan = Plan::of(&scenario(20)).unwrap();
    let json = plan.json();
    assert_eq!(
        (&json["best"]["workers"], &json["best"]["max_concurrent"]),
        (&40.into(), &40.into())
    );
    assert!(
        plan.text().starts_with("40 workers, max_concurrent = 40, with limits tier"),
        "{}",
        plan.text()
    );
    let text = plan.text();
    assert!(text.contains("not asked") && !text.contains("none"), "{text}");
    let enough = Plan::of(&scenario(64)).unwrap();
    assert!(enough.text().starts_with("40 workers with limits tier"), "{}", enough.text());
}

#[test]
fn a_fleet_that_is_small_enough_is_found_where_a_large_one_fails() {
    // Sixty calls of a second, fifty a minute: with few workers all have their turn in time, with
    // sixty at once ten wait longer for a permit than they may.
    let scenario = |goal: &str| {
        let text = SCENARIO.replace("[guards]", "limits = { tier = 1 }\n[limits]\nmax_wait = \"20s\"\nrequests_per_minute = 50\n[guards]");
        Scenario::parse(&format!("{text}\n[goal]\n{goal}")).unwrap()
    };
    let plan = Plan::of(&scenario("deadline = \"90s\"")).unwrap();
    assert_eq!(plan.best, Some(0), "{}", plan.text());
    let workers = plan.options[0].workers;
    assert!(!meets_goal(&with_workers(&scenario("deadline = \"90s\""), 60)).unwrap());
    assert!(meets_goal(&with_workers(&scenario("deadline = \"90s\""), workers)).unwrap());
    assert!(
        workers == 1
            || !meets_goal(&with_workers(&scenario("deadline = \"90s\""), workers - 1)).unwrap()
    );
}

#[test]
fn what_more_workers_only_make_dearer_is_planned_with_few() {
    // A user's next task comes when the last has ended: more workers, more tasks, more money.
    let text = SCENARIO
        .replace("count = 60\n", "for = \"20s\"\narrival = { kind = \"closed\", users = 30 }\n");
    let text = text.replace("[guards]", "limits = { tier = 2 }\n[guards]");
    let text = format!("{text}\n[goal]\nmax_cost_usd = \"0.05\"");
    let plan = Plan::of(&Scenario::parse(&text).unwrap()).unwrap();
    assert_eq!(plan.best, Some(0), "{}", plan.text());
    assert!(plan.text().starts_with("1 worker with limits as written"), "{}", plan.text());
}
