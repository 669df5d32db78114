//! Tests of what a fleet file asks of its models.

use super::*;

#[test]
fn a_model_without_a_price_is_named_where_it_stands() {
    let catalogue = Catalogue::builtin();
    let text = "[[budget]]\nscope = 'model:claude-sonet-4-5'\nlimit = '1'\n\n\
                [[agent]]\nname = 'a'\nmodel = 'claude-sonnet-4-5'\n";
    let check = |text: &str| {
        Fleet::parse(text, "f", &|_| None)
            .unwrap()
            .check_models(&catalogue)
            .map_err(|e| e.to_string())
    };
    let error = check(text).unwrap_err();
    assert!(error.starts_with("f:2:9: `budget[0].scope` cannot be used: no price"), "{error}");
    assert!(error.contains("did you mean \"claude-sonnet-4-5\"?"), "{error}");
    let error = check("[[agent]]\nname = 'a'\nmodel = 'm'\n").unwrap_err();
    assert!(error.starts_with("f:3:9: `agent[0].model`"), "{error}");
    check(&text.replace("sonet", "sonnet")).unwrap();
}

#[test]
fn more_output_than_the_model_gives_is_refused_where_it_is_asked_for_or_where_it_is_the_default() {
    let agent = "[[agent]]\nname = 'a'\nmodel = 'claude-sonnet-4-5'\n";
    let check = |text: &str| {
        let fleet = Fleet::parse(text, "f", &|_| None).unwrap();
        let catalogue = Catalogue::builtin().with(&fleet.prices).unwrap();
        fleet.check_models(&catalogue).map_err(|e| e.to_string()).err().unwrap_or_default()
    };
    let own = "[prices.'claude-sonnet-4-5']\nmax_output = ";
    for (text, told) in [
        (
            format!("{agent}max_tokens = 64001\n"),
            "f:4:14: `agent[0].max_tokens` is 64001, above the 64000 tokens that an answer of \
             claude-sonnet-4-5 may have; lower it, or state another max_output in \
             [prices.\"claude-sonnet-4-5\"]",
        ),
        (format!("{own}4095\n{agent}"), "f:3:1: `agent[0].max_tokens` is 4096, above the 4095 "),
        (format!("{agent}max_tokens = 64000\n"), ""),
        (format!("{own}70000\n{agent}max_tokens = 70000\n"), ""),
    ] {
        let error = check(&text);
        assert!(error.starts_with(told) && error.is_empty() == told.is_empty(), "{text}: {error}");
    }
}

#[test]
fn a_model_that_only_the_file_prices_must_have_both_main_prices_and_the_missing_one_is_placed() {
    let parse = |text: &str| fleet(&format!("{text}\n{AGENT}")).map_err(|e| e.to_string());
    for (key, other) in [("output", "input"), ("input", "output")] {
        assert_eq!(
            parse(&format!("[prices.\"llm\"]\n{other} = \"1\"")).unwrap_err(),
            format!(
                "fleet.toml:1:1: `prices.\"llm\".{key}` is missing; write dollars a million tokens in \
                 quotes, such as \"3.00\": the catalogue does not know this model"
            )
        );
    }
    parse("[prices.\"llm\"]\ninput = \"1\"\noutput = \"1\"").unwrap();
    parse("[prices.\"claude-sonnet-4-5-20250929\"]\ninput = \"1\"").unwrap();
}

#[test]
fn a_task_of_an_unknown_model_is_named_where_it_stands_and_the_guard_is_no_matter_of_the_file() {
    let catalogue = Catalogue::builtin();
    let agent = "[[agent]]\nname = 'a'\nmodel = 'claude-opus-4-5'\n";
    let check = |more: &str| {
        let fleet = Fleet::parse(&format!("{agent}{more}"), "f", &|_| None).unwrap();
        fleet.check_models(&catalogue).map_err(|e| e.to_string()).err().unwrap_or_default()
    };
    let error = check("[[task]]\nid = 1\nmodel = 'gpt-none'\n");
    assert!(error.starts_with("f:6:9: `task[0].model` cannot be used: no price"), "{error}");
    // Whether a task is within the guard is told of the task: its outcome says COST_LIMIT_EXCEEDED.
    assert_eq!(check("max_tokens = 64000\n[guards]\nmax_cost_per_task = '0.01'\n"), "");
}
