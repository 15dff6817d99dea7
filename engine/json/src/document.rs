//! A parsed message and a cursor over it.

use std::fmt;
use std::mem;

use simd_json::{Node, StaticNode, Tape};

/// A parsed message. Dropping it gives the tape back to its parser.
pub struct Document<'a> {
    bytes: &'a [u8],
    /// Offsets of all punctuation, opening quotes, numbers and words.
    structural_indexes: &'a [u32],
    tape: Tape<'a>,
    home: &'a mut Tape<'static>,
}

impl<'a> Document<'a> {
    pub(crate) fn new(
        bytes: &'a [u8],
        structural_indexes: &'a [u32],
        tape: Tape<'a>,
        home: &'a mut Tape<'static>,
    ) -> Self {
        Self { bytes, structural_indexes, tape, home }
    }

    /// The outermost value.
    #[must_use]
    pub fn root(&self) -> Value<'_> {
        Value { document: self, at: 0 }
    }

    /// Byte offset of the value or key at a position of the tape. Cold: it counts from the start.
    #[cold]
    fn offset_of(&self, at: usize) -> usize {
        // Each structural byte but these is one node of the tape, in the same order.
        let mut starts = self.structural_indexes.iter().filter_map(|&index| {
            let index = usize::try_from(index).ok()?;
            let byte = self.bytes.get(index)?;
            (!matches!(byte, b'}' | b']' | b',' | b':')).then_some(index)
        });
        starts.nth(at).unwrap_or(self.bytes.len())
    }
}

impl Drop for Document<'_> {
    fn drop(&mut self) {
        *self.home = mem::replace(&mut self.tape, Tape(Vec::new())).reset();
    }
}

impl fmt::Debug for Document<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document")
            .field("bytes", &self.bytes.len())
            .field("nodes", &self.tape.0.len())
            .finish_non_exhaustive()
    }
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// Any number
    Number,
    /// `"…"`
    String,
    /// `[…]`
    Array,
    /// `{…}`
    Object,
}

/// One value of a message.
#[derive(Clone, Copy)]
pub struct Value<'d> {
    document: &'d Document<'d>,
    /// Its position on the tape.
    at: usize,
}

impl<'d> Value<'d> {
    fn node(self) -> Node<'d> {
        self.document.tape.0.get(self.at).copied().unwrap_or(Node::Static(StaticNode::Null))
    }

    /// Nodes of the tape that it takes.
    fn node_count(self) -> usize {
        match self.node() {
            Node::Object { count, .. } | Node::Array { count, .. } => count + 1,
            Node::String(_) | Node::Static(_) => 1,
        }
    }

    /// What it is.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self.node() {
            Node::Object { .. } => Kind::Object,
            Node::Array { .. } => Kind::Array,
            Node::String(_) => Kind::String,
            Node::Static(StaticNode::Null) => Kind::Null,
            Node::Static(StaticNode::Bool(_)) => Kind::Bool,
            Node::Static(_) => Kind::Number,
        }
    }

    /// Byte offset of its first byte in the message. For errors: it counts from the start.
    #[must_use]
    pub fn offset(self) -> usize {
        self.document.offset_of(self.at)
    }

    /// The text of a string, unescaped.
    #[must_use]
    pub fn as_str(self) -> Option<&'d str> {
        match self.node() {
            Node::String(text) => Some(text),
            _ => None,
        }
    }

    /// An integer from 0 to 2^64 − 1.
    #[must_use]
    pub fn as_u64(self) -> Option<u64> {
        match self.node() {
            Node::Static(StaticNode::U64(value)) => Some(value),
            Node::Static(StaticNode::I64(value)) => u64::try_from(value).ok(),
            _ => None,
        }
    }

    /// An integer from −2^63 to 2^63 − 1.
    #[must_use]
    pub fn as_i64(self) -> Option<i64> {
        match self.node() {
            Node::Static(StaticNode::U64(value)) => i64::try_from(value).ok(),
            Node::Static(StaticNode::I64(value)) => Some(value),
            _ => None,
        }
    }

    /// `true` or `false`.
    #[must_use]
    pub fn as_bool(self) -> Option<bool> {
        match self.node() {
            Node::Static(StaticNode::Bool(value)) => Some(value),
            _ => None,
        }
    }

    /// Whether it is `null`.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.kind() == Kind::Null
    }

    /// The fields of an object, in the message's order.
    #[must_use]
    pub fn as_object(self) -> Option<Object<'d>> {
        match self.node() {
            Node::Object { len, .. } => {
                Some(Object { document: self.document, at: self.at + 1, left: len })
            }
            _ => None,
        }
    }

    /// The elements of an array.
    #[must_use]
    pub fn as_array(self) -> Option<Array<'d>> {
        match self.node() {
            Node::Array { len, .. } => {
                Some(Array { document: self.document, at: self.at + 1, left: len })
            }
            _ => None,
        }
    }

    /// The first field of that name, where this is an object that has one.
    #[must_use]
    pub fn field(self, name: &str) -> Option<Value<'d>> {
        self.as_object()?.find(|&(key, _)| key == name).map(|(_, value)| value)
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Value").field("at", &self.at).field("node", &self.node()).finish()
    }
}

/// Iterator over an object's fields: name, unescaped, and value. Names may repeat.
#[derive(Debug, Clone)]
pub struct Object<'d> {
    document: &'d Document<'d>,
    at: usize,
    left: usize,
}

impl<'d> Iterator for Object<'d> {
    type Item = (&'d str, Value<'d>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let key = Value { document: self.document, at: self.at }.as_str()?;
        let value = Value { document: self.document, at: self.at + 1 };
        self.at += 1 + value.node_count();
        Some((key, value))
    }
}

/// Iterator over an array's elements.
#[derive(Debug, Clone)]
pub struct Array<'d> {
    document: &'d Document<'d>,
    at: usize,
    left: usize,
}

impl Array<'_> {
    /// Elements left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.left
    }

    /// Whether no element is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }
}

impl<'d> Iterator for Array<'d> {
    type Item = Value<'d>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let value = Value { document: self.document, at: self.at };
        self.at += value.node_count();
        Some(value)
    }
}
