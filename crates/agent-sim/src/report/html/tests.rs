//! Pages of small scenarios.

use std::time::Duration;

use crate::report::{Report, sweep_html};
use crate::scenario::{Change, Scenario};
use crate::sweep::{Axis, combinations, sweep};

const SMALL: &str = r#"
[run]
seed = 5
replicas = 3
[goal]
deadline = "10s"
max_cost_usd = "1.00"
[limits]
requests_per_minute = 200
[simulated]
latency = { base = "2s", sigma = 0.4 }
[[agent]]
name = "a"
model = "claude-sonnet-4-5"
count = 10
rate_limit = { calls = 1000 }
[[budget]]
scope = "project:<b>&\"web'"
limit = "0.20"
[[workload]]
name = "w</script><script>alert(1)</script>"
count = 60
project_id = "<b>&\"web'"
"#;

fn page(text: &str) -> String {
    Report::of(&Scenario::parse(text).unwrap()).unwrap().html()
}

/// The page without its own style and script.
fn body(page: &str) -> &str {
    let start = page.find("<body>").unwrap();
    &page[start..page.rfind("<script>").unwrap()]
}

#[test]
fn the_same_report_gives_the_same_page_byte_for_byte() {
    assert_eq!(page(SMALL), page(SMALL));
}

#[test]
fn names_from_the_scenario_never_become_markup() {
    let page = page(SMALL);
    let body = body(&page);
    assert!(body.contains("w&lt;/script&gt;&lt;script&gt;"), "the slowest tasks have their names");
    assert!(body.contains("project:&lt;b&gt;&amp;&quot;web&#39;"), "budgets have their names");
    assert!(!body.contains("<script") && !body.contains("<b>&"), "{body}");
}

