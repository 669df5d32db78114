//! Takes secrets out of texts that others wrote, before they are shown or written down.

/// Most characters of a text that are kept.
const LONGEST: usize = 300;

/// How secrets begin, and the fewest characters that follow in a real one.
const SHAPES: [(&str, usize); 13] = [
    ("sk-", 8),
    ("AIza", 20),
    ("gsk_", 16),
    ("xai-", 16),
    ("hf_", 16),
    ("pplx-", 16),
    ("ghp_", 16),
    ("gho_", 16),
    ("ghs_", 16),
    ("github_pat_", 16),
    ("AKIA", 16),
    ("ABSK", 16),
    ("eyJ", 30),
];

/// Whether one of them, or `sk-ant-` in any case, may begin so: most of a text begins none.
fn may_begin(text: &[u8]) -> bool {
    let [first, second, ..] = text else { return false };
    match first {
        b's' | b'S' => matches!(second, b'k' | b'K'),
        b'A' => matches!(second, b'I' | b'K' | b'B'),
        b'g' => matches!(second, b's' | b'h' | b'i'),
        b'x' => *second == b'a',
        b'h' => *second == b'f',
        b'p' => *second == b'p',
        b'e' => *second == b'y',
        _ => false,
    }
}

/// `text` without anything that looks like a key, on one line, at most 300 characters and an
/// ellipsis; control characters are escaped.
///
/// What begins `sk-ant-` is taken out up to the next white space or character that no key can
/// hold, so that every key that can be loaded is covered whole.
pub fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(LONGEST + 3));
    let mut kept = 0;
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if kept >= LONGEST {
            out.push('…');
            break;
        }
        let most = rest.len().min(LONGEST - kept);
        let plain = (0..most).take_while(|&at| is_plain(&rest.as_bytes()[at..])).count();
        if plain > 0 {
            out.push_str(&rest[..plain]);
            kept += plain;
            rest = &rest[plain..];
            continue;
        }
        if let Some((mask, bytes)) = secret(&text[..text.len() - rest.len()], rest) {
            out.push_str(mask);
            kept += mask.len();
            rest = &rest[bytes..];
            continue;
        }
        let before = out.len();
        if next.is_control() || is_invisible(next) {
            out.extend(next.escape_default());
        } else {
            out.push(next);
        }
        kept += out[before..].chars().count();
        rest = &rest[next.len_utf8()..];
    }
    out
}

/// Whether a text begins with what is shown as it is, and with no secret.
fn is_plain(text: &[u8]) -> bool {
    let shown = text.first().is_some_and(|byte| byte.is_ascii_graphic() || *byte == b' ');
    shown && !may_begin(text)
}

/// The secret that `text` begins with, `before` it what was before: what to show instead, and its
/// bytes.
fn secret(before: &str, text: &str) -> Option<(&'static str, usize)> {
    if !may_begin(text.as_bytes()) {
        return None;
    }
    if starts_with_ignoring_case(text, "sk-ant-") {
        let bytes = text.bytes().take_while(u8::is_ascii_graphic).count();
        return Some(("sk-ant-***", bytes));
    }
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let in_a_word = before.bytes().next_back().is_some_and(|byte| byte.is_ascii_alphabetic());
    SHAPES.into_iter().find_map(|(prefix, fewest)| {
        let tail = text.strip_prefix(prefix)?;
        let bytes = tail.bytes().take_while(is_part).count();
        let is_word = in_a_word && prefix == "sk-" && !is_random(&tail.as_bytes()[..bytes]);
        (bytes >= fewest && !is_word).then_some(("[redacted]", prefix.len() + bytes))
    })
}

/// Whether it can be what follows the `sk-` of a key, rather than that of a `task-` or a `risk-`.
fn is_random(tail: &[u8]) -> bool {
    let has = |is: fn(&u8) -> bool| tail.iter().any(is);
    tail.len() >= 20 && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic)
}

fn starts_with_ignoring_case(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Characters that reorder or hide text on a terminal.
fn is_invisible(c: char) -> bool {
    let hides = matches!(c, '\u{200b}'..='\u{200f}' | '\u{feff}');
    hides || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_looked_for_where_it_begins() {
        let of_keys = ["sk-ant-", "SK-ANT-", "Sk-Ant-", "sK-aNT-"];
        for prefix in SHAPES.iter().map(|(prefix, _)| *prefix).chain(of_keys) {
            assert!(may_begin(prefix.as_bytes()), "{prefix}");
        }
    }

    #[test]
    fn keys_of_every_shape_are_taken_out_wherever_they_stand() {
        let text = "bad key \"sk-ant-api03-ab!~{cd\" or (SK-ANT-x) sk-proj-abcdefgh1234 é";
        assert_eq!(redact(text), "bad key \"sk-ant-*** or (sk-ant-*** [redacted] é");
        assert_eq!(redact("a risk-averse ask-me"), "a risk-averse ask-me");
    }

    #[test]
    fn a_word_that_ends_as_a_key_begins_is_shown_and_a_key_behind_a_letter_is_not() {
        let words = "risk-assessment, desk-research-and-interviews, desk-plan-of-2026, \
                     task-1234567890123456789012345";
        assert_eq!(redact(words), words);
        assert_eq!(redact("keysk-4Ab7Cd2Ef9Gh1Jk6Lm3N"), "key[redacted]");
        assert_eq!(redact("tokenghp_abcdefghijklmnopqr"), "token[redacted]");
        assert_eq!(redact("(sk-assessment\\nsk-ant-x"), "([redacted]\\nsk-ant-***");
    }

    #[test]
    fn a_text_becomes_one_bounded_line() {
        assert_eq!(redact("a\nb\u{1b}[31m\u{202e}"), "a\\nb\\u{1b}[31m\\u{202e}");
        assert_eq!(redact(&"é".repeat(1_000)).chars().count(), 301);
        let across = format!("{}sk-ant-secret-secret", "x".repeat(297));
        assert!(!redact(&across).contains("secret"));
    }
}
