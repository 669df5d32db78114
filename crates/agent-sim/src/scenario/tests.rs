//! What is read of a scenario, and how its errors say what is wrong.

mod hostile;

use super::*;
use crate::draws::{Draw, Stream};

const FLEET: &str = "[[agent]]\nname = \"a\"\nmodel = \"claude-sonnet-4-5\"\n";

fn error(more: &str) -> String {
    Scenario::parse(&format!("{FLEET}{more}")).unwrap_err().to_string()
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest() {
    let message = error("[[workload]]\nname = \"w\"\ncount = 1\nimput = 7\n");
    assert_eq!(message, "scenario:7:1: unknown key `workload[0].imput`; did you mean `input`?");
}

#[test]
fn an_unknown_key_of_what_has_a_kind_is_told_with_those_of_its_kind() {
    let message = |line: &str| error(&format!("[[workload]]\nname = \"w\"\ncount = 1\n{line}\n"));
    for (line, says) in [
        ("arrival = { kind = \"poisson\", per_hour = 1 }", "known here: kind, rate"),
        ("arrival = { kind = \"closed\", rate = 1 }", "known here: kind, users, think"),
        ("input = { kind = \"uniform\", mean = 1 }", "known here: kind, min, max"),
        ("input = { kidn = \"uniform\", mean = 1 }", "unknown key `workload[0].input.kidn`"),
        ("input = { mean = 1 }", "`workload[0].input.kind` is missing; write which kind"),
    ] {
        let message = message(line);
        assert!(message.contains(says), "{line}: {message}");
        assert!(!says.starts_with("known") || message.ends_with(says), "{line}: {message}");
    }
}

#[test]
fn a_fleet_with_its_own_tasks_is_a_scenario() {
    let scenario = Scenario::parse(&format!("{FLEET}[[task]]\nid = 1\ntitle = \"t\"")).unwrap();
    assert_eq!(scenario.workload[0].count, Some(1));
}

#[test]
fn a_scenario_with_nothing_to_do_is_refused() {
    assert!(error("").contains("`workload` is missing"), "{}", error(""));
}

#[test]
fn what_cannot_be_drawn_is_refused_where_it_stands() {
    for (bad, says) in [
        ("input = { kind = \"lognormal\", median = -1, sigma = 0.8 }", "median is -1"),
        ("input = { kind = \"lognormal\", median = 1, sigma = nan }", "sigma"),
        ("input = { kind = \"zipf\" }", "is not known; write one of \"constant\""),
        ("tool_gap = \"5 parsecs\"", "is not a duration"),
        ("tool_gap = \"100000y\"", "is too long; write \"30days\" at most"),
        ("tool_gap = \"800.5h\"", "is too long"),
        ("tool_gap = { kind = \"lognormal\", median = \"31days\", sigma = 1 }", "is too long"),
        ("tool_gap = { kind = \"exponential\", mean = \"1s\", max = \"31days\" }", "is too long"),
        ("tool_gap = { kind = \"samples\", values = [\"1s\", \"31days\"] }", "is too long"),
        ("arrival = { kind = \"closed\", users = 1, think = \"31days\" }", "is too long"),
        ("arrival = { kind = \"poisson\", rate = 0 }", "rate"),
        ("arrival = { kind = \"poisson\", rate = 1, cv = 2 }", "unknown key"),
        ("input = 50_000_001", "50000001 tokens is more than any request holds"),
        ("growth = { kind = \"lognormal\", median = 1e9, sigma = 1 }", "more than any request"),
        ("turns = 10_001", "10001 calls is more than a task may make"),
        ("arrival = { kind = \"poisson\", rate = 1e-10 }", "would take more than 100 years"),
        (
            "arrival = { kind = \"profile\", steps = [{ for = \"1h\", rate = 1e-10 }], repeat = true }",
            "100 years",
        ),
        ("cached_share = 1.1", "from 0 to 1"),
        ("agent = \"b\"", "names no agent"),
    ] {
        let message = error(&format!("[[workload]]\nname = \"w\"\ncount = 1\n{bad}\n"));
        assert!(message.starts_with("scenario:7:") && message.contains(says), "{bad}: {message}");
    }
}

#[test]
fn no_pause_that_is_drawn_is_longer_than_thirty_days() {
    let gap = "tool_gap = { kind = \"lognormal\", median = \"20days\", sigma = 9 }";
    let text = format!("{FLEET}[[workload]]\nname = \"w\"\ncount = 1\n{gap}\n");
    let gap = Scenario::parse(&text).unwrap().workload[0].tool_gap.clone();
    let drawn = |turn| gap.sample(&mut Draw::new(1, Stream::named("gap"), [0, 0, turn]));
    assert_eq!((0..1_000).map(drawn).fold(0.0, f64::max), 30.0 * 86_400.0);
}

#[test]
fn a_session_that_rested_for_years_is_refused_and_played_again_faster() {
    let folder = tempfile::tempdir().unwrap();
    let rows = "a,claude-haiku-4-5,0,10\na,claude-haiku-4-5,90000000,10\n";
    let trace = format!("session,model,pre_gap_s,output_tokens\n{rows}");
    std::fs::write(folder.path().join("t.csv"), trace).unwrap();
    let path = folder.path().join("s.toml");
    let load = |more: &str| {
        let arrival = format!("arrival = {{ kind = \"trace\", file = \"t.csv\"{more} }}\n");
        std::fs::write(&path, format!("{FLEET}[[workload]]\nname = \"w\"\n{arrival}")).unwrap();
        Scenario::load(&path, &[])
    };
    let refused = load("").unwrap_err().to_string();
    assert!(refused.contains("rests for 1041 days between two calls; at most 366"), "{refused}");
    assert!(load(", speed = 3.0").is_ok());
}

#[test]
fn a_workload_that_no_project_pays_for_is_refused_where_a_project_has_a_budget() {
    for scope in ["project:web", "project:*"] {
        let budget = format!("[[budget]]\nscope = \"{scope}\"\nlimit = \"1.00\"\n");
        let workload = "[[workload]]\nname = \"w\"\ncount = 1\n";
        let message = error(&format!("{budget}{workload}"));
        assert!(
            message.starts_with("scenario:7:1: `workload[0].project_id` is missing"),
            "{message}"
        );
        assert!(message.contains(&format!("a budget of {scope}")), "{message}");
        let paid = format!("{FLEET}{budget}{workload}project_id = \"web\"\n");
        assert!(Scenario::parse(&paid).is_ok());
    }
    let others = "[[budget]]\nscope = \"agent:*\"\nlimit = \"1.00\"\n[[workload]]\nname = \"w\"\ncount = 1\n";
    assert!(Scenario::parse(&format!("{FLEET}{others}")).is_ok());
}

#[test]
fn a_workload_that_would_never_come_to_an_end_is_refused() {
    let of = |more: &str| error(&format!("[[workload]]\nname = \"w\"\n{more}\n"));
    let batch = of("for = \"1h\"");
    assert!(batch.contains("`workload[0].count` is missing"), "{batch}");
    for arrival in [
        "{ kind = \"poisson\", rate = 1e6 }",
        "{ kind = \"profile\", steps = [{ for = \"1m\", rate = 0 }, { for = \"1m\", rate = 2e6 }], repeat = true }",
    ] {
        let fast = of(&format!("for = \"1h\"\narrival = {arrival}"));
        assert!(fast.contains("more than 100000000 tasks would come in 1h"), "{fast}");
        let text = format!(
            "{FLEET}[[workload]]\nname = \"w\"\ncount = 5\nfor = \"1h\"\narrival = {arrival}"
        );
        assert!(Scenario::parse(&text).is_ok());
    }
}

#[test]
fn failed_calls_without_lengths_are_left_out_of_a_trace_and_the_report_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.toml");
    let trace = "session,call,model,start_s,duration_s,input_tokens,output_tokens,is_error\n\
                 0,1,m,0,1,100,10,0\n0,2,m,4,0,0,0,1\n0,3,m,9,2,300,30,0\n1,1,m,0,0,0,0,1\n";
    std::fs::write(folder.path().join("t.csv"), trace).unwrap();
    let workload = "[[workload]]\nname = \"w\"\narrival = { kind = \"trace\", file = \"t.csv\" }\n";
    std::fs::write(&path, format!("{FLEET}{workload}")).unwrap();
    let scenario = Scenario::load(&path, &[]).unwrap();
    let Arrival::Trace(tasks) = &scenario.workload[0].arrival else { panic!("it is a trace") };
    let turns: Vec<_> = tasks.iter().flat_map(|task| &task.turns).collect();
    let lengths: Vec<_> = turns.iter().map(|turn| (turn.input, turn.output)).collect();
    assert_eq!((tasks.len(), lengths), (1, vec![(Some(100), 10), (Some(300), 30)]));
    // Three seconds before the call that failed, five after it.
    assert_eq!(turns[1].gap_ns, Some(8_000_000_000));
    let json = crate::report::Report::of(&scenario).unwrap().json();
    let told = json["assumptions"].to_string();
    assert!(told.contains("2 calls that failed are left out"), "{told}");
    assert!(told.contains("all begin together"), "{told}");
}

