//! `impresario run`: a fleet's tasks, to the end.

mod out;
mod progress;
mod summary;
pub(crate) mod tasks;
mod writer;

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use agent_core::clock::{Clock, Timestamp};
use agent_core::config::Fleet;
use agent_core::coordinator::SubmitError;
use agent_core::llm::LlmClient;
use agent_core::system::{AgentSystem, Ended, Outcomes, Unfinished};
use agent_core::task::{Outcome, Task, TaskId};
use futures_util::future::FusedFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::oneshot;

use crate::args::{Common, Format, Run};
use crate::exit::{Exit, Failure};
use crate::output;
use crate::provider;
use crate::signals::{Signal, Signals};
use out::Wanted;
use progress::Progress;
use summary::{Ends, Report};
use writer::Writer;

/// Submissions on their way to the disk at once; the store gathers them into batches.
const SUBMITTING: usize = 4_096;
/// How long a run that was interrupted waits for who reads its outcomes.
const READER: Duration = Duration::from_secs(30);
/// How often the progress is looked at.
const TICK: Duration = Duration::from_millis(200);

/// Runs the fleet and prints its summary.
pub(crate) async fn run(args: &Run, common: &Common) -> Result<Exit, Failure> {
    // Before anything is opened: one that comes meanwhile is heeded.
    let mut signals = Signals::new()?;
    let clock = Clock::real();
    let began = clock.now();
    let opened = tokio::select! {
        biased;
        () = signals.end() => {
            output::note("interrupted while its files were opened: nothing was started");
            return Ok(Exit::Interrupted);
        }
        opened = files(args.clone(), clock.clone(), common.quiet) => opened,
    };
    let Files { fleet, fleet_file, client, tasks, out } = opened?;
    let ids = tasks.iter().map(|task| task.id.clone()).collect();
    let given = Given { tasks, out, signals };
    let builder = AgentSystem::builder_shared(Arc::clone(&client))
        .fleet(&fleet)
        .fleet_file(Some(fleet_file))
        .catalogue(provider::catalogue(&fleet)?)
        .store(&common.store)
        .unfinished(unfinished(args))
        .already_given(ids)
        .clock(clock.clone());
    let system = builder.start().await?;
    provider::audit_key(&system, &*client);

    let mut ends = Ends::default();
    let played = to_the_end(args, common, &system, client, given, &mut ends);
    let status = match played.await {
        Ok(status) => status,
        Err(error) => {
            // From here on something was started: what was accepted is kept for `--resume`.
            crate::report(error.as_ref());
            output::note("the run stops; mend this, and go on with --resume");
            system.interrupt().await
        }
    };
    let took = system.resumed().took + clock.now().since(began);
    let wall_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let summary = system.snapshot().await?.summary;
    let failed = summary.tasks.failed;
    let run_id = summary.run_id.clone();
    if let Err(error) = print(&Report { run_id, status, summary, wall_ms, ends }, common) {
        // The exit code says how the tasks ended, whether or not the summary is read.
        if !output::nobody_reads(error.as_ref()) {
            crate::report(error.as_ref());
        }
    }
    Ok(match status {
        Ended::Finished if failed == 0 => Exit::Done,
        Ended::Finished => Exit::SomeFailed,
        Ended::Interrupted | Ended::Stopped => Exit::Interrupted,
    })
}

/// What the files of a run hold.
struct Files {
    fleet: Fleet,
    /// Its text.
    fleet_file: String,
    /// With the key, where that is in a file.
    client: Arc<dyn LlmClient>,
    tasks: Vec<Task>,
    out: Option<Wanted>,
}

/// Reads fleet, key and tasks, and sees the file of outcomes.
///
/// On a thread of its own: stdin may say nothing for ever, and nobody may be at the other end of a
/// pipe. Who stops to wait for it ends the process all the same.
async fn files(args: Run, clock: Clock, quiet: bool) -> Result<Files, Failure> {
    let (tell, opened) = oneshot::channel();
    let open = move || -> Result<_, Box<dyn Error + Send + Sync>> {
        let (fleet, fleet_file) = provider::load_fleet(&args.fleet)?;
        let client = provider::client(&fleet, args.provider_url.as_deref(), &clock)?;
        let tasks = tasks::load(&args, &fleet, quiet)?;
        let out = args.out.as_deref().map(|path| Wanted::see(path, args.resume)).transpose()?;
        Ok(Files { fleet, fleet_file, client, tasks, out })
    };
    let work = move || _ = tell.send(open());
    thread::Builder::new().name("files".to_owned()).spawn(work)?;
    let opened = opened.await.map_err(|_| "the thread that opens the files panicked")?;
    opened.map_err(|error| error as Failure)
}

/// What a run is given to do, and by whom it is told to end.
struct Given {
    tasks: Vec<Task>,
    out: Option<Wanted>,
    signals: Signals,
}

