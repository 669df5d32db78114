//! `impresario plan`: the smallest fleet that meets a goal.

use agent_core::clock::Clock;
use agent_sim::plan::Plan;
use agent_sim::scenario::{Goal, Scenario};
use thiserror::Error;

use crate::args::{self, Common};
use crate::exit::{Exit, Failure};
use crate::{output, simulate};

/// Why nothing was planned.
#[derive(Debug, Error)]
#[error(
    "{file}: has no [goal] to plan for; write one, such as deadline = \"1h\", \
     or give --set goal.deadline=1h"
)]
struct NoGoal {
    file: String,
}

/// Searches, and prints what was found.
pub(crate) fn run(args: &args::Plan, common: &Common) -> Result<Exit, Failure> {
    let clock = Clock::real();
    let began = clock.now();
    let changes = simulate::changes(&args.set, args.seed)?;
    let scenario = Scenario::load(&args.scenario, &changes)?;
    if scenario.goal == Goal::default() {
        return Err(NoGoal { file: args.scenario.display().to_string() }.into());
    }
    let plan = Plan::of(&scenario)?;
    simulate::print(common, || plan.text(), || plan.json())?;
    if !common.quiet {
        let took = clock.now().since(began);
        output::note(&format!("planned in {:.1} s", took.as_secs_f64()));
    }
    Ok(if plan.best.is_some() { Exit::Done } else { Exit::SomeFailed })
}
