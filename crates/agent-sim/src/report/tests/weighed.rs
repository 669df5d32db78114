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
