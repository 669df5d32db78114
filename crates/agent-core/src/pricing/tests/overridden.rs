//! Prices that the fleet file states.

use super::*;

fn with(toml: &str) -> Result<Catalogue, OverrideError> {
    Catalogue::builtin().with(&toml::from_str(toml).unwrap())
}

fn bill(catalogue: &Catalogue, model: &str) -> NanoUsd {
    let usage = Usage { cache_read_tokens: 1_000_000, ..tokens(1_000_000, 1_000_000) };
    catalogue.cost(model, &usage).unwrap()
}

#[test]
fn a_stated_price_holds_under_all_names_of_the_model_and_cached_input_follows_it() {
    let catalogue = with("[claude-sonnet-4-5]\ninput = \"2\"").unwrap();
    for name in ["claude-sonnet-4-5", "claude-sonnet-4-5-20250929", "anthropic/claude-4.5-sonnet"] {
        assert_eq!(bill(&catalogue, name), dollars("17.2"), "{name}");
    }
    assert_eq!(bill(&Catalogue::builtin(), "claude-sonnet-4-5"), dollars("18.3"), "unchanged");
}

#[test]
fn a_stated_price_of_zero_is_free() {
    let catalogue = with("[claude-sonnet-4-5]\ninput = \"0\"\noutput = \"0.0\"").unwrap();
    assert_eq!(bill(&catalogue, "claude-sonnet-4-5"), NanoUsd::ZERO);
}

#[test]
fn a_name_with_a_date_is_priced_alone() {
    let catalogue = with("[claude-sonnet-4-5-20250929]\noutput = \"1\"").unwrap();
    assert_eq!(bill(&catalogue, "anthropic/claude-sonnet-4-5-20250929"), dollars("4.3"));
    assert_eq!(bill(&catalogue, "claude-sonnet-4-5"), dollars("18.3"));
}

#[test]
fn a_new_model_needs_both_main_prices() {
    let catalogue = with("[\"my/llm-7b\"]\ninput = \"0.1\"\noutput = \"0.2\"").unwrap();
    assert_eq!(bill(&catalogue, "my/llm-7b"), dollars("0.31"));
    let error = with("[llm]\ninput = \"0.1\"").unwrap_err();
    assert_eq!(error, OverrideError::Incomplete { model: "llm".into(), key: "output" });
}

#[test]
fn tiers_fall_away_with_a_stated_main_price_only() {
    let tiered = Usage { input_tokens: 1_000_000, ..Usage::default() };
    let catalogue = with("[claude-sonnet-4]\ninput = \"3\"").unwrap();
    assert_eq!(catalogue.cost("claude-sonnet-4", &tiered).unwrap(), dollars("3"));
    let catalogue = with("[claude-sonnet-4]\ncontext_window = 200000").unwrap();
    assert_eq!(catalogue.cost("claude-sonnet-4", &tiered).unwrap(), dollars("6"));
    assert_eq!(catalogue.resolve("claude-sonnet-4").unwrap().context_window(), Some(200_000));
}

#[test]
fn a_float_or_an_unknown_key_is_refused_and_what_is_written_reads_back() {
    for bad in ["input = 3", "input = 0.1", "input = \"-1\"", "inptu = \"1\""] {
        assert!(toml::from_str::<PriceOverride>(bad).is_err(), "{bad}");
    }
    let text = "input = \"0.075\"\noutput = \"12\"\nweb_search = \"0.01\"\n";
    let stated: PriceOverride = toml::from_str(text).unwrap();
    assert_eq!(toml::to_string(&stated).unwrap(), text);
}