/// Plays all tasks; every outcome is in the file before the run counts as finished.
async fn to_the_end(
    args: &Run,
    common: &Common,
    system: &AgentSystem,
    client: Arc<dyn LlmClient>,
    Given { tasks, out, mut signals }: Given,
    ends: &mut Ends,
) -> Result<Ended, Failure> {
    let clock = Clock::real();
    let mut out = out.map(|out| out.begin(args.resume)).transpose()?;
    for outcome in &system.resumed().ended {
        ends.count(outcome);
        if let Some(out) = &mut out {
            out.append(outcome)?;
        }
    }
    let known: BTreeSet<&TaskId> = known(system);
    let tasks: Vec<Task> = tasks.into_iter().filter(|task| !known.contains(&task.id)).collect();
    let open = system.resumed().open.len();
    let total = tasks.len() + known.len();
    let mut out = out.map(|out| Writer::start(out, tasks.len() + open)).transpose()?;

    let work = Work {
        system: system.clone(),
        client,
        outcomes: system.outcomes(),
        open: tasks.len() + open,
        progress: Progress::new(total as u64, common.quiet, &clock),
        clock: clock.clone(),
    };
    let mut ended = |outcome: Arc<Outcome>| {
        ends.count(&outcome);
        out.as_mut().map_or(Ok(()), |out| out.append(outcome))
    };
    let played = work.play(tasks, &mut signals, &mut ended).await;
    if let Some(out) = out {
        // Who ends a run does not wait for a reader that has stopped to read.
        let deadline = match played {
            Ok(Ended::Interrupted) => clock.now() + READER,
            _ => Timestamp::NEVER,
        };
        tokio::select! {
            biased;
            () = signals.end() => return Ok(system.interrupt().await),
            written = out.close(&clock, deadline) => if !written? {
                output::note("--out takes no more; what it has not taken stays in the store");
            }
        }
    }
    let status = played?;
    match status {
        // Only now: a run that is finished is not resumed, so its file must be whole.
        Ended::Finished => _ = system.finish().await,
        // Nothing is in flight any more; what is on its way to the disk arrives there.
        Ended::Stopped => _ = system.shutdown(status, Duration::ZERO).await,
        Ended::Interrupted => {}
    }
    Ok(status)
}

fn unfinished(args: &Run) -> Unfinished {
    match (args.resume, args.discard_unfinished) {
        (true, _) => Unfinished::Resume,
        (false, true) => Unfinished::Discard,
        (false, false) => Unfinished::Refuse,
    }
}

/// The tasks that an earlier part of the run accepted.
fn known(system: &AgentSystem) -> BTreeSet<&TaskId> {
    let resumed = system.resumed();
    resumed.ended.iter().map(|outcome| &outcome.task_id).chain(&resumed.open).collect()
}

fn print(report: &Report, common: &Common) -> Result<(), Failure> {
    let text = match output::format(common.format) {
        Format::Table => report.text(),
        Format::Json | Format::Jsonl | Format::Csv => report.json()?,
    };
    Ok(output::result(&text)?)
}

/// A run under way.
struct Work {
    system: AgentSystem,
    client: Arc<dyn LlmClient>,
    outcomes: Outcomes,
    /// Tasks of which no outcome has come yet.
    open: usize,
    progress: Progress,
    clock: Clock,
}

/// What is done with each outcome.
type OnEnded<'a> = dyn FnMut(Arc<Outcome>) -> Result<(), out::OutError> + 'a;

impl Work {
    /// Submits the tasks and hands on their outcomes until all have ended, the run stops itself,
    /// or a signal comes.
    async fn play(
        mut self,
        tasks: Vec<Task>,
        signals: &mut Signals,
        ended: &mut OnEnded<'_>,
    ) -> Result<Ended, Failure> {
        let (system, clock) = (self.system.clone(), self.clock.clone());
        let mut stopped = std::pin::pin!(system.stopped());
        let mut tasks = tasks.into_iter();
        let mut submitting = FuturesUnordered::new();
        let mut tick = std::pin::pin!(futures_util::future::Fuse::terminated());
        while self.open > 0 {
            while submitting.len() < SUBMITTING
                && let Some(task) = tasks.next()
            {
                submitting.push(submit(&system, task, &clock));
            }
            if tick.is_terminated() {
                tick.set(clock.sleep(TICK).fuse());
            }
            tokio::select! {
                biased;
                signal = signals.next() => match signal {
                    Signal::End => return self.interrupt(signals, ended).await,
                    Signal::HangUp => provider::rotate(&self.system, &*self.client),
                },
                how = &mut stopped => return self.drain(how, ended),
                Some(outcome) = self.outcomes.next() => {
                    self.open -= 1;
                    ended(outcome)?;
                }
                Some(submitted) = submitting.next(), if !submitting.is_empty() => submitted?,
                () = &mut tick, if self.progress.is_shown() => {
                    if let Ok(snapshot) = self.system.snapshot().await {
                        self.progress.show(&snapshot);
                    }
                }
            }
        }
        self.progress.clear();
        Ok(Ended::Finished)
    }

    /// Ends what is in flight within the grace period; a second signal ends the process at once.
    async fn interrupt(
        self,
        signals: &mut Signals,
        ended: &mut OnEnded<'_>,
    ) -> Result<Ended, Failure> {
        tracing::warn!("interrupted: what is in flight may end; a second signal ends it at once");
        let system = self.system.clone();
        let how = tokio::select! {
            biased;
            () = signals.end() => std::process::exit(i32::from(Exit::Interrupted.code())),
            how = system.interrupt() => how,
        };
        self.drain(how, ended)
    }

    /// Hands on the outcomes that have come. Where they were the last, the run has finished,
    /// whatever ended it.
    fn drain(mut self, how: Ended, ended: &mut OnEnded<'_>) -> Result<Ended, Failure> {
        while let Some(outcome) = self.outcomes.try_next() {
            self.open -= 1;
            ended(outcome)?;
        }
        self.progress.clear();
        Ok(if self.open == 0 { Ended::Finished } else { how })
    }
}

/// Submits a task; its outcome comes with all others. While the store is down it is tried again:
/// either the store comes back, or the run stops.
async fn submit(system: &AgentSystem, task: Task, clock: &Clock) -> Result<(), Failure> {
    loop {
        match system.submit(task.clone()).await {
            Ok(_) | Err(SubmitError::Closed) => return Ok(()),
            Err(SubmitError::Store(_)) => clock.sleep(TICK).await,
            Err(error) => return Err(error.into()),
        }
    }
}
