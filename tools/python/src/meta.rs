//! What a segment's schema says, made ready for look-ups by name. Guarantees: every field lies inside its record, so
//! that the addresses handed to numpy are inside frame and rows, whatever the schema claims. Needs: the text of the
//! segment. Does not: know a block's or a window's name beforehand; those of later engines appear by themselves.

use std::collections::HashMap;
use std::fmt;

use cobring_frame::{Field, Reader, RecordSchema, Schema};
use numpy::PyArrayDescr;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyTuple};

use crate::errors;

/// A name below a node.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Entry {
    /// A field of the frame, by its index in the schema.
    Field(usize),
    /// A block, by its index in [`Meta::nodes`].
    Node(usize),
}

/// A block of the frame: what its dotted names have in common.
#[derive(Debug, Default)]
pub(crate) struct Node {
    /// `candles.1s`; empty for the frame itself.
    pub(crate) path: String,
    entries: HashMap<String, Entry>,
    /// Names in the schema's order.
    pub(crate) names: Vec<String>,
    /// The window of that name.
    pub(crate) window: Option<usize>,
}

impl Node {
    pub(crate) fn entry(&self, name: &str) -> Option<Entry> {
        self.entries.get(name).copied()
    }
}

/// A window's row for numpy.
pub(crate) struct Window {
    pub(crate) name: String,
    pub(crate) rows_promised: u64,
    pub(crate) row: RecordSchema,
    /// Field of the frame that holds its cursor.
    pub(crate) cursor: Option<usize>,
    dtype: PyOnceLock<Py<PyArrayDescr>>,
}

/// A schema, ready for use.
#[derive(Debug)]
pub(crate) struct Meta {
    pub(crate) schema: Schema,
    /// The schema's text.
    pub(crate) text: String,
    /// Blocks; the first is the frame itself.
    pub(crate) nodes: Vec<Node>,
    pub(crate) windows: Vec<Window>,
    /// Fields that every `latest` looks at.
    pub(crate) score: Option<usize>,
    pub(crate) seq: Option<usize>,
    pub(crate) ts_recv: Option<usize>,
    pub(crate) trigger: Option<usize>,
}

impl Meta {
    /// Of a segment.
    pub(crate) fn of(py: Python<'_>, reader: &Reader) -> PyResult<Self> {
        let meta = Self::parse(py, reader.schema())?;
        let damaged = |what: String| {
            let path = reader.path().display();
            errors::mismatch(py, format!("{path}: schema and segment disagree: {what}"))
        };
        if meta.schema.frame.size_bytes != reader.frame_size_bytes() {
            let (found, wanted) = (meta.schema.frame.size_bytes, reader.frame_size_bytes());
            return Err(damaged(format!("frames of {found} and {wanted} bytes")));
        }
        if meta.windows.len() != reader.window_count() {
            let (found, wanted) = (meta.windows.len(), reader.window_count());
            return Err(damaged(format!("{found} and {wanted} windows")));
        }
        for (index, window) in meta.windows.iter().enumerate() {
            let held = reader.window(index);
            if window.name != held.name() || window.row.size_bytes != held.row_size_bytes() {
                return Err(damaged(format!("window {} and {}", window.name, held.name())));
            }
        }
        Ok(meta)
    }

    /// Of a schema's text.
    pub(crate) fn parse(py: Python<'_>, text: &str) -> PyResult<Self> {
        let damaged =
            |what: String| errors::mismatch(py, format!("the segment's schema is damaged: {what}"));
        let schema = Schema::from_json(text).map_err(|error| damaged(error.to_string()))?;
        let index = |name: &str| schema.frame.fields.iter().position(|field| field.name == name);
        let windows = schema.windows.iter().map(|window| Window {
            name: window.name.clone(),
            rows_promised: window.rows_promised,
            row: window.row.clone(),
            cursor: index(&format!("cursors.{}", window.name)),
            dtype: PyOnceLock::new(),
        });
        Ok(Self {
            nodes: tree(&schema),
            windows: windows.collect(),
            score: index("quality.score"),
            seq: index("seq"),
            ts_recv: index("times.ts_recv"),
            trigger: index("trigger"),
            text: text.to_owned(),
            schema,
        })
    }

    pub(crate) fn field(&self, index: usize) -> &Field {
        &self.schema.frame.fields[index]
    }

    /// The field of a dotted name.
    pub(crate) fn field_named(&self, name: &str) -> Option<&Field> {
        self.schema.frame.field(name)
    }

    /// A window by its name.
    pub(crate) fn window(&self, py: Python<'_>, name: &str) -> PyResult<usize> {
        self.windows.iter().position(|window| window.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.windows.iter().map(|window| window.name.as_str()).collect();
            let message = format!("the segment has no window {name}, it has {}", names.join(", "));
            errors::mismatch(py, message)
        })
    }
}

fn tree(schema: &Schema) -> Vec<Node> {
    let mut nodes = vec![Node::default()];
    for (index, field) in schema.frame.fields.iter().enumerate() {
        let (block, name) = field.name.rsplit_once('.').unwrap_or(("", &field.name));
        let node = node_of(&mut nodes, block);
        add(&mut nodes[node], name, Entry::Field(index));
    }
    for (index, window) in schema.windows.iter().enumerate() {
        let node = node_of(&mut nodes, &window.name);
        nodes[node].window = Some(index);
    }
    nodes
}

fn add(node: &mut Node, name: &str, entry: Entry) {
    if node.entries.insert(name.to_owned(), entry).is_none() {
        node.names.push(name.to_owned());
    }
}

/// The node of a dotted path, made where it is missing.
fn node_of(nodes: &mut Vec<Node>, path: &str) -> usize {
    let mut at = 0;
    let mut end = 0;
    for part in path.split('.').filter(|part| !part.is_empty()) {
        end += part.len() + usize::from(end > 0);
        at = match nodes[at].entry(part) {
            Some(Entry::Node(next)) => next,
            _ => {
                let next = nodes.len();
                nodes.push(Node { path: path[..end].to_owned(), ..Node::default() });
                add(&mut nodes[at], part, Entry::Node(next));
                next
            }
        };
    }
    at
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window")
            .field("name", &self.name)
            .field("row", &self.row)
            .finish_non_exhaustive()
    }
}

impl Window {
    /// The row as a structured dtype with the schema's own offsets.
    pub(crate) fn dtype<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyArrayDescr>> {
        let dtype = self.dtype.get_or_try_init(py, || {
            let fields = &self.row.fields;
            let formats = PyList::empty(py);
            for field in fields {
                formats.append((&field.dtype, PyTuple::new(py, &field.shape)?))?;
            }
            let row = PyDict::new(py);
            row.set_item("names", fields.iter().map(|f| f.name.as_str()).collect::<Vec<_>>())?;
            row.set_item("formats", formats)?;
            row.set_item("offsets", fields.iter().map(|f| f.offset).collect::<Vec<_>>())?;
            row.set_item("itemsize", self.row.size_bytes)?;
            PyResult::Ok(PyArrayDescr::new(py, row)?.unbind())
        })?;
        Ok(dtype.bind(py))
    }
}
