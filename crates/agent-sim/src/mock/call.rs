//! An admitted call: its latency, its fault, its answer, whole or as a paced stream.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use agent_core::clock::{Clock, Timestamp};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Map, Value};
use socket2::Socket;

use super::answer::{Answer, Content, Piece, STREAM_ERROR, Script, Shown};
use super::bill::BilledAnswer;
use super::charge::Charge;
use super::reply::{Body, EVENTS, Head, JSON, Problem, Reply};
use super::request::Request;
use super::{Fault, FaultKind, Output, State, fault, spoil};

const DEFAULT_DELAY: Duration = Duration::from_secs(30);

/// What admission found out.
pub(super) struct Admitted {
    /// From 1.
    pub(super) ordinal: u64,
    pub(super) at: Timestamp,
    pub(super) input_tokens: u64,
}

/// A tool that is called, and with what.
struct ToolCall {
    name: String,
    input: Map<String, Value>,
}

impl ToolCall {
    /// The call of a tool in the answer to a request. What the scenario gives its own tool is
    /// nothing to another that the request makes the answer call.
    fn of(output: &Output, asked: &Request<'_>) -> Option<ToolCall> {
        let name = asked.called(output.tool.as_deref())?.to_owned();
        let is_ours = output.tool.as_ref() == Some(&name);
        let input = if is_ours { output.tool_input.clone() } else { Map::new() };
        Some(ToolCall { name, input })
    }
}

/// A call that is to be answered.
pub(super) struct Call<'s> {
    state: &'s State,
    head: Head,
    model: String,
    streams: bool,
    tool: Option<ToolCall>,
    stop_reason: &'static str,
    input_tokens: u64,
    output_tokens: u64,
    thinking_tokens: u64,
    fault: Option<&'s Fault>,
    charge: Charge,
}

impl<'s> Call<'s> {
    pub(super) fn new(
        state: &'s Arc<State>,
        head: Head,
        key: &str,
        asked: &Request<'_>,
        admitted: Admitted,
    ) -> Call<'s> {
        let Admitted { ordinal, at, input_tokens } = admitted;
        let output = &state.scenario.output;
        let streams = asked.streams;
        let age = at.since(state.started);
        let call = fault::Call { ordinal, model: &asked.model, streams, age };
        let fault = state.pick(call);
        let output_tokens = output.tokens.min(asked.max_tokens);
        let tool = ToolCall::of(output, asked);
        let stop_reason = match () {
            () if output.tokens > asked.max_tokens => "max_tokens",
            () if tool.is_some() => "tool_use",
            () => "end_turn",
        };
        let bill = BilledAnswer {
            at,
            request_id: head.request_id(),
            key: last_four(key),
            model: asked.model.clone().into_owned(),
            task: asked.task(),
            input_tokens,
            output_tokens,
            cache_creation_input_tokens: 0,
            cache_read_input_tokens: 0,
        };
        let model = bill.model.clone();
        let mut charge =
            Charge::new(Arc::clone(state), key.to_owned(), (asked.max_tokens, at), bill);
        if fault.is_some_and(|fault| !fault.bills()) {
            charge.waive();
        }
        Call {
            state,
            head,
            model,
            streams,
            tool,
            stop_reason,
            input_tokens,
            output_tokens,
            thinking_tokens: asked.thought(output_tokens),
            fault,
            charge,
        }
    }

    /// Answers it when its time has come.
    pub(super) async fn answer(mut self, socket: &Socket) -> Reply {
        let spoils = self.fault.filter(|fault| is_spoiling(fault.kind));
        let latency = &self.state.scenario.latency;
        let is_paced = self.streams && spoils.is_none();
        let mut pause = latency.base;
        if let Some(fault) = self.fault.filter(|fault| fault.kind == FaultKind::Slow) {
            pause = pause.saturating_add(fault.delay.unwrap_or(DEFAULT_DELAY));
        }
        if is_paced {
            self.charge.set_output(0);
        } else if spoils.is_none_or(|fault| fault.kind != FaultKind::Status) {
            let tokens = u32::try_from(self.output_tokens).unwrap_or(u32::MAX);
            pause = pause.saturating_add(latency.per_output_token.saturating_mul(tokens));
        }
        if !pause.is_zero() {
            self.state.clock.sleep(pause).await;
        }
        if is_paced {
            return self.stream();
        }
        if let Err(error) = self.charge.settle() {
            return self.head.refuse(&no_ledger(&error));
        }
        let answer = self.message();
        let (kind, body) = match self.streams {
            true => (EVENTS, answer.script().whole()),
            false => (JSON, answer.json()),
        };
        match spoils {
            Some(fault) => {
                spoil::spoil(fault, socket, &self.state.clock, &self.head, kind, body).await
            }
            None => self.head.reply(200, kind, body),
        }
    }

    fn message(&self) -> Answer<'_> {
        let content = match &self.tool {
            Some(ToolCall { name, input }) => Content::Tool { name, input },
            None => Content::Text(&self.state.scenario.output.text),
        };
        Answer {
            id: self.head.id,
            model: &self.model,
            thinking_tokens: self.thinking_tokens,
            content,
            stop_reason: self.stop_reason,
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            usage: match self.fault.map(|fault| fault.kind) {
                Some(FaultKind::NoUsage) => Shown::Not,
                Some(FaultKind::ZeroUsage) => Shown::Zero,
                _ => Shown::Whole,
            },
        }
    }

    fn stream(mut self) -> Reply {
        let script = self.message().script();
        let each = self.state.scenario.latency.per_output_token;
        let breaks = self.fault.is_some_and(|fault| fault.kind == FaultKind::StreamError);
        let body = if each.is_zero() && !breaks {
            self.charge.set_output(self.output_tokens);
            if let Err(error) = self.charge.settle() {
                return self.head.refuse(&no_ledger(&error));
            }
            let whole = Frame::data(script.whole());
            StreamBody::new(stream::iter([Ok(whole)])).boxed_unsync()
        } else {
            let clock = self.state.clock.clone();
            let (tokens, charge) = (self.output_tokens, self.charge);
            Paced { clock, each, tokens, breaks, script, charge, stage: 0 }.body()
        };
        self.head.reply_with(200, EVENTS, body)
    }
}

