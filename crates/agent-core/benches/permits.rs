//! What a permit costs, from request to end, against limits that keep less: a semaphore, which
//! knows no time, and a token bucket, which knows no window, no queue, and nobody's name.

use std::hint::black_box;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

use agent_core::clock::Timestamp;
use agent_core::permits::{AgentRateLimit, Answer, Ask, Feedback, Permits, ProviderLimits};
use agent_core::task::Priority;
use criterion::{Criterion, criterion_group, criterion_main};
use tokio::sync::Semaphore;

/// Requests and two kinds of tokens, refilled all the time.
struct Bucket {
    left: [u64; 3],
    full: [u64; 3],
    at: Timestamp,
}

impl Bucket {
    fn take(&mut self, now: Timestamp, amounts: [u64; 3]) -> bool {
        let passed = u64::try_from(now.since(self.at).as_micros()).unwrap_or(u64::MAX);
        self.at = now;
        for (left, full) in self.left.iter_mut().zip(self.full) {
            *left = (*left + full / 60_000_000 * passed).min(full);
        }
        let fits = self.left.iter().zip(amounts).all(|(left, amount)| *left >= amount);
        if fits {
            for (left, amount) in self.left.iter_mut().zip(amounts) {
                *left -= amount;
            }
        }
        fits
    }
}

fn ask(worker: &Arc<str>, account: &Arc<str>, model: &Arc<str>, calls: NonZeroU32) -> Ask {
    Ask {
        account: Arc::clone(account),
        model: Arc::clone(model),
        worker: Arc::clone(worker),
        worker_limit: AgentRateLimit { calls, ..AgentRateLimit::default() },
        priority: Priority::Normal,
        input_tokens: 300,
        output_tokens: 1_000,
        deadline: Timestamp::NEVER,
    }
}

fn permits(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("with room");

    let semaphore = Semaphore::new(64);
    group.bench_function("reference: tokio's semaphore, acquire and release", |bencher| {
        bencher.iter(|| drop(black_box(semaphore.try_acquire()).expect("room")));
    });

    let full = [60_000_000, 60_000_000_000, 60_000_000_000];
    let mut bucket = Bucket { left: full, full, at: Timestamp::EPOCH };
    let mut nanos = 0;
    group.bench_function("reference: a token bucket", |bencher| {
        bencher.iter(|| {
            nanos += 10_000_000;
            assert!(bucket.take(Timestamp::from_nanos(nanos), black_box([1, 300, 1_000])));
        });
    });

    let (account, model): (Arc<str>, Arc<str>) = ("sk-…WXYZ".into(), "claude-haiku-4-5".into());
    let calls = NonZeroU32::MAX;
    for (name, workers, step) in [
        ("100 requests a second of one worker", 1, 10_000_000),
        ("100 requests a second of 1,000 workers", 1_000, 10_000_000),
        ("10,000 requests a second of 10,000 workers", 10_000, 100_000),
    ] {
        let workers: Vec<Arc<str>> = (0..workers).map(|n| format!("clerk-{n}").into()).collect();
        let mut permits = Permits::new(ProviderLimits {
            requests_per_minute: NonZeroU32::new(10_000_000),
            input_tokens_per_minute: NonZeroU64::new(10_000_000_000),
            output_tokens_per_minute: NonZeroU64::new(10_000_000_000),
            ..ProviderLimits::default()
        });
        let (mut nanos, mut turns) = (0, workers.iter().cycle());
        let mut once = || {
            let Some(worker) = turns.next() else { return };
            nanos += step;
            let now = Timestamp::from_nanos(nanos);
            let answer = permits.ask(now, ask(worker, &account, &model, calls));
            let Answer::Granted(grant) = answer else { panic!("no room: {answer:?}") };
            let now = now + Duration::from_micros(50);
            let feedback = Feedback {
                input_tokens: Some(black_box(250)),
                output_tokens: Some(black_box(100)),
                ..Feedback::default()
            };
            assert!(permits.settle(now, grant.id, &feedback).is_empty());
        };
        // A window as full as it will be.
        for _ in 0..61_000_000_000 / step {
            once();
        }
        group.bench_function(format!("acquire and settle: {name}"), |bencher| {
            bencher.iter(&mut once);
        });
    }
    group.finish();
}

criterion_group!(benches, permits);
criterion_main!(benches);
