//! Faults that send something else than a good answer.

use std::io;
use std::iter;
use std::time::Duration;

use agent_core::clock::Clock;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use socket2::Socket;

use super::reply::{Body, EVENTS, Head, Problem, Reply, usual_message};
use super::{Fault, FaultKind};

const SPACES: &[u8] = &[b' '; 64 * 1024];
/// So many make 16 MiB.
const PADDING: usize = 256;
const PING: &[u8] = b"event: ping\ndata: {\"type\": \"ping\"}\n\n";

/// Answers as the fault says, where a good answer would have been `body`.
pub(super) async fn spoil(
    fault: &Fault,
    socket: &Socket,
    clock: &Clock,
    head: &Head,
    kind: &'static str,
    body: Bytes,
) -> Reply {
    let half = body.slice(..body.len() / 2);
    match fault.kind {
        FaultKind::Hang => std::future::pending().await,
        FaultKind::Reset => {
            socket.set_linger(Some(Duration::ZERO))?;
            Err(io::ErrorKind::ConnectionReset.into())
        }
        FaultKind::Close => Err(io::ErrorKind::ConnectionAborted.into()),
        FaultKind::Truncate => {
            let cut = Err(io::ErrorKind::UnexpectedEof.into());
            sized(head, kind, body.len(), framed(stream::iter([Ok(half), cut])))
        }
        FaultKind::Malformed => head.reply(200, kind, half),
        FaultKind::Html => head.reply(200, "text/html", "<html>Gateway</html>".into()),
        FaultKind::Empty => head.reply(200, kind, Bytes::new()),
        FaultKind::Drip => {
            let interval = fault.interval.unwrap_or(Duration::from_secs(1));
            head.reply_with(200, kind, drip(body, clock.clone(), interval))
        }
        FaultKind::Endless => head.reply_with(200, kind, endless(half, kind)),
        FaultKind::Huge => huge(head, kind, body),
        FaultKind::Status => {
            let status = fault.status.unwrap_or(500);
            let message = fault.message.as_deref().unwrap_or_else(|| usual_message(status));
            head.refuse(&Problem {
                code: fault.error_code.as_deref(),
                retry_after: fault.retry_after,
                should_retry: fault.should_retry,
                ..Problem::new(status, message)
            })
        }
        // These send a good answer, or the beginning of one.
        FaultKind::NoUsage | FaultKind::ZeroUsage | FaultKind::StreamError | FaultKind::Slow => {
            head.reply(200, kind, body)
        }
    }
}

fn framed(chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    StreamBody::new(chunks.map(|chunk| chunk.map(Frame::data))).boxed_unsync()
}

fn sized(head: &Head, kind: &'static str, length: usize, body: Body) -> Reply {
    let mut reply = head.reply_with(200, kind, body)?;
    reply.headers_mut().insert("content-length", length.into());
    Ok(reply)
}

/// All of the body but its last byte, byte by byte, and then spaces.
fn drip(body: Bytes, clock: Clock, interval: Duration) -> Body {
    framed(stream::unfold((0, body, clock), move |(at, body, clock)| async move {
        if at > 0 {
            clock.sleep(interval).await;
        }
        let is_inside = at + 1 < body.len();
        let byte = if is_inside { body.slice(at..=at) } else { Bytes::from_static(b" ") };
        Some((Ok(byte), (at + 1, body, clock)))
    }))
}

/// Half of the body, and then what means nothing.
fn endless(half: Bytes, kind: &'static str) -> Body {
    let more = match kind {
        EVENTS => Bytes::from(PING.repeat(1000)),
        _ => Bytes::from_static(SPACES),
    };
    framed(stream::iter(iter::once(half).chain(iter::repeat(more)).map(Ok)))
}

fn huge(head: &Head, kind: &'static str, body: Bytes) -> Reply {
    // A comment is to a stream what spaces are to JSON.
    let (before, after) = if kind == EVENTS { (":", "\n\n") } else { ("", "") };
    let length = before.len() + PADDING * SPACES.len() + after.len() + body.len();
    let padding = iter::repeat_n(Bytes::from_static(SPACES), PADDING);
    let chunks = iter::once(before.into()).chain(padding).chain([after.into(), body]);
    let chunks = chunks.filter(|chunk| !chunk.is_empty());
    sized(head, kind, length, framed(stream::iter(chunks.map(Ok))))
}
