//! What a package's field `license` asks for.

use std::collections::BTreeSet;

/// An SPDX expression, read from left to right: AND binds closer than OR.
pub(super) struct Expression<'a> {
    words: std::vec::IntoIter<&'a str>,
}

impl<'a> Expression<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let mut words = Vec::new();
        for word in text.split([' ', '/']) {
            let inner = word.trim_start_matches('(');
            words.extend(
                word[..word.len() - inner.len()]
                    .split("")
                    .filter(|one| !one.is_empty()),
            );
            let name = inner.trim_end_matches(')');
            // The older way of saying OR.
            if text.contains('/') && words.last().is_some_and(|last| !is_operator(last)) {
                words.push("OR");
            }
            words.push(name);
            words.extend(inner[name.len()..].split("").filter(|one| !one.is_empty()));
        }
        Self {
            words: words.into_iter(),
        }
    }

    pub(super) fn holds(mut self, allowed: &BTreeSet<&str>) -> bool {
        self.any(allowed)
    }

    fn any(&mut self, allowed: &BTreeSet<&str>) -> bool {
        let mut holds = self.all(allowed);
        while self.next_is("OR") {
            holds |= self.all(allowed);
        }
        holds
    }

    fn all(&mut self, allowed: &BTreeSet<&str>) -> bool {
        let mut holds = self.one(allowed);
        while self.next_is("AND") {
            holds &= self.one(allowed);
        }
        holds
    }

    fn one(&mut self, allowed: &BTreeSet<&str>) -> bool {
        match self.words.next() {
            Some("(") => {
                let holds = self.any(allowed);
                holds & self.next_is(")")
            }
            Some(name) if self.next_is("WITH") => {
                let exception = self.words.next().unwrap_or_default();
                allowed.contains(&*format!("{name} WITH {exception}"))
            }
            Some(name) => allowed.contains(name),
            None => false,
        }
    }

    fn next_is(&mut self, word: &str) -> bool {
        let is = self.words.as_slice().first() == Some(&word);
        if is {
            self.words.next();
        }
        is
    }
}

fn is_operator(word: &str) -> bool {
    matches!(word, "AND" | "OR" | "WITH" | "(")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_holds_if_its_expression_does() {
        let allowed = BTreeSet::from(["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"]);
        for (licence, holds) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("", false),
            ("MIT OR GPL-3.0", true),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0/MIT", true),
            ("MIT AND GPL-3.0", false),
            ("MIT AND ISC", true),
            ("(MIT OR GPL-3.0) AND ISC", true),
            ("(MIT OR GPL-3.0) AND BSL-1.0", false),
            ("GPL-3.0 OR MIT AND BSL-1.0", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0", false),
            ("GPL-2.0 WITH LLVM-exception OR MIT", true),
        ] {
            assert_eq!(Expression::of(licence).holds(&allowed), holds, "{licence}");
        }
    }
}
