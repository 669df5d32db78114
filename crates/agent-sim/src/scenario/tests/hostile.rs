//! Whatever a file or a change holds, reading gives a scenario that makes sense or an error: it never
//! panics.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::super::read;
use super::*;
use crate::sweep::Axis;

/// Every table and nearly every key once.
const RICH: &str = r#"
version = 1
[run]
seed = 7
replicas = 3
until = "2h"
start = "2026-01-05T00:00:00Z"
[goal]
deadline = "1h"
max_cost_usd = "5.00"
min_success = 0.9
[simulated]
latency = { base = "1s", per_1k_context = "5ms", per_output_token = "2ms", sigma = 0.3 }
load = { sigma = 0.1, reversion = "20m" }
limits = { tier = 2, requests_per_minute = 50, enforcement = "sliding" }
[limits]
requests_per_minute = 60
[retry]
max_attempts = 4
[[agent]]
name = "a"
model = "claude-sonnet-4-5"
count = 3
rate_limit = { calls = 10, per = "1m" }
[[budget]]
scope = "project:web"
limit = "2.00"
[[task]]
id = "given"
title = "t"
[[workload]]
name = "w"
agent = "a"
count = 5
arrival = { kind = "closed", users = 2, think = "1s" }
turns = { kind = "uniform", min = 1, max = 3 }
input = { kind = "samples", values = [1, 2, 3] }
growth = { kind = "weibull", mean = 3, shape = 0.5 }
output = { kind = "gamma", mean = 250, cv = 0.5, max = 1000 }
cached_share = 0.5
tool_gap = { kind = "exponential", mean = "2s" }
[[workload]]
name = "v"
for = "1h"
arrival = { kind = "profile", steps = [{ for = "1m", rate = 2.0 }], cv = 2.0, repeat = true }
[[fault]]
effect = "status"
status = 529
share = 0.5
mean_gap = "1h"
mean_length = "1m"
"#;

/// The examples, and what they leave out.
static SAMPLES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/scenarios");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|it| it.extension().is_some_and(|e| e == "toml")).collect();
    files.sort();
    let texts = files.into_iter().map(|file| std::fs::read_to_string(file).unwrap());
    texts.chain([RICH.to_owned()]).collect()
});

/// What stands where something else stood.
fn fragment() -> impl Strategy<Value = String> {
    let odd = [
        "",
        "-1",
        "0",
        "nan",
        "-inf",
        "1e308",
        "1e-308",
        "9223372036854775807",
        "4294967296",
        "\"",
        "'",
        "\"\"\"",
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        "=",
        ".",
        ",",
        "#",
        "\n",
        "\r",
        "\0",
        "é",
        "\u{feff}",
        "true",
        "\"9999999999h\"",
        "\"0s\"",
        "\"none\"",
        "\"all-done\"",
        "1979-05-27",
        "\"1e400s\"",
        "[[workload]]\n",
        "[[fault]]\n",
        "[run]\n",
        "fleet = \"x\"\n",
        "{ kind = \"trace\", file = \"x\", of = \"output\" }",
        "{ kind = \"closed\", users = 1 }",
        "{ kind = \"gamma\", mean = 1e300, cv = 1e-300 }",
        "\"999999999999999999.00\"",
    ];
    prop_oneof![".{0,3}", prop::sample::select(odd.to_vec()).prop_map(str::to_owned)]
}

/// A sample, with pieces of it replaced.
fn mutated() -> impl Strategy<Value = String> {
    let change = (any::<prop::sample::Index>(), 0_usize..12, fragment());
    let which = any::<prop::sample::Index>();
    (which, proptest::collection::vec(change, 0..6)).prop_map(|(which, changes)| {
        let mut chars: Vec<char> = which.get(&SAMPLES).chars().collect();
        for (at, removed, put) in changes {
            let at = at.index(chars.len() + 1);
            let end = (at + removed).min(chars.len());
            chars.splice(at..end, put.chars());
        }
        chars.into_iter().collect()
    })
}

/// TOML of known and unknown keys with known and unknown values.
fn random() -> impl Strategy<Value = String> {
    let keys = [
        "version",
        "run",
        "goal",
        "seed",
        "replicas",
        "until",
        "start",
        "workload",
        "name",
        "count",
        "agent",
        "arrival",
        "kind",
        "rate",
        "users",
        "think",
        "turns",
        "input",
        "values",
        "fault",
        "effect",
        "at",
        "for",
        "share",
        "simulated",
        "latency",
        "limits",
        "tier",
        "model",
        "x",
        "[run]\n#",
        "[[agent]]\n#",
        "[[workload]]\n#",
        "[[fault]]\n#",
        "[simulated]\n#",
    ];
    let value = prop_oneof![
        fragment(),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| format!("{number:?}")),
        prop::sample::select(vec!["\"a\"", "\"claude-sonnet-4-5\"", "\"1s\"", "\"batch\"", "[1]"])
            .prop_map(str::to_owned),
    ];
    let line = (prop::sample::select(keys.to_vec()), value)
        .prop_map(|(key, value)| format!("{key} = {value}\n"));
    proptest::collection::vec(line, 0..20).prop_map(|lines| lines.concat())
}

