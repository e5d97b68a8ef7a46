//! The time that the API server gives a call, from `?timeout=` in Go's duration syntax.
//!
//! Used by `register`'s routes. Refuses nothing: an absent or unreadable value means the API
//! server's own default, and more than 30 s, its longest, counts as 30 s.

use std::time::{Duration, Instant};

/// When an answer must be under way, the API server's deadline less a margin for the way back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// Reads `timeout` from a request's query; `default` if there is none.
    pub(crate) fn from_query(query: Option<&str>, default: Duration) -> Self {
        let asked = query
            .unwrap_or_default()
            .split('&')
            .find_map(|pair| pair.strip_prefix("timeout="))
            .and_then(go_duration)
            .filter(|timeout| !timeout.is_zero())
            .unwrap_or(default)
            .min(LONGEST);
        Self::after(asked)
    }

    pub(crate) fn after(timeout: Duration) -> Self {
        let margin = (timeout / 20).min(LARGEST_MARGIN);
        let now = Instant::now();
        Self(now.checked_add(timeout - margin).unwrap_or(now))
    }

    pub(crate) fn instant(self) -> Instant {
        self.0
    }

    pub(crate) fn has_passed(self) -> bool {
        Instant::now() >= self.0
    }
}

/// `10s`, `1m0s`, `500ms`, `1h30m`, `1.5s`: what Go's `Duration.String` writes and `ParseDuration`
/// reads, signs aside.
fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    if rest == "0" {
        return Some(total);
    }
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let amount: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ns" => 1e-9,
            "us" | "µs" | "%C2%B5s" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        rest = &rest[letters..];
        total = total.checked_add(Duration::try_from_secs_f64(amount * unit).ok()?)?;
    }
    Some(total)
}

const LONGEST: Duration = Duration::from_secs(30);
const LARGEST_MARGIN: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read() {
        for (text, expected) in [
            ("10s", Some(10_000)),
            ("1m0s", Some(60_000)),
            ("500ms", Some(500)),
            ("1h30m", Some(5_400_000)),
            ("1.5s", Some(1_500)),
            ("0", Some(0)),
            ("", None),
            ("10", None),
            ("s", None),
            ("-1s", None),
            ("10 s", None),
            ("99999999999999999999h", None),
        ] {
            assert_eq!(
                go_duration(text),
                expected.map(Duration::from_millis),
                "{text}"
            );
        }
    }

    #[test]
    fn the_margin_leaves_most_of_a_short_timeout() {
        let before = Instant::now();
        let deadline = Deadline::from_query(Some("a=b&timeout=1s"), Duration::from_secs(10));
        let left = deadline.instant() - before;
        assert!(left >= Duration::from_millis(950) && left < Duration::from_secs(1));
    }

    #[test]
    fn an_unreadable_timeout_is_the_default() {
        let before = Instant::now();
        let deadline = Deadline::from_query(Some("timeout=soon"), Duration::from_secs(10));
        assert!(deadline.instant() - before > Duration::from_secs(9));
    }
}
