//! What the mock provider bills, in memory and in a file of JSON Lines.

use std::fs::File;
use std::io::Write;

use agent_core::clock::Timestamp;
use serde::Serialize;

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

/// All that was billed; a line is with the operating system before the answer leaves.
#[derive(Debug, Default)]
pub(super) struct Bill {
    pub(super) answers: Vec<BilledAnswer>,
    pub(super) file: Option<File>,
}

impl Bill {
    pub(super) fn add(&mut self, answer: BilledAnswer) -> std::io::Result<()> {
        if let Some(file) = &mut self.file {
            let mut line = serde_json::to_vec(&answer)?;
            line.push(b'\n');
            file.write_all(&line)?;
        }
        self.answers.push(answer);
        Ok(())
    }
}
