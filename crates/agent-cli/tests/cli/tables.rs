//! Tables for people: what is in a task's fields is shown, never obeyed.

use serde_json::Value;

use crate::support::{FLEET, Place, json, stderr, stdout};

/// An id and a project that colour the terminal, go back over the line, and reverse what follows.
const TASK: &str = "{\"id\":\"\\u001b[31mid\\r\",\"title\":\"t\",\"user_id\":\"u\\n2\",\"project_id\":\"\\u001b]0;p\\u0007\\u202e\"}\n";

#[test]
fn control_characters_of_a_task_reach_no_table_and_stay_as_they_are_in_json_and_csv() {
    let place = Place::new();
    place.write("fleet.toml", FLEET);
    place.write("tasks.jsonl", TASK);
    let mock = place.mock("");
    let output = place.run(&mock.url, &["--format", "table"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let mut tables = vec![stdout(&output)];
    for args in [&["usage", "--by", "project,user"][..], &["audit"]] {
        let args = [args, &["--store", "store", "--format", "table"]].concat();
        tables.push(stdout(&place.output(&args)));
    }
    for table in &tables {
        let obeyed = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!table.contains(obeyed), "{table:?}");
    }
    assert!(tables[0].contains("\\u{1b}]0;p\\u{7}\\u{202e}"), "{}", tables[0]);
    assert!(tables[1].contains("u\\n2"), "{}", tables[1]);
    assert!(tables[2].contains("task=\\u{1b}[31mid\\r"), "{}", tables[2]);

    let usage = json(&place.output(&["usage", "--by", "project", "--store", "store"]));
    assert_eq!(usage["rows"][0]["project_id"], "\u{1b}]0;p\u{7}\u{202e}");
    let csv = place.output(&["usage", "--by", "user", "--store", "store", "--format", "csv"]);
    assert!(stdout(&csv).contains("\"u\n2\""), "{}", stdout(&csv));
    let events = stdout(&place.output(&["audit", "--store", "store"]));
    let event: Value = serde_json::from_str(events.lines().nth(1).unwrap()).unwrap();
    assert_eq!(event["task_id"], "\u{1b}[31mid\r");
}

#[test]
fn an_error_that_names_what_was_typed_writes_control_characters_out() {
    let place = Place::new();
    let output = place.output(&["check", "\u{1b}[2Jfleet.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("\\u{1b}[2Jfleet.toml: cannot be read"),
        "{:?}",
        stderr(&output)
    );
}
