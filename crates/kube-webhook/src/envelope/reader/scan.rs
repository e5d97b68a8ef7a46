//! Where JSON values begin and end. Used by the reader above.
//!
//! Accepts what serde_json accepts, character for character, and nothing else: a value that is skipped
//! here must not be found broken later. What is wrong is not told.

/// A string.
pub(super) enum Quoted<'a> {
    /// What is between the quotes.
    Plain(&'a str),
    /// With its quotes, and with escapes.
    Escaped(&'a str),
}

/// A place in a JSON text.
pub(super) struct Scan<'a> {
    text: &'a str,
    at: usize,
    /// The closing brackets of what a skip is inside of; kept for its memory.
    open: Vec<u8>,
}

impl<'a> Scan<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            open: Vec::new(),
        }
    }

    /// The next byte that isn't whitespace.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        let (at, byte) = significant(self.bytes(), self.at)?;
        self.at = at;
        Some(byte)
    }

    /// Goes beyond that byte, which is next.
    #[inline]
    pub(super) fn eat(&mut self, expected: u8) -> Option<()> {
        (self.peek()? == expected).then(|| self.at += 1)
    }

    /// Whether nothing is left.
    pub(super) fn is_at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    /// A word such as `null`, whose first letter is next.
    pub(super) fn word(&mut self, word: &str) -> Option<()> {
        self.at = word_end(self.bytes(), self.at, word)?;
        Some(())
    }

    /// A value of whatever kind.
    pub(super) fn value(&mut self) -> Option<&'a str> {
        self.peek()?;
        let start = self.at;
        self.at = value_end(self.bytes(), start, &mut self.open)?;
        self.text.get(start..self.at)
    }

    #[inline]
    pub(super) fn string(&mut self) -> Option<Quoted<'a>> {
        self.peek()?;
        let start = self.at;
        let (end, is_plain) = string_end(self.bytes(), start)?;
        self.at = end;
        Some(if is_plain {
            Quoted::Plain(self.text.get(start + 1..end - 1)?)
        } else {
            Quoted::Escaped(self.text.get(start..end)?)
        })
    }

    /// A number, and whether it is an integer.
    pub(super) fn number(&mut self) -> Option<(&'a str, bool)> {
        self.peek()?;
        let start = self.at;
        let (end, is_integer) = number_end(self.bytes(), start)?;
        self.at = end;
        Some((self.text.get(start..end)?, is_integer))
    }

    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }
}

// What follows tells where something ends that begins at `at`. Half of what a review costs is skipping
// what nobody asked for: that this works on plain numbers rather than on a `Scan` spares a sixth of it.

/// Where the next byte is that isn't whitespace, and which.
#[inline]
fn significant(text: &[u8], at: usize) -> Option<(usize, u8)> {
    let byte = *text.get(at)?;
    if byte > b' ' {
        return Some((at, byte));
    }
    significant_after_space(text, at)
}

#[cold]
fn significant_after_space(text: &[u8], at: usize) -> Option<(usize, u8)> {
    let is_space = |byte: &&u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
    let at = at + text.get(at..)?.iter().take_while(is_space).count();
    Some((at, *text.get(at)?))
}

/// Without recursion, since whoever sends a body chooses how deep it is.
fn value_end(text: &[u8], start: usize, open: &mut Vec<u8>) -> Option<usize> {
    open.clear();
    let mut at = start;
    loop {
        let (start, first) = significant(text, at)?;
        at = match first {
            b'"' => string_end(text, start)?.0,
            b'{' | b'[' => {
                let closing = if first == b'{' { b'}' } else { b']' };
                let (inner, next) = significant(text, start + 1)?;
                if next != closing {
                    open.push(closing);
                    at = name_end(text, inner, closing)?;
                    continue;
                }
                inner + 1
            }
            b't' => word_end(text, start, "true")?,
            b'f' => word_end(text, start, "false")?,
            b'n' => word_end(text, start, "null")?,
            _ => number_end(text, start)?.0,
        };
        // Out of all that ends here, to where the next value begins.
        loop {
            let Some(closing) = open.last().copied() else {
                return Some(at);
            };
            let (here, next) = significant(text, at)?;
            at = here + 1;
            if next == b',' {
                at = name_end(text, at, closing)?;
                break;
            }
            if next != closing {
                return None;
            }
            open.pop();
        }
    }
}

/// A name and its colon, within an object, as its closing bracket says; in a list there is none.
#[inline]
fn name_end(text: &[u8], at: usize, closing: u8) -> Option<usize> {
    if closing != b'}' {
        return Some(at);
    }
    let (start, _) = significant(text, at)?;
    let (end, _) = string_end(text, start)?;
    let (colon, byte) = significant(text, end)?;
    (byte == b':').then_some(colon + 1)
}

/// Its end, and whether it is plain: most have no escapes.
#[inline]
fn string_end(text: &[u8], at: usize) -> Option<(usize, bool)> {
    if *text.get(at)? != b'"' {
        return None;
    }
    let end = plain_end(text, at + 1);
    if *text.get(end)? == b'"' {
        return Some((end + 1, true));
    }
    Some((string_end_from_escape(text, end)?, false))
}

#[cold]
fn string_end_from_escape(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at = match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => escape_end(text, at)?,
            _ => return None,
        };
        at = plain_end(text, at);
    }
}

fn escape_end(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at + 1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 2),
        b'u' => {
            let digits = text.get(at + 2..at + 6)?;
            digits.iter().all(u8::is_ascii_hexdigit).then_some(at + 6)
        }
        _ => None,
    }
}

