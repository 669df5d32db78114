//! Tests of the fleet file.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::permits::AgentRateLimit;

mod models;

const WHOLE: &str = include_str!("testdata/fleet.toml");
const AGENT: &str = "[[agent]]\nname = \"a\"\nmodel = \"m\"\n";

fn fleet(text: &str) -> Result<Fleet, ConfigError> {
    Fleet::parse(text, "fleet.toml", &|_| None)
}

#[track_caller]
fn says(text: &str, message: &str) {
    assert_eq!(fleet(text).unwrap_err().to_string(), format!("fleet.toml:{message}"));
}

#[test]
fn a_whole_fleet_file_is_read() {
    let fleet = fleet(WHOLE).unwrap();
    let agent = &fleet.agent[0];
    assert_eq!(
        (agent.name.as_str(), agent.count.get(), agent.max_tokens.get()),
        ("backend", 4, 4096)
    );
    assert_eq!(agent.rate_limit, Some(AgentRateLimit::default()));
    assert_eq!(fleet.budget[0].limit, NanoUsd::from_dollars(5));
    assert_eq!(fleet.budget[0].scope.to_string(), "project:web");
    assert_eq!((fleet.task[0].id.as_str(), fleet.task[0].title()), ("42", "Add a login page"));
}

#[test]
fn ids_projects_and_users_of_tasks_are_what_they_are_in_a_line_of_a_task_file() {
    for id in [
        "7",
        "-2",
        "1.5",
        "1e3",
        "18446744073709551615",
        "9007199254740993.0",
        "1e400",
        "\"a\"",
        "[]",
    ] {
        let keys = format!("id = {id}\nproject_id = {id}\nuser_id = {id}\n");
        let read = fleet(&format!("{AGENT}[[task]]\n{keys}")).map(|fleet| fleet.task[0].clone());
        let line = format!("{{\"id\":{id},\"project_id\":{id},\"user_id\":{id}}}");
        assert_eq!(read.ok(), crate::tasks::read_line(&line).ok(), "{id}");
    }
    let text = format!("{AGENT}[[task]]\nid = 1\nmetadata = {{ a = 1e400, b = inf, c = 1.5 }}\n");
    let metadata = fleet(&text).unwrap().task[0].metadata.clone().unwrap();
    let kept = ["a", "b", "c"].map(|key| metadata[key].to_string());
    assert_eq!(kept, ["\"1e400\"", "\"inf\"", "1.5"]);
    let blank = fleet(&format!("{AGENT}[[task]]\nid = 1\nproject_id = \" \"\n")).unwrap();
    assert_eq!(blank.task[0].project_id, None);
}

#[test]
fn what_the_whole_file_shows_are_the_defaults() {
    let (whole, least) = (fleet(WHOLE).unwrap(), fleet(AGENT).unwrap());
    assert_eq!(least.provider, whole.provider);
    assert_eq!(least.timeouts, whole.timeouts);
    assert_eq!(least.retry, whole.retry);
    assert_eq!(least.limits, whole.limits);
    assert_eq!(least.guards, whole.guards);
    assert_eq!(least.supervision, whole.supervision);
    assert_eq!(least.agent[0].restart, whole.agent[0].restart);
    assert_eq!(least.timeouts.per_1k_tokens, Duration::from_secs(15));
    assert!(least.budget.is_empty() && least.task.is_empty() && least.prices.is_empty());
}

