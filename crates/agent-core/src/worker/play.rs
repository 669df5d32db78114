//! A behaviour at work on one task: under its deadline, until it is cancelled or told to halt.

use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use futures_util::future::{AbortRegistration, Abortable};

use crate::agent::{self, Factory, Output, Play, Scene};
use crate::panics::{self, Contained};
use crate::task::TaskError;
use crate::worker::Finish;
use crate::worker::backstage::Backstage;
use crate::worker::halts::Halt;
use crate::worker::job::Assignment;
use crate::worker::performance;
use crate::worker::refusal;

/// A behaviour as its worker keeps it.
pub(super) type Player = Contained<Box<dyn Play>>;

/// How a performance ended.
enum End {
    Performed(Result<Output, TaskError>),
    Panicked(String),
    Halted(Halt),
    Cancelled,
    TooLate { for_permit: bool },
}

/// Has a behaviour perform a task: `player`, or one that is made now. It is given back where its
/// performance came to its end. Cut off, the sub-agents of the performance end before it does.
///
/// # Errors
///
/// What user code panicked with. Its sub-agents have ended then, and its behaviour is gone.
pub(super) async fn play(
    // Given first, dropped last: after its backstage, and with that the sub-agents.
    mut player: Option<Player>,
    factory: Factory,
    backstage: Rc<Backstage>,
    cancel: AbortRegistration,
) -> Result<(Finish, Option<Player>), String> {
    let (clock, job) = (agent::Backstage::clock(&*backstage), backstage.job());
    let began = clock.now();
    job.tally(|tally| _ = tally.started.get_or_insert(began));
    if let Err(error) = performance::check_deadline(job, began) {
        return Ok((Finish::Ended(Arc::new(job.outcome(began, Err(error)))), player));
    }
    let behaviour = player.get_or_insert_with(|| Contained::new(factory.make()));
    let Assignment { task, deadline, standing, .. } = &job.assignment;
    let scene = Scene::new(Rc::clone(&backstage) as Rc<_>);

    let (end, dropped) = {
        let work = behaviour.get_mut().map(|behaviour| behaviour.play(&scene, task));
        let mut work = Contained::new(work.unwrap_or_else(|| Box::pin(pending())));
        let mut cancelled = pin!(Abortable::new(pending::<()>(), cancel));
        let end = poll_fn(|cx| {
            let polled = match panics::contain(|| Pin::new(&mut work).poll(cx)) {
                Ok(polled) => polled,
                Err(reason) => return Poll::Ready(End::Panicked(reason)),
            };
            standing.progress().moved(clock.now());
            // What returned before the halt was told was not the whole of the task.
            if let Poll::Ready(halt) = backstage.halts().poll(cx) {
                return Poll::Ready(End::Halted(halt));
            }
            if let Poll::Ready(result) = polled {
                return Poll::Ready(End::Performed(result));
            }
            cancelled.as_mut().poll(cx).map(|_| End::Cancelled)
        });
        let end = match clock.timeout(*deadline, end).await {
            Ok(end) => end,
            Err(_) => End::TooLate { for_permit: standing.waits_for_permit() },
        };
        (end, work.end())
    };
    // Before anything is told of the end: the sub-agents are under it.
    backstage.end();

    let ended = |result| Finish::Ended(Arc::new(job.outcome(clock.now(), result)));
    let (finish, crash) = match end {
        End::Performed(result) => match dropped {
            None => return Ok((ended(result), player)),
            crash => (ended(result), crash),
        },
        End::Panicked(reason) | End::Halted(Halt::Crashed(reason)) => {
            (Finish::Returned, Some(reason))
        }
        End::Halted(Halt::Returned) => (Finish::Returned, dropped),
        End::Cancelled => (Finish::Cancelled, dropped),
        End::TooLate { for_permit: true } => (ended(Err(refusal::no_permit(job))), dropped),
        End::TooLate { for_permit: false } => (ended(Err(refusal::deadline(job))), dropped),
    };
    // It was cut off in the middle: the next task meets a new one.
    match (crash, player.and_then(Contained::end)) {
        (Some(crash), _) | (None, Some(crash)) => Err(crash),
        (None, None) => Ok((finish, None)),
    }
}