/// Whether a fault of this kind sends other bytes than a good answer's.
fn is_spoiling(kind: FaultKind) -> bool {
    use FaultKind::{NoUsage, Slow, StreamError, ZeroUsage};
    !matches!(kind, NoUsage | ZeroUsage | Slow | StreamError)
}

/// An answer that cannot be billed is not given.
fn no_ledger(error: &io::Error) -> Problem<'static> {
    Problem::new(500, format!("the mock provider's ledger cannot be written: {error}"))
}

/// The same in a stream that has begun.
const NO_LEDGER_EVENT: &str = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\
                               \"api_error\",\"message\":\"the mock provider's ledger cannot be \
                               written\"}}\n\n";

fn last_four(key: &str) -> String {
    let start = key.char_indices().rev().nth(3).map_or(0, |(at, _)| at);
    key[start..].to_owned()
}

/// A stream under way. It is billed for what was sent when it ends, however it ends.
struct Paced {
    clock: Clock,
    each: Duration,
    tokens: u64,
    /// Whether it ends halfway, with an error.
    breaks: bool,
    script: Script,
    charge: Charge,
    /// 0 is the head, then each piece, then the tail; later it is over.
    stage: usize,
}

impl Paced {
    fn body(self) -> Body {
        let frames = stream::unfold(self, |mut paced| async move {
            let frame = paced.next().await.transpose()?.map(Frame::data);
            Some((frame, paced))
        });
        StreamBody::new(frames).boxed_unsync()
    }

    /// What is sent next, when its time has come.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let (stage, pieces) = (self.stage, self.script.pieces.len());
        self.stage += 1;
        if stage == 0 {
            return Ok(Some(self.script.head.clone()));
        }
        if self.breaks && stage > pieces / 2 {
            let is_first = stage == pieces / 2 + 1;
            self.charge.settle()?;
            return Ok(is_first.then(|| Bytes::from_static(STREAM_ERROR.as_bytes())));
        }
        if let Some(Piece { bytes, sent }) = self.script.pieces.get(stage - 1) {
            let before = stage.checked_sub(2).map_or(0, |at| self.script.pieces[at].sent);
            let more = u32::try_from(sent - before).unwrap_or(u32::MAX);
            let pause = self.each.saturating_mul(more);
            if !pause.is_zero() {
                self.clock.sleep(pause).await;
            }
            self.charge.set_output(*sent);
            return Ok(Some(bytes.clone()));
        }
        if stage == pieces + 1 {
            self.charge.set_output(self.tokens);
            let end = match self.charge.settle() {
                Ok(()) => self.script.tail.clone(),
                Err(_) => Bytes::from_static(NO_LEDGER_EVENT.as_bytes()),
            };
            return Ok(Some(end));
        }
        Ok(None)
    }
}
