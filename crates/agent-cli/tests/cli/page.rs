//! The page that `simulate --report` writes, as a file and in a browser.

use std::path::Path;
use std::process::Command;

use crate::python::environment;
use crate::support::{Place, stderr, stdout};

const SCENARIO: &str = r#"
[run]
seed = 3
replicas = 3
[goal]
deadline = "1h"
max_cost_usd = "5.00"
min_success = 0.5
[limits]
requests_per_minute = 120
output_tokens_per_minute = 20000
[[budget]]
scope = "project:web-of-a-project-whose-name-has-no-end-and-no-space-in-it-so-that-it-has-to-be-broken-somewhere"
limit = "2.20"
[[agent]]
name = "a"
model = "claude-sonnet-4-5"
count = 8
[[workload]]
name = "<page>"
project_id = "web-of-a-project-whose-name-has-no-end-and-no-space-in-it-so-that-it-has-to-be-broken-somewhere"
count = 150
turns = { kind = "lognormal", median = 2, sigma = 0.6, max = 8 }
tool_gap = "3s"
[[fault]]
effect = "status"
status = 529
at = "20s"
for = "30s"
share = 0.5
"#;

fn place() -> Place {
    let place = Place::new();
    place.write("s.toml", SCENARIO);
    place
}

#[test]
fn a_report_is_a_page_and_its_figures_and_the_same_again() {
    let place = place();
    for folder in ["one", "two"] {
        place.output(&["simulate", "s.toml", "--report", folder]);
    }
    let page = place.read("one/report.html");
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("Goal met"), "{page}");
    assert_eq!(page, place.read("two/report.html"));
    let json: serde_json::Value = serde_json::from_str(&place.read("one/report.json")).unwrap();
    assert!(page.contains(json["event_hash"].as_str().unwrap()));
}

/// The pages of a simulation and of a sweep, in Chromium.
#[test]
#[expect(clippy::print_stderr, reason = "what was not checked is told")]
fn the_pages_work_in_a_browser_with_and_without_script_in_light_and_dark() {
    let Some(environment) = environment("browser") else {
        eprintln!("skipped: no playwright or no Chromium; tests/python/setup.sh installs the one");
        return;
    };
    let place = place();
    let sweep = ["--sweep", "agent.0.count=2,4,8,16", "--sweep", "run.seed=1,2"];
    let names = ["--sweep", "agent.0.model=claude-sonnet-4-5,claude-haiku-4-5"];
    for (folder, more) in [("one", &[][..]), ("many", &sweep), ("names", &names)] {
        place.output(&[&["simulate", "s.toml", "--report", folder][..], more].concat());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/python/report.py");
        let page = place.path(folder).join("report.html");
        let mut browser = Command::new(environment.join("bin/python"));
        let output = browser.arg(script).arg(page).output().unwrap();
        assert!(output.status.success(), "{folder}:\n{}{}", stdout(&output), stderr(&output));
        eprintln!("{}", stdout(&output));
    }
}
