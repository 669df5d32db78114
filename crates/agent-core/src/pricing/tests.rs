//! What a catalogue must get right: bills known to the nano-dollar, and every spelling of a name.

use super::*;
use crate::usage::Iteration;

fn tokens(input_tokens: u64, output_tokens: u64) -> Usage {
    Usage { input_tokens, output_tokens, ..Usage::default() }
}

fn dollars(text: &str) -> NanoUsd {
    text.parse().unwrap()
}

fn cost(model: &str, usage: &Usage) -> NanoUsd {
    Catalogue::builtin().cost(model, usage).unwrap()
}

#[test]
fn a_million_in_and_half_a_million_out_on_sonnet_4_5_cost_ten_dollars_fifty() {
    assert_eq!(cost("claude-sonnet-4-5", &tokens(1_000_000, 500_000)), dollars("10.5"));
}

#[test]
fn an_advisor_inside_an_answer_is_billed_at_its_own_price() {
    let step = |model: Option<&str>, input, output| Iteration {
        model: model.map(str::to_owned),
        usage: tokens(input, output),
    };
    let advised = Usage {
        iterations: vec![
            step(None, 1_128, 135),
            step(Some("claude-opus-4-8"), 2_543, 18),
            step(None, 1_283, 10),
        ],
        ..tokens(2_411, 145)
    };
    // 2,411 x $2 + 145 x $10 at Sonnet 5, 2,543 x $5 + 18 x $25 at Opus 4.8, a million tokens.
    assert_eq!(cost("claude-sonnet-5", &advised), dollars("0.019437"));
    let other = Usage {
        iterations: vec![
            step(None, 1_128, 121),
            step(Some("claude-opus-4-8"), 2_529, 38),
            step(None, 1_289, 12),
        ],
        ..tokens(2_417, 133)
    };
    assert_eq!(cost("claude-sonnet-5", &other), dollars("0.019759"));
}

#[test]
fn a_compaction_is_billed_though_the_whole_does_not_count_it() {
    let step = |input, output| Iteration { model: None, usage: tokens(input, output) };
    let iterations = vec![step(99_195, 81), step(162, 11)];
    let usage = Usage { iterations, ..tokens(162, 11) };
    assert_eq!(cost("claude-opus-4-6", &usage), dollars("0.499085"));
}

#[test]
fn searches_are_billed_once_whether_the_whole_or_a_step_reports_them() {
    let searching = Usage { web_searches: 2, ..Usage::default() };
    let step = |usage: &Usage| Iteration { model: None, usage: usage.clone() };
    let whole = Usage { iterations: vec![step(&Usage::default())], ..searching.clone() };
    let steps = Usage { iterations: vec![step(&searching)], ..Usage::default() };
    let both = Usage { iterations: vec![step(&searching)], ..searching.clone() };
    for usage in [searching, whole, steps, both] {
        assert_eq!(cost("claude-haiku-4-5", &usage), dollars("0.02"));
    }
}

#[test]
fn each_kind_of_cached_input_has_its_own_price() {
    let usage = Usage {
        cache_write_5m_tokens: 1_000_000,
        cache_write_1h_tokens: 1_000_000,
        cache_read_tokens: 1_000_000,
        ..Usage::default()
    };
    assert_eq!(cost("claude-opus-5-5", &usage), dollars("13.2"));
    assert_eq!(cost("claude-3-5-haiku", &usage), dollars("2.68"));
    assert_eq!(cost("claude-3-haiku", &usage), dollars("0.83"));
}

#[test]
fn a_tier_prices_the_whole_request_and_cached_input_reaches_it_too() {
    let below = Usage { cache_read_tokens: 100_000, ..tokens(100_000, 1_000) };
    assert_eq!(cost("claude-sonnet-4", &below), dollars("0.345"));
    let above = Usage { cache_read_tokens: 100_001, ..below };
    assert_eq!(cost("claude-sonnet-4", &above), dollars("0.6825006"));
    let hour = Usage { cache_write_1h_tokens: 1_000_000, ..Usage::default() };
    assert_eq!(cost("claude-haiku-5-5", &hour), dollars("1"), "derived, never zero");
}

