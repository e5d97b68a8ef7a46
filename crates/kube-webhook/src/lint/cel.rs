//! As much of CEL as can be judged without compiling it: that strings and brackets are closed, that
//! names are declared, and what is absent from some requests. Called by `refused`.
//!
//! The API server compiles conditions when a configuration is applied (`compilation failed`); what
//! passes here may still fail there.

/// What is surely wrong with an expression; `None` if nothing is seen.
pub(super) fn flaw(expression: &str) -> Option<String> {
    let tokens = match tokens(expression) {
        Ok(tokens) => tokens,
        Err(flaw) => return Some(flaw),
    };
    if tokens.is_empty() {
        return Some("it is empty".to_owned());
    }
    if let Some(flaw) = unbalanced(&tokens) {
        return Some(flaw);
    }
    if let Some(operator) = tokens.iter().find_map(|token| match token {
        Token::Symbol(symbol @ ("=" | "&" | "|" | ";" | "\\")) => Some(symbol),
        _ => None,
    }) {
        return Some(format!("CEL has no operator `{operator}`"));
    }
    undeclared(&tokens)
}

/// Whether the expression uses a variable that requests have, such as `object` or `request.name`.
pub(super) fn uses(expression: &str, path: &[&str]) -> bool {
    let Ok(tokens) = tokens(expression) else {
        return false;
    };
    let roots = roots(&tokens);
    roots.iter().any(|&index| {
        path.iter().enumerate().all(|(step, name)| {
            let at = index + 2 * step;
            matches!(tokens.get(at), Some(Token::Name(own)) if own == name)
                && (step == 0 || matches!(tokens.get(at - 1), Some(Token::Symbol("."))))
        })
    })
}

/// Whether the expression selects something of a variable, which errs where that is null; to
/// name or compare it, or to put it into a list, doesn't.
pub(super) fn reaches_into(expression: &str, variable: &str) -> bool {
    let Ok(tokens) = tokens(expression) else {
        return false;
    };
    roots(&tokens).into_iter().any(|index| {
        tokens[index] == Token::Name(variable)
            && matches!(tokens.get(index + 1), Some(Token::Symbol("." | "[")))
    })
}

#[derive(Debug, PartialEq)]
enum Token<'a> {
    Name(&'a str),
    Literal,
    Symbol(&'a str),
}

fn tokens(text: &str) -> Result<Vec<Token<'_>>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if let Some(length) = string(rest)? {
            tokens.push(Token::Literal);
            length
        } else if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if first.is_ascii_alphabetic() || first == '_' {
            let is_inner = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let length = rest.find(|c| !is_inner(c)).unwrap_or(rest.len());
            tokens.push(Token::Name(&rest[..length]));
            length
        } else if first.is_ascii_digit() {
            let is_inner = |c: char| c.is_ascii_alphanumeric() || c == '.';
            let length = rest.find(|c| !is_inner(c)).unwrap_or(rest.len());
            tokens.push(Token::Literal);
            length
        } else {
            let long = ["==", "!=", "<=", ">=", "&&", "||"];
            let known = long.into_iter().find(|symbol| rest.starts_with(symbol));
            let length = known.map_or_else(|| first.len_utf8(), str::len);
            tokens.push(Token::Symbol(&rest[..length]));
            length
        };
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

/// The length of the string literal that `text` begins with.
fn string(text: &str) -> Result<Option<usize>, String> {
    let prefix = text
        .find(|c: char| !matches!(c, 'r' | 'R' | 'b' | 'B'))
        .filter(|&length| length <= 2)
        .unwrap_or(0);
    let is_raw = text[..prefix].contains(['r', 'R']);
    let body = &text[prefix..];
    let Some(quote) = ["\"\"\"", "'''", "\"", "'"]
        .into_iter()
        .find(|quote| body.starts_with(quote))
    else {
        return Ok(None);
    };
    let mut at = quote.len();
    while at < body.len() {
        let rest = &body[at..];
        if rest.starts_with(quote) {
            return Ok(Some(prefix + at + quote.len()));
        }
        let next = rest.chars().next().map_or(1, char::len_utf8);
        at += next;
        if rest.starts_with('\\') && !is_raw {
            at += body
                .get(at..)
                .and_then(|rest| rest.chars().next())
                .map_or(1, char::len_utf8);
        }
    }
    Err("a string is not closed".to_owned())
}

