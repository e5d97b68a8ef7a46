//! CEL's grammar, and as much of its types as an expression shows by itself. Called by `cel`.
//!
//! What is dynamic (the objects), or a function's result, is of no known type, and never complained of.

use super::{
    request,
    token::{Token, tokens},
};

/// What an expression is of, where that is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Type {
    Bool,
    Bytes,
    Double,
    Int,
    List,
    Map,
    /// The part of `request` that is called so.
    Request(&'static str),
    String,
    Uint,
    Unknown,
}

/// Reads a whole expression.
pub(super) fn parse(expression: &str) -> Result<Type, String> {
    let tokens = tokens(expression)?;
    if tokens.is_empty() {
        return Err("it is empty".to_owned());
    }
    let mut parser = Parser {
        tokens: &tokens,
        at: 0,
        depth: 0,
    };
    let type_of = parser.expression()?;
    match parser.peek() {
        None => Ok(type_of),
        Some(Token::Symbol(symbol @ (")" | "]" | "}"))) => {
            Err(format!("`{symbol}` closes nothing"))
        }
        Some(_) => Err(format!(
            "an operator is missing before {}",
            parser.next_word()
        )),
    }
}

struct Parser<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
    depth: usize,
}

type Parsed<T = Type> = Result<T, String>;

impl<'a> Parser<'a> {
    fn expression(&mut self) -> Parsed {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("it is nested too deeply".to_owned());
        }
        let condition = self.logic(&[&["||"], &["&&"]])?;
        let parsed = if self.take("?") {
            boolean(condition, "?")?;
            let then = self.logic(&[&["||"], &["&&"]])?;
            self.expect(":")?;
            let otherwise = self.expression()?;
            Ok(if then == otherwise {
                then
            } else {
                Type::Unknown
            })
        } else {
            Ok(condition)
        };
        self.depth -= 1;
        parsed
    }

    fn logic(&mut self, levels: &[&[&'static str]]) -> Parsed {
        let Some((operators, tighter)) = levels.split_first() else {
            return self.relation();
        };
        let mut left = self.logic(tighter)?;
        while let Some(operator) = self.take_any(operators) {
            boolean(left, operator)?;
            boolean(self.logic(tighter)?, operator)?;
            left = Type::Bool;
        }
        Ok(left)
    }

    fn relation(&mut self) -> Parsed {
        let mut left = self.sum()?;
        while let Some(operator) = self.take_relation() {
            let right = self.sum()?;
            let compares_numbers = left.is_number() && right.is_number() && operator.len() < 3;
            let is_equality = ["==", "!="].contains(&operator);
            if operator != "in" && left.differs(right) && (is_equality || !compares_numbers) {
                return Err(mismatch(left, operator, right));
            }
            left = Type::Bool;
        }
        Ok(left)
    }

    fn sum(&mut self) -> Parsed {
        let mut left = self.product()?;
        while let Some(operator) = self.take_any(&["+", "-"]) {
            left = arithmetic(left, operator, self.product()?)?;
        }
        Ok(left)
    }

    fn product(&mut self) -> Parsed {
        let mut left = self.unary()?;
        while let Some(operator) = self.take_any(&["*", "/", "%"]) {
            left = arithmetic(left, operator, self.unary()?)?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parsed {
        if self.take("!") {
            while self.take("!") {}
            boolean(self.member()?, "!")?;
            return Ok(Type::Bool);
        }
        let is_negative = self.take("-");
        while self.take("-") {}
        let operand = self.member()?;
        if is_negative && operand != Type::Unknown && !operand.is_number() {
            return Err(format!("there is no `-{}`", operand.name()));
        }
        Ok(operand)
    }

    fn member(&mut self) -> Parsed {
        let mut of = self.primary()?;
        loop {
            of = if self.take(".") {
                self.take("?");
                let Some(Token::Name(name)) = self.advance() else {
                    self.at -= 1;
                    return Err(format!("a name is missing before {}", self.next_word()));
                };
                if self.take("(") {
                    self.list(")")?;
                    result(name)
                } else {
                    request::field(of, name)?
                }
            } else if self.take("[") {
                self.take("?");
                self.expression()?;
                self.expect("]")?;
                Type::Unknown
            } else if self.take("{") {
                // A message of a type that is named before.
                self.entries()?;
                Type::Unknown
            } else {
                return Ok(of);
            };
        }
    }

    fn primary(&mut self) -> Parsed {
        let is_rooted = self.take(".");
        let token = self.advance();
        Ok(match token {
            Some(Token::Name(name)) if self.take("(") => {
                self.list(")")?;
                result(name)
            }
            Some(Token::Name(name)) if RESERVED.contains(&name) => {
                return Err(format!("`{name}` is a word that CEL reserves"));
            }
            Some(Token::Name("true" | "false")) => Type::Bool,
            Some(Token::Name("request")) => Type::Request(""),
            Some(Token::Name(_)) => Type::Unknown,
            _ if is_rooted => {
                self.at -= usize::from(token.is_some());
                return Err(format!("a name is missing before {}", self.next_word()));
            }
            Some(Token::Bytes) => Type::Bytes,
            Some(Token::Double) => Type::Double,
            Some(Token::Int) => Type::Int,
            Some(Token::String) => Type::String,
            Some(Token::Uint) => Type::Uint,
            Some(Token::Symbol("(")) => {
                let inner = self.expression()?;
                self.expect(")")?;
                inner
            }
            Some(Token::Symbol("[")) => {
                self.list("]")?;
                Type::List
            }
            Some(Token::Symbol("{")) => {
                self.entries()?;
                Type::Map
            }
            Some(Token::Symbol(symbol)) => {
                return Err(match symbol {
                    ")" | "]" | "}" if self.at == 1 => format!("`{symbol}` closes nothing"),
                    _ => format!("something is missing before `{symbol}`"),
                });
            }
            None => return Err("something is missing at its end".to_owned()),
        })
    }

    /// Up to what closes it; only a list may end in a comma.
    fn list(&mut self, close: &'static str) -> Parsed<()> {
        while !self.take(close) {
            self.take("?");
            self.expression()?;
            if !self.take(",") {
                return self.expect(close);
            }
            if close == ")" && self.peek() == Some(Token::Symbol(close)) {
                return Err("something is missing before `)`".to_owned());
            }
        }
        Ok(())
    }

    fn entries(&mut self) -> Parsed<()> {
        while !self.take("}") {
            self.take("?");
            self.expression()?;
            self.expect(":")?;
            self.expression()?;
            if !self.take(",") {
                return self.expect("}");
            }
        }
        Ok(())
    }

    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at).copied()
    }

    fn advance(&mut self) -> Option<Token<'a>> {
        let token = self.peek();
        self.at += usize::from(token.is_some());
        token
    }

    fn take(&mut self, symbol: &str) -> bool {
        let is_there = matches!(self.peek(), Some(Token::Symbol(own)) if own == symbol);
        self.at += usize::from(is_there);
        is_there
    }

    fn take_any(&mut self, symbols: &[&'static str]) -> Option<&'static str> {
        let mut symbols = symbols.iter().copied();
        symbols.find(|symbol| self.take(symbol))
    }

    fn take_relation(&mut self) -> Option<&'static str> {
        if self.peek() == Some(Token::Name("in")) {
            self.at += 1;
            return Some("in");
        }
        self.take_any(&["==", "!=", "<=", ">=", "<", ">"])
    }

    fn expect(&mut self, symbol: &'static str) -> Parsed<()> {
        if self.take(symbol) {
            return Ok(());
        }
        let word = self.next_word();
        Err(format!("`{symbol}` is missing before {word}"))
    }

    fn next_word(&self) -> String {
        match self.peek() {
            None => "the end".to_owned(),
            Some(Token::Name(word) | Token::Symbol(word)) => format!("`{word}`"),
            Some(_) => "a literal".to_owned(),
        }
    }
}

impl Type {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Bytes => "bytes",
            Self::Double => "double",
            Self::Int => "int",
            Self::List => "list",
            Self::Map => "map",
            Self::Request(_) => "message",
            Self::String => "string",
            Self::Uint => "uint",
            Self::Unknown => "dyn",
        }
    }

    fn differs(self, other: Self) -> bool {
        self != Self::Unknown && other != Self::Unknown && self.name() != other.name()
    }

    fn is_number(self) -> bool {
        matches!(self, Self::Double | Self::Int | Self::Uint)
    }
}

