//! What counts as a public SSH key: its form alone.
//!
//! A key ends up in a cloud-init document and in `authorized_keys`, so the form is what
//! keeps a hostile "key" from becoming another line, another user or a command. Nothing
//! deeper is checked: whether the bytes are a usable key is sshd's to say.

/// One line of `authorized_keys` without options: type, base64, and perhaps a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(String);

/// What a text of one or more lines holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyLines {
    /// The lines that are keys, at most [`MOST_KEYS`] of them.
    pub keys: Vec<PublicKey>,
    /// How many lines are not, or are too many.
    pub rejected: usize,
}

impl PublicKey {
    /// Accepts a line by its form.
    pub fn parse(line: &str) -> Option<Self> {
        if line.len() > LONGEST_KEY || line.chars().any(char::is_control) {
            return None;
        }
        let mut words = line.split_ascii_whitespace();
        let kind = words.next()?;
        let blob = words.next()?;
        let blob = blob.trim_end_matches('=');
        let is_base64 = !blob.is_empty()
            && blob
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'));
        (KEY_TYPES.contains(&kind) && is_base64).then(|| Self(line.trim().to_owned()))
    }

    /// The line.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl KeyLines {
    /// Sorts the lines of a text into keys and others. Empty lines count as neither.
    pub fn parse(text: &str) -> Self {
        let mut lines = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            match PublicKey::parse(line) {
                Some(key) if lines.keys.len() < MOST_KEYS => lines.keys.push(key),
                _ => lines.rejected += 1,
            }
        }
        lines
    }
}

const KEY_TYPES: [&str; 7] = [
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "sk-ssh-ed25519@openssh.com",
    "ssh-ed25519",
    "ssh-rsa",
];

const LONGEST_KEY: usize = 8 * 1024;

/// As many as a Reservation holds.
pub const MOST_KEYS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEXAMPLEKEY01 mario";

    #[test]
    fn several_lines_are_several_keys() {
        let lines = KeyLines::parse(&format!("{KEY}\n\n  {KEY}\r\n"));
        assert_eq!((lines.keys.len(), lines.rejected), (2, 0));
        assert_eq!(lines.keys[1].as_str(), KEY);
    }

    #[test]
    fn what_could_become_another_line_of_the_document_is_dropped() {
        for text in [
            "- name: evil",
            "#cloud-config",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            "command=\"rm -rf /\" ssh-ed25519 AAAA",
            "ssh-ed25519",
            "ssh-ed25519 =",
            "ssh-ed25519 AA\u{7}AA",
            "ssh-ed25519 AA\"AA",
            "ssh-dss AAAA",
            &format!("ssh-rsa {}", "A".repeat(9000)),
        ] {
            let lines = KeyLines::parse(text);
            assert_eq!((lines.keys.len(), lines.rejected), (0, 1), "{text}");
        }
    }

    #[test]
    fn no_more_keys_are_kept_than_a_reservation_holds() {
        let lines = KeyLines::parse(&format!("{KEY}\n").repeat(20));
        assert_eq!((lines.keys.len(), lines.rejected), (16, 4));
    }
}
