//! What the tasks of a scenario ask for, each a function of the seed and its own number.

use std::sync::Arc;
use std::time::Duration;

use agent_core::lookup::Lookup;
use agent_core::task::Task;

use super::ask::Ask;
use crate::draws::{Draw, Stream};
use crate::scenario::{Arrival, MOST_TURNS, Scenario, Turn, Workload};

const TURNS: Stream = Stream::named("turns");
const INPUT: Stream = Stream::named("input");
const GROWTH: Stream = Stream::named("growth");
const OUTPUT: Stream = Stream::named("output");
const GAP: Stream = Stream::named("tool gap");

/// Bytes of a prompt around a task's own text.
const FRAME: u64 = 300;

/// A task of a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) workload: u32,
    pub(crate) task: u64,
}

/// What every task asks for.
#[derive(Debug)]
pub(crate) struct Script {
    seed: u64,
    patience: Duration,
    workloads: Vec<Workload>,
    by_name: Lookup<String, u32>,
    given: Lookup<String, u64>,
}

/// A call of a task, and how long after the answer before it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) gap: Duration,
    pub(crate) input: u64,
    pub(crate) cached: u64,
    pub(crate) written: u64,
    pub(crate) output: u64,
}

/// A task that goes on from call to call.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) turns: u32,
    place: Place,
    turn: u32,
    context: u64,
}

impl Script {
    pub(crate) fn new(scenario: &Scenario, seed: u64) -> Script {
        let workloads = scenario.workload.clone();
        let names = workloads.iter().zip(0..).map(|(it, place)| (it.name.clone(), place));
        let given = workloads.iter().flat_map(|it| it.given.iter().zip(0..));
        Script {
            seed,
            patience: (scenario.fleet.supervision.wedged_after / 4).max(Duration::from_millis(1)),
            by_name: names.collect(),
            given: given.map(|(task, place)| (task.id.to_string(), place)).collect(),
            workloads,
        }
    }

    /// How long a worker may sit still without being taken for wedged.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    pub(crate) fn workloads(&self) -> &[Workload] {
        &self.workloads
    }

    fn workload(&self, place: Place) -> &Workload {
        &self.workloads[place.workload as usize]
    }

    /// The task at a place, as it is submitted.
    pub(crate) fn task(&self, place: Place) -> Task {
        let workload = self.workload(place);
        if let Some(given) = workload.given.get(place.task as usize) {
            return given.clone();
        }
        let id = workload.id(place.task + 1);
        Task { title: Some(id.clone()), id: id.into(), ..workload.like.clone() }
    }

    /// The place of a task.
    pub(crate) fn place(&self, id: &str) -> Option<Place> {
        if let Some(&task) = self.given.get(id) {
            return Some(Place { workload: 0, task });
        }
        let dash = id.bytes().rposition(|byte| byte == b'-')?;
        let (name, number) = (&id[..dash], &id[dash + 1..]);
        let task = number.parse::<u64>().ok()?.checked_sub(1)?;
        Some(Place { workload: *self.by_name.get(name)?, task })
    }

    fn recorded(&self, place: Place) -> Option<&[Turn]> {
        match &self.workload(place).arrival {
            Arrival::Trace(tasks) => tasks.get(place.task as usize).map(|task| &*task.turns),
            Arrival::Open(_) | Arrival::Closed { .. } => None,
        }
    }

    fn draw(&self, stream: Stream, place: Place, turn: u32) -> Draw {
        Draw::new(self.seed, stream, [u64::from(place.workload), place.task, u64::from(turn)])
    }

    /// The plan of a task.
    pub(crate) fn plan(&self, place: Place) -> Plan {
        let turns = match self.recorded(place) {
            Some(turns) => turns.len() as u64,
            None => self.workload(place).turns.sample_whole(&mut self.draw(TURNS, place, 0)),
        };
        // At most `MOST_TURNS`, which fits.
        Plan { turns: turns.clamp(1, MOST_TURNS) as u32, place, turn: 0, context: 0 }
    }

    /// The next call of a plan; `None` after its last.
    pub(crate) fn next(&self, plan: &mut Plan) -> Option<Step> {
        let (place, turn) = (plan.place, plan.turn);
        if turn == plan.turns {
            return None;
        }
        let workload = self.workload(place);
        let turns = self.recorded(place).unwrap_or_default().get(turn as usize..);
        let (recorded, after) = match turns.unwrap_or_default() {
            [now, after @ ..] => (Some(now), after.first()),
            [] => (None, None),
        };
        let before = plan.context;
        let input = match recorded.and_then(|turn| turn.input) {
            Some(input) => input,
            None if turn == 0 => self.first_input(workload, place),
            None => {
                let growth = workload.growth.sample_whole(&mut self.draw(GROWTH, place, turn));
                before.saturating_add(growth)
            }
        };
        let input = input.max(1);
        // A share, as it is kept in the cache for the next call; the cast saturates.
        let kept = |context: u64| libm::round(context as f64 * workload.cached_share) as u64;
        let told = recorded.and_then(|turn| turn.cached);
        let cached = told.unwrap_or_else(|| kept(before)).min(input);
        // What the next call reads beyond what this one does, this one writes.
        let written = recorded.and_then(|turn| turn.written).unwrap_or_else(|| {
            let next = match told {
                Some(_) => after.and_then(|turn| turn.cached).unwrap_or(0),
                None => kept(input),
            };
            next.saturating_sub(cached)
        });
        let output = match recorded {
            Some(turn) => turn.output,
            None => workload.output.sample_whole(&mut self.draw(OUTPUT, place, turn)),
        };
        let gap_ns = match recorded.and_then(|turn| turn.gap_ns) {
            _ if turn == 0 => 0,
            Some(gap) => gap,
            None => workload.tool_gap.sample_nanos(&mut self.draw(GAP, place, turn)),
        };
        plan.context = input;
        plan.turn += 1;
        let gap = Duration::from_nanos(gap_ns);
        Some(Step { gap, input, cached, written: written.min(input - cached), output })
    }

    fn first_input(&self, workload: &Workload, place: Place) -> u64 {
        match workload.given.get(place.task as usize) {
            Some(task) => {
                let text = task.title.as_deref().map_or(0, str::len)
                    + task.description.as_deref().map_or(0, str::len);
                (text as u64 + FRAME) * 2 / 7
            }
            None => workload.input.sample_whole(&mut self.draw(INPUT, place, 0)),
        }
    }
}

impl Step {
    /// What is asked of the provider.
    pub(crate) fn ask(&self, place: Place, turn: u32, worker: u64) -> Ask {
        let Step { input, cached, written, output, .. } = *self;
        let Place { workload, task } = place;
        Ask { workload, task, turn, input, cached, written, output, worker }
    }
}

/// The script of a scenario, shared by all that play it.
pub(crate) type Shared = Arc<Script>;
