//! `impresario verify`: a run of a real fleet, simulated again.

use std::io::Write as _;
use std::process::Stdio;

use crate::support::{FLEET, Place, json, stderr, stdout};

/// Answers of 100 ms and 2 ms a token; every tenth call is refused.
const MOCK: &str = "[latency]\nbase = \"100ms\"\nper_output_token = \"2ms\"\n\
                    [[fault]]\nkind = \"status\"\nstatus = 529\nevery = 10\n";

/// A place where so many tasks were played by eight workers, once for each of `runs`.
fn played(runs: &[usize]) -> Place {
    let place = Place::new();
    place.write("fleet.toml", &FLEET.replace("count = 4", "count = 8"));
    let mock = place.mock(MOCK);
    for tasks in runs {
        place.tasks(*tasks);
        let output = place.run(&mock.url, &[]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
    place
}

#[test]
fn a_fleet_file_that_comes_through_a_pipe_is_kept_with_the_run() {
    let place = Place::new();
    place.tasks(3);
    let mock = place.mock("");
    let args = ["run", "/dev/stdin", "--tasks", "tasks.jsonl", "--store", "store"];
    let mut run = place.impresario(&args);
    run.args(["--provider-url", &mock.url]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut run = run.spawn().unwrap();
    run.stdin.take().unwrap().write_all(FLEET.as_bytes()).unwrap();
    assert_eq!(run.wait_with_output().unwrap().status.code(), Some(0));
    let output = place.output(&["verify", "--store", "store"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    // Its calls are short, and that is all there is to say.
    let notes = json(&output)["notes"].as_array().unwrap().clone();
    let others = notes.iter().filter(|it| !it.as_str().unwrap().starts_with("calls took about"));
    assert_eq!(others.count(), 0, "{notes:?}");
}

#[test]
fn a_store_that_cannot_be_read_as_it_is_is_told_of_though_the_rest_is_simulated() {
    let place = played(&[3]);
    place.write("store/snap.00FFFFFFFFFFFFFF", "torn");
    let output = place.output(&["verify", "--store", "store", "--seeds", "1"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("copied aside"), "{}", stderr(&output));
}

#[test]
fn seeds_without_end_are_refused() {
    let place = Place::new();
    for seeds in ["0", "10001", "100000000"] {
        let output = place.output(&["verify", "--store", "store", "--seeds", seeds]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains("is not in 1..=10000"), "{}", stderr(&output));
    }
}

#[test]
fn a_run_that_is_simulated_again_comes_to_about_what_it_came_to() {
    let place = played(&[200, 30]);
    let output = place.output(&["verify", "--store", "store", "--run", "last"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report = json(&output);
    assert_eq!((&report["tasks"], &report["seeds"]), (&30.into(), &10.into()));
    assert_eq!(report["latency"]["fitted_on"], "other_runs");
    assert_eq!(report["calibrated"], true);
    let figure = |name: &str, key: &str| report["figures"][name][key].as_f64().unwrap();
    // Token counts and prices are known: the cost is right.
    assert!(figure("cost_usd", "error_percent").abs() < 1.0, "{report}");
    assert!(report["figures"]["cost_usd"]["real"].is_string(), "{report}");
    assert!(report["figures"]["task_mean_ms"]["p5"].is_u64(), "{report}");
    assert!(figure("attempts", "real") >= 32.0, "{report}");
    // The same attempts are refused again.
    assert_eq!(figure("attempts", "error_percent"), 0.0, "{report}");
    // Real time on a machine that does other things: no more than the right order.
    let (low, high) = (figure("makespan_ms", "predicted"), figure("makespan_ms", "real"));
    assert!((0.3..3.0).contains(&(low / high)), "{report}");
    assert!(!report["notes"].to_string().contains("no fleet file"), "{report}");

    let calibrated = json(&place.output(&["calibrate", "--store", "store", "--halvings", "1"]));
    let refused = calibrated["models"][0]["errors"]["529"]["share"].as_f64().unwrap();
    assert!((0.05..0.15).contains(&refused), "{calibrated}");

    let table = stdout(&place.output(&["verify", "--store", "store", "--format", "table"]));
    for word in ["makespan s", "task, p95 s", "cost $", "of other runs"] {
        assert!(table.contains(word), "{table}");
    }
    assert!(table.contains("attempts failed; in the simulation the same ones fail"), "{table}");
}

#[test]
fn a_single_run_is_fitted_on_itself_and_any_run_can_be_named() {
    let place = played(&[12]);
    let last = json(&place.output(&["verify", "--store", "store", "--seeds", "3"]));
    assert_eq!(last["latency"]["fitted_on"], "this_run");
    assert_eq!(last["latency"]["calls"], 12);
    assert_eq!(last["calibrated"], false, "twelve calls are few: {last}");
    // Few, but its own: what is built in takes five times as long as this provider.
    let mean = &last["figures"]["task_mean_ms"];
    let ratio = mean["predicted"].as_f64().unwrap() / mean["real"].as_f64().unwrap();
    assert!((0.4..1.6).contains(&ratio), "{last}");
    let id = last["run_id"].as_str().unwrap();
    let named = place.output(&["verify", "--store", "store", "--seeds", "3", "--run", id]);
    assert_eq!(json(&named), last, "the same run and seeds, the same figures");
    let fewer = place.write("fewer.toml", &FLEET.replace("count = 4", "count = 1"));
    let fleet = ["verify", "--store", "store", "--seeds", "3", "--fleet", fewer.to_str().unwrap()];
    let fewer = json(&place.output(&fleet));
    let makespan = |report: &serde_json::Value| {
        report["figures"]["makespan_ms"]["predicted"].as_f64().unwrap()
    };
    assert!(makespan(&fewer) > 3.0 * makespan(&last), "{fewer} {last}");
}

#[test]
fn what_cannot_be_verified_is_refused_with_2() {
    let place = played(&[1]);
    for (args, says) in [
        (&["verify", "--store", "nowhere"][..], "nowhere"),
        (&["verify", "--store", "store", "--run", "other"], "has no run \"other\"; it has "),
        (&["verify", "--store", "store", "--fleet", "no.toml"], "no.toml"),
        (&["verify", "--store", "store", "--seeds", "0"], "--seeds"),
    ] {
        let output = place.output(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains(says), "{args:?}: {}", stderr(&output));
    }
}