#[test]
fn a_wrong_line_is_named_with_its_key_and_the_remedy() {
    let rows = [
        (
            "[limits]\nrequest_per_minute = 1",
            "2:1: unknown key `limits.request_per_minute`; did you mean `requests_per_minute`?",
        ),
        ("[limit]", "1:2: unknown key `limit`; did you mean `limits`?"),
        (
            "[limits]\nmax_concurrent = \"x\"",
            "2:18: `limits.max_concurrent` is a string; write a whole number without quotes",
        ),
        (
            "[limits]\nmax_concurrent = 0",
            "2:18: `limits.max_concurrent` is below 1; write a whole number of at least 1",
        ),
        (
            "[limits]\nmax_concurrent = 4294967296",
            "2:18: `limits.max_concurrent` is too large; write at most 4294967295",
        ),
        (
            "[limits]\nmax_wait = 5",
            "2:12: `limits.max_wait` is a whole number; write a duration in quotes, such as \"90s\" or \"1h 30m\"",
        ),
        (
            "[limits]\nmax_wait = \"soon\"",
            "2:12: `limits.max_wait` is not a duration; write a duration in quotes, such as \"90s\" or \"1h 30m\"",
        ),
        ("[timeouts]\nbase = \"0s\"", "2:8: `timeouts.base` is too short; write \"1ms\" at least"),
        (
            "[timeouts]\nbase = \"9years\"",
            "2:8: `timeouts.base` is too long; write \"30days\" at most",
        ),
        (
            "[guards]\nmax_cost_per_task = 1.0",
            "2:21: `guards.max_cost_per_task` is a number with a point; write money as a string of dollars in quotes, such as \"1.50\"",
        ),
        (
            "[guards]\nmax_cost_per_task = \"-1\"",
            "2:21: `guards.max_cost_per_task` is not an amount of dollars; write it as a decimal, such as \"1.50\"",
        ),
        (
            "[guards]\nmax_cost_per_task = \"0.0000000001\"",
            "2:21: `guards.max_cost_per_task` is an amount of more than 9 decimal places; write 9 at most",
        ),
        (
            "[guards]\ninjection = \"wran\"",
            "2:13: `guards.injection` is not known; write one of \"warn\", \"reject\", \"ignore\"",
        ),
        ("provider = 1", "1:12: `provider` is a whole number; write a table"),
        (
            "[provider]\nkind = \"openai\"",
            "2:8: `provider.kind` is \"openai\", which is not spoken yet; write \"anthropic\" or \"simulated\"",
        ),
        (
            "[provider]\napi_key_env = \"A\"\napi_key_file = \"b\"",
            "3:16: `provider.api_key_file` stands beside api_key_env; keep one of the two",
        ),
        (
            "[provider]\nbase_url = \"localhost\"",
            "2:12: `provider.base_url` is not a URL; write one such as \"https://api.anthropic.com\", without a key",
        ),
        (
            "[[budget]]\nscope = \"team:x\"\nlimit = \"1\"",
            "2:9: `budget[0].scope` is not a scope; write \"global\", or project, agent, user, task, model or key with a name: \"project:web\", or \"project:*\" for each by itself",
        ),
        (
            "[[budget]]\nscope = \"global\"",
            "1:1: `budget[0].limit` is missing; write dollars in quotes, such as \"5.00\"",
        ),
        (
            "[[budget]]\nscope = \"global\"\nlimit = \"1\"\nthresholds = [101]",
            "4:15: `budget[0].thresholds[0]` is no percentage; write a whole number from 1 to 100",
        ),
        (
            "[[task]]\nid = 1\nagent = \"b\"",
            "3:9: `task[0].agent` names no agent of this file; write one of a",
        ),
        (
            "[[task]]\nid = 1\n[[task]]\nid = \"1\"",
            "3:1: `task[1]` is the second task with the id \"1\"; give each its own",
        ),
        (
            "[[task]]\ntitle = \"x\"",
            "1:1: `task[0].id` is missing; write an id, a string or a number",
        ),
        (
            "[[task]]\nid = 1\nproject_id = 1e30",
            "3:14: `task[0].project_id` is a number of which digits would be lost; write it in quotes",
        ),
        (
            "[[task]]\nid = 1\nuser_id = true",
            "3:11: `task[0].user_id` is true or false; write a string in quotes, or a number",
        ),
        (
            "[prices.\"m\"]\ninput = 3\noutput = \"1\"",
            "2:9: `prices.\"m\".input` is a whole number; write dollars a million tokens in quotes, such as \"3.00\"",
        ),
    ];
    for (text, message) in rows {
        says(&format!("{text}\n{AGENT}"), message);
    }
}

