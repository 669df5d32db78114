//! The bound against what a provider counted, and that an estimator learns and stays safe.

use proptest::prelude::*;

use super::*;

const RECORDED: &str = include_str!("../../data/recorded_input_tokens.csv");

/// Model, bytes, whether tools were sent, tokens counted.
fn recorded() -> Vec<(&'static str, u64, bool, u64)> {
    let lines = RECORDED.lines().filter(|line| !line.starts_with('#')).skip(1);
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let number = |at: usize| fields[at].parse().unwrap();
            (fields[0], number(1), fields[2] == "true", number(3))
        })
        .collect()
}

#[test]
fn the_strict_bound_is_below_no_count_that_was_recorded() {
    let recorded = recorded();
    assert!(recorded.len() >= 30, "{}", recorded.len());
    for (model, bytes, tools, counted) in recorded {
        let bound = strict(bytes, tools);
        assert!(bound >= counted, "{model}: {bytes} bytes were {counted} tokens, above {bound}");
    }
}

#[test]
fn the_strict_bound_without_the_allowance_for_tools_would_be_too_low() {
    let low = recorded().into_iter().filter(|&(_, bytes, _, counted)| bytes + FRAME < counted);
    assert!(low.count() >= 5);
}

#[test]
fn the_first_estimate_is_a_third_of_the_bytes_and_the_overhead() {
    let estimator = Estimator::new();
    assert_eq!(estimator.estimate("m", None, 3_000), 1_064);
    assert_eq!(estimator.estimate("m", Some(7), 3_000), 1_784);
    assert_eq!(strict(3_000, true), 3_784);
}

#[test]
fn a_rise_is_learned_at_once_and_for_that_model_and_tool_set_alone() {
    let mut estimator = Estimator::new();
    estimator.learn("m", Some(1), 1_000, 2_500);
    assert!((2_500..=2_501).contains(&estimator.estimate("m", Some(1), 1_000)));
    for (model, tools) in [("m", Some(2)), ("m", None), ("n", Some(1))] {
        let first = Estimator::new().estimate(model, tools, 1_000);
        assert_eq!(estimator.estimate(model, tools, 1_000), first);
    }
}

#[test]
fn what_is_remembered_is_limited() {
    let mut estimator = Estimator::new();
    estimator.learn("steady", None, 1_000, 900);
    for set in 0..10_000 {
        estimator.learn("changing", Some(set), 1_000, 900);
    }
    let held: usize = estimator.learned.values().map(BTreeMap::len).sum();
    assert_eq!((held, estimator.pairs), (MAX_LEARNED, MAX_LEARNED));
    assert!(estimator.estimate("steady", None, 1_000) >= 900, "not forgotten for the others' sake");
}

#[test]
fn a_bounding_is_written_in_lower_case() {
    assert_eq!(serde_json::to_string(&Bounding::default()).unwrap(), "\"strict\"");
    assert_eq!(serde_json::from_str::<Bounding>("\"counted\"").unwrap(), Bounding::Counted);
}

proptest! {
    #[test]
    fn it_converges_to_a_steady_ratio_from_above(
        per_mille in 20u64..3_000,
        bytes in 200u64..100_000,
        tools in any::<Option<u64>>(),
    ) {
        let mut estimator = Estimator::new();
        let actual = bytes * per_mille / 1_000;
        for _ in 0..400 {
            estimator.learn("m", tools, bytes, actual);
            prop_assert!(estimator.estimate("m", tools, bytes) >= actual);
        }
        let estimate = estimator.estimate("m", tools, bytes);
        prop_assert!(estimate <= actual + actual / 50 + 2, "{estimate} for {actual}");
    }

    #[test]
    fn with_a_spread_ratio_it_seldom_underestimates(
        spread in proptest::collection::vec(200u64..400, 400),
    ) {
        let mut estimator = Estimator::new();
        let mut low = 0;
        for per_mille in spread {
            let actual = 10 * per_mille;
            low += u32::from(estimator.estimate("m", None, 10_000) < actual);
            estimator.learn("m", None, 10_000, actual);
        }
        prop_assert!(low <= 100, "{low} of 400");
    }

    #[test]
    fn no_counts_make_it_panic(
        bytes in prop_oneof![0u64..1_000, any::<u64>()],
        actual in any::<u64>(),
        tools in any::<Option<u64>>(),
    ) {
        let mut estimator = Estimator::new();
        estimator.learn("m", tools, bytes, actual);
        let estimate = estimator.estimate("m", tools, bytes);
        prop_assert!(estimate >= actual);
        estimator.learn("m", tools, 0, 0);
        estimator.learn("m", tools, u64::MAX, u64::MAX);
        strict(bytes, true);
    }
}