fn word_end(text: &[u8], at: usize, word: &str) -> Option<usize> {
    let rest = text.get(at..)?;
    rest.starts_with(word.as_bytes()).then_some(at + word.len())
}

/// Its end, and whether it is an integer.
fn number_end(text: &[u8], mut at: usize) -> Option<(usize, bool)> {
    let is_next = |at: usize, choices: &[u8]| text.get(at).is_some_and(|it| choices.contains(it));
    if is_next(at, b"-") {
        at += 1;
    }
    at = match text.get(at)? {
        b'0' => at + 1,
        _ => digits_end(text, at)?,
    };
    let mut is_integer = true;
    if is_next(at, b".") {
        at = digits_end(text, at + 1)?;
        is_integer = false;
    }
    if is_next(at, b"eE") {
        at += 1;
        if is_next(at, b"+-") {
            at += 1;
        }
        at = digits_end(text, at)?;
        is_integer = false;
    }
    Some((at, is_integer))
}

/// One at least.
fn digits_end(text: &[u8], at: usize) -> Option<usize> {
    let rest = text.get(at..)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (digits > 0).then_some(at + digits)
}

/// Where the first byte is that doesn't stand for itself in a string: a quote, a backslash or a control
/// character.
#[inline]
pub(super) fn plain_end(text: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = text.get(at..).and_then(<[u8]>::first_chunk) {
        let marks = marks(u64::from_le_bytes(*chunk));
        if marks != 0 {
            return at + marks.trailing_zeros() as usize / 8;
        }
        at += chunk.len();
    }
    plain_end_near_the_end(text, at)
}

/// The same where less than a chunk is left.
#[cold]
fn plain_end_near_the_end(text: &[u8], at: usize) -> usize {
    let is_plain = |byte: &&u8| **byte >= b' ' && **byte != b'"' && **byte != b'\\';
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().take_while(is_plain).count()
}

/// The highest bit of each such byte, eight bytes at once. A borrow may mark bytes above the first of
/// them, too, and none below. With its second bit turned over a quote follows the control characters,
/// so that one comparison finds both.
/// <https://graphics.stanford.edu/~seander/bithacks.html#HasLessInWord>
#[inline]
fn marks(bytes: u64) -> u64 {
    let each = |byte: u8| EACH * u64::from(byte);
    let control_or_quote = (bytes ^ each(2)).wrapping_sub(each(b' ' + 1));
    let backslash = (bytes ^ each(b'\\')).wrapping_sub(each(1));
    (control_or_quote | backslash) & !bytes & each(1 << 7)
}

/// A one in each byte.
const EACH: u64 = u64::MAX / 255;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    /// What serde_json takes `text` for, and what is taken here.
    fn both(text: &str) -> (Option<&str>, Option<&str>) {
        let mut scan = Scan::new(text);
        let value = scan.value().filter(|_| scan.is_at_end());
        let theirs = serde_json::from_str::<&RawValue>(text).ok();
        (theirs.map(RawValue::get), value)
    }

    #[test]
    fn whatever_serde_json_takes_for_a_value_is_one() {
        for text in [
            "",
            " ",
            "{}",
            "[]",
            " [ ] ",
            "[1,]",
            "[,1]",
            "{,}",
            "{\"a\":1,}",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "{1:1}",
            "{\"a\":1 \"b\":2}",
            "[1 2]",
            "[}",
            "{]",
            "[1}",
            "{\"a\":[{\"b\":[]},{}]}",
            "{ \"a\" : [ 1 , { } ] , \"b\" : null }",
            "true",
            "truer",
            "tru",
            "nul",
            "nulls",
            "false false",
            "0",
            "-0",
            "-",
            "00",
            "01",
            "1.",
            ".1",
            "1.5e3",
            "1E+09",
            "1e",
            "1e-",
            "1e400",
            "123456789012345678901234567890",
            "+1",
            "\"",
            "\"\\\"",
            "\"\\\"\"",
            "\"\\q\"",
            "\"\\u12g4\"",
            "\"\\u12\"",
            "\"\\ud800\"",
            "\"a\nb\"",
            "\"a\tb\"",
            "\"12345678\\n12345678\"",
            "\"1234567\u{7f}é€𝄞\"",
            "'a'",
            "NaN",
            "\u{feff}1",
            "\u{a0}1",
            "[1]]",
            "[[1]",
            "[1]/**/",
        ] {
            let (theirs, ours) = both(text);
            assert_eq!(ours, theirs, "{text}");
        }
        let deep = ["[", "]"].map(|bracket| bracket.repeat(10_000)).concat();
        let (theirs, ours) = both(&deep);
        assert!(ours.is_some());
        assert_eq!(ours, theirs);
    }

    proptest! {
        #[test]
        fn made_of_pieces_of_json_it_is_a_value_when_serde_json_says_so(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "{", "}", "[", "]", ",", ":", " ", "\n", "\"", "\"a\"", "\"b\":", "\\", "\\\"", "1",
                "-", "0", ".", "e", "true", "null", "é", "\u{1}",
            ]), 0..12),
        ) {
            let text = pieces.concat();
            let (theirs, ours) = both(&text);
            prop_assert_eq!(ours, theirs, "{}", text);
        }

        #[test]
        fn a_string_ends_where_serde_json_ends_it(letters in prop::collection::vec(
            prop_oneof![any::<char>(), prop::sample::select(vec!['"', '\\', 'u', '0', 'n', '\n'])],
            0..40,
        )) {
            let text = format!("\"{}\"", letters.into_iter().collect::<String>());
            let (theirs, ours) = both(&text);
            prop_assert_eq!(ours, theirs);
        }
    }
}