#[test]
fn a_file_that_is_no_toml_is_told_in_a_whole_sentence_with_its_place() {
    for (text, at, told) in [
        ("[agent", "1:7", "unclosed table, expected `]`"),
        ("a = 1\nb 2\n", "2:3", "key with no value, expected `=`"),
        ("a = \"x", "1:", "expected `\"`"),
        ("a = [1,,2]", "1:", "expected"),
        ("\u{0}", "1:", "not valid TOML"),
    ] {
        let error = fleet(text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("fleet.toml:{at}")), "{error}");
        assert!(error.contains(told) && !error.ends_with("expected "), "{error}");
    }
}

#[test]
fn an_agent_is_no_warmer_than_its_provider_takes() {
    let of = |kind: &str, warm: &str| {
        format!("[provider]\nkind = \"{kind}\"\n{AGENT}temperature = {warm}\n")
    };
    says(
        &of("anthropic", "1.5"),
        "6:15: `agent[0].temperature` is out of range; write a number from 0 to 1",
    );
    for (kind, warm) in [("anthropic", "1.0"), ("simulated", "2.0")] {
        assert!(Fleet::parse(&of(kind, warm), "f", &|_| None).is_ok(), "{kind} {warm}");
    }
}

#[test]
fn a_wrong_agent_is_named_with_its_key_and_the_remedy() {
    says("", "1:1: `agent` is missing; write an [[agent]] with a name and a model");
    says("agent = []", "1:9: `agent` is empty; write an [[agent]] with a name and a model");
    says(
        "[[agent]]\nname = \"a\"\nmodel = \" \"",
        "3:9: `agent[0].model` is empty; write a text, or leave the key out",
    );
    let rows = [
        (
            "max_tokens = 0",
            "4:14: `agent[0].max_tokens` is below 1; write a whole number of at least 1",
        ),
        ("count = -1", "4:9: `agent[0].count` is below 1; write a whole number of at least 1"),
        (
            "temperature = 3",
            "4:15: `agent[0].temperature` is out of range; write a number from 0 to 2",
        ),
        (
            "[[agent]]\nname = \"a>b\"\nmodel = \"m\"",
            "5:8: `agent[1].name` has a \">\" in it, which stands between an agent and its \
             sub-agents; leave it out",
        ),
        (
            "[[agent]]\nname = \"a\"\nmodel = \"m\"",
            "4:1: `agent[1]` is the second agent named \"a\"; give each its own name, or raise count",
        ),
    ];
    for (text, message) in rows {
        says(&format!("{AGENT}{text}"), message);
    }
}

#[test]
fn no_error_shows_a_key_that_was_put_in_the_file() {
    says(
        "[provider]\napi_key = \"sk-ant-topsecret\"",
        "2:1: `provider.api_key` must not stand in the file; name its variable with api_key_env = \"ANTHROPIC_API_KEY\", or its file with api_key_file",
    );
    for line in [
        "api_key_env = 'sk-ant-topsecret'",
        "api_key_file = 'sk-ant-topsecret'",
        "base_url = 'sk-ant-topsecret'",
        "environment = 'sk-ant-topsecret'",
        "kind = 'sk-ant-topsecret'",
        "sk-ant-topsecret = 1",
        "api_key_env = sk-ant-topsecret",
        "kind = 'sk-ant-topsecret",
        "sk-ant-topsecret",
        "environment = 'topsecret sk-ant-'",
        "sk-ant-topsecret = 1\nsk-ant-topsecret = 1",
    ] {
        let error = fleet(&format!("[provider]\n{line}\n{AGENT}")).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("topsecret"), "{error}");
    }
}

#[test]
fn the_file_comes_before_the_environment_and_the_environment_before_the_default() {
    let env = |name: &str| match name {
        "AGENT_RATE_LIMIT" => Some("7".to_owned()),
        "MAX_COST_PER_TASK" => Some("0.25".to_owned()),
        _ => None,
    };
    let read = |text: &str| Fleet::parse(text, "f", &env).unwrap();
    let silent = read(&format!("{AGENT}rate_limit = {{ per = \"2m\" }}"));
    assert_eq!(silent.agent[0].rate_limit.as_ref().unwrap().calls.get(), 7);
    assert_eq!(silent.guards.max_cost_per_task.to_string(), "0.25");
    let whole = read(WHOLE);
    assert_eq!(whole.agent[0].rate_limit.as_ref().unwrap().calls.get(), 10);
    assert_eq!(whole.guards.max_cost_per_task.to_string(), "1");
}

