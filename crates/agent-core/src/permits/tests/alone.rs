//! One who alone uses a key, before a provider that counts `max_tokens` from a request's arrival
//! until its end, and says at any moment in between what is left.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const MINUTE: u64 = 60_000;
const LIMIT: u64 = 8_000;

/// A request: times in milliseconds, tokens.
#[derive(Debug, Clone)]
struct Request {
    asked: u64,
    way: u64,
    takes: u64,
    /// At which thousandth of its time the provider writes its headers.
    told: u64,
    way_back: u64,
    most: u64,
    output: u64,
}

/// What is left of the output tokens of a minute.
#[derive(Debug)]
enum Provider {
    /// When each request arrived, and what it counts.
    Sliding(BTreeMap<usize, (u64, u64)>),
    /// What is missing, and since when that is so.
    Bucket(f64, u64),
}

impl Provider {
    fn pass(&mut self, now: u64) {
        match self {
            Provider::Sliding(counted) => counted.retain(|_, (at, _)| *at + MINUTE > now),
            Provider::Bucket(missing, at) => {
                let refill = (LIMIT * (now - *at)) as f64 / MINUTE as f64;
                (*missing, *at) = ((*missing - refill).max(0.0), now);
            }
        }
    }

    fn used(&mut self, now: u64) -> u64 {
        self.pass(now);
        match self {
            Provider::Sliding(counted) => counted.values().map(|(_, tokens)| tokens).sum(),
            Provider::Bucket(missing, _) => missing.ceil() as u64,
        }
    }

    fn arrive(&mut self, now: u64, number: usize, most: u64) {
        match self {
            Provider::Sliding(counted) => drop(counted.insert(number, (now, most))),
            Provider::Bucket(missing, _) => *missing += most as f64,
        }
    }

    fn end(&mut self, now: u64, number: usize, unused: u64) {
        self.pass(now);
        match self {
            Provider::Sliding(counted) => {
                if let Some((_, tokens)) = counted.get_mut(&number) {
                    *tokens -= unused;
                }
            }
            Provider::Bucket(missing, _) => *missing = (*missing - unused as f64).max(0.0),
        }
    }

    /// As the headers have it: what is left comes in thousands.
    fn headers(&mut self, now: u64) -> RateHeaders {
        let used = self.used(now);
        let reset = match self {
            Provider::Sliding(counted) => {
                counted.values().map(|(at, _)| at + MINUTE).max().unwrap_or(now)
            }
            Provider::Bucket(..) => now + used * MINUTE / LIMIT,
        };
        let remaining = (LIMIT.saturating_sub(used) + 500) / 1_000 * 1_000;
        let headroom = Headroom { limit: LIMIT, remaining, reset: Timestamp::from_millis(reset) };
        RateHeaders { output_tokens: Some(headroom), ..RateHeaders::default() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Ends(usize),
    Writes(usize),
    Arrives(usize),
    Received(usize),
    Asks(usize),
}

/// When each request was granted; `None`: the provider had to refuse one.
fn play(requests: &[Request], mut provider: Provider, heard: bool) -> Option<Vec<Option<u64>>> {
    let limits = ProviderLimits {
        output_tokens_per_minute: LIMIT.try_into().ok(),
        max_wait: Duration::from_secs(100_000),
        ..ProviderLimits::default()
    };
    let mut permits = Permits::new(limits);
    let mut agenda: std::collections::BTreeSet<(u64, Event)> =
        requests.iter().enumerate().map(|(i, it)| (it.asked, Event::Asks(i))).collect();
    let (mut waiting, mut ids) = (BTreeMap::new(), BTreeMap::new());
    let mut headers = vec![RateHeaders::default(); requests.len()];
    let mut granted = vec![None; requests.len()];
    let mut now = 0;
    loop {
        let alarm = permits.next_event(Timestamp::from_millis(now));
        let alarm = alarm.map(|at| at.nanos().div_ceil(1_000_000));
        let Some(next) = agenda.first().map(|(at, _)| *at).into_iter().chain(alarm).min() else {
            return Some(granted);
        };
        now = next;
        let at = Timestamp::from_millis(now);
        let mut goes = Vec::new();
        if agenda.first().is_some_and(|(at, _)| *at == now)
            && let Some((_, event)) = agenda.pop_first()
        {
            match event {
                Event::Asks(i) => {
                    let ask =
                        Ask { output_tokens: requests[i].most, ..scenes::ask(&i.to_string(), 0) };
                    match permits.ask(at, ask) {
                        Answer::Granted(grant) => goes.push((i, grant.id)),
                        Answer::Waits(id) => drop(waiting.insert(id, i)),
                        Answer::Refused(error) => panic!("{error}"),
                    }
                }
                Event::Arrives(i) => {
                    let Request { takes, told, most, .. } = requests[i];
                    if provider.used(now) + most > LIMIT {
                        return None;
                    }
                    provider.arrive(now, i, most);
                    agenda.insert((now + takes * told / 1_000, Event::Writes(i)));
                    agenda.insert((now + takes, Event::Ends(i)));
                }
                Event::Writes(i) => headers[i] = provider.headers(now),
                Event::Ends(i) => {
                    let Request { most, output, way_back, .. } = requests[i];
                    provider.end(now, i, most - output);
                    agenda.insert((now + way_back.max(1), Event::Received(i)));
                }
                Event::Received(i) => {
                    let feedback = Feedback {
                        input_tokens: Some(0),
                        output_tokens: Some(requests[i].output),
                        headers: if heard { headers[i] } else { RateHeaders::default() },
                        ..Feedback::default()
                    };
                    permits.settle(at, ids[&i], &feedback);
                }
            }
        }
        let told = permits.admit(at);
        goes.extend(told.into_iter().map(|(id, grant)| (waiting[&id], grant.unwrap().id)));
        for (i, id) in goes {
            ids.insert(i, id);
            granted[i] = Some(now);
            agenda.insert((now + requests[i].way, Event::Arrives(i)));
        }
    }
}

fn request() -> impl Strategy<Value = Request> {
    let takes = prop_oneof![3 => 1..3_000u64, 1 => 1..150_000u64];
    let told = prop_oneof![2 => Just(0), 1 => Just(1_000), 1 => 0..=1_000u64];
    let tokens = (1..=2_000u64).prop_flat_map(|most| (Just(most), 0..=most));
    (0..40_000u64, 0..900u64, takes, told, 0..300u64, tokens).prop_map(
        |(asked, way, takes, told, way_back, (most, output))| Request {
            asked,
            way,
            takes,
            told,
            way_back,
            most,
            output,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: proptest::test_runner::RngSeed::Fixed(5),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn who_alone_uses_a_key_is_never_refused_and_waits_for_nothing_that_headers_say(
        requests in proptest::collection::vec(request(), 1..60),
        bucket: bool,
    ) {
        let provider = || match bucket {
            true => Provider::Bucket(0.0, 0),
            false => Provider::Sliding(BTreeMap::new()),
        };
        let by_headers = play(&requests, provider(), true);
        prop_assert!(by_headers.is_some(), "refused with 429");
        prop_assert_eq!(by_headers, play(&requests, provider(), false));
    }
}
