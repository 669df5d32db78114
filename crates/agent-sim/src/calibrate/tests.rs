//! Calibration: what is fitted, and what it is worth.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::draws::{Draw, Stream};
use crate::latency::{Line, Spread};
use crate::trace::Trace;

const TEST: Stream = Stream::named("test");
const LINE: Line = Line { base_s: 1.5, per_1k_context_s: 0.004, per_output_token_s: 0.012 };

/// Calls of sessions whose effects vary by `sigma`, and of which each call varies by 0.3.
fn calls(model: &str, sessions: u64, each: u64, sigma: f64) -> Vec<Call> {
    let mut calls = Vec::new();
    for session in 0..sessions {
        let slower = (sigma * Draw::new(7, TEST, [session, 0, 1]).normal()).exp();
        for turn in 0..each {
            let mut draw = Draw::new(7, TEST, [session, turn, 0]);
            let (input, output) = (1_000 + draw.below(200_000), 20 + draw.below(1_500));
            let residual = (0.3 * draw.normal() - 0.045).exp();
            calls.push(Call {
                model: model.into(),
                session,
                input,
                cached: Some(input / 2),
                output,
                total_s: LINE.seconds(input, output) * slower * residual,
                first_s: None,
                gap_s: (turn > 0).then_some(2.0),
                error: None,
            });
        }
    }
    calls
}

fn only(calls: &[Call]) -> Calibrated {
    let calibration = Calibration::of(calls, &Catalogue::builtin());
    assert_eq!(calibration.models.len(), 1);
    calibration.models.into_values().next().unwrap()
}

fn close(found: f64, expected: f64, part: f64) {
    assert!((found / expected - 1.0).abs() <= part, "{found} instead of {expected}");
}

fn recorded() -> Vec<Call> {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/traces/claude_code.csv.gz");
    Call::of_trace(&Trace::open(&sample, None).unwrap())
}

#[test]
fn the_minimum_of_a_curved_valley_is_found() {
    let valley = |[x, y, z]: &[f64; 3]| {
        let (a, b, c) = (1.0 - x, y - x * x, z - 3.0);
        1.0 + a * a + 20.0 * b * b + c * c
    };
    let found = simplex::minimum([-1.2, 1.0, 0.0], valley);
    assert!(valley(&found) < 1.0 + 1e-5, "{found:?}");
}

#[test]
fn a_line_that_calls_were_made_of_is_found_again() {
    let fitted = only(&calls("claude-haiku-4-5", 40, 50, 0.0));
    close(fitted.latency.total.base_s, LINE.base_s, 0.1);
    close(fitted.latency.total.per_1k_context_s, LINE.per_1k_context_s, 0.15);
    close(fitted.latency.total.per_output_token_s, LINE.per_output_token_s, 0.03);
    close(fitted.spread, 0.3, 0.05);
    assert!(fitted.latency.calibrated && fitted.weight == 1.0 && fitted.helped_by.is_none());
    assert!(fitted.latency.session_sigma < 0.05, "{}", fitted.latency.session_sigma);
}

#[test]
fn calls_that_are_sessions_of_their_own_take_as_long_on_average_as_they_took() {
    let mut calls = calls("claude-haiku-4-5", 2_000, 1, 0.0);
    for (place, call) in calls.iter_mut().enumerate() {
        // Half of them twice as long as the other half, and again: far from any line.
        call.total_s *= [0.4, 0.8, 1.6, 3.2][place % 4];
    }
    let fitted = only(&calls).latency;
    let took: f64 = calls.iter().map(|call| call.total_s).sum();
    let lines: f64 = calls.iter().map(|it| fitted.total.seconds(it.input, it.output)).sum();
    let sessions = (fitted.session_sigma * fitted.session_sigma / 2.0).exp();
    close(lines * fitted.total_spread.mean() * sessions, took, 0.03);
}

#[test]
fn a_call_that_hung_for_an_hour_moves_the_line_by_little() {
    let mut calls = calls("claude-haiku-4-5", 10, 50, 0.0);
    let without = only(&calls).latency.total.seconds(50_000, 500);
    calls[77].total_s = 3_600.0;
    let with = only(&calls).latency.total.seconds(50_000, 500);
    close(with, without, 0.1);
}

