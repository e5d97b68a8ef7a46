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
    pub(super) fn peek(&mut self) -> Option<u8> {
        let byte = self.byte()?;
        if byte > b' ' {
            return Some(byte);
        }
        let rest = self.bytes().get(self.at..)?;
        let is_space = |byte: &&u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
        self.at += rest.iter().take_while(is_space).count();
        self.byte()
    }

    /// Goes beyond that byte, which is next.
    pub(super) fn eat(&mut self, expected: u8) -> Option<()> {
        (self.peek()? == expected).then(|| self.at += 1)
    }

    /// Whether nothing is left.
    pub(super) fn is_at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    /// A word such as `null`, whose first letter is next.
    pub(super) fn word(&mut self, word: &str) -> Option<()> {
        let rest = self.bytes().get(self.at..)?;
        rest.starts_with(word.as_bytes())
            .then(|| self.at += word.len())
    }

    /// A value of whatever kind.
    pub(super) fn value(&mut self) -> Option<&'a str> {
        self.peek()?;
        let start = self.at;
        self.skip_value()?;
        self.text.get(start..self.at)
    }

    #[inline]
    pub(super) fn string(&mut self) -> Option<Quoted<'a>> {
        self.peek()?;
        let start = self.at;
        Some(if self.skip_string()? {
            Quoted::Escaped(self.text.get(start..self.at)?)
        } else {
            Quoted::Plain(self.text.get(start + 1..self.at - 1)?)
        })
    }

    /// A number, and whether it is an integer.
    pub(super) fn number(&mut self) -> Option<(&'a str, bool)> {
        self.peek()?;
        let start = self.at;
        let is_integer = self.skip_number()?;
        Some((self.text.get(start..self.at)?, is_integer))
    }

    /// Without recursion, since whoever sends a body chooses how deep it is.
    fn skip_value(&mut self) -> Option<()> {
        self.open.clear();
        loop {
            let opened = match self.peek()? {
                b'{' => Some(b'}'),
                b'[' => Some(b']'),
                first => {
                    self.skip_scalar(first)?;
                    None
                }
            };
            if let Some(closing) = opened {
                self.at += 1;
                self.open.push(closing);
                if self.peek()? != closing {
                    self.skip_name(closing)?;
                    continue;
                }
            }
            // Out of all that ends here, to where the next value begins.
            loop {
                let Some(closing) = self.open.last().copied() else {
                    return Some(());
                };
                let next = self.peek()?;
                self.at += 1;
                if next == b',' {
                    self.skip_name(closing)?;
                    break;
                }
                if next != closing {
                    return None;
                }
                self.open.pop();
            }
        }
    }

    #[inline]
    fn skip_scalar(&mut self, first: u8) -> Option<()> {
        match first {
            b'"' => {
                self.skip_string()?;
            }
            b't' => self.word("true")?,
            b'f' => self.word("false")?,
            b'n' => self.word("null")?,
            _ => {
                self.skip_number()?;
            }
        }
        Some(())
    }

    /// Within an object, as its closing bracket says; in a list there is none.
    fn skip_name(&mut self, closing: u8) -> Option<()> {
        if closing == b'}' {
            self.peek()?;
            self.skip_string()?;
            self.eat(b':')?;
        }
        Some(())
    }

    /// Whether it has escapes, which few have.
    #[inline]
    fn skip_string(&mut self) -> Option<bool> {
        if self.byte()? != b'"' {
            return None;
        }
        self.at += 1;
        self.skip_plain();
        if self.byte()? == b'"' {
            self.at += 1;
            return Some(false);
        }
        self.skip_string_from_escape().map(|()| true)
    }

    #[cold]
    fn skip_string_from_escape(&mut self) -> Option<()> {
        loop {
            match self.byte()? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.skip_escape()?,
                _ => return None,
            }
            self.skip_plain();
        }
    }

    #[inline]
    fn skip_plain(&mut self) {
        self.at += self.bytes().get(self.at..).map_or(0, plain_length);
    }

    fn skip_escape(&mut self) -> Option<()> {
        match self.bytes().get(self.at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
            b'u' => {
                let digits = self.bytes().get(self.at + 2..self.at + 6)?;
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                self.at += 6;
            }
            _ => return None,
        }
        Some(())
    }

    /// Whether it is an integer.
    fn skip_number(&mut self) -> Option<bool> {
        if self.next_is(b"-") {
            self.at += 1;
        }
        if self.next_is(b"0") {
            self.at += 1;
        } else {
            self.skip_digits()?;
        }
        let mut is_integer = true;
        if self.next_is(b".") {
            self.at += 1;
            self.skip_digits()?;
            is_integer = false;
        }
        if self.next_is(b"eE") {
            self.at += 1;
            if self.next_is(b"+-") {
                self.at += 1;
            }
            self.skip_digits()?;
            is_integer = false;
        }
        Some(is_integer)
    }

    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    fn byte(&self) -> Option<u8> {
        self.bytes().get(self.at).copied()
    }

    fn next_is(&self, choices: &[u8]) -> bool {
        self.byte().is_some_and(|byte| choices.contains(&byte))
    }

    /// One at least.
    fn skip_digits(&mut self) -> Option<()> {
        let rest = self.bytes().get(self.at..)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += digits;
        (digits > 0).then_some(())
    }
}

/// How many bytes come before the first one that doesn't stand for itself in a string: a quote, a
/// backslash or a control character.
#[inline]
pub(super) fn plain_length(text: &[u8]) -> usize {
    let mut rest = text;
    while let Some((chunk, after)) = rest.split_first_chunk() {
        let marks = marks(u64::from_le_bytes(*chunk));
        if marks != 0 {
            return text.len() - rest.len() + marks.trailing_zeros() as usize / 8;
        }
        rest = after;
    }
    text.len() - rest.len() + plain_length_at_end(rest)
}

/// The same for what is left of the text, less than a chunk.
#[cold]
fn plain_length_at_end(rest: &[u8]) -> usize {
    let is_plain = |byte: &&u8| **byte >= b' ' && **byte != b'"' && **byte != b'\\';
    rest.iter().take_while(is_plain).count()
}

/// The highest bit of each such byte, eight bytes at once. A borrow may mark bytes above the first of
/// them, too, and none below.
/// <https://graphics.stanford.edu/~seander/bithacks.html#HasLessInWord>
fn marks(bytes: u64) -> u64 {
    let below = |limit: u8, bytes: u64| bytes.wrapping_sub(EACH * u64::from(limit)) & !bytes;
    let is = |byte: u8| below(1, bytes ^ (EACH * u64::from(byte)));
    (below(b' ', bytes) | is(b'"') | is(b'\\')) & (EACH << 7)
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