fn boolean(operand: Type, operator: &str) -> Parsed<()> {
    if operand.differs(Type::Bool) {
        return Err(format!("`{operator}` takes bool, not {}", operand.name()));
    }
    Ok(())
}

fn arithmetic(left: Type, operator: &str, right: Type) -> Parsed {
    let fits = |one: Type| match one {
        Type::Bool | Type::Map | Type::Request(_) => false,
        Type::Bytes | Type::List | Type::String => operator == "+",
        Type::Double => operator != "%",
        Type::Int | Type::Uint | Type::Unknown => true,
    };
    if left.differs(right) || !fits(left) || !fits(right) {
        return Err(mismatch(left, operator, right));
    }
    Ok(if left == Type::Unknown { right } else { left })
}

fn mismatch(left: Type, operator: &str, right: Type) -> String {
    let (left, right) = (left.name(), right.name());
    format!("there is no `{left} {operator} {right}`")
}

/// Of functions that have the same result whatever they are called on.
fn result(function: &str) -> Type {
    match function {
        "all" | "endsWith" | "exists" | "exists_one" | "existsOne" | "has" | "isIP" | "isURL"
        | "matches" | "startsWith" => Type::Bool,
        "size" => Type::Int,
        _ => Type::Unknown,
    }
}

/// As deep as cel-go goes.
const DEEPEST: usize = 250;
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "namespace",
    "package",
    "return",
    "var",
    "void",
    "while",
];
