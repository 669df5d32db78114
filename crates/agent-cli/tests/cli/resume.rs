//! What a run that goes on must find again.

use crate::support::{FLEET, Place, json, stderr};

#[test]
fn a_run_is_not_resumed_without_an_agent_that_open_tasks_are_for() {
    let place = Place::new();
    let stops =
        FLEET.replace("limit = \"5.00\"", "limit = \"0.0001\"\non_exhausted = \"stop_run\"");
    place.write("fleet.toml", &stops);
    let line = |id| format!("{{\"id\":\"t{id}\",\"title\":\"t\",\"agent\":\"clerk\"}}\n");
    place.write("tasks.jsonl", &(1..=12).map(line).collect::<String>());
    let mock = place.mock("");
    let output = place.run(&mock.url, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));

    place.write("fleet.toml", &FLEET.replace("\"clerk\"", "\"poet\""));
    let mut resume = place.impresario(&["run", "fleet.toml", "--resume", "--store", "store"]);
    let output = resume.args(["--provider-url", &mock.url]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let message = stderr(&output);
    for part in ["\"clerk\" is not there", "t1, ", " and 2 more", "--discard-unfinished"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    place.write("fleet.toml", FLEET);
    let output = place.run(&mock.url, &["--resume"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(json(&output)["tasks"]["completed"], 12);
}