#[test]
fn a_variable_that_cannot_be_read_is_named() {
    for (variable, form) in [
        ("AGENT_RATE_LIMIT", "a whole number of at least 1, such as 10"),
        ("MAX_COST_PER_TASK", "an amount of dollars, such as 1.50"),
    ] {
        let env = |name: &str| (name == variable).then(|| "none".to_owned());
        assert_eq!(
            Fleet::parse(WHOLE, "f", &env).unwrap_err().to_string(),
            format!(
                "environment variable {variable} cannot be read; set it to {form}, or unset it"
            ),
        );
    }
}

#[test]
fn the_variable_of_the_environment_is_read_before_the_general_one() {
    let fleet = fleet(&format!("[provider]\nenvironment = \"dev\"\n{AGENT}")).unwrap();
    assert_eq!(fleet.provider.key_variables(), ["ANTHROPIC_API_KEY_DEV", "ANTHROPIC_API_KEY"]);
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        let _ = fleet(&text);
    }

    #[test]
    fn a_damaged_file_is_read_or_refused_with_a_place(
        at in 0..WHOLE.len(), cut in 0usize..9, put in "[\\[\\]=\"a-z0-9.\n🦀]{0,3}",
    ) {
        let head = String::from_utf8_lossy(&WHOLE.as_bytes()[..at]);
        let tail = String::from_utf8_lossy(&WHOLE.as_bytes()[(at + cut).min(WHOLE.len())..]);
        if let Err(error) = fleet(&format!("{head}{put}{tail}")) {
            prop_assert!(error.to_string().starts_with("fleet.toml:"), "{}", error);
        }
    }
}

#[test]
fn what_one_table_says_must_fit_what_another_says() {
    let agent = "[[agent]]\nname = 'clerk'\nmodel = 'claude-sonnet-4-5'\n";
    for (table, at, told) in [
        ("[retry]\ninitial_backoff = '20s'\n", "f:2:19", "20s"),
        ("[retry]\nmax_backoff = '1s'\n", "f:2:15", "2s"),
        ("[supervision]\nbackoff = '1m'\n", "f:2:11", "30s"),
        (
            "[[budget]]\nscope = 'agent:clark'\nlimit = '1'\n",
            "f:2:9",
            "did you mean \"agent:clerk\"?",
        ),
        ("[[budget]]\nscope = 'agent:xyz'\nlimit = '1'\n", "f:2:9", "agents: clerk"),
        ("[[agent]]\nname = 'b'\nmodel = 'm'\ncount = 1000000\n", "f:1:1", "1000001 workers"),
        ("[provider]\nbase_url = 'http://example.com'\n", "f:2:12", "unencrypted"),
        ("[provider]\nbase_url = 'https://u:p@example.com'\n", "f:2:12", "password"),
    ] {
        let error = Fleet::parse(&format!("{table}{agent}"), "f", &|_| None).unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with(at) && error.contains(told), "{table}: {error}");
    }
}

#[test]
fn a_budget_of_a_key_names_its_mask_or_its_last_four_characters_and_never_shows_it() {
    let scope = |name: &str| {
        let text = format!("[[budget]]\nscope = 'key:{name}'\nlimit = '1'\n{AGENT}");
        fleet(&text).map(|fleet| fleet.budget[0].scope.to_string()).map_err(|e| e.to_string())
    };
    for name in ["abcd", "sk-ant-***abcd"] {
        assert_eq!(scope(name).unwrap(), "key:sk-ant-***abcd");
    }
    assert_eq!(scope("sk-ant-***").unwrap(), "key:sk-ant-***");
    assert_eq!(scope("*").unwrap(), "key:*");
    for name in
        ["sk-ant-api03-topsecret", "sk-proj-topsecret", "topsecret", "sk-ant-***abc", "ab cd"]
    {
        let error = scope(name).unwrap_err();
        assert!(error.starts_with("fleet.toml:2:9: `budget[0].scope`"), "{error}");
        assert!(
            error.contains("\"key:sk-ant-***abcd\"") && !error.contains("topsecret"),
            "{error}"
        );
    }
}
