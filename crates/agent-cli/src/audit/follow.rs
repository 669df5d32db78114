//! Following a run under way: it holds its store, so it also appends its events to a live file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use agent_core::audit::heard;
use agent_core::clock::{Clock, Timestamp};
use agent_core::store::AuditFilter;
use serde_json::{Map, Value};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::print;
use crate::args::Format;
use crate::exit::Failure;
use crate::signals::Signals;

/// How often the live file is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// The file beside the database; each run makes a new one, and it is no record.
fn path(store: &Path) -> PathBuf {
    store.join("audit-live.jsonl")
}

/// Appends the events of this process to the live file.
///
/// The file is made anew with the first event: that comes after the store was opened, so a
/// process that is refused the store leaves the file of the one that has it alone.
#[derive(Debug)]
pub(crate) struct Live {
    path: PathBuf,
    file: OnceLock<Option<Mutex<File>>>,
}

impl Live {
    /// The live file of `store`.
    pub(crate) fn new(store: &Path) -> Live {
        Live { path: path(store), file: OnceLock::new() }
    }

    fn begin(&self) -> Option<Mutex<File>> {
        // Without it nobody can follow; the store says what is wrong with its folder.
        // Another file, not the same one emptied: who reads the old one can tell them apart.
        _ = fs::remove_file(&self.path);
        let file = OpenOptions::new().create_new(true).write(true).open(&self.path);
        file.ok().map(Mutex::new)
    }
}

impl<S: Subscriber> Layer<S> for Live {
    fn on_event(&self, event: &Event<'_>, _ctx: Context<'_, S>) {
        let line = format!("{}\n", Value::Object(heard(event)));
        let file = self.file.get_or_init(|| self.begin()).as_ref();
        if let Some(Ok(mut file)) = file.map(Mutex::lock) {
            // The store has the event: who follows sees the next one.
            _ = file.write_all(line.as_bytes());
        }
    }
}

/// Prints events of the live file as they come, until Ctrl-C.
pub(super) async fn run(
    mut tail: Tail,
    filter: &AuditFilter,
    format: Format,
) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let clock = Clock::real();
    loop {
        let mut out = io::stdout().lock();
        for event in tail.next()? {
            if wanted(filter, &event) {
                print(&mut out, &event, format)?;
            }
        }
        out.flush()?;
        drop(out);
        tokio::select! {
            biased;
            () = signals.end() => return Ok(()),
            () = clock.sleep(LOOK) => {}
        }
    }
}

/// Reads a growing file, and after it the one that took its place.
pub(super) struct Tail {
    path: PathBuf,
    /// The file at hand, and its number.
    file: Option<(BufReader<File>, u64)>,
    line: Vec<u8>,
}

impl Tail {
    /// Reads all that is in the live file.
    pub(super) fn from_start(store: &Path) -> io::Result<Tail> {
        let mut tail = Tail { path: path(store), file: None, line: Vec::new() };
        tail.open()?;
        Ok(tail)
    }

    /// Reads what comes after what is in the live file.
    pub(super) fn from_end(store: &Path) -> io::Result<Tail> {
        let mut tail = Tail::from_start(store)?;
        if let Some((file, _)) = &mut tail.file {
            file.seek(SeekFrom::End(0))?;
        }
        Ok(tail)
    }

    /// Opens the live file, where there is one.
    fn open(&mut self) -> io::Result<()> {
        if let Ok(file) = File::open(&self.path) {
            let number = file.metadata()?.ino();
            self.file = Some((BufReader::new(file), number));
            self.line.clear();
        }
        Ok(())
    }

    /// The events since the last time: those of the file at hand, then those of a new one.
    fn next(&mut self) -> io::Result<Vec<Map<String, Value>>> {
        let mut events = Vec::new();
        let now = fs::metadata(&self.path).ok().map(|meta| meta.ino());
        self.read(&mut events)?;
        if now.is_some() && now != self.file.as_ref().map(|(_, number)| *number) {
            self.open()?;
            self.read(&mut events)?;
        }
        Ok(events)
    }

    fn read(&mut self, events: &mut Vec<Map<String, Value>>) -> io::Result<()> {
        let Some((file, _)) = &mut self.file else { return Ok(()) };
        loop {
            file.read_until(b'\n', &mut self.line)?;
            if !self.line.ends_with(b"\n") {
                return Ok(());
            }
            events.extend(serde_json::from_slice(&self.line).ok());
            self.line.clear();
        }
    }
}

fn wanted(filter: &AuditFilter, event: &Map<String, Value>) -> bool {
    let text = |key: &str| event.get(key).and_then(Value::as_str);
    let is =
        |wanted: &Option<String>, key: &str| wanted.is_none() || wanted.as_deref() == text(key);
    let of_agent = filter.agent.as_ref().is_none_or(|agent| {
        text("agent_id").is_some_and(|id| id == agent || agent_of(id) == *agent)
    });
    let at: Option<Timestamp> = text("timestamp").and_then(|at| at.parse().ok());
    is(&filter.task, "task_id")
        && of_agent
        && is(&filter.event, "event")
        && filter.since.is_none_or(|since| at.is_some_and(|at| at >= since))
}

/// The agent that a worker plays: `lead>researcher` is what `lead-1>researcher-2` plays.
fn agent_of(worker: &str) -> String {
    let name = |part: &str| part.rsplit_once('-').map_or(part, |(name, _)| name).to_owned();
    worker.split('>').map(name).collect::<Vec<_>>().join(">")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_found_by_its_name_and_its_workers_a_sub_agent_by_its_path() {
        let event = Map::from_iter([("agent_id".to_owned(), "lead-1>web-reader-2".into())]);
        let finds = |agent: &str| {
            let agent = Some(agent.to_owned());
            wanted(&AuditFilter { agent, ..AuditFilter::default() }, &event)
        };
        assert!(finds("lead>web-reader") && finds("lead-1>web-reader-2"));
        assert!(!finds("lead") && !finds("web-reader") && !finds("lead-1>web-reader"));
    }
}
