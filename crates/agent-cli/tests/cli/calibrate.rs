//! `impresario calibrate`: what the store or a trace has on record becomes a latency file.

use std::path::Path;

use serde_json::Value;

use crate::support::{FLEET, Place, json, stderr, stdout};

/// Answers of 20 ms and 0.5 ms a token.
const MOCK: &str = "[latency]\nbase = \"20ms\"\nper_output_token = \"500us\"\n";

fn sample() -> String {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../agent-sim/data/traces");
    data.join("claude_code.csv.gz").display().to_string()
}

/// A place where so many tasks were played.
fn played(tasks: usize) -> Place {
    let place = Place::new();
    place.write("fleet.toml", &FLEET.replace("count = 4", "count = 16"));
    place.tasks(tasks);
    let mock = place.mock(MOCK);
    let output = place.run(&mock.url, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    place
}

fn model<'a>(report: &'a Value, name: &str) -> &'a Value {
    let models = report["models"].as_array().unwrap();
    models.iter().find(|model| model["model"] == name).unwrap()
}

#[test]
fn calls_of_a_fleet_become_a_file_that_a_scenario_takes() {
    let place = played(210);
    let args = ["calibrate", "--store", "store", "--out", "latency.toml"];
    let output = place.output(&args);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report = json(&output);
    let haiku = model(&report, "claude-haiku-4-5");
    assert_eq!((&haiku["attempts"], &haiku["errors"]), (&210.into(), &serde_json::json!({})));
    let fitted = &haiku["fitted"];
    assert_eq!((&fitted["calibrated"], &fitted["calls"]), (&true.into(), &210.into()));
    assert_eq!(fitted["sessions"], 210);
    assert!(fitted["source"].as_str().unwrap().contains("no time to the first token"));
    assert!(fitted["total"]["base_us"].as_u64().unwrap() < 500_000, "{fitted}");
    assert_eq!(haiku["cross_validated"]["sessions"], 210);

    place.write(
        "scenario.toml",
        "[[agent]]\nname = \"clerk\"\nmodel = \"claude-haiku-4-5\"\n\
         [[workload]]\nname = \"letters\"\ncount = 20\n\
         [simulated]\nlatency_file = \"latency.toml\"\n",
    );
    let simulated = json(&place.output(&["simulate", "scenario.toml"]));
    assert_eq!(simulated["calibrated"], true, "{simulated}");

    let table = stdout(&place.output(&["calibrate", "--store", "store", "--format", "table"]));
    assert!(table.contains("claude-haiku-4-5") && !table.contains("UNCALIBRATED"), "{table}");
    let later = place.output(&["calibrate", "--store", "store", "--since", "2999-01-01"]);
    assert_eq!(later.status.code(), Some(2));
}

#[test]
fn few_calls_are_said_to_be_few_and_the_file_stays_uncalibrated() {
    let place = played(5);
    let report = json(&place.output(&["calibrate", "--store", "store", "--out", "latency.toml"]));
    let fitted = &model(&report, "claude-haiku-4-5")["fitted"];
    assert_eq!((&fitted["calibrated"], &fitted["weight"]), (&false.into(), &0.025.into()));
    let file = place.read("latency.toml");
    assert!(file.contains("calibrated = false"), "{file}");
    assert!(file.contains("fitted on 5 calls in 5 sessions; too few"), "{file}");
    let table = stdout(&place.output(&["calibrate", "--store", "store", "--format", "table"]));
    assert!(table.contains("UNCALIBRATED"), "{table}");
}

#[test]
fn half_of_the_recorded_sessions_predict_the_other_half() {
    let place = Place::new();
    let output = place.output(&["calibrate", "--trace", &sample(), "--halvings", "10"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report = json(&output);
    let opus = model(&report, "claude-opus-4-7");
    let gaps = opus["tool_gap_ms"].as_array().unwrap();
    assert!(gaps.iter().all(|gap| gap.is_u64()), "{opus}");
    for line in ["total", "first"].map(|line| opus["fitted"][line].as_object().unwrap()) {
        let whole = |key| line[key].as_u64().unwrap();
        let [base, context, output] =
            ["base_us", "per_1k_context_us", "per_output_token_us"].map(whole);
        assert!(base > 0 && context > 0 && output < 1_000_000 && line.len() == 3, "{opus}");
    }
    let halves = &report["halves"];
    let number = |name: &str| halves["all"][name].as_f64().unwrap();
    assert_eq!(halves["halves"], 20);
    assert!(number("median_error") < 0.125 && number("covered") >= 0.85, "{halves}");

    let against = place.output(&["calibrate", "--trace", &sample(), "--against", &sample()]);
    let report = json(&against);
    assert_eq!((&report["halves"], &report["against"]["sessions"]), (&Value::Null, &10.into()));
}

#[test]
fn what_cannot_be_calibrated_is_refused_with_2() {
    let place = Place::new();
    place.write("empty.csv", "arrival_s,input_tokens,output_tokens\n0,10,10\n");
    for (args, says) in [
        (&["calibrate", "--store", "nowhere"][..], "nowhere"),
        (&["calibrate", "--trace", "nowhere.csv"], "nowhere.csv"),
        (&["calibrate", "--trace", "empty.csv"], "has no answered call to calibrate on"),
        (&["calibrate", "--trace", &sample(), "--out", "no/such/file"], "cannot be written"),
        (&["calibrate", "--trace", &sample(), "--halvings", "0"], "--halvings"),
        (&["calibrate", "--trace", &sample(), "--format", "csv"], "possible values"),
        (&["calibrate", "--trace", &sample(), "--since", "1d"], "cannot be used with"),
    ] {
        let output = place.output(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains(says), "{args:?}: {}", stderr(&output));
    }
}
