//! Latency models: what is known, what is drawn of it, and how the load wanders.

use std::path::Path;

use super::*;
use crate::draws::{Draw, Stream};
use crate::trace::Trace;

const TEST: Stream = Stream::named("test");
const SECOND: u64 = 1_000_000_000;

fn timings(name: &str, load: f64) -> Vec<Timing> {
    let catalogue = Catalogue::builtin();
    let model = catalogue.find(name).unwrap().model;
    (0..5_001)
        .map(|i| model.timing(100_000, 250, load, &mut Draw::new(5, TEST, [i, 0, 0])))
        .collect()
}

fn median(mut values: Vec<u64>) -> f64 {
    values.sort_unstable();
    values[values.len() / 2] as f64 / 1e9
}

#[test]
fn the_median_call_lies_on_its_line_and_load_multiplies_it() {
    for (name, total) in [("claude-opus-4-7", 4.66), ("claude-sonnet-4-6", 4.38)] {
        let usual = timings(name, 1.0);
        let slow = timings(name, 2.0);
        // The residual of Opus has the median 0.979.
        let found = median(usual.iter().map(|timing| timing.total_ns).collect());
        assert!((found / total - 1.0).abs() < 0.03, "{name}: {found}");
        for (usual, slow) in usual.iter().zip(slow) {
            assert!(slow.total_ns.abs_diff(usual.total_ns * 2) <= 2);
            assert!(usual.first_ns <= usual.total_ns);
        }
    }
}

#[test]
fn nine_measured_calls_of_ten_lie_between_the_tables_ends_of_ninety_percent() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/traces/claude_code.csv.gz");
    let catalogue = Catalogue::builtin();
    let model = catalogue.find("claude-opus-4-7").unwrap().model;
    let Spread::Measured(table) = &model.total_spread else { panic!("it was measured") };
    let (mut inside, mut all) = (0.0, 0.0);
    for request in Trace::open(&sample, None).unwrap().requests {
        if request.model.as_deref() == Some("claude-opus-4-7") {
            let (input, output) = (request.input.unwrap(), request.output);
            let line = model.total.seconds(u64::from(input), u64::from(output));
            let residual = request.total_ns.unwrap() as f64 / 1e9 / line;
            all += 1.0;
            inside += f64::from((table.at(0.05)..table.at(0.95)).contains(&residual));
        }
    }
    assert!(all > 700.0 && (0.85..0.95).contains(&(inside / all)), "{inside} of {all}");
}

#[test]
fn sessions_differ_by_as_much_as_a_model_says() {
    let mut model = Catalogue::builtin().find("claude-opus-4-7").unwrap().model.clone();
    model.session_sigma = 0.2;
    let session = |i| libm::log(model.session(&mut Draw::new(5, TEST, [i, 0, 0])));
    let logs: Vec<f64> = (0..5_000).map(session).collect();
    let mean = logs.iter().sum::<f64>() / 5e3;
    let sigma = (logs.iter().map(|it| (it - mean) * (it - mean)).sum::<f64>() / 5e3).sqrt();
    assert!(mean.abs() < 0.01 && (sigma / 0.2 - 1.0).abs() < 0.05, "{mean} {sigma}");
}

#[test]
fn a_slow_call_is_slow_from_its_first_token_more_often_than_not() {
    let timings = timings("claude-opus-4-7", 1.0);
    let total = median(timings.iter().map(|timing| timing.total_ns).collect());
    let first = median(timings.iter().map(|timing| timing.first_ns).collect());
    let slow = |ns: u64, median: f64| ns as f64 / 1e9 > median;
    let alike = timings
        .iter()
        .filter(|timing| slow(timing.total_ns, total) == slow(timing.first_ns, first))
        .count();
    let share = alike as f64 / timings.len() as f64;
    assert!((0.6..0.8).contains(&share), "{share}");
}

#[test]
fn the_timing_of_a_key_is_what_it_was_when_this_was_written() {
    let found: Vec<u64> = timings("claude-opus-4-7", 1.0)[..2]
        .iter()
        .flat_map(|timing| [timing.first_ns, timing.total_ns])
        .collect();
    let [first, second] = [(2_218_126_055, 4_549_244_172), (3_506_873_674, 5_744_288_877)];
    assert_eq!(found, [first.0, first.1, second.0, second.1]);
}

#[test]
fn a_model_is_found_by_any_of_its_names_and_else_one_like_it() {
    let catalogue = Catalogue::builtin();
    for (asked, name, exact) in [
        ("claude-opus-4-7", "claude-opus-4-7", true),
        ("claude-opus-4-7-20260416", "claude-opus-4-7", true),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", "claude-haiku-4-5", true),
        ("openrouter/openai/gpt-5.4", "gpt-5.4", true),
        ("azure/Kimi-K2.5", "kimi-k2.5", true),
        ("claude-sonnet-9", "claude-sonnet-4-6", false),
        ("claude-opus-5-5", "claude-opus-4-7", false),
        ("claude-fable-5", "claude-sonnet-4-6", false),
        ("gpt-4o-mini", "gpt-5.4", false),
        ("o3-mini", "gpt-5.4", false),
        ("DeepSeek-V3.1", "deepseek-v3.2", false),
    ] {
        let found = catalogue.find(asked).unwrap();
        assert_eq!((found.model.name.as_str(), found.exact), (name, exact), "{asked}");
    }
}

