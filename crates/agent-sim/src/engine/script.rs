//! What the tasks of a scenario ask for, each a function of the seed and its own number.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use agent_core::task::{Task, TaskId};

use super::ask::Ask;
use crate::draws::{Draw, Stream};
use crate::scenario::{Arrival, Scenario, Turn, Workload};

const TURNS: Stream = Stream::named("turns");
const INPUT: Stream = Stream::named("input");
const GROWTH: Stream = Stream::named("growth");
const OUTPUT: Stream = Stream::named("output");
const GAP: Stream = Stream::named("tool gap");

/// Most calls of one task.
const MOST_TURNS: u64 = 10_000;

/// Most input of one call, in tokens: far above any context window, and as much as is written out.
const MOST_INPUT: u64 = 50_000_000;

/// Bytes of a prompt around a task's own text.
const FRAME: u64 = 300;

/// A task of a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
    by_name: BTreeMap<String, u32>,
    given: BTreeMap<TaskId, u64>,
}

/// A call of a task, and how long after the answer before it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) gap: Duration,
    pub(crate) input: u64,
    pub(crate) cached: u64,
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
            given: given.map(|(task, place)| (task.id.clone(), place)).collect(),
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
        let id = format!("{}-{}", workload.name, place.task + 1);
        Task { title: Some(id.clone()), id: id.into(), ..workload.like.clone() }
    }

    /// The place of a task.
    pub(crate) fn place(&self, id: &TaskId) -> Option<Place> {
        if let Some(&task) = self.given.get(id) {
            return Some(Place { workload: 0, task });
        }
        let (name, number) = id.as_str().rsplit_once('-')?;
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
        let recorded = self.recorded(place).and_then(|turns| turns.get(turn as usize));
        let before = plan.context.min(MOST_INPUT);
        let input = match recorded.and_then(|turn| turn.input) {
            Some(input) => input,
            None if turn == 0 => self.first_input(workload, place),
            None => {
                let growth = workload.growth.sample_whole(&mut self.draw(GROWTH, place, turn));
                before.saturating_add(growth)
            }
        };
        let input = input.min(MOST_INPUT);
        let cached = match recorded.and_then(|turn| turn.cached) {
            Some(cached) => cached,
            // A share of what was sent before; the cast saturates.
            None => libm::round(before as f64 * workload.cached_share) as u64,
        };
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
        Some(Step { gap, input: input.max(1), cached: cached.min(input), output: output.max(1) })
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
        let Step { input, cached, output, .. } = *self;
        Ask { workload: place.workload, task: place.task, turn, input, cached, output, worker }
    }
}

/// The script of a scenario, shared by all that play it.
pub(crate) type Shared = Arc<Script>;
