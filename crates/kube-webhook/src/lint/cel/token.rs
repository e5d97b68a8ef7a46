//! CEL cut into tokens. Called by `cel`.

/// A piece of an expression.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'a> {
    Bytes,
    Double,
    Int,
    Name(&'a str),
    String,
    Symbol(&'a str),
    Uint,
}

/// The tokens, or what no token of CEL begins like.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if let Some((token, length)) = string(rest)? {
            tokens.push(token);
            length
        } else if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if first.is_ascii_alphabetic() || first == '_' {
            let length = while_true(rest, |c| c.is_ascii_alphanumeric() || c == '_');
            tokens.push(Token::Name(&rest[..length]));
            length
        } else if first.is_ascii_digit() || is_fraction(rest) {
            let (token, length) = number(rest);
            tokens.push(token);
            length
        } else if first == '`' {
            let end = rest[1..].find('`').ok_or("a ` is not closed")?;
            tokens.push(Token::Name(&rest[1..=end]));
            end + 2
        } else {
            let mut known = SYMBOLS.into_iter();
            let symbol = known
                .find(|symbol| rest.starts_with(symbol))
                .ok_or_else(|| format!("CEL has no operator `{first}`"))?;
            tokens.push(Token::Symbol(symbol));
            symbol.len()
        };
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

/// The string or bytes literal that `text` begins with, and its length.
fn string(text: &str) -> Result<Option<(Token<'_>, usize)>, String> {
    let prefix = text
        .find(|c: char| !matches!(c, 'r' | 'R' | 'b' | 'B'))
        .filter(|&length| length <= 2)
        .unwrap_or(0);
    let is_raw = text[..prefix].contains(['r', 'R']);
    let token = if text[..prefix].contains(['b', 'B']) {
        Token::Bytes
    } else {
        Token::String
    };
    let body = &text[prefix..];
    let mut quotes = ["\"\"\"", "'''", "\"", "'"].into_iter();
    let Some(quote) = quotes.find(|quote| body.starts_with(quote)) else {
        return Ok(None);
    };
    let mut at = quote.len();
    loop {
        let rest = &body[at..];
        if rest.starts_with(quote) {
            return Ok(Some((token, prefix + at + quote.len())));
        }
        at += match rest.chars().next() {
            None => return Err(NOT_CLOSED.to_owned()),
            Some('\n' | '\r') if quote.len() == 1 => return Err(NOT_CLOSED.to_owned()),
            Some('\\') if !is_raw => escape(rest)?,
            Some(other) => other.len_utf8(),
        };
    }
}

fn escape(text: &str) -> Result<usize, String> {
    let mut characters = text[1..].chars();
    let (digits, radix) = match characters.next() {
        None => return Err(NOT_CLOSED.to_owned()),
        Some('a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' | '\'' | '"' | '`' | '?') => {
            return Ok(2);
        }
        Some('x' | 'X') => (2, 16),
        Some('u') => (4, 16),
        Some('U') => (8, 16),
        Some('0'..='3') => (2, 8),
        Some(other) => {
            return Err(format!(
                "`\\{other}` is no escape of CEL: write `\\\\{other}`"
            ));
        }
    };
    let found = characters.take(digits).filter(|c| c.is_digit(radix));
    if found.count() < digits {
        return Err(format!("an escape needs {digits} digits"));
    }
    Ok(2 + digits)
}

fn is_fraction(text: &str) -> bool {
    text.strip_prefix('.')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn number(text: &str) -> (Token<'static>, usize) {
    let digits = |text: &str| while_true(text, |c| c.is_ascii_digit());
    let mut token = Token::Int;
    let mut length = digits(text);
    if let Some(hexadecimal) = text.strip_prefix("0x") {
        length = 2 + while_true(hexadecimal, |c| c.is_ascii_hexdigit());
    } else {
        if is_fraction(&text[length..]) {
            length += 1 + digits(&text[length + 1..]);
            token = Token::Double;
        }
        if let Some(exponent) = text[length..].strip_prefix(['e', 'E']) {
            let sign = usize::from(exponent.starts_with(['+', '-']));
            length += 1 + sign + digits(&exponent[sign..]);
            token = Token::Double;
        }
    }
    if token == Token::Int && text[length..].starts_with(['u', 'U']) {
        return (Token::Uint, length + 1);
    }
    (token, length)
}

fn while_true(text: &str, is_inner: impl Fn(char) -> bool) -> usize {
    text.find(|c| !is_inner(c)).unwrap_or(text.len())
}

const NOT_CLOSED: &str = "a string is not closed";
/// The longer ones first.
const SYMBOLS: [&str; 24] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "+", "-", "*", "/", "%", "!", "?", ":", ".", ",",
    "(", ")", "[", "]", "{", "}",
];
