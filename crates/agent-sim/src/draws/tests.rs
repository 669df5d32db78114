//! Means, spreads and exact values of what is drawn.

use super::*;

const TEST: Stream = Stream::named("test");

fn drawn(distribution: &Distribution, n: u64) -> Vec<f64> {
    (0..n).map(|i| distribution.sample(&mut Draw::new(7, TEST, [i, 0, 0]))).collect()
}

fn mean_and_cv(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
    (mean, variance.sqrt() / mean)
}

#[track_caller]
fn near(found: f64, expected: f64, part: f64) {
    assert!((found / expected - 1.0).abs() < part, "{found} is not {expected}");
}

#[test]
fn a_draw_is_what_it_was_when_this_was_written() {
    let mut draw = Draw::new(42, TEST, [1, 2, 3]);
    assert_eq!(draw.bits(), GOLDEN_BITS);
    let found = [
        draw.uniform(),
        draw.normal(),
        draw.exponential(),
        draw.gamma(0.3),
        draw.gamma(4.0),
        Distribution::weibull(3.0, 0.7).unwrap().sample(&mut draw),
        Distribution::log_normal(250.0, 0.8).unwrap().sample(&mut draw),
    ];
    assert_eq!(found, GOLDEN_VALUES);
}

const GOLDEN_BITS: u64 = 16_030_493_084_862_890_115;
const GOLDEN_VALUES: [f64; 7] = [
    0.381_360_229_038_175_8,
    0.484_165_664_573_966_5,
    1.352_831_823_301_262_8,
    0.031_761_387_405_520_08,
    5.319_130_862_850_327,
    2.082_104_681_883_840_2,
    269.499_791_285_410_8,
];

#[test]
fn the_arrivals_of_a_seed_are_what_they_were_when_this_was_written() {
    let processes = [Process::poisson(5.0), Process::gamma(5.0, 3.0), Process::weibull(5.0, 0.5)];
    let first = |process: Process| process.arrivals(42, 1).take(4).collect::<Vec<_>>();
    let times = processes.map(|process| first(process.unwrap()));
    assert_eq!(times[0], [183_882_538, 429_048_567, 461_901_577, 594_006_298]);
    assert_eq!(times[1], [27_253_620, 276_274_547, 276_274_635, 276_339_420]);
    assert_eq!(times[2], [84_531_969, 234_797_924, 237_496_225, 281_125_368]);
}

#[test]
fn keys_that_differ_anywhere_draw_different_numbers() {
    let mut seen = std::collections::BTreeSet::new();
    let keys = (0..10).flat_map(|a| (0..10).flat_map(move |b| (0..10).map(move |c| [a, b, c])));
    for key in keys {
        for (seed, stream) in [(0, TEST), (1, TEST), (0, Stream::named("other"))] {
            assert!(seen.insert(Draw::new(seed, stream, key).bits()), "{seed} {key:?}");
        }
    }
}

#[test]
fn uniform_numbers_fill_the_unit_interval_evenly() {
    let values = drawn(&Distribution::uniform(0.0, 1.0).unwrap(), 100_000);
    let (mean, cv) = mean_and_cv(&values);
    near(mean, 0.5, 0.01);
    near(cv, 2.0 / 12_f64.sqrt(), 0.01);
    for tenth in 0..10 {
        let low = f64::from(tenth) / 10.0;
        let inside = values.iter().filter(|value| (low..low + 0.1).contains(*value)).count();
        near(inside as f64, 10_000.0, 0.05);
    }
}

#[test]
fn each_distribution_has_the_mean_and_spread_it_was_asked_for() {
    for (distribution, mean, cv) in [
        (Distribution::constant(3.0), 3.0, 0.0),
        (Distribution::exponential(3.0), 3.0, 1.0),
        // exp(σ²/2) and √(exp(σ²) − 1).
        (Distribution::log_normal(3.0, 0.8), 4.131, 0.947),
        (Distribution::gamma(3.0, 0.5), 3.0, 0.5),
        (Distribution::gamma(3.0, 3.0), 3.0, 3.0),
        (Distribution::gamma(3.0, 0.0), 3.0, 0.0),
        (Distribution::weibull(3.0, 1.0), 3.0, 1.0),
        (Distribution::weibull(3.0, 0.5), 3.0, 2.236),
    ] {
        let distribution = distribution.unwrap();
        let (found, spread) = mean_and_cv(&drawn(&distribution, 100_000));
        near(found, mean, 0.03);
        assert!((spread - cv).abs() <= 0.05 * cv, "{distribution:?}: {spread} is not {cv}");
    }
}

