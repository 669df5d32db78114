//! Lines of workers: joined at the end and left anywhere, at the same cost.

use crate::worker::WorkerIndex;

/// Nobody.
const NONE: WorkerIndex = WorkerIndex::MAX;

/// Lists linked by the workers' numbers, each of which stands in one at most: eight bytes a worker.
#[derive(Debug)]
pub(super) struct Lines {
    /// By line: the first and the last.
    ends: Vec<(WorkerIndex, WorkerIndex)>,
    /// By worker: who stands before it and behind it.
    links: Vec<(WorkerIndex, WorkerIndex)>,
}

impl Lines {
    /// So many empty lines, with room for so many workers.
    pub(super) fn new(lines: usize, workers: usize) -> Lines {
        Lines { ends: vec![(NONE, NONE); lines], links: vec![(NONE, NONE); workers] }
    }

    /// Who stands first.
    pub(super) fn first(&self, line: usize) -> Option<WorkerIndex> {
        let (first, _) = self.ends[line];
        (first != NONE).then_some(first)
    }

    /// Puts a worker that stands in no line behind the last.
    pub(super) fn push_back(&mut self, line: usize, worker: WorkerIndex) {
        let (first, last) = &mut self.ends[line];
        let before = std::mem::replace(last, worker);
        self.links[worker as usize] = (before, NONE);
        if before == NONE {
            *first = worker;
        } else {
            self.links[before as usize].1 = worker;
        }
    }

    /// Takes out a worker that stands in the line.
    pub(super) fn remove(&mut self, line: usize, worker: WorkerIndex) {
        let (before, behind) = std::mem::replace(&mut self.links[worker as usize], (NONE, NONE));
        let (first, last) = &mut self.ends[line];
        if before == NONE {
            *first = behind;
        } else {
            self.links[before as usize].1 = behind;
        }
        if behind == NONE {
            *last = before;
        } else {
            self.links[behind as usize].0 = before;
        }
    }
}