#[test]
fn batch_place_and_speed_change_the_price_of_tokens_but_not_of_fees() {
    let served = |tier: &str, geo: &str, speed: &str| Usage {
        service_tier: Some(tier.to_owned()),
        inference_geo: Some(geo.to_owned()),
        speed: Some(speed.to_owned()),
        web_searches: 1,
        cache_read_tokens: 1_000_000,
        ..tokens(1_000_000, 1_000_000)
    };
    let cost = |usage| cost("claude-opus-5", &usage);
    assert_eq!(cost(served("standard", "global", "standard")), dollars("30.51"));
    assert_eq!(cost(served("batch", "global", "standard")), dollars("15.26"));
    assert_eq!(cost(served("standard", "us", "standard")), dollars("33.56"));
    assert_eq!(cost(served("standard", "not_available", "fast")), dollars("61.01"));
    assert_eq!(cost(served("batch", "us", "fast")), dollars("33.56"));
    let fast = served("standard", "us", "fast");
    let refused = Catalogue::builtin().cost("claude-sonnet-4-5", &fast);
    assert_eq!(refused, Err(PricingError::NoFastPrice { model: "claude-sonnet-4-5".into() }));
}

#[test]
fn a_bill_is_rounded_up_once() {
    let stated = BTreeMap::from([("tenth".to_owned(), toml::from_str(TENTH).unwrap())]);
    let catalogue = Catalogue::builtin().with(&stated).unwrap();
    let step = Iteration { model: None, usage: tokens(1, 1) };
    // Each step 0.2 n$: rounded each for itself, six would make 6 n$.
    let mut usage = Usage { iterations: vec![step; 6], ..Usage::default() };
    assert_eq!(catalogue.cost("tenth", &usage).unwrap(), NanoUsd::from_nanos(2));
    usage.service_tier = Some("batch".to_owned());
    assert_eq!(catalogue.cost("tenth", &usage).unwrap(), NanoUsd::from_nanos(1));
}

const TENTH: &str = "input = \"0.0001\"\noutput = \"0.0001\"";

#[test]
fn an_unknown_model_is_an_error_that_names_the_nearest() {
    let error = Catalogue::builtin().cost("claude-sonet-4-5", &tokens(1, 1)).unwrap_err();
    let PricingError::UnknownModel { nearest, .. } = &error else { panic!("{error}") };
    assert_eq!(nearest.as_deref(), Some("claude-sonnet-4-5"));
    assert!(error.to_string().contains("did you mean \"claude-sonnet-4-5\"?"), "{error}");
    for stranger in ["gpt-4o", "claude-2.1", "", "claude", "sonnet"] {
        let bound = Catalogue::builtin().bound(stranger, &BoundInput::default());
        let Err(PricingError::UnknownModel { nearest, .. }) = bound else { panic!("{stranger}") };
        assert_eq!(nearest, None, "{stranger}");
    }
}

#[test]
fn every_listed_name_resolves_and_no_price_is_out_of_order() {
    let catalogue = Catalogue::builtin();
    assert_eq!(catalogue.models().count(), 25);
    for model in catalogue.models() {
        assert_eq!(catalogue.resolve(&model.name).unwrap(), model);
        let dated = format!("us.anthropic.{}-20991231-v1:0", model.name);
        assert_eq!(catalogue.resolve(&dated).unwrap(), model);
        for rates in model.rates_up_to(u64::MAX) {
            let rising =
                [rates.cache_read, rates.input, rates.cache_write_5m, rates.cache_write_1h];
            assert!(rising.is_sorted_by(|a, b| a < b), "{model:?}");
            assert_eq!(rates.cache_write_1h.times(1), rates.input.times(2), "{model:?}");
            assert!(rates.output > rates.input, "{model:?}");
        }
        if let Some((input, output)) = model.batch {
            assert_eq!(input.times(2), model.rates.input.times(1), "{model:?}");
            assert_eq!(output.times(2), model.rates.output.times(1), "{model:?}");
        }
        assert!(model.max_output.unwrap() > 0 && model.context_window.unwrap() >= 200_000);
    }
    for (old, new) in
        [("claude-4-sonnet", "claude-sonnet-4"), ("claude-4.5-haiku", "claude-haiku-4-5")]
    {
        assert_eq!(catalogue.resolve(old).unwrap().name(), new);
    }
}

mod bounds;
mod overridden;
