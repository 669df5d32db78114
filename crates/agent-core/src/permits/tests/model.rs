//! The limits said plainly: a list of all that happened, gone through anew for every question.

use super::*;

pub(super) type Sums = [u64; 3];

const SECOND: u64 = 1_000_000_000;

/// One waiter.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) id: WaiterId,
    pub(super) pair: usize,
    pub(super) worker: usize,
    pub(super) line: u64,
    pub(super) since: u64,
    pub(super) until: u64,
    pub(super) wants: Sums,
}

/// One grant that was not given back.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) id: Option<GrantId>,
    pub(super) pair: usize,
    pub(super) worker: usize,
    pub(super) at: u64,
    pub(super) open: bool,
    pub(super) estimate: Sums,
    pub(super) counted: Sums,
    /// When it is out of the window.
    pub(super) free: u64,
}

/// Whether one attempt goes alone after a pause.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Probe {
    Over,
    Due,
    /// The number of the call, and when it went.
    Sent(usize, u64),
}

#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub(super) name: usize,
    pub(super) limit: Sums,
    pub(super) at_once: f64,
    pub(super) decreased: Option<u64>,
    pub(super) paused: u64,
    pub(super) probe: Probe,
    pub(super) learned: bool,
    /// What others have used, until when.
    pub(super) foreign: Vec<(u64, Sums)>,
    /// What was our own after every grant and every end, and when.
    pub(super) noted: Vec<(u64, Sums)>,
}

#[derive(Debug)]
pub(super) struct Model {
    pub(super) limit: Sums,
    pub(super) max_concurrent: u32,
    /// Calls in so long, of each worker.
    pub(super) workers: Vec<(usize, u64)>,
    pub(super) now: u64,
    pub(super) pairs: Vec<Pair>,
    pub(super) waiting: Vec<Waiting>,
    pub(super) calls: Vec<Option<Call>>,
}

pub(super) fn plus(a: Sums, b: Sums) -> Sums {
    [0, 1, 2].map(|i| a[i].saturating_add(b[i]))
}

pub(super) fn within(a: Sums, b: Sums) -> bool {
    (0..3).all(|i| a[i] <= b[i])
}

impl Model {
    pub(super) fn pair(&mut self, name: usize) -> usize {
        if let Some(pair) = self.pairs.iter().position(|pair| pair.name == name) {
            return pair;
        }
        self.pairs.push(Pair {
            name,
            limit: self.limit,
            at_once: f64::from(self.max_concurrent),
            decreased: None,
            paused: 0,
            probe: Probe::Over,
            learned: false,
            foreign: Vec::new(),
            noted: Vec::new(),
        });
        self.pairs.len() - 1
    }

    fn calls_of(&self, pair: usize) -> impl Iterator<Item = &Call> {
        self.calls.iter().flatten().filter(move |call| call.pair == pair)
    }

    pub(super) fn own(&self, pair: usize, at: u64) -> Sums {
        let there = self.calls_of(pair).filter(|call| call.free > at);
        there.map(|call| call.counted).fold([0; 3], plus)
    }

    fn foreign(&self, pair: usize, at: u64) -> Sums {
        let there = self.pairs[pair].foreign.iter().filter(|(free, _)| *free > at);
        there.map(|(_, sums)| *sums).fold([0; 3], plus)
    }

    pub(super) fn used(&self, pair: usize, at: u64) -> Sums {
        plus(self.own(pair, at), self.foreign(pair, at))
    }

    pub(super) fn note(&mut self, pair: usize) {
        let own = self.own(pair, self.now);
        self.pairs[pair].noted.push((self.now, own));
    }

    /// What others have beyond what is known, where so much is left to a request of `since`.
    pub(super) fn elsewhere(&self, pair: usize, of: usize, left: u64, since: u64) -> u64 {
        if since + 61 * SECOND < self.now {
            return 0;
        }
        let Pair { limit, noted, .. } = &self.pairs[pair];
        let most = noted.iter().filter(|(at, _)| *at >= since).map(|(_, own)| own[of]).max();
        let known = most.unwrap_or(0) + self.foreign(pair, self.now)[of];
        limit[of].saturating_sub(left).saturating_sub(known)
    }

    pub(super) fn in_flight(&self, pair: usize) -> usize {
        self.calls_of(pair).filter(|call| call.open).count()
    }

    pub(super) fn concurrency(&self, pair: usize) -> usize {
        self.pairs[pair].at_once.max(1.0) as usize
    }

    /// What a request counts for: its input three times before any answer, and at most the limit.
    fn counted(&self, pair: usize, wants: Sums) -> Sums {
        let Pair { limit, learned, .. } = &self.pairs[pair];
        let input = if *learned { wants[1] } else { (3 * wants[1]).min(limit[1]) };
        [wants[0], input, wants[2]]
    }