#[test]
fn a_model_like_none_is_refused_with_those_that_are_known() {
    let refused = Catalogue::builtin().find("llama-4").unwrap_err().to_string();
    let start = "no latency is known for model \"llama-4\"; give it inline, or name one of claude-";
    assert!(refused.starts_with(start), "{refused}");
    assert!(Catalogue::builtin().find("").is_err());
}

#[test]
fn no_model_that_is_built_in_passes_for_calibrated_or_hides_its_source() {
    for model in Catalogue::builtin().models() {
        assert!(!model.calibrated && !model.source.is_empty(), "{}", model.name);
    }
}

#[test]
fn a_file_goes_before_what_is_built_in() {
    let own = Catalogue::parse(&entry("gpt-5.4", "total_sigma = 0.2")).unwrap();
    let both = own.before(Catalogue::builtin());
    assert!(both.find("gpt-5.4").unwrap().model.calibrated);
    assert!(!both.find("claude-opus-4-7").unwrap().model.calibrated);
    assert_eq!(both.models().len(), Catalogue::builtin().models().len());
}

#[test]
fn a_catalogue_that_was_written_reads_as_it_was() {
    let written = Catalogue::builtin().to_toml();
    let again = Catalogue::parse(&written).unwrap();
    assert_eq!(again.models().len(), Catalogue::builtin().models().len());
    assert_eq!(again.to_toml(), written);
}

fn entry(name: &str, spread: &str) -> String {
    format!(
        "[[model]]\nname = \"{name}\"\ncalibrated = true\ncalls = 9\nsource = \"own\"\n\
         total = {{ base_s = 1.0, per_1k_context_s = 0.0, per_output_token_s = 0.01 }}\n\
         first = {{ base_s = 0.5, per_1k_context_s = 0.0, per_output_token_s = 0.0 }}\n\
         first_sigma = 0.3\n{spread}\n"
    )
}

#[test]
fn a_wrong_file_is_refused_with_model_and_key() {
    let refused = |text: &str| Catalogue::parse(text).unwrap_err().to_string();
    let sigma = refused(&entry("m", "total_sigma = nan"));
    assert_eq!(sigma, "latency of \"m\": total_sigma is NaN; it must be a number from 0 to 5");
    let none = refused(&entry("m", ""));
    assert_eq!(none, "latency of \"m\": give either total_sigma or total_residuals");
    assert!(refused(&entry("m", "total_residuals = [1.0]")).contains("total_residuals are wrong"));
    let line = refused(&entry("m", "total_sigma = 0.1").replace("base_s = 1.0", "base_s = -1.0"));
    assert!(line.contains("total.base_s is -1; it must be"), "{line}");
    assert!(Catalogue::parse("[[model]]\nnam = 1").is_err());
}

#[test]
fn the_load_is_one_path_whatever_times_are_asked_in_what_order() {
    let load = || Load::new(3, 0, 0.15, 1_200 * SECOND).unwrap();
    let (forth, back) = (load(), load());
    let times: Vec<u64> = (0..500).map(|minute| minute * 60 * SECOND).collect();
    let one: Vec<f64> = times.iter().map(|&at| forth.at(at)).collect();
    let mut other: Vec<f64> = times.iter().rev().map(|&at| back.at(at)).collect();
    other.reverse();
    assert_eq!(one, other);
    assert_ne!(
        one,
        times.iter().map(|&at| Load::new(4, 0, 0.15, SECOND).unwrap().at(at)).collect::<Vec<_>>()
    );
}

#[test]
fn the_load_has_its_spread_and_comes_back_in_its_time() {
    let reversion = 1_200 * SECOND;
    let load = Load::new(3, 0, 0.5, reversion).unwrap();
    let logs: Vec<f64> = (0..4_000).map(|i| load.at(i * reversion / 2).ln()).collect();
    let n = logs.len() as f64;
    let mean = logs.iter().sum::<f64>() / n;
    let variance = logs.iter().map(|x| x * x).sum::<f64>() / n;
    let lagged = logs.iter().zip(&logs[2..]).map(|(a, b)| a * b).sum::<f64>() / n / variance;
    assert!(mean.abs() < 0.1, "{mean}");
    assert!((variance.sqrt() / 0.5 - 1.0).abs() < 0.05, "{variance}");
    // One reversion later, 1/e is left.
    assert!((lagged - 0.368).abs() < 0.05, "{lagged}");
}

#[test]
fn no_spread_is_no_load_and_the_end_of_time_is_a_time() {
    let still = Load::new(3, 0, 0.0, SECOND).unwrap();
    assert_eq!((still.at(0), still.at(u64::MAX)), (1.0, 1.0));
    assert!(Load::new(3, 0, 1.0, 1).unwrap().at(u64::MAX) > 0.0);
    assert!(Load::new(3, 0, f64::NAN, SECOND).is_err());
    assert!(Load::new(3, 0, 0.1, 0).is_err());
}
