//! Many workers at once, who drop and abandon what they hold at random; the seeds are fixed.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;

/// One worker of the crowd: a few calls, each of which ends in one of all ways.
async fn work(stage: Stage, mut random: fastrand::Rng, fates: Rc<RefCell<[u32; 3]>>) {
    const NAMES: [&str; 4] =
        ["global", "global project:a", "global project:b task:7", "project:a task:7"];
    for _ in 0..10 {
        let (names, dollars) = (NAMES[random.usize(..4)], random.u64(1..=6));
        let deadline = stage.clock.now() + Duration::from_secs(random.u64(1..500));
        let got = stage.clock.timeout(
            if random.u8(..8) == 0 { stage.clock.now() + Duration::from_secs(1) } else { deadline },
            Box::pin(stage.obtain(names, dollars, deadline + Duration::from_secs(1))),
        );
        let Ok(got) = got.await else {
            fates.borrow_mut()[0] += 1;
            continue;
        };
        let Ok(reservation) = got else {
            fates.borrow_mut()[1] += 1;
            continue;
        };
        fates.borrow_mut()[2] += 1;
        stage.clock.sleep(Duration::from_millis(random.u64(..3_000))).await;
        if random.u8(..6) == 0 {
            continue;
        }
        let in_flight = reservation.depart();
        stage.clock.sleep(Duration::from_millis(random.u64(..9_000))).await;
        match random.u8(..5) {
            0 => drop(in_flight),
            1 => in_flight.release(),
            2 => in_flight.settle_partly(NanoUsd::ZERO, usd(1)),
            _ => in_flight.settle(usd(random.u64(..=dollars))),
        }
    }
}

#[test]
fn a_crowd_of_workers_keeps_every_limit_and_leaves_nothing_reserved() {
    for seed in 100..118 {
        let specs = vec![
            spec("global", 40, Window::Rolling(Duration::from_secs(90)), OnExhausted::Wait),
            spec("project:a", 20, Window::Hour, OnExhausted::Reject),
            spec("project:*", 300, Window::Total, OnExhausted::Reject),
            spec("task:*", 9, Window::Rolling(Duration::from_secs(30)), OnExhausted::Wait),
        ];
        on_stage(specs, |stage| async move {
            let fates = Rc::new(RefCell::new([0; 3]));
            let workers: Vec<_> = (0..60)
                .map(|w| {
                    let random = fastrand::Rng::with_seed(seed * 1_000 + w);
                    actix::spawn(work(stage.clone(), random, fates.clone()))
                })
                .collect();
            for worker in workers {
                while !worker.is_finished() {
                    stage.clock.sleep(Duration::from_millis(333)).await;
                    for Balance { limit, spent, presumed, reserved, .. } in stage.balances().await {
                        let sum = spent + presumed + reserved;
                        assert!(sum <= limit, "seed {seed}: {sum} of {limit}");
                    }
                }
                worker.await.unwrap();
            }
            // Tickets that were abandoned leave at their deadlines.
            stage.pass(1_000).await;
            assert!(stage.balances().await.iter().all(|b| b.reserved.is_zero()), "seed {seed}");
            let fates = *fates.borrow();
            assert!(fates.iter().all(|fate| *fate > 0), "seed {seed}: {fates:?}");
        });
    }
}

#[test]
fn callers_are_served_in_the_order_in_which_they_came() {
    on_stage(vec![total("global", 1_000), total("project:a", 10)], |stage| async move {
        let served = Rc::new(RefCell::new(Vec::new()));
        let mut random = fastrand::Rng::with_seed(7);
        let mut callers = Vec::new();
        for caller in 0..200 {
            let (stage, served, dollars) = (stage.clone(), served.clone(), random.u64(1..=10));
            let millis = random.u64(..5_000);
            callers.push(actix::spawn(async move {
                let names = "global project:a";
                let got = stage.obtain(names, dollars, seconds(90_000)).await.unwrap();
                served.borrow_mut().push(caller);
                stage.clock.sleep(Duration::from_millis(millis)).await;
                got.depart().release();
            }));
        }
        for caller in callers {
            caller.await.unwrap();
        }
        assert_eq!(*served.borrow(), (0..200).collect::<Vec<_>>());
    });
}