/// What is read of a text with changes made to it.
fn changed(text: &str, changes: &[Change]) -> Result<Scenario, ScenarioError> {
    read::scenario(text, read::Source { name: "s", file: "s", path: None }, changes, Vec::new())
}

fn check(result: Result<Scenario, ScenarioError>) {
    match result {
        Ok(scenario) => {
            assert!(scenario.workers() > 0 && !scenario.workload.is_empty());
            let names: std::collections::BTreeSet<_> =
                scenario.workload.iter().map(|workload| &workload.name).collect();
            assert_eq!(names.len(), scenario.workload.len());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_mutated_scenario_is_a_scenario_or_an_error(text in mutated()) {
        check(Scenario::parse(&text));
    }

    #[test]
    fn random_toml_is_a_scenario_or_an_error(text in random()) {
        check(Scenario::parse(&text));
    }

    #[test]
    fn a_change_is_made_or_is_an_error(
        text in prop_oneof![9 => prop::sample::select(SAMPLES.clone()), 1 => mutated()],
        paths in proptest::collection::vec(
            prop_oneof![
                "[a-z]{0,3}(\\.[0-9a-z ]{0,2}){0,3}",
                prop::sample::select(vec![
                    "agent", "agent.0", "agent.0.count", "agent.0.name.x", "agent.99.count",
                    "agent.0.rate_limit.calls", "run", "run.seed", "goal.deadline", "workload.0",
                    "workload.0.arrival", "workload.0.arrival.users", "workload.0.input.values.0",
                    "workload.1.arrival.steps.0.rate", "simulated.limits.tier", "fault.0.share",
                    "fleet", "fleet.x", "new.table.key", "limits.\"a b\"", "agent.-1.count",
                ]).prop_map(str::to_owned),
            ],
            1..3,
        ),
        value in prop_oneof![fragment(), Just("5".to_owned()), Just("\"1h\"".to_owned())],
    ) {
        let changes = paths.iter().map(|path| Change::new(path, &value));
        let Ok(changes) = changes.collect::<Result<Vec<_>, _>>() else { return Ok(()) };
        check(changed(&text, &changes));
    }

    #[test]
    fn a_change_or_an_axis_is_read_or_is_an_error(text in prop_oneof![
        ".{0,40}",
        "[a-z.0-9]{1,9}=[0-9]{1,20}\\.\\.[0-9]{1,20}:[0-9]{1,20}",
        "[a-z.0-9]{1,9}=(0|18446744073709551615)\\.\\.18446744073709551615:[0-2]",
    ]) {
        if let Ok(change) = text.parse::<Change>() {
            prop_assert!(!change.path().is_empty() && !change.value().is_empty());
        }
        if let Ok(axis) = text.parse::<Axis>() {
            prop_assert!(!axis.changes.is_empty() && axis.changes.len() <= 1_000);
        }
    }
}

#[test]
fn tables_within_tables_without_end_do_no_harm() {
    let deep = |open: &str| open.repeat(20_000);
    for text in [
        format!("a = {}", deep("[")),
        format!("a = {}", deep("{ b = ")),
        format!("{}b = 1", deep("a.")),
        format!("[{}b]", deep("a.")),
        format!("[[{}b]]", deep("a.")),
    ] {
        check(Scenario::parse(&text));
        let change = Change::new("run.seed", "1").unwrap();
        check(changed(&text, &[change]));
    }
    for value in [deep("["), deep("{ a = ")] {
        let change = Change::new("run.seed", &value).unwrap();
        check(changed(RICH, &[change]));
    }
    let error = Change::new(&format!("{}a", deep("a.")), "1").unwrap_err().to_string();
    assert_eq!(error, "a.a.a…: has 20001 keys; no value lies below 32");
}

#[test]
fn a_range_up_to_the_largest_number_is_read_or_is_too_long() {
    for (range, values) in [
        ("0..18446744073709551615:1", None),
        ("18446744073709551615..18446744073709551615:1", Some(1)),
        ("18446744073709551000..18446744073709551615:100", Some(7)),
    ] {
        let axis = format!("agent.0.count={range}").parse::<Axis>();
        assert_eq!(axis.ok().map(|axis| axis.changes.len()), values, "{range}");
    }
}
