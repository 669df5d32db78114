//! What may happen to permits, at random.

use proptest::prelude::*;

use super::*;

pub(super) const PAIRS: [(&str, &str); 3] =
    [("key-1", "small"), ("key-1", "large"), ("key-2", "small")];

#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Thousandths of the limits, and seconds.
    Ask {
        pair: usize,
        worker: usize,
        line: u64,
        input: u64,
        output: u64,
        waits: u64,
        reject: bool,
    },
    Settle {
        which: usize,
        input: Option<u64>,
        output: Option<u64>,
        trouble: Trouble,
    },
    GiveBack {
        which: usize,
    },
    Cancel {
        which: usize,
    },
    Pass {
        millis: u64,
    },
    Restore,
}

#[derive(Debug, Clone)]
pub(super) enum Trouble {
    None,
    Congested,
    /// Milliseconds.
    Pause(u64),
    OutOfService(u64),
    /// Which limit, thousandths of it, thousandths left, seconds until all is back.
    Headers {
        of: usize,
        limit: u64,
        left: u64,
        reset: u64,
    },
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let which = any::<usize>;
    let share = || prop_oneof![3 => 0..300u64, 2 => 0..1_000u64, 1 => 900..1_200u64];
    let trouble = prop_oneof![
        8 => Just(Trouble::None),
        1 => Just(Trouble::Congested),
        1 => (0..40_000u64).prop_map(Trouble::Pause),
        1 => (0..100u64).prop_map(Trouble::OutOfService),
        1 => (0..3usize, 300..1_500u64, 0..1_000u64, 0..90u64)
            .prop_map(|(of, limit, left, reset)| Trouble::Headers { of, limit, left, reset }),
    ];
    let actual = || proptest::option::of(prop_oneof![4 => 0..1_000u64, 1 => 1_000..1_500u64]);
    prop_oneof![
        9 => (0..PAIRS.len(), 0..4usize, 0..3u64, share(), share(), 0..200u64, any::<bool>()).prop_map(
            |(pair, worker, line, input, output, waits, reject)| Step::Ask {
                pair, worker, line, input, output, waits, reject,
            }
        ),
        4 => (which(), actual(), actual(), trouble)
            .prop_map(|(which, input, output, trouble)| Step::Settle { which, input, output, trouble }),
        1 => which().prop_map(|which| Step::GiveBack { which }),
        1 => which().prop_map(|which| Step::Cancel { which }),
        2 => (0..2_000u64).prop_map(|millis| Step::Pass { millis }),
        3 => (0..70_000u64).prop_map(|millis| Step::Pass { millis }),
        1 => Just(Step::Restore),
    ]
}

fn limit(most: u64) -> impl Strategy<Value = Option<u64>> {
    prop_oneof![1 => Just(None), 2 => (1..6u64).prop_map(Some), 2 => (1..=most).prop_map(Some)]
}

pub(super) fn limits() -> impl Strategy<Value = ProviderLimits> {
    let waits = 1..400u64;
    (limit(1_000_000), limit(1_000_000), limit(1_000_000), 1..12u32, waits).prop_map(
        |(requests, input, output, at_once, max_wait)| ProviderLimits {
            requests_per_minute: requests.and_then(|n| u32::try_from(n).ok()?.try_into().ok()),
            input_tokens_per_minute: input.and_then(|n| n.try_into().ok()),
            output_tokens_per_minute: output.and_then(|n| n.try_into().ok()),
            max_concurrent: at_once.try_into().unwrap(),
            max_wait: Duration::from_secs(max_wait),
        },
    )
}