#[test]
fn sums_are_right_on_average_and_so_are_draws() {
    let fitted = only(
        &recorded()
            .into_iter()
            .filter(|call| &*call.model == "claude-opus-4-7")
            .collect::<Vec<_>>(),
    );
    close(fitted.latency.total_spread.mean(), 1.0, 1e-9);
    let calls = calls("claude-haiku-4-5", 40, 50, 0.0);
    let fitted = only(&calls).latency;
    let actual: f64 = calls.iter().map(|call| call.total_s).sum();
    let drawn = calls.iter().zip(0..).map(|(call, key)| {
        let draw = &mut Draw::new(3, TEST, [key, 9, 9]);
        fitted.timing(call.input, call.output, 1.0, draw).total_ns as f64 / 1e9
    });
    close(drawn.sum(), actual, 0.02);
}

#[test]
fn a_single_call_that_was_quick_leaves_what_is_built_in_as_it_is() {
    let known = Catalogue::builtin();
    let built_in = known.find("claude-sonnet-4-5").unwrap().model;
    let mut quick = calls("claude-sonnet-4-5", 1, 1, 0.0);
    (quick[0].input, quick[0].output, quick[0].total_s) = (800, 50, 0.1);
    let few: Vec<Call> = (0..5).map(|session| Call { session, ..quick[0].clone() }).collect();
    for output in [5, 50, 500, 1_000] {
        let of = |line: &Line| line.seconds(800, output);
        let expected = of(&built_in.total) * built_in.total_spread.mean();
        close(of(&only(&quick).latency.total), expected, 0.05);
        // Several that are alike say how fast it is, not what of that an output token takes.
        let fitted = only(&few).latency.total;
        let faster = fitted.base_s / (built_in.total.base_s * built_in.total_spread.mean());
        close(of(&fitted), expected * faster, 0.1);
    }
}

#[test]
fn few_calls_are_helped_out_by_what_is_built_in_and_it_is_said() {
    let few = only(&calls("claude-haiku-4-5", 2, 25, 0.0));
    assert!(!few.latency.calibrated);
    assert_eq!((few.calls, few.weight), (50, 0.25));
    assert_eq!(few.helped_by.as_deref(), Some("claude-haiku-4-5"));
    let said = "fitted on 50 calls in 2 sessions; too few, the rest up to 200 taken as what is \
                built in for claude-haiku-4-5; no time to the first token was recorded: that is \
                as built in";
    assert_eq!(few.latency.source, said);
    let builtin = Catalogue::builtin();
    let builtin = builtin.find("claude-haiku-4-5").unwrap().model;
    assert_eq!(few.latency.first, builtin.first);
    let at = |line: &Line| line.seconds(100_000, 700);
    let (low, high) = (at(&builtin.total), at(&LINE));
    assert!((low..high).contains(&at(&few.latency.total)), "{low} {few:?} {high}");
    assert!(at(&few.latency.total) < low + 0.7 * (high - low), "{few:?}");
}

#[test]
fn a_slow_session_of_short_inputs_and_a_fast_one_of_long_ones_do_not_say_that_input_is_free() {
    let mut calls = recorded();
    calls.retain(|call| &*call.model == "claude-opus-4-6");
    let fitted = only(&calls);
    assert_eq!((fitted.sessions, fitted.weight < 0.3), (2, true));
    let builtin = Catalogue::builtin();
    let builtin = builtin.find("claude-opus-4-6").unwrap().model;
    let at = |line: &Line| line.seconds(500_000, 300);
    close(at(&fitted.latency.total), at(&builtin.total), 0.25);
}

#[test]
fn a_hundred_tasks_of_one_call_say_how_fast_a_model_is_although_they_are_too_few_for_its_line() {
    let calls = calls("claude-haiku-4-5", 100, 1, 0.0);
    let fitted = only(&calls);
    assert_eq!((fitted.weight, fitted.latency.calibrated), (0.5, false));
    let took: f64 = calls.iter().map(|call| call.total_s).sum();
    let line = fitted.latency.total;
    let lines: f64 = calls.iter().map(|it| line.seconds(it.input, it.output)).sum();
    close(lines, took, 0.1);
}