#[test]
fn why_a_file_that_a_scenario_names_cannot_be_read_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.toml");
    let workload = "[[workload]]\nname = \"w\"\n";
    for more in [
        format!("{workload}arrival = {{ kind = \"trace\", file = \"none.csv\" }}\n"),
        format!(
            "{workload}count = 1\noutput = {{ kind = \"trace\", file = \"none.csv\", of = \"output\" }}\n"
        ),
        format!("{workload}count = 1\n[simulated]\nlatency_file = \"none.csv\"\n"),
    ] {
        std::fs::write(&path, format!("{FLEET}{more}")).unwrap();
        let message = Scenario::load(&path, &[]).unwrap_err().to_string();
        assert!(message.contains("none.csv") && message.contains("o such file"), "{message}");
    }
}

#[test]
fn a_latency_by_name_is_that_of_a_model_that_there_is() {
    let parse = |name: &str| {
        let simulated = format!("[simulated]\nlatency = \"{name}\"\n");
        Scenario::parse(&format!("{FLEET}[[task]]\nid = 1\n{simulated}"))
    };
    for slip in ["claude-sonet-4-5", "gpt-5.4-tiny-new", "banana", ""] {
        let message = parse(slip).unwrap_err().to_string();
        assert!(message.contains("`simulated.latency` is not known"), "{slip}: {message}");
        assert!(message.contains("or name one of claude-"), "{slip}: {message}");
    }
    let dated = "claude-haiku-4-5-20251001";
    for name in [dated, "anthropic/claude-opus-4-7", "claude-opus-4-8", "opus"] {
        assert!(parse(name).is_ok(), "{name}");
    }
}

