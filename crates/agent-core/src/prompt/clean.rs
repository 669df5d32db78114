//! Takes out of a text what nobody can see, and leaves what scripts and emoji need.

use std::borrow::Cow;

use crate::prompt::kinds::Kinds;

/// How many lines a field may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lines {
    /// Line ends and tabs become spaces.
    One,
    /// Line ends and indentation are kept; all line ends become `\n`.
    Many,
}

/// The text without control and private characters, bidirectional overrides, tag characters and
/// soft hyphens; zero-width joiners stay where a script or an emoji needs them, and a variation
/// selector stays where it selects something. `kinds` are those of its bytes.
pub(super) fn clean(text: &str, kinds: Kinds, lines: Lines) -> Cow<'_, str> {
    if kinds.is_clean(lines == Lines::Many) {
        return Cow::Borrowed(text);
    }
    let mut kept = String::with_capacity(text.len());
    let mut last = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\r' && chars.peek() == Some(&'\n') {
            continue;
        }
        let c = match c {
            '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => '\n',
            c => c,
        };
        let c = if lines == Lines::One && matches!(c, '\n' | '\t') { ' ' } else { c };
        if is_kept(c, last, chars.peek().copied()) {
            kept.push(c);
            last = Some(c);
        }
    }
    Cow::Owned(kept)
}

/// Whether `c` stays, after the last character that stayed and before the next of the text.
fn is_kept(c: char, last: Option<char>, next: Option<char>) -> bool {
    let after = |is: fn(char) -> bool| last.is_some_and(is);
    match c {
        '\n' | '\t' => true,
        '\u{200D}' if after(joins_emoji) => next.is_some_and(is_emoji),
        '\u{200C}' | '\u{200D}' => after(joins_letters),
        '\u{FE0E}' | '\u{FE0F}' => after(|c| is_emoji(c) || is_keycap(c)),
        '\u{FE00}'..='\u{FE02}' | '\u{E0100}'..='\u{E01EF}' => after(is_ideograph),
        c => !is_hidden(c),
    }
}

/// What cannot be seen, or changes how the rest is seen.
pub(super) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{180B}'..='\u{180F}'
            | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
            | '\u{3164}' | '\u{FDD0}'..='\u{FDEF}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}'
            | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{E000}'..='\u{F8FF}'
            | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}'
            | '\u{F0000}'..='\u{10FFFF}')
        || u32::from(c) & 0xFFFE == 0xFFFE
}

fn is_emoji(c: char) -> bool {
    matches!(c,
        '©' | '®' | '‼' | '⁉' | '™' | 'ℹ' | '\u{2190}'..='\u{21FF}' | '\u{2300}'..='\u{23FF}'
        | '\u{24C2}' | '\u{25A0}'..='\u{27BF}' | '\u{2900}'..='\u{297F}'
        | '\u{2B00}'..='\u{2BFF}' | '〰' | '〽' | '㊗' | '㊙' | '\u{1F000}'..='\u{1FAFF}')
}

fn joins_emoji(c: char) -> bool {
    is_emoji(c) || c == '\u{FE0F}'
}

/// The bases of keycaps: `1`, a selector, and an enclosing square.
fn is_keycap(c: char) -> bool {
    matches!(c, '0'..='9' | '#' | '*')
}

fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}'
        | '\u{20000}'..='\u{3FFFD}')
}

/// Scripts whose letters change shape where a joiner or non-joiner follows: Arabic and its
/// neighbours, those of India, Myanmar, Khmer, Mongolian.
fn joins_letters(c: char) -> bool {
    matches!(c, '\u{0620}'..='\u{08FF}' | '\u{0900}'..='\u{0DFF}' | '\u{1000}'..='\u{109F}'
        | '\u{1780}'..='\u{17FF}' | '\u{1820}'..='\u{18AA}' | '\u{FB50}'..='\u{FDCF}'
        | '\u{FE70}'..='\u{FEFC}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(text: &str, lines: Lines) -> Cow<'_, str> {
        super::clean(text, Kinds::of(text), lines)
    }

    #[test]
    fn what_cannot_be_seen_is_taken_out() {
        for (dirty, cleaned) in [
            ("a\0b\u{1b}[31mc\u{7f}\u{9b}", "ab[31mc"),
            ("a\u{202E}b\u{2066}c\u{200F}\u{061C}", "abc"),
            ("a\u{E0069}\u{E0067}\u{E007F}b", "ab"),
            ("pass\u{200B}word\u{FEFF}\u{2060}\u{AD}", "password"),
            ("ab\u{200D}c\u{200C}\u{FE0F}\u{FE01}\u{E0101}", "abc"),
            ("\u{E000}x\u{10FFFD}\u{FFFF}", "x"),
        ] {
            assert_eq!(clean(dirty, Lines::Many), cleaned, "{dirty:?}");
        }
    }

    #[test]
    fn what_scripts_and_emoji_need_is_kept() {
        for text in [
            "👩‍👩‍👧 ❤️‍🔥 1️⃣ ☎︎ 👍🏽 🏳️‍🌈",
            "می‌خواهم क्‍ष ශ්‍රී",
            "葛\u{E0100}城",
            "naïve Ünïcode, Ελλάδα, Москва, 東京, שלום",
            "fn main() {\n\tlet x = 1;\n\n    x\n}\n",
        ] {
            assert_eq!(clean(text, Lines::Many), text);
        }
    }

    #[test]
    fn a_selector_or_joiner_too_many_is_taken_out() {
        assert_eq!(clean("❤\u{FE0F}\u{FE0F}", Lines::Many), "❤\u{FE0F}");
        assert_eq!(clean("م\u{200C}\u{200C}م", Lines::Many), "م\u{200C}م");
        assert_eq!(clean("👩\u{200D}x", Lines::Many), "👩x");
    }

    #[test]
    fn all_line_ends_become_one_kind_or_spaces() {
        assert_eq!(clean("a\r\nb\rc\n\u{2028}d\te", Lines::Many), "a\nb\nc\n\nd\te");
        assert_eq!(clean("a\r\nb\rc\n\u{2028}d\te", Lines::One), "a b c  d e");
    }
}