    pub(super) fn has_room(&self, pair: usize, at: u64, wants: Sums) -> bool {
        let Pair { limit, paused, probe, .. } = &self.pairs[pair];
        *paused <= at
            && !matches!(probe, Probe::Sent(_, sent) if at < sent + 2 * SECOND)
            && self.in_flight(pair) < self.concurrency(pair)
            && within(plus(self.used(pair, at), self.counted(pair, wants)), *limit)
    }

    pub(super) fn may_call(&self, worker: usize, at: u64) -> bool {
        let (calls, per) = self.workers[worker];
        let of_worker = self.calls.iter().flatten().filter(|call| call.worker == worker);
        of_worker.filter(|call| call.at + per > at).count() < calls
    }

    /// Who of a pair is next: the oldest of each priority compete, 30 s of waiting count as one
    /// priority more. Who may not call for itself is passed over.
    pub(super) fn next(&self, pair: usize, at: u64) -> Option<usize> {
        let can = |waiting: &Waiting| waiting.pair == pair && self.may_call(waiting.worker, at);
        let oldest = |line| {
            let of_line = self.waiting.iter().enumerate();
            let of_line = of_line.filter(|(_, w)| w.line == line && can(w));
            of_line.min_by_key(|(_, w)| w.id)
        };
        let rank = |w: &Waiting| w.line + (at - w.since) / (30 * SECOND);
        let heads = (0..3).filter_map(oldest);
        let best = heads.max_by_key(|(_, w)| (rank(w), std::cmp::Reverse(w.id)));
        best.map(|(place, _)| place)
    }

    /// Whether somebody is granted or refused at this moment.
    fn tells(&self, at: u64) -> bool {
        self.waiting.iter().any(|w| w.until <= at)
            || (0..self.pairs.len()).any(|pair| {
                self.next(pair, at).is_some_and(|w| self.has_room(pair, at, self.waiting[w].wants))
            })
    }

    /// The first moment after now, up to `end`, at which somebody is granted or refused.
    pub(super) fn next_telling(&self, end: u64) -> Option<u64> {
        let mut moments: Vec<u64> = self.waiting.iter().map(|w| w.until).collect();
        moments
            .extend(self.waiting.iter().flat_map(|w| (1..20).map(|n| w.since + n * 30 * SECOND)));
        for call in self.calls.iter().flatten() {
            moments.extend([call.free, call.at + self.workers[call.worker].1]);
        }
        for pair in &self.pairs {
            moments.push(pair.paused);
            moments.extend(pair.foreign.iter().map(|(free, _)| *free));
            if let Probe::Sent(_, at) = pair.probe {
                moments.push(at + 2 * SECOND);
            }
        }
        moments.retain(|at| self.now < *at && *at <= end);
        moments.sort_unstable();
        moments.dedup();
        moments.into_iter().find(|at| self.tells(*at))
    }

    pub(super) fn grant(&mut self, pair: usize, worker: usize, wants: Sums) {
        if self.pairs[pair].probe != Probe::Over {
            let due = self.pairs[pair].probe == Probe::Due;
            let sent = Probe::Sent(self.calls.len(), self.now);
            self.pairs[pair].probe = if due { sent } else { Probe::Over };
        }
        let wants = self.counted(pair, wants);
        self.calls.push(Some(Call {
            id: None,
            pair,
            worker,
            at: self.now,
            open: true,
            estimate: wants,
            counted: wants,
            free: self.now + 61 * SECOND,
        }));
        self.note(pair);
    }

    /// Grants and refuses all that is due; who, and whether granted (then its call's number).
    pub(super) fn tell(&mut self) -> Vec<(WaiterId, Option<usize>)> {
        let mut told = Vec::new();
        loop {
            for pair in 0..self.pairs.len() {
                while let Some(next) = self.next(pair, self.now)
                    && self.has_room(pair, self.now, self.waiting[next].wants)
                {
                    let Waiting { id, worker, wants, .. } = self.waiting.remove(next);
                    told.push((id, Some(self.calls.len())));
                    self.grant(pair, worker, wants);
                }
            }
            let mut late: Vec<_> = self.waiting.iter().map(|w| (w.until, w.id)).collect();
            late.retain(|(until, _)| *until <= self.now);
            late.sort_unstable();
            if late.is_empty() {
                return told;
            }
            told.extend(late.iter().map(|(_, id)| (*id, None)));
            self.waiting.retain(|w| w.until > self.now);
        }
    }

    /// No 60 s hold more than the limit of what was granted in them.
    pub(super) fn excess(&self) -> Option<(u64, Sums)> {
        let counted = |call: &Call| [0, 1, 2].map(|i| call.counted[i].min(call.estimate[i]));
        self.calls.iter().flatten().find_map(|last| {
            let inside = self.calls_of(last.pair);
            let inside = inside.filter(|c| c.at <= last.at && last.at < c.at + 60 * SECOND);
            let sums = inside.map(counted).fold([0; 3], plus);
            (!within(sums, self.limit)).then_some((last.at, sums))
        })
    }
}