/// Why a file of [`FLEET`] and `more` cannot be read with changes made to it.
fn error_with(changes: &[&str], more: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.toml");
    std::fs::write(&path, format!("{FLEET}{more}")).unwrap();
    let changes: Vec<Change> = changes.iter().map(|it| it.parse().unwrap()).collect();
    let message = Scenario::load(&path, &changes).unwrap_err().to_string();
    message.replace(&format!("{}", path.display()), "s.toml")
}

#[test]
fn changes_keep_the_lines_of_what_they_do_not_touch() {
    let wrong = "count = 4\n[[task]]\nid = 1\ntitle = \"t\"\npriority = \"urgent\"\n";
    for change in ["agent.0.count=2", "agent.0.max_tokens=50", "run.seed=7", "goal.deadline=1h"] {
        let message = error_with(&[change], wrong);
        assert!(message.starts_with("s.toml:8:"), "{change}: {message}");
    }
}

#[test]
fn what_is_wrong_with_a_change_is_told_of_the_change_and_not_of_a_line_that_no_file_has() {
    let fine = "count = 4\n[[workload]]\nname = \"w\"\ncount = 1\n";
    for (change, says) in [
        ("agent.0.count=0", "agent.0.count: `agent[0].count` is below 1"),
        ("run.replicas=0", "run.replicas: `run.replicas` is below 1"),
        ("workload.0.imput=1", "workload.0.imput: unknown key `workload[0].imput`; did you mean"),
        (
            "workload.0.arrival={kind=\"poisson\"}",
            "workload.0.arrival: `workload[0].arrival.rate` is",
        ),
        ("agent.0.count=4000000000", "agent.0.count: `agent` has 4000000000 workers"),
    ] {
        let message = error_with(&["run.seed=7", change], fine);
        assert!(message.starts_with(says), "{change}: {message}");
    }
    // The file's own value is wrong, too; what is told is what was asked for.
    let trace = "[[workload]]\nname = \"w\"\narrival = { kind = \"trace\", file = \"none.csv\" }\n";
    let message = error_with(&["workload.0.arrival.file=other.csv"], trace);
    assert!(
        message.starts_with("workload.0.arrival.file: ") && message.contains("other.csv"),
        "{message}"
    );
    let message = error_with(&["workload.0.arrival.speed=2.0"], trace);
    assert!(message.starts_with("s.toml:6:") && message.contains("none.csv"), "{message}");
}

