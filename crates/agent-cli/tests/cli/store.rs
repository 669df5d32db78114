//! The way out of the store's format and back, and what is refused on it.

use std::os::unix::fs::symlink;
use std::process::{Output, Stdio};

use crate::support::{FLEET, Place, json, stderr, stdout};

fn played() -> Place {
    let place = Place::new();
    place.write("fleet.toml", FLEET);
    place.tasks(5);
    let mock = place.mock("");
    let output = place.run(&mock.url, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    place
}

fn store(place: &Place, name: &str, args: &[&str]) -> Output {
    place.output(&[&["store", "--store", name], args].concat())
}

#[test]
fn an_export_is_imported_without_loss_and_both_verify() {
    let place = played();
    let verified = store(&place, "store", &["verify"]);
    assert_eq!(verified.status.code(), Some(0), "{}", stderr(&verified));
    assert_eq!(json(&verified)["consistent"], true);
    let exported = stdout(&store(&place, "store", &["export"]));
    place.write("export.jsonl", &exported);
    let imported = store(&place, "copy", &["import", "export.jsonl"]);
    assert_eq!(imported.status.code(), Some(0), "{}", stderr(&imported));
    assert_eq!(stdout(&store(&place, "copy", &["export"])), exported);
    for args in [&["usage", "--by", "agent,day"][..], &["audit"], &["usage", "export"]] {
        let of = |store| stdout(&place.output(&[args, &["--store", store]].concat()));
        assert_eq!(of("store"), of("copy"), "{args:?}");
    }
    let mut stdin = place.impresario(&["store", "import", "-", "--store", "other"]);
    let file = std::fs::File::open(place.path("export.jsonl")).unwrap();
    assert_eq!(stdin.stdin(Stdio::from(file)).output().unwrap().status.code(), Some(0));
}

#[test]
fn an_export_that_is_torn_cut_off_or_none_is_refused_by_line_and_counts_for_nothing() {
    let place = played();
    let exported = stdout(&store(&place, "store", &["export"]));
    let count = exported.lines().count();
    let without_last = &exported[..exported[..exported.len() - 1].rfind('\n').unwrap() + 1];
    let torn = &exported[..exported.len() - 5];
    let hole: String = exported.lines().skip(1).map(|line| format!("{line}\n")).collect();
    let garbled = exported.replacen("\"record\"", "\"rekord\"", 1);
    let record = exported.lines().position(|line| line.contains("\"record\"")).unwrap() + 1;
    for (at, (text, line, told)) in [
        (torn, count, "EOF"),
        (without_last, count, "cut off"),
        ("", 1, "cut off"),
        (&hole, 1, "format is missing"),
        (&garbled, record, "not one that an export writes"),
        ("{\"id\":1,\"title\":\"a task\"}\n", 1, "not one that an export writes"),
    ]
    .into_iter()
    .enumerate()
    {
        let (file, folder) = (format!("{at}.jsonl"), format!("store{at}"));
        place.write(&file, text);
        let output = store(&place, &folder, &["import", &file]);
        assert_eq!(output.status.code(), Some(2), "{told}");
        let message = stderr(&output);
        assert!(message.contains(&format!("{file}: line {line} ")), "{message}");
        assert!(message.contains(told), "{message}");
        let usage = place.output(&["usage", "--store", &folder]);
        assert!(usage.status.code() == Some(2) || json(&usage)["total"]["calls"] == 0, "{at}");
    }
}

#[test]
fn an_import_into_a_store_that_holds_something_changes_nothing() {
    let (place, other) = (played(), played());
    let exported = stdout(&store(&other, "store", &["export"]));
    place.write("export.jsonl", &exported);
    let before = stdout(&store(&place, "store", &["export"]));
    let output = store(&place, "store", &["import", "export.jsonl"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("not empty; import into a new folder"), "{}", stderr(&output));
    assert_eq!(stdout(&store(&place, "store", &["export"])), before);
    for (file, told) in [("no-such", "no-such"), (".", "directory")] {
        let output = store(&place, "fresh", &["import", file]);
        assert_eq!(output.status.code(), Some(2), "{file}");
        assert!(stderr(&output).contains(told), "{}", stderr(&output));
        assert!(!place.path("fresh").exists(), "{file}");
    }
}

#[test]
fn a_store_that_cannot_be_looked_into_is_not_said_to_be_absent() {
    let place = Place::new();
    symlink("store", place.path("store")).unwrap();
    for args in [&["usage"][..], &["audit"], &["audit", "--follow"], &["store", "verify"]] {
        let output = place.output(&[args, &["--store", "store"]].concat());
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {told}");
        assert!(told.contains("symbolic links") && !told.contains("no store"), "{args:?}: {told}");
    }
}

#[test]
fn a_total_that_is_not_the_sum_of_its_records_is_told_with_exit_code_1() {
    let place = played();
    let exported = stdout(&store(&place, "store", &["export"]));
    let line = exported.lines().find(|line| line.contains("\"record\"")).unwrap();
    let mut record: serde_json::Value = serde_json::from_str(line).unwrap();
    record["record"]["cost"] = "1.5".into();
    place.write("export.jsonl", &exported.replace(line, &record.to_string()));
    let output = store(&place, "forged", &["import", "export.jsonl"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    for output in [output, store(&place, "forged", &["verify"])] {
        let found = json(&output);
        assert_eq!((&found["consistent"], output.status.code()), (&false.into(), Some(1)));
        let of_project = found["differences"].as_array().unwrap().iter();
        assert!(of_project.clone().any(|it| it["project_id"] == "web"), "{found}");
    }
}

#[test]
fn retention_keeps_totals_and_refuses_days_to_come() {
    let place = played();
    let usage = |args: &[&str]| stdout(&place.output(&[args, &["--store", "store"]].concat()));
    let before = usage(&["usage", "--by", "project,agent"]);
    let records = usage(&["usage", "export"]);
    let kept = store(&place, "store", &["retain", "--since", "1day"]);
    assert_eq!(kept.status.code(), Some(0), "{}", stderr(&kept));
    assert_eq!(json(&kept)["dropped_values"], 0);
    assert_eq!(usage(&["usage", "export"]), records);
    for since in ["2999-01-01", "yesterday"] {
        let output = store(&place, "store", &["retain", "--since", since]);
        assert_eq!(output.status.code(), Some(2), "{since}");
        assert!(stderr(&output).contains("--since"), "{}", stderr(&output));
    }
    assert_eq!(usage(&["usage", "--by", "project,agent"]), before);
    let missing = store(&place, "none", &["verify"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(stderr(&missing).contains("none"), "{}", stderr(&missing));
}