#[test]
fn a_model_that_nothing_is_known_of_stands_alone_and_is_not_calibrated_by_a_few_calls() {
    let alone = only(&calls("llama-4", 5, 10, 0.0));
    assert_eq!((alone.weight, alone.helped_by), (1.0, None));
    assert!(!alone.latency.calibrated);
    assert!(alone.latency.source.contains("too few, and nothing else is known of it"));
    close(alone.latency.total.seconds(100_000, 700), LINE.seconds(100_000, 700), 0.15);
}

#[test]
fn one_call_or_calls_that_are_all_alike_are_fitted_without_a_fault() {
    let mut one = calls("llama-4", 1, 1, 0.0);
    for (input, output, total_s) in [(0, 1, 0.0), (1_000_000, 64_000, 900.0)] {
        (one[0].input, one[0].output, one[0].total_s) = (input, output, total_s);
        let same: Vec<Call> = std::iter::repeat_n(one[0].clone(), 300).collect();
        for calls in [&one, &same] {
            let calibration = Calibration::of(calls, &Catalogue::builtin());
            let text = calibration.catalogue().to_toml();
            assert_eq!(Catalogue::parse(&text).unwrap().to_toml(), text);
        }
    }
    assert!(Calibration::of(&[], &Catalogue::builtin()).models.is_empty());
}

#[test]
fn the_effect_of_sessions_is_told_from_that_of_calls_and_intervals_hold_what_they_say() {
    let all = calls("claude-haiku-4-5", 240, 20, 0.3);
    let (seen, unseen): (Vec<_>, Vec<_>) = all.into_iter().partition(|it| it.session < 40);
    let calibration = Calibration::of(&seen, &Catalogue::builtin());
    let fitted = calibration.models.values().next().unwrap();
    close(fitted.latency.session_sigma, 0.3, 0.2);
    close(fitted.spread, 0.3, 0.1);
    let errors = errors(&calibration, &unseen).unwrap();
    assert_eq!(errors.sessions, 200);
    assert!((0.85..=0.95).contains(&errors.covered), "{errors:?}");
    // A normal effect of 0.3 has its median at 0.67 of that.
    assert!((0.15..0.25).contains(&errors.median), "{errors:?}");
}

#[test]
fn recorded_sessions_are_predicted_from_others_within_an_eighth() {
    let halves = halves(&recorded(), &Catalogue::builtin(), 1, 15).unwrap();
    assert_eq!((halves.halves, halves.all.sessions), (30, 150));
    assert!(halves.all.median < 0.125, "{halves:?}");
    assert!((0.85..=1.0).contains(&halves.all.covered), "{halves:?}");
}

#[test]
fn each_session_is_left_out_once_and_a_single_one_cannot_be() {
    let known = Catalogue::builtin();
    let mut calls = calls("claude-haiku-4-5", 30, 10, 0.1);
    calls.truncate(290);
    calls.push(Call { model: "llama-4".into(), ..calls[0].clone() });
    let crossed = cross_validated(&calls, &known);
    let sessions: Vec<(&str, u64)> =
        crossed.iter().map(|(model, errors)| (&**model, errors.sessions)).collect();
    assert_eq!(sessions, [("claude-haiku-4-5", 29)]);
    assert!(halves(&calls[..30], &known, 1, 5).is_none());
}

#[test]
fn what_was_asked_and_what_failed_is_counted_by_model() {
    let mut calls = calls("claude-haiku-4-5", 2, 10, 0.0);
    for (place, error) in [(3, "429"), (4, "429"), (5, "timeout")] {
        calls[place].error = Some(Arc::from(error));
    }
    let profiles = Profile::of(&calls);
    let profile = &profiles["claude-haiku-4-5"];
    assert_eq!(profile.calls, 20);
    let errors: Vec<(&str, u64)> = profile.errors.iter().map(|(kind, n)| (&**kind, *n)).collect();
    assert_eq!(errors, [("429", 2), ("timeout", 1)]);
    // Before a first call there is no gap, and not one of nothing.
    assert_eq!([0.0, 0.5].map(|p| profile.gap.as_ref().unwrap().at(p)), [2.0, 2.0]);
    assert!((0.49..=0.5).contains(&profile.cached_share.unwrap()));
    assert_eq!(only(&calls).calls, 17);
}