#[test]
fn a_change_that_leads_nowhere_says_where_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.toml");
    std::fs::write(&path, format!("{FLEET}[[task]]\nid = 1\n")).unwrap();
    for (change, says) in [
        ("agent.3.count=1", "write a place from 0 to below 1"),
        ("agent.0.name.x=1", "under a single value"),
        ("agent.0.cuont=1", "did you mean `count`?"),
    ] {
        let message = Scenario::load(&path, &[change.parse().unwrap()]).unwrap_err().to_string();
        assert!(message.contains(says), "{change}: {message}");
    }
    assert!("agent.0.count".parse::<Change>().is_err() && "a..b=1".parse::<Change>().is_err());
}

#[test]
fn a_time_can_be_set_without_quotes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.toml");
    std::fs::write(&path, format!("{FLEET}[[task]]\nid = 1\n")).unwrap();
    let change: Change = "run.start=2026-02-01T00:00:00Z".parse().unwrap();
    let start = Scenario::load(&path, &[change]).unwrap().run.start;
    assert_eq!(start.to_string(), "2026-02-01T00:00:00.000Z");
}

#[test]
fn money_and_names_can_be_set_without_quotes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.toml");
    let budget = "[[budget]]\nscope = \"global\"\nlimit = \"9.00\"\n";
    std::fs::write(&path, format!("{FLEET}{budget}[[task]]\nid = 1\n")).unwrap();
    let changes = ["budget.0.limit=2.5", "goal.max_cost_usd=20", "guards.max_cost_per_task=0.1"];
    let changes: Vec<Change> = changes.iter().map(|it| it.parse().unwrap()).collect();
    let scenario = Scenario::load(&path, &changes).unwrap();
    let dollars = |text: &str| text.parse::<NanoUsd>().unwrap();
    assert_eq!(scenario.fleet.budget[0].limit, dollars("2.50"));
    assert_eq!(scenario.goal.max_cost, Some(dollars("20")));
    assert_eq!(scenario.fleet.guards.max_cost_per_task, dollars("0.10"));
}

#[test]
fn a_price_can_be_set_without_quotes_and_a_key_with_points_in_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.toml");
    std::fs::write(&path, format!("{FLEET}[[task]]\nid = 1\n")).unwrap();
    let scenario = |change: &str| Scenario::load(&path, &[change.parse().unwrap()]).unwrap();
    let model = "claude-sonnet-4-5";
    for path in [format!("prices.{model}.input"), format!("prices.\"{model}\".input")] {
        for value in ["9", "9.00", "\"9.00\""] {
            let stated = &scenario(&format!("{path}={value}")).fleet.prices[model];
            assert_eq!(stated.input.unwrap().to_string(), "9", "{path}={value}");
        }
    }
    let window = scenario("prices.claude-sonnet-4-5.context_window=5000");
    assert_eq!(window.fleet.prices[model].context_window, Some(5_000));
    let change: Change = "prices.\"own-1.5\".output = 3".parse().unwrap();
    assert_eq!((change.path().as_str(), change.value()), ("prices.\"own-1.5\".output", "3"));
    for wrong in ["a.\"b=1", "\"a=1", "a b=1", ".a=1"] {
        assert!(wrong.parse::<Change>().is_err(), "{wrong}");
    }
}

#[test]
fn a_number_that_is_too_large_to_set_is_said_to_be_too_large() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.toml");
    std::fs::write(&path, format!("{FLEET}[[task]]\nid = 1\n")).unwrap();
    for number in ["99999999999999999999", "-99_999_999_999_999_999_999", "18446744073709551615"] {
        let change = Change::new("run.seed", number).unwrap();
        let message = Scenario::load(&path, &[change]).unwrap_err().to_string();
        assert!(
            message.starts_with(&format!("run.seed: {number} is too large a number")),
            "{message}"
        );
        assert!(message.contains("9223372036854775807"), "{message}");
    }
}

#[test]
fn a_task_that_is_written_out_may_not_have_the_id_of_one_of_a_workload() {
    let parse = |id: &str, workload: &str| {
        Scenario::parse(&format!("{FLEET}[[task]]\nid = \"{id}\"\n[[workload]]\n{workload}\n"))
    };
    let workload = "name = \"page\"\ncount = 2";
    let message = parse("page-2", workload).unwrap_err().to_string();
    assert_eq!(
        message,
        "task \"page-2\" has the id of a task of the workload \"page\"; give it another"
    );
    let endless = "name = \"page\"\nfor = \"1h\"\narrival = { kind = \"poisson\", rate = 1.0 }";
    assert!(parse("page-7", endless).is_err());
    for id in ["page-3", "page-02", "page-0", "page", "pages-1"] {
        assert!(parse(id, workload).is_ok(), "{id}");
    }
}
