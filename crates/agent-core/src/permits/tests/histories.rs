//! Random histories of the permits, compared with the plain model after every step.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::model::*;
use super::steps::*;
use super::*;

const SECOND: u64 = 1_000_000_000;
struct Run {
    permits: Permits,
    model: Model,
    max_wait: u64,
    out_of_service: [u64; 2],
}

fn account(pair: usize) -> usize {
    usize::from(PAIRS[pair].0 == "key-2")
}

/// So many thousandths of a limit; of none, so many tokens.
fn part(limit: u64, thousandths: u64) -> u64 {
    if limit == u64::MAX { thousandths } else { (limit * thousandths).div_ceil(1_000) }
}

impl Run {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.model.now)
    }

    fn open(&self, which: usize) -> Option<usize> {
        let is_open = |call: &Option<Call>| call.as_ref().is_some_and(|call| call.open);
        let open: Vec<usize> =
            (0..self.model.calls.len()).filter(|i| is_open(&self.model.calls[*i])).collect();
        (!open.is_empty()).then(|| open[which % open.len()])
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Ask { .. } => self.ask(step)?,
            Step::Settle { which, input, output, trouble } => {
                if let Some(call) = self.open(which) {
                    self.settle(call, [input, output], trouble)?;
                }
            }
            Step::GiveBack { which } => {
                if let Some(number) = self.open(which) {
                    let call = self.model.calls[number].take().unwrap();
                    self.permits.give_back(call.id.unwrap());
                    let probe = &mut self.model.pairs[call.pair].probe;
                    if matches!(probe, Probe::Sent(sent, _) if *sent == number) {
                        *probe = Probe::Due;
                    }
                }
            }
            Step::Cancel { which } => {
                if !self.model.waiting.is_empty() {
                    let gone = self.model.waiting.remove(which % self.model.waiting.len());
                    self.permits.cancel(gone.id);
                }
            }
            Step::Pass { millis } => return self.pass(self.model.now + millis * 1_000_000),
            Step::Restore => {
                self.permits.restore("key-1");
                self.out_of_service[0] = 0;
            }
        }
        self.tell()
    }

    fn ask(&mut self, step: Step) -> Result<(), TestCaseError> {
        let Step::Ask { pair: name, worker, line, input, output, waits, reject } = step else {
            return Ok(());
        };
        let (now, limit) = (self.model.now, self.model.limit);
        let wants = [1, part(limit[1], input), part(limit[2], output)];
        let (calls, per) = self.model.workers[worker];
        let until = now + waits * SECOND;
        let answer = self.permits.ask(
            self.now(),
            Ask {
                account: PAIRS[name].0.into(),
                model: PAIRS[name].1.into(),
                worker: worker.to_string().into(),
                worker_limit: AgentRateLimit {
                    calls: u32::try_from(calls).unwrap().try_into().unwrap(),
                    per: Duration::from_nanos(per),
                    mode: if reject { LimitMode::Reject } else { LimitMode::Wait },
                },
                priority: [Priority::Low, Priority::Normal, Priority::High]
                    [usize::try_from(line).unwrap()],
                input_tokens: wants[1],
                output_tokens: wants[2],
                deadline: Timestamp::from_nanos(until),
            },
        );
        let until = until.min(now + self.max_wait);
        let pair = self.model.pair(name);
        let may_call = self.model.may_call(worker, now);
        let expected = if self.out_of_service[account(name)] > now {
            "out of service"
        } else if !within(wants, self.model.pairs[pair].limit) {
            "too large"
        } else if !may_call && reject {
            "the worker's limit"
        } else if may_call
            && self.model.next(pair, now).is_none()
            && self.model.has_room(pair, now, wants)
        {
            "granted"
        } else if until <= now {
            "too late"
        } else {
            "waits"
        };
        let told = match answer {
            Answer::Granted(grant) => {
                self.model.grant(pair, worker, wants);
                self.model.calls.last_mut().unwrap().as_mut().unwrap().id = Some(grant.id);
                "granted"
            }
            Answer::Waits(id) => {
                let since = now;
                self.model.waiting.push(Waiting { id, pair, worker, line, since, until, wants });
                "waits"
            }
            Answer::Refused(PermitError::OutOfService { .. }) => "out of service",
            Answer::Refused(PermitError::TooLarge { .. }) => "too large",
            Answer::Refused(PermitError::WorkerLimit { .. }) => "the worker's limit",
            Answer::Refused(PermitError::WaitExceeded { .. }) => "too late",
            Answer::Refused(PermitError::QueueFull { .. }) => "full",
        };
        prop_assert_eq!(told, expected);
        Ok(())
    }

    fn settle(
        &mut self,
        number: usize,
        [input, output]: [Option<u64>; 2],
        trouble: Trouble,
    ) -> Result<(), TestCaseError> {
        let now = self.model.now;
        let call = self.model.calls[number].as_mut().unwrap();
        let (place, id) = (call.pair, call.id.unwrap());
        call.open = false;
        let of = |estimate: u64, actual: Option<u64>| actual.map(|share| estimate * share / 1_000);
        let actual = [of(call.estimate[1], input), of(call.estimate[2], output)];
        call.counted =
            [1, actual[0].unwrap_or(call.estimate[1]), actual[1].unwrap_or(call.estimate[2])];
        call.free = call.free.min(now + 60 * SECOND);
        let sent = call.at;
        self.model.note(place);
        let pair = &mut self.model.pairs[place];
        let mut feedback = Feedback {
            input_tokens: actual[0],
            output_tokens: actual[1],
            congested: matches!(trouble, Trouble::Congested | Trouble::Pause(_)),
            ..Feedback::default()
        };
        if matches!(pair.probe, Probe::Sent(sent, _) if sent == number) {
            pair.probe = if feedback.congested { Probe::Due } else { Probe::Over };
        }
        pair.learned |= input.is_some();
        if !feedback.congested {
            let more = pair.at_once + 1.0 / pair.at_once;
            pair.at_once = more.min(f64::from(self.model.max_concurrent));
        } else if pair.decreased.is_none_or(|at| at + SECOND <= now) {
            (pair.decreased, pair.at_once) = (Some(now), (pair.at_once / 2.0).max(1.0));
        }
        let mut gone = self.trouble(place, sent, trouble, &mut feedback);
        let mut refused: Vec<WaiterId> =
            self.permits.settle(self.now(), id, &feedback).into_iter().map(|(id, _)| id).collect();
        refused.sort_unstable();
        gone.sort_unstable();
        prop_assert_eq!(refused, gone);
        Ok(())
    }

    /// Tells both of what went wrong; who is refused for it.
    fn trouble(
        &mut self,
        place: usize,
        sent: u64,
        trouble: Trouble,
        feedback: &mut Feedback,
    ) -> Vec<WaiterId> {
        let (now, limits) = (self.model.now, self.model.limit);
        let pair = &mut self.model.pairs[place];
        let name = pair.name;
        let mut gone = Vec::new();
        match trouble {
            Trouble::None | Trouble::Congested => {}
            Trouble::Pause(millis) => {
                feedback.pause = Some(Duration::from_millis(millis));
                if millis > 0 {
                    pair.paused = pair.paused.max(now + millis * 1_000_000);
                    pair.probe = Probe::Due;
                }
            }
            Trouble::OutOfService(seconds) => {
                let until = now + seconds * SECOND;
                feedback.out_of_service = Some(Timestamp::from_nanos(until));
                if seconds > 0 {
                    let known = &mut self.out_of_service[account(name)];
                    *known = until.max(*known);
                    let pairs = &self.model.pairs;
                    let (out, stay) = std::mem::take(&mut self.model.waiting)
                        .into_iter()
                        .partition(|w| account(pairs[w.pair].name) == account(name));
                    (gone, self.model.waiting) = (out, stay);
                }
            }
            Trouble::Headers { of, limit, left, reset } => {
                let told = part(limits[of], limit).min(1_000_000_000);
                let remaining = told * left / 1_000;
                let reset_at = now + reset * SECOND;
                let reset = Timestamp::from_nanos(reset_at);
                let headroom = Some(Headroom { limit: told, remaining, reset });
                *[
                    &mut feedback.headers.requests,
                    &mut feedback.headers.input_tokens,
                    &mut feedback.headers.output_tokens,
                ][of] = headroom;
                if limits[of] != u64::MAX {
                    pair.limit[of] = pair.limit[of].min(told).max(1);
                    let elsewhere = self.model.elsewhere(place, of, remaining, sent);
                    let pair = &mut self.model.pairs[place];
                    if elsewhere > told / 10 {
                        let mut sums = [0; 3];
                        sums[of] = elsewhere;
                        pair.foreign.push((reset_at.min(now + 60 * SECOND), sums));
                    }
                    let limit = pair.limit;
                    let (stay, out) = std::mem::take(&mut self.model.waiting)
                        .into_iter()
                        .partition(|w| w.pair != place || within(w.wants, limit));
                    (self.model.waiting, gone) = (stay, out);
                }
            }
        }
        gone.into_iter().map(|w: Waiting| w.id).collect()
    }

    /// Both say who may go now and who must not wait longer.
    fn tell(&mut self) -> Result<(), TestCaseError> {
        let told = self.permits.admit(self.now());
        let expected = self.model.tell();
        let granted: Vec<_> = told.iter().map(|(id, answer)| (*id, answer.is_ok())).collect();
        let should: Vec<_> = expected.iter().map(|(id, call)| (*id, call.is_some())).collect();
        prop_assert_eq!(granted, should);
        for ((_, answer), (_, call)) in told.into_iter().zip(expected) {
            if let (Ok(grant), Some(call)) = (answer, call) {
                self.model.calls[call].as_mut().unwrap().id = Some(grant.id);
            }
        }
        self.check()
    }

    /// Lets time pass, by no other alarm than the one the permits ask for.
    fn pass(&mut self, end: u64) -> Result<(), TestCaseError> {
        loop {
            let alarm = self.permits.next_event(self.now()).map(Timestamp::nanos);
            prop_assert!(alarm.is_none_or(|at| at > self.model.now), "an alarm that never moves");
            if let Some(due) = self.model.next_telling(end) {
                let late = alarm.is_none_or(|at| at > due);
                prop_assert!(!late, "somebody may go at {due}, the alarm is at {alarm:?}");
            }
            self.model.now = alarm.map_or(end, |at| at.min(end));
            self.tell()?;
            if self.model.now == end {
                return Ok(());
            }
        }
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        let headroom = self.permits.headroom(self.now());
        prop_assert_eq!(headroom.len(), self.model.pairs.len());
        for (pair, told) in headroom.iter().enumerate() {
            let used = [told.requests.0, told.input_tokens.0, told.output_tokens.0];
            prop_assert_eq!(used, self.model.used(pair, self.model.now));
            prop_assert_eq!(told.in_flight as usize, self.model.in_flight(pair));
            prop_assert!(told.in_flight <= self.model.max_concurrent);
            prop_assert_eq!(told.concurrency as usize, self.model.concurrency(pair));
            let waiting = self.model.waiting.iter().filter(|w| w.pair == pair).count();
            prop_assert_eq!(told.waiting, waiting);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1_000,
        rng_seed: RngSeed::Fixed(3),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_history_is_answered_as_by_going_through_all_that_happened(
        limits in limits(),
        workers in proptest::collection::vec((1..6usize, 1..90u64), 4),
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let limit = [
            limits.requests_per_minute.map_or(u64::MAX, |n| u64::from(n.get())),
            limits.input_tokens_per_minute.map_or(u64::MAX, |n| n.get()),
            limits.output_tokens_per_minute.map_or(u64::MAX, |n| n.get()),
        ];
        let model = Model {
            limit,
            max_concurrent: limits.max_concurrent.get(),
            workers: workers.into_iter().map(|(calls, per)| (calls, per * SECOND)).collect(),
            now: 1_000 * SECOND,
            pairs: Vec::new(),
            waiting: Vec::new(),
            calls: Vec::new(),
        };
        let max_wait = u64::try_from(limits.max_wait.as_nanos()).unwrap();
        let mut run =
            Run { permits: Permits::new(limits), model, max_wait, out_of_service: [0; 2] };
        for step in steps {
            run.step(step)?;
        }
        prop_assert_eq!(run.model.excess(), None);
        run.pass(run.model.now + run.max_wait)?;
        prop_assert!(run.model.waiting.is_empty(), "somebody waits for ever");
        prop_assert_eq!(run.permits.next_event(run.now()), None);
    }
}
