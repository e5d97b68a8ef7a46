//! As much of CEL as can be judged without compiling it: its grammar, the names that are declared, the
//! types that show; and what is absent from some requests. Called by `refused`.
//!
//! The API server compiles conditions when a configuration is applied (`compilation failed`). The tests
//! hold this against it; what passes here may still fail there, which `dry_run` tells.

mod grammar;
mod request;
mod token;

use grammar::Type;
use token::{Token, tokens};

/// What is surely wrong with a condition; `None` if nothing is seen.
pub(super) fn flaw(expression: &str) -> Option<String> {
    let type_of = match grammar::parse(expression) {
        Ok(type_of) => type_of,
        Err(flaw) => return Some(flaw),
    };
    let undeclared = undeclared(&tokens(expression).unwrap_or_default());
    undeclared.or_else(|| match type_of {
        Type::Bool | Type::Unknown => None,
        other => Some(format!(
            "it is of type {}, where bool is wanted",
            other.name()
        )),
    })
}

/// A function that is called and that Kubernetes doesn't have, as far as is known here.
pub(super) fn unknown_function(expression: &str) -> Option<String> {
    let tokens = tokens(expression).unwrap_or_default();
    let mut calls = tokens.windows(2).filter_map(|window| match window {
        [Token::Name(name), Token::Symbol("(")] => Some(*name),
        _ => None,
    });
    calls
        .find(|name| !FUNCTIONS.contains(name))
        .map(str::to_owned)
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

/// Names that neither follow a dot, nor are called, nor are the keys of a message.
fn roots(tokens: &[Token<'_>]) -> Vec<usize> {
    let is = |index: Option<usize>, symbol: &str| {
        index.and_then(|index| tokens.get(index)) == Some(&Token::Symbol(symbol))
    };
    let names = tokens.iter().enumerate();
    // `a.b`, and `a.?b` of an optional field.
    let is_field = |index: usize| {
        let is_optional = is(index.checked_sub(1), "?") && is(index.checked_sub(2), ".");
        is(index.checked_sub(1), ".") || is_optional
    };
    names
        .filter(|&(index, token)| {
            matches!(token, Token::Name(_)) && !is_field(index) && !is(index.checked_add(1), "(")
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

const MACROS: [&str; 13] = [
    "all",
    "bind",
    "exists",
    "exists_one",
    "existsOne",
    "filter",
    "map",
    "optFlatMap",
    "optMap",
    "sortBy",
    "transformList",
    "transformMap",
    "transformMapEntry",
];

/// Variables, literals, operators in letters, types, and the names that libraries begin with.
const KNOWN: [&str; 32] = [
    "object",
    "oldObject",
    "request",
    "authorizer",
    "namespaceObject",
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
    "lists",
    "strings",
    "base64",
    "sets",
    "ip",
    "cidr",
    "quantity",
    "format",
    "semver",
];

/// The macros, and what the libraries of Kubernetes 1.36 have; those of a namespace without it.
const FUNCTIONS: [&str; 142] = [
    "add",
    "all",
    "allowed",
    "asApproximateFloat",
    "asInteger",
    "bool",
    "byte",
    "bytes",
    "charAt",
    "check",
    "cidr",
    "compareTo",
    "contains",
    "containsCIDR",
    "containsIP",
    "date",
    "datetime",
    "distinct",
    "dns1035Label",
    "dns1035LabelPrefix",
    "dns1123Label",
    "dns1123LabelPrefix",
    "dns1123Subdomain",
    "dns1123SubdomainPrefix",
    "double",
    "duration",
    "dyn",
    "endsWith",
    "equivalent",
    "error",
    "errored",
    "exists",
    "exists_one",
    "existsOne",
    "family",
    "fieldSelector",
    "filter",
    "find",
    "findAll",
    "first",
    "flatten",
    "format",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getEscapedPath",
    "getFullYear",
    "getHost",
    "getHostname",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getPort",
    "getQuery",
    "getScheme",
    "getSeconds",
    "group",
    "has",
    "hasValue",
    "indexOf",
    "int",
    "intersects",
    "ip",
    "isCanonical",
    "isCIDR",
    "isGlobalUnicast",
    "isGreaterThan",
    "isInteger",
    "isIP",
    "isLessThan",
    "isLinkLocalMulticast",
    "isLinkLocalUnicast",
    "isLoopback",
    "isQuantity",
    "isSemver",
    "isSorted",
    "isUnspecified",
    "isURL",
    "join",
    "labelSelector",
    "labelValue",
    "last",
    "lastIndexOf",
    "lowerAscii",
    "major",
    "map",
    "masked",
    "matches",
    "max",
    "min",
    "minor",
    "name",
    "named",
    "namespace",
    "none",
    "of",
    "ofNonZeroValue",
    "optFlatMap",
    "optMap",
    "or",
    "orValue",
    "patch",
    "path",
    "prefixLength",
    "qualifiedName",
    "quantity",
    "quote",
    "range",
    "reason",
    "replace",
    "resource",
    "reverse",
    "semver",
    "serviceAccount",
    "sign",
    "size",
    "slice",
    "sort",
    "sortBy",
    "split",
    "startsWith",
    "string",
    "sub",
    "subresource",
    "substring",
    "sum",
    "timestamp",
    "transformList",
    "transformMap",
    "transformMapEntry",
    "trim",
    "type",
    "uint",
    "unwrapOpt",
    "upperAscii",
    "uri",
    "url",
    "uuid",
    "validate",
    "value",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
            ("(object.a", "`)` is missing before the end"),
            ("object.a)", "`)` closes nothing"),
            ("object.a = 'b'", "CEL has no operator `=`"),
            ("true & false", "CEL has no operator `&`"),
            (
                "self.a == 'b'",
                "`self` is not declared: there are object, oldObject, request and authorizer",
            ),
            ("... [] bad expression", "a name is missing before `.`"),
        ] {
            assert_eq!(flaw(expression).as_deref(), Some(expected), "{expression}");
        }
    }

    proptest! {
        /// Whatever a manifest holds.
        #[test]
        fn any_text_is_judged(text in "[a-z0x1.eE+'\"`\\\\rb(){}\\[\\],?:=&|!é\n ]{0,40}") {
            let _ = (flaw(&text), unknown_function(&text), uses(&text, &["request", "name"]));
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
