//! The command `mock-provider`: its scenario, its ledger, its end.

use crate::support::{FLEET, Place, stderr};

#[test]
fn a_wrong_scenario_is_told_with_its_file_place_and_remedy() {
    let place = Place::new();
    let file = place.write("bad.toml", "[limits]\nrequests = 3\n");
    let output = place.output(&["mock-provider", "--scenario", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let message = stderr(&output);
    for part in ["bad.toml", "2:1", "`requests`", "`requests_per_minute`"] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn a_ledger_that_cannot_be_written_is_an_error_of_the_provider_and_said_on_stderr() {
    if !std::path::Path::new("/dev/full").exists() {
        return;
    }
    let place = Place::new();
    place.write("fleet.toml", FLEET);
    place.tasks(1);
    let mut mock = place.mock_with("/dev/full");
    let output = place.run(&mock.url, &[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let error = place.outcomes()[0]["error"].clone();
    assert_eq!(error["code"], "PROVIDER_ERROR", "{error}");
    assert!(error["message"].as_str().unwrap().contains("ledger cannot be written"), "{error}");
    let message = mock.ends_saying();
    assert!(message.contains("ledger") && message.contains("No space left"), "{message}");
}

#[test]
fn it_ends_with_0_at_a_signal_even_while_a_call_hangs_and_keeps_the_ledger() {
    for signal in ["-INT", "-TERM"] {
        let place = Place::new();
        place.tasks(4);
        let mut mock = place.mock("[[fault]]\nkind = \"hang\"\ncalls = [2]\n");
        let timeouts = "[timeouts]\nbase = \"2s\"\nper_1k_tokens = \"0s\"\n";
        place.write("fleet.toml", &format!("{FLEET}{timeouts}"));
        let output = place.run(&mock.url, &[]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(mock.end(signal).code(), Some(0));
        // Four tasks, and the call that was made again.
        let ledger = place.read("ledger.jsonl");
        assert!(ledger.lines().count() >= 5 && ledger.ends_with("}\n"), "{ledger}");
    }
}