#[test]
fn what_lies_outside_the_bounds_is_taken_for_the_bound() {
    let bounded = Distribution::log_normal(3.0, 2.0).unwrap().within(1.0, 9.0).unwrap();
    let values = drawn(&bounded, 1_000);
    assert!(values.iter().all(|value| (1.0..=9.0).contains(value)));
    assert!(values.contains(&1.0) && values.contains(&9.0));
}

#[test]
fn a_larger_parameter_never_draws_a_smaller_value_of_the_same_key() {
    let (less, more) = (Distribution::gamma(3.0, 2.0), Distribution::gamma(3.3, 2.0));
    let pairs = drawn(&less.unwrap(), 1_000).into_iter().zip(drawn(&more.unwrap(), 1_000));
    assert!(pairs.into_iter().all(|(less, more)| less <= more));
}

#[test]
fn parameters_that_make_no_sense_are_named() {
    let refused = Distribution::log_normal(3.0, f64::NAN).unwrap_err();
    assert_eq!(refused.to_string(), "sigma is NaN; it must be a number from 0 to 10");
    for bad in [-1.0, f64::INFINITY, f64::NAN, 1e300] {
        assert!(Distribution::constant(bad).is_err());
        assert!(Distribution::exponential(bad).is_err());
        assert!(Distribution::gamma(1.0, bad).is_err());
        assert!(Distribution::weibull(1.0, bad).is_err());
        assert!(Distribution::uniform(2.0, bad).is_err());
        assert!(Process::poisson(bad).is_err());
    }
    assert!(Distribution::uniform(2.0, 1.0).is_err());
    assert!(Process::poisson(0.0).is_err());
    assert!(Process::profile(&[], 1.0, true).is_err());
    assert!(Process::profile(&[Step { for_ns: 0, per_second: 1.0 }], 1.0, true).is_err());
}

#[test]
fn a_table_is_interpolated_between_logarithms_and_ends_at_its_ends() {
    let table = QuantileTable::new(&[0.1, 0.5, 0.9], &[1.0, 10.0, 1_000.0]).unwrap();
    let found = [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0].map(|p| table.at(p));
    for (found, expected) in found.into_iter().zip([1.0, 1.0, 10_f64.sqrt(), 10.0, 100.0, 1e3, 1e3])
    {
        near(found, expected, 1e-12);
    }
    let straight = QuantileTable::new(&[0.0, 1.0], &[0.0, 8.0]).unwrap();
    near(straight.at(0.25), 2.0, 1e-12);
}

#[test]
fn a_table_of_samples_draws_the_samples_again() {
    let samples = drawn(&Distribution::log_normal(3.0, 0.5).unwrap(), 5_000);
    let table = QuantileTable::of(samples.clone()).unwrap();
    let again = drawn(&Distribution::empirical(table), 5_000);
    let (before, after) = (mean_and_cv(&samples), mean_and_cv(&again));
    near(after.0, before.0, 0.02);
    near(after.1, before.1, 0.05);
}

#[test]
fn a_wrong_table_is_refused_with_the_place() {
    let made = QuantileTable::new;
    assert_eq!(made(&[], &[]), Err(TableError::Empty));
    assert_eq!(QuantileTable::of(vec![]), Err(TableError::Empty));
    assert!(matches!(made(&[0.5], &[]), Err(TableError::Lengths { .. })));
    for probabilities in [[0.5, 0.5], [0.5, 0.4], [0.5, 1.1], [0.5, f64::NAN]] {
        let refused = made(&probabilities, &[1.0, 2.0]);
        assert!(matches!(refused, Err(TableError::Probability { place: 2, .. })), "{refused:?}");
    }
    for values in [[1.0, 0.5], [1.0, f64::INFINITY], [1.0, f64::NAN]] {
        let refused = made(&[0.1, 0.2], &values);
        assert!(matches!(refused, Err(TableError::Value { place: 2, .. })), "{refused:?}");
    }
    assert!(QuantileTable::of(vec![1.0, -1.0]).is_err());
}

#[test]
fn every_row_is_drawn_as_often_as_any_other() {
    let rows = Rows::new(vec![0_usize, 1, 2]).unwrap();
    let mut counts = [0.0; 3];
    for i in 0..30_000 {
        counts[*rows.sample(&mut Draw::new(1, TEST, [i, 0, 0]))] += 1.0;
    }
    counts.into_iter().for_each(|count| near(count, 10_000.0, 0.03));
}

