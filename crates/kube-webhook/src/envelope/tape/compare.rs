//! Whether two values say the same: the order of an object's fields aside, and however their texts
//! were spelled.

use super::{Item, Node, Tape};

impl PartialEq for Tape<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.root() == other.root()
    }
}

impl PartialEq for Item<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.is_laid_out_as(*other) || self.says_what(*other)
    }
}

impl<'t> Item<'t> {
    /// Whether both are laid out alike, as they most often are when the same type wrote both: then
    /// their strings lie alike in the tapes' texts, too, and are compared all at once.
    fn is_laid_out_as(self, other: Self) -> bool {
        let [own, others] = [self, other].map(Self::nodes);
        let [own_at, other_at] = [self.at, other.at];
        let is_alike = |(own, other): (&Node<'_>, &Node<'_>)| match (own, other) {
            (Node::Null, Node::Null) => true,
            (Node::Bool(own), Node::Bool(other)) => own == other,
            (Node::Number(own), Node::Number(other)) => own == other,
            (Node::Borrowed(own), Node::Borrowed(other)) => own == other,
            (
                Node::Copied { start, end },
                Node::Copied {
                    start: other_start,
                    end: other_end,
                },
            ) => end - start == other_end - other_start,
            (Node::Array { end }, Node::Array { end: other_end })
            | (Node::Object { end }, Node::Object { end: other_end }) => {
                end - own_at == other_end - other_at
            }
            _ => false,
        };
        own.len() == others.len()
            && own.iter().zip(others).all(is_alike)
            && self.copied() == other.copied()
    }

    /// All its strings that aren't borrowed, one after the other.
    fn copied(self) -> &'t str {
        let mut strings = self.nodes().iter().filter_map(|node| match node {
            Node::Copied { start, end } => Some((*start, *end)),
            _ => None,
        });
        let Some((start, end)) = strings.next() else {
            return "";
        };
        let (_, end) = strings.next_back().unwrap_or((start, end));
        &self.tape.text[start..end]
    }

    /// Whether both say the same: the order of fields aside, if none is there twice.
    fn says_what(self, other: Self) -> bool {
        match (self.node(), other.node()) {
            (Node::Array { .. }, Node::Array { .. }) => {
                let [mut own, mut others] = [self, other].map(Self::within);
                loop {
                    match (own.next(), others.next()) {
                        (None, None) => return true,
                        (Some(own), Some(other)) if own.says_what(other) => {}
                        _ => return false,
                    }
                }
            }
            (Node::Object { .. }, Node::Object { .. }) => self.has_fields_of(other),
            _ => self.is_same_leaf(other),
        }
    }

    fn has_fields_of(self, other: Self) -> bool {
        let mut others = [("", other); FEW];
        let mut count = 0;
        for field in other.fields() {
            if count == FEW {
                return self.has_sorted_fields_of(other);
            }
            others[count] = field;
            count += 1;
        }
        let others = &others[..count];
        let mut found = 0_u32;
        for (name, value) in self.fields() {
            match others.iter().position(|(other, _)| *other == name) {
                Some(index) if found & (1 << index) == 0 && value.says_what(others[index].1) => {
                    found |= 1 << index;
                }
                _ => return false,
            }
        }
        found.count_ones() as usize == count
    }

    fn has_sorted_fields_of(self, other: Self) -> bool {
        let [own, others] = [self, other].map(Self::sorted_fields);
        own.len() == others.len()
            && own.windows(2).all(|pair| pair[0].0 != pair[1].0)
            && own
                .iter()
                .zip(others)
                .all(|((name, own), (other_name, other))| {
                    *name == other_name && own.says_what(other)
                })
    }

    fn sorted_fields(self) -> Vec<(&'t str, Item<'t>)> {
        let mut fields: Vec<_> = self.fields().collect();
        fields.sort_unstable_by_key(|(name, _)| *name);
        fields
    }

    fn is_same_leaf(self, other: Self) -> bool {
        match (self.node(), other.node()) {
            (Node::Null, Node::Null) => true,
            (Node::Bool(own), Node::Bool(other)) => own == other,
            (Node::Number(own), Node::Number(other)) => own == other,
            _ => self.text().is_some() && self.text() == other.text(),
        }
    }
}

/// Beyond so many fields it is worth it to sort them. No more than a `u32` has bits.
const FEW: usize = 16;