#[test]
fn a_spread_has_the_mean_of_its_factors() {
    close(Spread::LogNormal(0.4).mean(), (0.08_f64).exp(), 1e-12);
    let fitted = only(&calls("claude-haiku-4-5", 40, 50, 0.0)).latency;
    let found = Calibration::of(&calls("claude-haiku-4-5", 40, 50, 0.2), &Catalogue::builtin());
    let again = Catalogue::parse(&found.catalogue().to_toml()).unwrap();
    let again = again.find("claude-haiku-4-5").unwrap();
    assert!(again.exact && again.model.calibrated && again.model.session_sigma > 0.1);
    assert_eq!(again.model.calls, fitted.calls);
}

#[test]
fn what_calls_do_not_differ_in_is_not_made_out_to_be_what_they_take() {
    let mut calls = calls("claude-haiku-4-5", 300, 1, 0.0);
    for call in &mut calls {
        call.total_s *= LINE.seconds(47, 100) / LINE.seconds(call.input, call.output);
        (call.input, call.output) = (47, 100);
    }
    let fitted = only(&calls).latency.total;
    close(fitted.seconds(47, 100), LINE.seconds(47, 100), 0.05);
    let builtin = Catalogue::builtin();
    let builtin = builtin.find("claude-haiku-4-5").unwrap().model.total;
    close(fitted.per_output_token_s, builtin.per_output_token_s, 0.2);
    assert!(fitted.seconds(200_000, 100) < 1.5 * LINE.seconds(47, 100), "{fitted:?}");
}

#[test]
fn a_session_that_took_no_time_is_compared_with_nothing() {
    let mut calls = calls("claude-haiku-4-5", 30, 10, 0.1);
    calls[..10].iter_mut().for_each(|call| call.total_s = 0.0);
    let errors = &cross_validated(&calls, &Catalogue::builtin())["claude-haiku-4-5"];
    assert_eq!(errors.sessions, 29);
    assert!(errors.p95.is_finite() && errors.bias.is_finite(), "{errors:?}");
}

#[test]
fn sessions_that_are_thousands_of_times_as_fast_as_others_are_fitted_without_a_fault() {
    // A store may have calls of a provider that answers at once beside those of a real one.
    for (sessions, fast) in [(30, 1), (30, 3), (30, 15), (30, 29), (300, 1), (300, 100)] {
        let mut calls = calls("claude-haiku-4-5", sessions, 3, 0.1);
        calls[..3 * fast].iter_mut().for_each(|call| call.total_s = 0.0);
        let fitted = only(&calls);
        let sigma = fitted.latency.session_sigma;
        assert!(sigma.is_finite() && sigma <= 1.0, "{fast} of {sessions}: {sigma}");
        let text = Calibration::of(&calls, &Catalogue::builtin()).catalogue().to_toml();
        assert!(Catalogue::parse(&text).is_ok(), "{fast} of {sessions}: {text}");
    }
}

#[test]
fn what_lies_before_the_first_call_of_a_recorded_session_is_no_gap() {
    let head =
        "session,turn,model,arrival_s,input_tokens,output_tokens,ttft_s,api_time_s,think_time_s";
    let rows = "a,0,claude-haiku-4-5,0,10,5,1,2,7\na,1,claude-haiku-4-5,9,10,5,1,2,7\n";
    let trace = Trace::read("t", format!("{head}\n{rows}").as_bytes(), None).unwrap();
    let gaps: Vec<_> = Call::of_trace(&trace).iter().map(|call| call.gap_s).collect();
    assert_eq!(gaps, [None, Some(7.0)]);
}