#[test]
fn a_page_loads_nothing() {
    let page = page(SMALL);
    for bad in ["http://", "https://", "url(", "@import", " src=", "<link rel=\"stylesheet"] {
        assert!(!page.contains(bad), "{bad}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn a_page_says_what_the_report_says() {
    let report = Report::of(&Scenario::parse(SMALL).unwrap()).unwrap();
    let page = report.html();
    assert!(page.contains("Goal not met") && !page.contains("UNCALIBRATED"));
    for says in [&*report.verdict.why_not[0], "p5 to p95 of 3 runs", "BUDGET_EXCEEDED", "Spend"] {
        assert!(page.contains(says), "{says}");
    }
    assert!(page.contains(&format!("{:016x}", report.first().event_hash)));
    let unasked = self::page(&SMALL.replace("[run]", "[run]\nsensitivity = false"));
    assert!(unasked.contains("not asked</span>") && !unasked.contains("nothing</span>"));
    let by_model = SMALL.replace("latency = { base = \"2s\", sigma = 0.4 }", "");
    assert!(self::page(&by_model).contains("UNCALIBRATED"), "latencies by model are others'");
}

#[test]
fn a_card_judges_by_as_many_runs_as_the_verdict() {
    let mut report = Report::of(&Scenario::parse(SMALL).unwrap()).unwrap();
    report.replicas = report.replicas.iter().cycle().take(10).cloned().collect();
    report.goal.deadline = Some(Duration::from_secs(3_600));
    for (late, says) in [
        (0, "<p class=\"good\">within the goal of 1\u{202f}h</p>"),
        (1, "<p class=\"good\">within the goal of 1\u{202f}h in 9 of 10 runs</p>"),
        (2, "<p class=\"bad\">beyond the goal of 1\u{202f}h in 2 of 10 runs</p>"),
        (10, "<p class=\"bad\">beyond the goal of 1\u{202f}h</p>"),
    ] {
        for (at, run) in report.replicas.iter_mut().enumerate() {
            run.makespan = Duration::from_secs(if at < late { 7_200 } else { 60 });
        }
        let page = report.html();
        let at = page.find("the goal of 1\u{202f}h").unwrap_or_default();
        assert!(page.contains(says), "{late}: {}", &page[at..at + 60]);
    }
}

#[test]
fn only_a_budget_of_all_that_is_spent_is_a_level_of_the_spend() {
    let level = "<b class=\"level warn";
    assert!(!page(SMALL).contains(level), "the budget is one project's");
    let of_all = SMALL.replace("project:<b>&\\\"web'", "global");
    assert!(page(&of_all).contains(level), "the budget is everybody's");
}

#[test]
fn a_provider_that_answers_sooner_is_not_told_as_more_latency() {
    let page = page(SMALL);
    assert!(page.contains("answers 20\u{202f}% faster") && !page.contains("more provider latency"));
}

#[test]
fn a_run_in_which_nothing_ends_has_a_page_too() {
    let hang = "\n[[fault]]\neffect = \"hang\"\nat = \"0s\"\nfor = \"1h\"\n";
    let text = SMALL.replace("seed = 5", "seed = 5\nuntil = \"5s\"\nsensitivity = false") + hang;
    let page = page(&text);
    assert!(page.contains("No task has ended") && page.ends_with("</html>\n"));
    assert!(!page.contains("NaN") && !page.contains("inf%"), "{page}");
}

/// As many tasks with as many calls as are kept, and many runs.
#[test]
fn a_page_of_long_tasks_and_many_runs_stays_below_400_kb() {
    let long = SMALL
        .replace("count = 60", "count = 60\nturns = 130\ntool_gap = \"1s\"")
        .replace("replicas = 3", "sensitivity = false")
        .replace("requests_per_minute = 200", "requests_per_minute = 9000")
        .replace("limit = \"0.20\"", "limit = \"900\"");
    let mut report = Report::of(&Scenario::parse(&long).unwrap()).unwrap();
    report.replicas = vec![report.first().clone(); 60];
    let page = report.html();
    assert!(page.len() < 400_000, "{}", page.len());
    assert!(page.matches("class=\"life\"").count() == 50 && !page.contains("NaN"));
}

/// The page of a sweep of [`SMALL`].
fn swept(axes: &[&str]) -> String {
    let axes: Vec<Axis> = axes.iter().map(|it| it.parse().unwrap()).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.toml");
    std::fs::write(&path, SMALL.replace("replicas = 3", "replicas = 1")).unwrap();
    let scenarios = combinations(&axes).unwrap().into_iter().map(|changes: Vec<Change>| {
        let scenario = Scenario::load(&path, &changes).unwrap();
        (changes, scenario)
    });
    sweep_html(&sweep(scenarios.collect()).unwrap())
}

#[test]
fn a_sweep_has_a_row_and_a_dot_for_each_combination() {
    let page = swept(&["agent.0.count=2,4,8,16", "limits.requests_per_minute=100,400"]);
    let rows =
        page.matches("badge bad\">not met").count() + page.matches("badge good\">met").count();
    assert_eq!(rows, 8);
    assert!(
        page.contains("of 8</strong>") && page.matches("class=\"dots").count() == 4 * 2,
        "{page}"
    );
}

#[test]
fn of_two_names_both_stand_on_a_narrow_page_and_of_six_each_other_one() {
    let labels = |axis: &str| {
        let page = swept(&[axis]);
        let plot = page.split("<div class=\"plot").nth(1).unwrap().to_owned();
        assert!(plot.starts_with(" named\""), "{plot}");
        let labels = plot.split("<i class=\"x").skip(1);
        labels.map(|it| it.split_once('"').unwrap().0.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(labels("agent.0.model=claude-sonnet-4-5,claude-haiku-4-5"), ["", ""]);
    let starts = (1..7).map(|day| format!("2026-01-0{day}T00:00:00Z")).collect::<Vec<_>>();
    let six = labels(&format!("run.start={}", starts.join(",")));
    assert_eq!(six, [" even", " odd", " even", " odd", " even", " odd"]);
}

#[test]
fn figures_are_written_as_people_read_them() {
    use super::words::*;
    let thin = |text: String| text.replace(['\u{2009}', '\u{202f}', '\u{a0}'], " ");
    let spans = [0.0, 12e6, 2.345e9, 59.96e9, 99.96e9, 3_599.4e9, 3_599.6e9, 90_000e9]
        .map(|it| thin(span(it)));
    assert_eq!(
        spans,
        ["0 s", "12 ms", "2.35 s", "60.0 s", "1 min 40 s", "59 min 59 s", "1 h", "1 d 1 h"]
    );
    let numbers = [0.0, 0.25, 12.34, 1_234.0, 450_000.0, 1.25e6].map(|it| thin(number(it)));
    assert_eq!(numbers, ["0", "0.25", "12.3", "1 234", "450k", "1.2M"]);
    assert_eq!(
        [0.0, 0.004, 0.9946, 1.0].map(|it| thin(percent(it))),
        ["0 %", "0.4 %", "99.5 %", "100 %"]
    );
    assert_eq!([-0.17, 0.0, 0.021].map(|it| thin(change(it))), ["−17 %", "±0 %", "+2.1 %"]);
    assert_eq!(
        [0.0, 0.0123, 4.5, 12_345.6].map(|it| thin(dollars(it))),
        ["$0.00", "$0.0123", "$4.50", "$12 346"]
    );
}