#[test]
fn a_steady_process_has_the_rate_and_the_burstiness_it_was_asked_for() {
    for (process, cv) in [
        (Process::poisson(50.0), 1.0),
        (Process::gamma(50.0, 0.0), 0.0),
        (Process::gamma(50.0, 4.0), 4.0),
        (Process::weibull(50.0, 0.5), 2.236),
    ] {
        let times: Vec<u64> = process.unwrap().arrivals(3, 0).take(100_000).collect();
        assert!(times.is_sorted());
        let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let (mean, spread) = mean_and_cv(&gaps);
        near(mean, 2e7, 0.05);
        assert!((spread - cv).abs() <= 0.05 * cv + 1e-6, "{spread} is not {cv}");
    }
}

#[test]
fn twice_the_rate_is_the_same_pattern_in_half_the_time() {
    let times = |rate| Process::gamma(rate, 4.0).unwrap().arrivals(3, 0).take(1_000);
    for (slow, fast) in times(5.0).zip(times(10.0)) {
        assert!((fast * 2).abs_diff(slow) <= 1_000, "{slow} {fast}");
    }
}

#[test]
fn a_profile_follows_its_rates_and_ends_or_repeats() {
    let second = 1_000_000_000;
    let step = |seconds, per_second| Step { for_ns: seconds * second, per_second };
    let steps = [step(100, 50.0), step(100, 0.0), step(100, 5.0)];
    let once: Vec<u64> = Process::profile(&steps, 1.0, false).unwrap().arrivals(9, 0).collect();
    let within = |times: &[u64], from: u64, to: u64| {
        times.iter().filter(|&&at| (from * second..to * second).contains(&at)).count() as f64
    };
    near(within(&once, 0, 100), 5_000.0, 0.05);
    assert_eq!(within(&once, 100, 200), 0.0);
    near(within(&once, 200, 300), 500.0, 0.15);
    assert_eq!(within(&once, 0, 300), once.len() as f64);

    let again = Process::profile(&steps, 1.0, true).unwrap();
    let again: Vec<u64> = again.arrivals(9, 0).take(11_000).collect();
    assert!(again.is_sorted());
    near(within(&again, 300, 400), 5_000.0, 0.05);
    assert_eq!(within(&again, 400, 500), 0.0);
}

#[test]
fn what_comes_at_the_very_end_of_a_step_comes_there_and_not_after_an_empty_one() {
    let second = 1_000_000_000;
    let steps = [
        Step { for_ns: 3 * second, per_second: 1.0 },
        Step { for_ns: 7 * second, per_second: 0.0 },
    ];
    let even = |repeats| Process::profile(&steps, 0.0, repeats).unwrap().arrivals(1, 0);
    let seconds = |times: Vec<u64>| times.iter().map(|at| at / second).collect::<Vec<_>>();
    assert_eq!(seconds(even(false).collect()), [1, 2, 3]);
    assert_eq!(seconds(even(true).take(7).collect()), [1, 2, 3, 11, 12, 13, 21]);
}

#[test]
fn a_step_that_repeats_is_a_steady_rate_also_where_cycles_pass_without_any() {
    let step = [Step { for_ns: 1_000_000_000, per_second: 0.3 }];
    let again = Process::profile(&step, 0.0, true).unwrap();
    let times: Vec<u64> = again.arrivals(1, 0).take(9).collect();
    for (at, expected) in times.into_iter().zip(1_u64..) {
        assert!(at.abs_diff(expected * 10_000_000_000 / 3) < 1_000, "{expected}: {at}");
    }
}

#[test]
fn rates_next_to_nothing_end_instead_of_looping() {
    for repeats in [false, true] {
        let steps = [Step { for_ns: 1, per_second: 1e-300 }];
        assert_eq!(Process::profile(&steps, 1.0, repeats).unwrap().arrivals(1, 1).next(), None);
    }
}

#[test]
fn a_batch_is_all_at_once() {
    assert_eq!(Process::batch().arrivals(1, 1).take(3).collect::<Vec<_>>(), [0, 0, 0]);
}

#[test]
fn rounding_saturates_and_takes_no_number_for_nothing() {
    assert_eq!([2.5, -3.0, f64::NAN, 1e300].map(whole), [3, 0, 0, u64::MAX]);
    assert_eq!(nanos(1.5), 1_500_000_000);
}
