//! A tape as the text that serde_json would write.

use super::{Item, Node};
use crate::envelope::reader::is_plain;

impl Item<'_> {
    /// Appends it.
    pub(crate) fn write(self, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        match self.node() {
            Node::Null => out.extend_from_slice(b"null"),
            Node::Bool(true) => out.extend_from_slice(b"true"),
            Node::Bool(false) => out.extend_from_slice(b"false"),
            Node::Number(number) => serde_json::to_writer(out, number)?,
            Node::Borrowed(_) | Node::Copied { .. } => {
                write_text(self.text().unwrap_or_default(), out)?;
            }
            Node::Array { .. } => {
                out.push(b'[');
                for (index, element) in self.within().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    element.write(out)?;
                }
                out.push(b']');
            }
            Node::Object { .. } => {
                out.push(b'{');
                for (index, (name, value)) in self.fields().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    write_text(name, out)?;
                    out.push(b':');
                    value.write(out)?;
                }
                out.push(b'}');
            }
        }
        Ok(())
    }
}

/// Appends a string with its quotes.
pub(crate) fn write_text(text: &str, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    if !is_plain(text) {
        return serde_json::to_writer(out, text);
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
    Ok(())
}
