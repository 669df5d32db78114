//! Each example is run as a reader would run it, and does what it says.
#![expect(clippy::unwrap_used, reason = "a test may unwrap")]

use std::process::Command;

/// What a program prints; it must end well, and without complaints.
fn run(program: &str) -> String {
    let output = Command::new(program).output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {}: {complaints}", output.status);
    assert_eq!(complaints, "", "{program}");
    String::from_utf8(output.stdout).unwrap()
}

/// An amount of dollars as nano-dollars, so that amounts can be compared and added exactly.
fn amount(text: &str) -> u64 {
    let (whole, fraction) = text.trim_start_matches('$').split_once('.').unwrap_or((text, "0"));
    let dollars: u64 = whole.parse().unwrap();
    dollars * 1_000_000_000 + format!("{fraction:0<9}").parse::<u64>().unwrap()
}

/// The program in the README is the first example, less the lines before its imports.
#[test]
fn the_program_in_the_readme_is_the_first_example() {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once("```rust\n").unwrap();
    let (shown, _) = rest.split_once("```").unwrap();
    let source = include_str!("../first_agent.rs");
    let program = &source[source.find("use ").unwrap()..];
    assert_eq!(shown, program);
}

#[test]
fn the_first_agent_answers_and_says_what_that_cost() {
    let printed = run(env!("CARGO_BIN_EXE_first_agent"));
    assert!(printed.contains("Write a haiku about ledgers"), "{printed}");
    let (_, cost) = printed.trim_end().rsplit_once(" for $").unwrap();
    assert!(amount(cost) > 0, "{printed}");
}

#[test]
fn a_fleet_of_a_hundred_does_what_its_budget_pays_for_and_no_more() {
    let printed = run(env!("CARGO_BIN_EXE_fleet_with_budget"));
    let lines: Vec<_> = printed.lines().collect();
    let (completed, spent) = lines[0].split_once(" tasks completed for $").unwrap();
    let refused = lines[1].strip_suffix(" did not fit the budget").unwrap();
    let (completed, refused): (u32, u32) = (completed.parse().unwrap(), refused.parse().unwrap());
    assert_eq!(completed + refused, 200, "{printed}");
    assert!(completed > 0 && refused > 0, "{printed}");
    assert!(amount(spent) <= amount("0.05"), "{printed}");
}

#[test]
fn a_client_of_ones_own_answers_one_task_and_refuses_the_other() {
    let printed = run(env!("CARGO_BIN_EXE_own_client"));
    assert!(printed.contains("ANNOUNCE THE RELEASE"), "{printed}");
    let refusals: Vec<_> = printed.lines().filter(|line| line.starts_with("refused: ")).collect();
    assert_eq!(refusals.len(), 1, "{printed}");
    assert!(refusals[0].contains("an exclamation mark is not answered"), "{printed}");
}

#[test]
fn the_usage_of_every_project_adds_up_to_the_total() {
    let report: serde_json::Value =
        serde_json::from_str(&run(env!("CARGO_BIN_EXE_query_usage"))).unwrap();
    let rows = report["rows"].as_array().unwrap();
    let cost = |row: &serde_json::Value| amount(row["cost_usd"].as_str().unwrap());
    let projects: std::collections::BTreeSet<_> =
        rows.iter().map(|row| row["project_id"].as_str().unwrap()).collect();
    assert_eq!(projects.into_iter().collect::<Vec<_>>(), ["docs", "web"], "{report}");
    let calls: u64 = rows.iter().map(|row| row["calls"].as_u64().unwrap()).sum();
    assert_eq!((calls, report["total"]["calls"].as_u64()), (8, Some(8)), "{report}");
    assert_eq!(rows.iter().map(cost).sum::<u64>(), cost(&report["total"]), "{report}");
}

#[test]
fn a_supervised_tree_survives_a_crash_and_ends_from_the_leaves() {
    let printed = run(env!("CARGO_BIN_EXE_supervised_tree"));
    let place =
        |what: &str| printed.find(what).unwrap_or_else(|| panic!("{what:?} is not in:\n{printed}"));
    let story = [
        "a panic: the page is torn",
        "the book is Completed",
        "begins \"A future of ledgers\"",
        "the run has ended: Interrupted; the second book is kept for later",
        "1 restart",
    ];
    assert!(story.map(place).is_sorted(), "{printed}");
    let (_, interrupted) = printed.split_once("A future of ledgers").unwrap();
    let leaves: Vec<_> = interrupted.lines().filter(|line| line.ends_with(" leaves")).collect();
    assert_eq!(leaves, ["  editor-1>researcher-2 leaves", "  editor-1>researcher-1 leaves"]);
    assert!(interrupted.find(leaves[1]) < interrupted.find("the run has ended"), "{printed}");
}
