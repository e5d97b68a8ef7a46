//! The types of events that the senders know.

/// A type that one of the senders sends, whether we act on it or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventType(&'static str);

impl EventType {
    /// A booking begins.
    pub const START: Self = Self("EVENT_START");

    /// A booking ends.
    pub const END: Self = Self("EVENT_END");

    /// What any other type is called where only known ones may stand.
    pub const UNKNOWN: &str = "unknown";

    /// Exactly as it is sent: no other case, no blanks.
    pub fn parse(text: &str) -> Option<Self> {
        KNOWN.into_iter().find(|known| *known == text).map(Self)
    }

    /// Its text.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

const KNOWN: [&str; 10] = [
    "ALL",
    "EVENT_CREATED",
    "EVENT_DELETED",
    "EVENT_END",
    "EVENT_START",
    "EVENT_UPDATED",
    "RESOURCE_CREATED",
    "RESOURCE_DELETED",
    "RESOURCE_STATUS_CHANGED",
    "RESOURCE_UPDATED",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_known_by_its_exact_text() {
        assert_eq!(
            EventType::parse("EVENT_END").map(EventType::as_str),
            Some("EVENT_END")
        );
        for text in ["event_end", "EVENT_END ", "", "FOO"] {
            assert_eq!(EventType::parse(text), None);
        }
    }
}
