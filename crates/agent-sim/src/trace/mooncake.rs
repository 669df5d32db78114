//! Mooncake: arrivals in milliseconds, lengths, and the blocks of the prompt by hashes.
//!
//! # Source
//!
//! <https://github.com/kvcache-ai/Mooncake>, `FAST25-release/traces`. A hash stands for a block of
//! 512 tokens and all blocks before it, so equal hashes at the start are a shared prefix.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Request;
use super::error::TraceError;
use super::field::{Here, Row};

pub(super) const REQUIRED: &[&str] = &["timestamp", "input_length", "output_length"];
pub(super) const OPTIONAL: &[&str] = &["hash_ids"];

/// Tokens in a block.
const BLOCK: u64 = 512;

/// The most hashes that are remembered.
const MAX_HASHES: usize = 20_000_000;

/// A line. Numbers are kept as they are written, for errors; further keys are left out.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    timestamp: &'a RawValue,
    #[serde(borrow)]
    input_length: &'a RawValue,
    #[serde(borrow)]
    output_length: &'a RawValue,
    hash_ids: Option<Vec<u64>>,
}

pub(super) fn json(
    here: Here<'_>,
    text: &str,
    prefixes: &mut Prefixes,
) -> Result<Request, TraceError> {
    let line: Line<'_> = serde_json::from_str(text).map_err(|error| {
        let expected = "an object with timestamp, input_length, output_length and, if known, \
                        hash_ids (whole numbers)";
        // Of its line only: which one of the file that is stands before it.
        here.line(&error.to_string().replace(" at line 1 column", " at column"), expected)
    })?;
    let (timestamp, input) = (line.timestamp.get(), line.input_length.get());
    request(here, [timestamp, input, line.output_length.get()], line.hash_ids, prefixes)
}

pub(super) fn row(row: &Row<'_>, prefixes: &mut Prefixes) -> Result<Request, TraceError> {
    let hashes = row.optional("hash_ids").map(|text| hashes(row.here, text)).transpose()?;
    let [timestamp, input, output] = ["timestamp", "input_length", "output_length"]
        .map(|column| row.optional(column).unwrap_or_default());
    request(row.here, [timestamp, input, output], hashes, prefixes)
}

/// Numbers in brackets or not, with commas, blanks, semicolons or bars between them.
fn hashes(here: Here<'_>, text: &str) -> Result<Vec<u64>, TraceError> {
    text.trim_start_matches('[')
        .trim_end_matches(']')
        .split([',', ' ', ';', '|'])
        .filter(|part| !part.is_empty())
        .map(|part| {
            let expected = "whole numbers from 0 on, like \"[0, 1, 2]\"";
            part.parse().map_err(|_| here.value("hash_ids", part, expected))
        })
        .collect()
}

fn request(
    here: Here<'_>,
    [timestamp, input, output]: [&str; 3],
    hashes: Option<Vec<u64>>,
    prefixes: &mut Prefixes,
) -> Result<Request, TraceError> {
    let input = here.count("input_length", input)?;
    let cached = hashes.map(|hashes| prefixes.cached(here, &hashes)).transpose()?;
    Ok(Request {
        at_ns: here.time("timestamp", timestamp, 1e-3)?,
        input: Some(input),
        output: here.count("output_length", output)?,
        // At most `input`, so it fits.
        cached: cached.map(|tokens| tokens.min(u64::from(input)) as u32),
        ..Request::default()
    })
}

/// The prefixes that were seen so far.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    seen: BTreeSet<u64>,
}

impl Prefixes {
    /// How many tokens of a prompt were in prompts before it; it is remembered in turn.
    fn cached(&mut self, here: Here<'_>, hashes: &[u64]) -> Result<u64, TraceError> {
        let known = hashes.iter().take_while(|hash| self.seen.contains(hash)).count();
        self.seen.extend(&hashes[known..]);
        if self.seen.len() > MAX_HASHES {
            return Err(here.too_large("20 million hashes"));
        }
        Ok(known as u64 * BLOCK)
    }

    pub(super) fn is_used(&self) -> bool {
        !self.seen.is_empty()
    }
}
