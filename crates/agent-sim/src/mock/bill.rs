//! What the mock provider bills, in memory and in a file of JSON Lines.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};

use agent_core::clock::Timestamp;
use agent_core::money::NanoUsd;
use serde::Serialize;

/// How many answers the memory holds; a file holds all.
pub(super) const KEPT: usize = 100_000;

/// One billed answer: a line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BilledAnswer {
    /// When it was billed.
    pub at: Timestamp,
    /// The `request-id` of the answer.
    pub request_id: String,
    /// The last four characters of the key.
    pub key: String,
    /// The model, as the request named it.
    pub model: String,
    /// The task, if the first message begins with `Task #<id>:`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Input tokens billed.
    pub input_tokens: u64,
    /// Output tokens billed.
    pub output_tokens: u64,
    /// Always 0: the mock provider has no cache.
    pub cache_creation_input_tokens: u64,
    /// Always 0: the mock provider has no cache.
    pub cache_read_input_tokens: u64,
}

/// The sum of all that was billed, however much that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Billed {
    /// Billed answers.
    pub answers: u64,
    /// Their input tokens.
    pub input_tokens: u64,
    /// Their output tokens.
    pub output_tokens: u64,
}

/// All that was billed; a line is with the operating system before the answer leaves.
#[derive(Debug, Default)]
pub(super) struct Bill {
    answers: VecDeque<BilledAnswer>,
    sum: Billed,
    spent: NanoUsd,
    file: Option<File>,
}

impl Bill {
    pub(super) fn new(file: Option<File>) -> Bill {
        Bill { file, ..Bill::default() }
    }

    /// Adds an answer that costs `cost`, which nobody needs to know where credit has no end.
    pub(super) fn add(&mut self, answer: BilledAnswer, cost: NanoUsd) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            let mut line = serde_json::to_vec(&answer)?;
            line.push(b'\n');
            file.write_all(&line)?;
        }
        self.sum.answers += 1;
        self.sum.input_tokens = self.sum.input_tokens.saturating_add(answer.input_tokens);
        self.sum.output_tokens = self.sum.output_tokens.saturating_add(answer.output_tokens);
        self.spent = self.spent.saturating_add(cost);
        if self.answers.len() == KEPT {
            self.answers.pop_front();
        }
        self.answers.push_back(answer);
        Ok(())
    }

    /// The last [`KEPT`] answers, oldest first.
    pub(super) fn answers(&self) -> Vec<BilledAnswer> {
        self.answers.iter().cloned().collect()
    }

    pub(super) fn sum(&self) -> Billed {
        self.sum
    }

    /// The cost of all that was billed.
    pub(super) fn spent(&self) -> NanoUsd {
        self.spent
    }

    /// Puts the file on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), File::sync_all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_bounded_and_the_sum_is_of_all() {
        let mut bill = Bill::default();
        let answer = |n| BilledAnswer {
            at: Timestamp::EPOCH,
            request_id: String::new(),
            key: String::new(),
            model: String::new(),
            task: None,
            input_tokens: n,
            output_tokens: 1,
            cache_creation_input_tokens: 0,
            cache_read_input_tokens: 0,
        };
        for n in 0..KEPT as u64 + 5 {
            bill.add(answer(n), NanoUsd::ZERO).unwrap();
        }
        assert_eq!(bill.answers().len(), KEPT);
        assert_eq!(bill.answers()[0].input_tokens, 5);
        assert_eq!(bill.sum().answers, KEPT as u64 + 5);
    }
}
