//! The bound on an attempt, and that no bill within it is higher.

use proptest::prelude::*;

use super::*;

fn bound(model: &str, input: &BoundInput) -> NanoUsd {
    Catalogue::builtin().bound(model, input).unwrap()
}

#[test]
fn a_bound_is_all_input_and_all_output_at_their_prices() {
    let input =
        BoundInput { input_tokens: 1_000_000, max_tokens: 500_000, ..BoundInput::default() };
    assert_eq!(bound("claude-sonnet-4-5", &input), dollars("10.5"));
    let cached = BoundInput { caching: true, ..input };
    assert_eq!(bound("claude-sonnet-4-5", &cached), dollars("13.5"));
    assert_eq!(bound("claude-sonnet-4", &input), dollars("17.25"), "in the tier reached");
    assert_eq!(bound("claude-sonnet-4-6", &input), dollars("11.55"), "the US may be the default");
}

#[test]
fn tools_at_the_provider_make_the_bound_a_whole_context_window() {
    let input = BoundInput { input_tokens: 10, server_tools: true, ..BoundInput::default() };
    assert_eq!(bound("claude-haiku-4-5", &input), dollars("0.3"));
}

proptest! {
    #[test]
    fn no_bill_within_the_bounded_tokens_is_above_the_bound(
        at in 0usize..25,
        input in [0u64..200_000, 0u64..100_000, 0u64..100_000, 0u64..100_000],
        output in 0u32..64_000,
        us in any::<bool>(),
        batch in any::<bool>(),
        fast in any::<bool>(),
    ) {
        let catalogue = Catalogue::builtin();
        let model = catalogue.models().nth(at).unwrap();
        let fast = fast && model.fast.is_some();
        let [input_tokens, read, five, hour] = input;
        let usage = Usage {
            cache_read_tokens: read,
            cache_write_5m_tokens: five,
            cache_write_1h_tokens: hour,
            inference_geo: us.then(|| "us".to_owned()),
            service_tier: batch.then(|| "batch".to_owned()),
            speed: fast.then(|| "fast".to_owned()),
            ..tokens(input_tokens, u64::from(output))
        };
        let all = BoundInput {
            input_tokens: usage.counts().all_input(),
            max_tokens: output,
            caching: true,
            server_tools: false,
            fast,
        };
        let cost = catalogue.cost(model.name(), &usage).unwrap();
        prop_assert!(cost <= catalogue.bound(model.name(), &all).unwrap());

        let plain = Usage { input_tokens: all.input_tokens, ..tokens(0, usage.output_tokens) };
        let plain = Usage { inference_geo: usage.inference_geo, speed: usage.speed, ..plain };
        let uncached = BoundInput { caching: false, ..all };
        let cost = catalogue.cost(model.name(), &plain).unwrap();
        prop_assert!(cost <= catalogue.bound(model.name(), &uncached).unwrap());
    }

    #[test]
    fn the_largest_counts_saturate_instead_of_wrapping(tokens in (u64::MAX - 9)..=u64::MAX) {
        let usage = Usage {
            cache_write_1h_tokens: tokens,
            web_searches: tokens,
            inference_geo: Some("us".to_owned()),
            ..super::tokens(tokens, tokens)
        };
        prop_assert_eq!(cost("claude-opus-5", &usage), NanoUsd::MAX);
    }
}
