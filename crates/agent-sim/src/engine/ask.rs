//! What a simulated call asks for, written into the first words of its request: so a provider in
//! the process and one behind HTTP can give the same answer.

use std::sync::{Arc, OnceLock};

use agent_core::llm::{Block, Message, Request, Role};

/// The first word of every simulated request.
const MARK: &str = "simulated";

/// Bytes of text for a token, in sevenths and halves: Claude's tokenizers make about one token of
/// 3.5 bytes of English.
const BYTES: (u64, u64) = (7, 2);

/// Filler comes in pieces of 1 to 64 bytes, of as many times 64, and of as many times 4,096.
const BASE: usize = 64;
const DIGITS: usize = 3;

/// One call of a simulated task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Which workload.
    pub workload: u32,
    /// Which task of it.
    pub task: u64,
    /// Which call of the task, from 0.
    pub turn: u32,
    /// Input tokens, cached ones among them.
    pub input: u64,
    /// Those that are read from the cache.
    pub cached: u64,
    /// Those that are written to it, beside those that are read.
    pub written: u64,
    /// Output tokens that the model wants to write.
    pub output: u64,
    /// Who asks: a hash of the worker's name.
    pub worker: u64,
}

impl Ask {
    /// The request: the numbers, and as much filler as makes the input as long as it should be.
    pub fn request(&self) -> Request {
        let Ask { workload, task, turn, input, cached, written, output, worker } = *self;
        let mut head = String::with_capacity(96);
        head.push_str(MARK);
        let mut digits = itoa::Buffer::new();
        for number in [workload.into(), task, turn.into(), input, cached, written, output, worker] {
            head.push(' ');
            head.push_str(digits.format(number));
        }
        head.push('\n');
        let filler = self.bytes().saturating_sub(head.len() as u64);
        let mut content = Vec::with_capacity(1 + DIGITS);
        content.push(Block::Text { text: head.into() });
        content.extend(pieces(filler).map(|text| Block::Text { text }));
        Request { messages: vec![Message { role: Role::User, content }], ..Request::default() }
    }

    /// How long its text is, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.input.saturating_mul(BYTES.0) / BYTES.1
    }

    /// Reads the numbers of a request; `None` where it is no simulated one, or more of its input is
    /// cached than there is.
    pub fn of(request: &Request) -> Option<Ask> {
        let text = request.messages.first()?.content.first()?.as_text()?;
        let mut rest = text.strip_prefix(MARK)?.as_bytes();
        let mut number = || number(&mut rest);
        let ask = Ask {
            workload: number()?.try_into().ok()?,
            task: number()?,
            turn: number()?.try_into().ok()?,
            input: number()?,
            cached: number()?,
            written: number()?,
            output: number()?,
            worker: number()?,
        };
        let of_line = rest.first().is_none_or(|&byte| byte == b'\n');
        let of_cache = ask.cached.checked_add(ask.written).filter(|_| of_line);
        of_cache.is_some_and(|tokens| tokens <= ask.input).then_some(ask)
    }
}

/// A space and the digits after it, taken from the start of `rest`.
fn number(rest: &mut &[u8]) -> Option<u64> {
    let [b' ', first @ b'0'..=b'9', after @ ..] = *rest else { return None };
    let (mut number, mut after) = (u64::from(first - b'0'), after);
    while let [digit @ b'0'..=b'9', more @ ..] = after {
        number = number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
        after = more;
    }
    *rest = after;
    Some(number)
}

/// Shared texts that are `bytes` long together, few of them.
fn pieces(bytes: u64) -> impl Iterator<Item = Arc<str>> {
    static FILLER: [[OnceLock<Arc<str>>; BASE + 1]; DIGITS] =
        [const { [const { OnceLock::new() }; BASE + 1] }; DIGITS];
    let piece = |(place, digit): (usize, usize)| {
        let bytes = digit << (6 * place);
        let text = || "agent ".repeat(bytes / 6 + 1)[..bytes].into();
        Arc::clone(FILLER[place][digit].get_or_init(text))
    };
    let digit = move |place: usize| (bytes >> (6 * place)) as usize % BASE;
    let rest = (0..DIGITS).rev().map(move |place| (place, digit(place)));
    // At most 1,024 of the longest: 256 MiB, far beyond what a provider reads of a body.
    let longest = usize::try_from(bytes >> (6 * DIGITS)).unwrap_or(usize::MAX).min(1_024);
    std::iter::repeat_n((DIGITS - 1, BASE), longest)
        .chain(rest)
        .filter(|&(_, digit)| digit > 0)
        .map(piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_as_long_as_its_input_and_holds_its_numbers() {
        for input in [60, 1_000, 6_909, 817_000, 2_500_000] {
            let ask = Ask {
                workload: 1,
                task: 99,
                turn: 3,
                input,
                cached: 7,
                written: 5,
                output: 9,
                worker: 5,
            };
            let request = ask.request();
            assert_eq!(Ask::of(&request), Some(ask));
            assert_eq!(request.text_bytes(), input * 7 / 2);
        }
        assert_eq!(Ask::of(&Request::default()), None);
    }

    #[test]
    fn numbers_that_cannot_be_are_those_of_no_simulated_request() {
        let of = |cached: u64, written: u64| {
            let text = format!("{MARK} 0 0 0 10 {cached} {written} 1 0\n");
            let messages = vec![Message::user(text)];
            Ask::of(&Request { messages, ..Request::default() })
        };
        assert!(of(6, 4).is_some());
        let more = format!("{MARK} 0 0 0 10 0 0 1 0 words");
        let messages = vec![Message::user(more)];
        assert_eq!(Ask::of(&Request { messages, ..Request::default() }), None);
        for (cached, written) in [(11, 0), (0, 11), (6, 5), (u64::MAX, 1)] {
            assert_eq!(of(cached, written), None, "{cached} {written}");
        }
    }
}
