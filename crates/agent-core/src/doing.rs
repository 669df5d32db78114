//! What holds a thread: the tool that runs on it now, told to whoever watches it from another.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Timestamp;

/// What one thread is doing.
#[derive(Debug, Default)]
pub(crate) struct Doing {
    tool: Mutex<Option<Tool>>,
    /// The number of the worker whose code runs, from 1; 0: none's.
    worker: AtomicU32,
}

/// A synchronous tool that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tool {
    /// The worker that runs it.
    pub(crate) worker: Arc<str>,
    /// Its name.
    pub(crate) name: String,
    /// Since when.
    pub(crate) since: Timestamp,
}

thread_local! {
    static HERE: Arc<Doing> = Arc::default();
}

impl Doing {
    /// What this thread is doing; to be read from any other.
    pub(crate) fn here() -> Arc<Doing> {
        HERE.with(Arc::clone)
    }

    /// The worker whose code runs.
    pub(crate) fn worker(&self) -> Option<u32> {
        self.worker.load(Ordering::Relaxed).checked_sub(1)
    }

    /// Notes that the code of a worker runs on this thread, or that it has yielded.
    pub(crate) fn runs(worker: Option<u32>) {
        let number = worker.map_or(0, |worker| worker.saturating_add(1));
        HERE.with(|doing| doing.worker.store(number, Ordering::Relaxed));
    }

    /// The tool that holds the thread; the innermost, where one runs another.
    pub(crate) fn tool(&self) -> Option<Tool> {
        self.lock().clone()
    }

    /// Notes that this thread runs a tool, until what it returns is dropped.
    pub(crate) fn begin(tool: Tool) -> AtTool {
        let doing = Doing::here();
        let before = doing.lock().replace(tool);
        AtTool { doing, before }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Tool>> {
        self.tool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A tool is running.
#[derive(Debug)]
#[must_use]
pub(crate) struct AtTool {
    doing: Arc<Doing>,
    /// The tool that runs this one.
    before: Option<Tool>,
}

impl Drop for AtTool {
    fn drop(&mut self) {
        *self.doing.lock() = self.before.take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_held_by_its_innermost_tool_until_that_ends() {
        let tool = |name: &str| Tool {
            worker: "clerk-1".into(),
            name: name.into(),
            since: Timestamp::EPOCH,
        };
        let doing = Doing::here();
        let held = || doing.tool().map(|tool| tool.name);
        let outer = Doing::begin(tool("search"));
        let inner = Doing::begin(tool("read"));
        assert_eq!(held().as_deref(), Some("read"));
        drop(inner);
        assert_eq!(held().as_deref(), Some("search"));
        drop(outer);
        assert_eq!(held(), None);
    }
}