fn unbalanced(tokens: &[Token<'_>]) -> Option<String> {
    let mut open = Vec::new();
    for token in tokens {
        let Token::Symbol(symbol) = token else {
            continue;
        };
        match *symbol {
            "(" => open.push(")"),
            "[" => open.push("]"),
            "{" => open.push("}"),
            ")" | "]" | "}" if open.pop() != Some(symbol) => {
                return Some(format!("`{symbol}` closes nothing"));
            }
            _ => {}
        }
    }
    open.pop().map(|symbol| format!("`{symbol}` is missing"))
}

/// Names that neither follow a dot, nor are called, nor are the keys of a message.
fn roots(tokens: &[Token<'_>]) -> Vec<usize> {
    let is = |index: Option<usize>, symbol: &str| {
        index.and_then(|index| tokens.get(index)) == Some(&Token::Symbol(symbol))
    };
    let names = tokens.iter().enumerate();
    names
        .filter(|(index, token)| {
            matches!(token, Token::Name(_))
                && !is(index.checked_sub(1), ".")
                && !is(index.checked_add(1), "(")
        })
        .map(|(index, _)| index)
        .collect()
}

fn undeclared(tokens: &[Token<'_>]) -> Option<String> {
    // What a macro declares: `list.all(x, x > 1)`.
    let macros = tokens.windows(3).filter_map(|window| match window {
        [Token::Name(name), Token::Symbol("("), Token::Name(own)] if MACROS.contains(name) => {
            Some(*own)
        }
        _ => None,
    });
    let declared: Vec<_> = macros.collect();
    // The second variable of two-variable comprehensions.
    let second = tokens.windows(3).filter_map(|window| match window {
        [Token::Name(first), Token::Symbol(","), Token::Name(own)] if declared.contains(first) => {
            Some(*own)
        }
        _ => None,
    });
    let declared: Vec<_> = declared.iter().copied().chain(second).collect();
    roots(tokens)
        .into_iter()
        .find_map(|index| match tokens[index] {
            Token::Name(name) if !KNOWN.contains(&name) && !declared.contains(&name) => {
                Some(format!(
                    "`{name}` is not declared: there are object, oldObject, request and authorizer"
                ))
            }
            _ => None,
        })
}

const MACROS: [&str; 10] = [
    "all",
    "exists",
    "exists_one",
    "existsOne",
    "map",
    "filter",
    "bind",
    "transformList",
    "transformMap",
    "sortBy",
];

/// Variables, literals, operators in letters, types, and the names that libraries begin with.
const KNOWN: [&str; 30] = [
    "object",
    "oldObject",
    "request",
    "authorizer",
    "true",
    "false",
    "null",
    "in",
    "int",
    "uint",
    "double",
    "bool",
    "string",
    "bytes",
    "list",
    "map",
    "type",
    "null_type",
    "google",
    "cel",
    "optional",
    "math",
    "strings",
    "base64",
    "sets",
    "ip",
    "cidr",
    "quantity",
    "format",
    "semver",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_expressions_pass() {
        for expression in [
            "true",
            "object.metadata.name != 'skip-me'",
            "!has(request.name) || !request.name.startsWith(\"a'\\\"\")",
            "request.userInfo.groups.exists(group, group == 'a') // why",
            "object.spec.containers.all(c, c.image.matches(r'^a\\.b$'))",
            "cel.bind(x, object.spec, x.a == 1.5 && x.b in ['a', '''b'c'''])",
            "authorizer.group('').resource('pods').check('get').allowed()",
            "object.metadata.labels.all(k, v, k != v)",
            "{'a': 1}['a'] >= int('1') ? true : false",
        ] {
            assert_eq!(flaw(expression), None, "{expression}");
        }
    }

    #[test]
    fn broken_expressions_are_seen() {
        for (expression, expected) in [
            ("", "it is empty"),
            ("object.a == 'b", "a string is not closed"),
            ("(object.a", "`)` is missing"),
            ("object.a)", "`)` closes nothing"),
            ("object.a = 'b'", "CEL has no operator `=`"),
            ("true & false", "CEL has no operator `&`"),
            (
                "self.a == 'b'",
                "`self` is not declared: there are object, oldObject, request and authorizer",
            ),
            (
                "... [] bad expression",
                "`bad` is not declared: there are object, oldObject, request and authorizer",
            ),
        ] {
            assert_eq!(flaw(expression).as_deref(), Some(expected), "{expression}");
        }
    }

    #[test]
    fn a_variable_is_found_where_it_is_used() {
        assert!(uses("request.name == 'a'", &["request", "name"]));
        assert!(!uses(
            "object.request.name == 'request.name'",
            &["request", "name"]
        ));
        assert!(uses("object.a == oldObject.a", &["oldObject"]));
    }
}
