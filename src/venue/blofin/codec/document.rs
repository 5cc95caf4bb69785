//! A parsed JSON document in buffers that are kept: the general way in.
//!
//! `Document` owns the copy that simd-json rewrites in place and the tape it fills; after the
//! first frames of a size nothing is allocated. `Element` reads the tape without recursion.
//! A key that stands twice makes a document that is not believed.

use super::number;
use crate::model::{Decimal, Reason};
use simd_json::{Buffers, ErrorType, INPUT_PADDING, Node, StaticNode, Tape};

/// Deepest nesting that is read; the venue's deepest message has 4 levels.
const DEPTH_MAX: usize = 32;

/// Reused buffers of one reader.
pub struct Document {
    copy: Vec<u8>,
    buffers: Buffers,
    tape: Tape<'static>,
    limit_bytes: usize,
}

impl Document {
    /// A reader with room for `expected_bytes`, refusing anything longer than `limit_bytes`.
    pub fn new(expected_bytes: usize, limit_bytes: usize) -> Self {
        Document {
            copy: Vec::with_capacity(expected_bytes + INPUT_PADDING),
            buffers: Buffers::with_max_depth(expected_bytes, DEPTH_MAX),
            tape: Tape(Vec::with_capacity(expected_bytes / 4)),
            limit_bytes,
        }
    }

    /// What `visit` makes of the root of `bytes`. Refuses with `FrameTooLarge`, `FrameNotText` or
    /// `FrameNotJson` before `visit` sees anything.
    pub fn read<T>(
        &mut self,
        bytes: &[u8],
        visit: impl FnOnce(Element<'_>) -> Result<T, Reason>,
    ) -> Result<T, Reason> {
        if bytes.len() > self.limit_bytes {
            return Err(Reason::FrameTooLarge);
        }
        self.copy.clear();
        self.copy.extend_from_slice(bytes);
        self.copy.resize(bytes.len() + INPUT_PADDING, b' ');
        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let filled = simd_json::fill_tape_padded(&mut self.copy, bytes.len(), &mut self.buffers, &mut tape);
        let result = match filled {
            Ok(()) => visit(Element { nodes: &tape.0 }),
            Err(error) if matches!(error.error(), ErrorType::InvalidUtf8) => Err(Reason::FrameNotText),
            Err(_) => Err(Reason::FrameNotJson),
        };
        self.tape = tape.reset();
        result
    }
}

/// One value of the document: the first of `nodes`, with its content behind it.
#[derive(Clone, Copy)]
pub struct Element<'t> {
    nodes: &'t [Node<'t>],
}

impl<'t> Element<'t> {
    /// The text of a string.
    pub fn as_text(self) -> Option<&'t str> {
        match self.nodes.first()? {
            Node::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn is_null(self) -> bool {
        matches!(self.nodes.first(), None | Some(Node::Static(StaticNode::Null)))
    }

    pub fn is_object(self) -> bool {
        matches!(self.nodes.first(), Some(Node::Object { .. }))
    }

    pub fn is_array(self) -> bool {
        matches!(self.nodes.first(), Some(Node::Array { .. }))
    }

    /// Whether this is an object or array without content.
    pub fn is_empty(self) -> bool {
        matches!(
            self.nodes.first(),
            Some(Node::Object { len: 0, .. } | Node::Array { len: 0, .. })
        )
    }

    /// The nearest float of a number or of number text; `None` for anything else, and for floats
    /// that are not finite.
    pub fn as_f64(self) -> Option<f64> {
        match self.nodes.first()? {
            Node::String(text) => number::parse_f64(text.as_bytes()),
            Node::Static(StaticNode::F64(value)) => value.is_finite().then_some(*value),
            Node::Static(StaticNode::U64(value)) => Some(*value as f64),
            Node::Static(StaticNode::I64(value)) => Some(*value as f64),
            _ => None,
        }
    }

    /// The exact decimal of a number or of number text, at most 18 places.
    pub fn as_decimal(self) -> Option<Decimal> {
        let whole = |mantissa: i128| Some(Decimal { mantissa, scale: 0 });
        match self.nodes.first()? {
            Node::String(text) => Decimal::parse(text.as_bytes()),
            Node::Static(StaticNode::U64(value)) => whole(i128::from(*value)),
            Node::Static(StaticNode::I64(value)) => whole(i128::from(*value)),
            Node::Static(StaticNode::F64(value)) => {
                // The shortest text of a float is what the sender wrote, up to 15 digits.
                let mut text = arrayvec::ArrayString::<64>::new();
                std::fmt::Write::write_fmt(&mut text, format_args!("{value}")).ok()?;
                Decimal::parse(text.as_bytes())
            }
            _ => None,
        }
    }

    /// An unsigned integer, as a number or as digits in a string.
    pub fn as_u64(self) -> Option<u64> {
        match self.nodes.first()? {
            Node::String(text) => number::parse_u64(text.as_bytes()),
            Node::Static(StaticNode::U64(value)) => Some(*value),
            Node::Static(StaticNode::I64(value)) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// `true`, `false`, `"true"` or `"false"`.
    pub fn as_bool(self) -> Option<bool> {
        match self.nodes.first()? {
            Node::String("true") | Node::Static(StaticNode::Bool(true)) => Some(true),
            Node::String("false") | Node::Static(StaticNode::Bool(false)) => Some(false),
            _ => None,
        }
    }

    /// Whether a JSON number stands here rather than text.
    pub fn is_number(self) -> bool {
        matches!(
            self.nodes.first(),
            Some(Node::Static(
                StaticNode::U64(_) | StaticNode::I64(_) | StaticNode::F64(_)
            ))
        )
    }

    /// The elements of an array; nothing when it is not one.
    pub fn items(self) -> Items<'t> {
        match self.nodes.first() {
            Some(Node::Array { len, .. }) => Items {
                nodes: &self.nodes[1..],
                left: *len,
            },
            _ => Items { nodes: &[], left: 0 },
        }
    }

    /// Exactly `N` elements of an array; `None` when it is not one or has another length.
    pub fn exactly<const N: usize>(self) -> Option<[Element<'t>; N]> {
        let mut items = self.items();
        if items.left != N || !self.is_array() {
            return None;
        }
        let mut out = [self; N];
        for slot in &mut out {
            *slot = items.next()?;
        }
        Some(out)
    }

    /// The values of an object's `names`, in their order, absent or null ones `None`; other keys
    /// are passed over. `FieldMissing` when this is not an object, `FrameNotJson` when one of the
    /// names stands twice.
    pub fn fields<const N: usize>(self, names: &[&str; N]) -> Result<[Option<Element<'t>>; N], Reason> {
        let Some(Node::Object { len, .. }) = self.nodes.first() else {
            return Err(Reason::FieldMissing);
        };
        let mut found = [None; N];
        let mut seen = [false; N];
        let mut rest = &self.nodes[1..];
        for _ in 0..*len {
            let Some((Node::String(key), value)) = rest.split_first() else {
                return Err(Reason::FrameNotJson);
            };
            let element = Element { nodes: value };
            if let Some(at) = names.iter().position(|name| name == key) {
                if seen[at] {
                    return Err(Reason::FrameNotJson);
                }
                seen[at] = true;
                found[at] = (!element.is_null()).then_some(element);
            }
            rest = value.get(element.size()..).unwrap_or(&[]);
        }
        Ok(found)
    }

    /// Nodes that this value takes up.
    fn size(self) -> usize {
        match self.nodes.first() {
            Some(Node::Object { count, .. } | Node::Array { count, .. }) => 1 + count,
            _ => 1,
        }
    }
}

/// Iterator over an array.
pub struct Items<'t> {
    nodes: &'t [Node<'t>],
    left: usize,
}

impl<'t> Iterator for Items<'t> {
    type Item = Element<'t>;

    fn next(&mut self) -> Option<Element<'t>> {
        if self.left == 0 || self.nodes.is_empty() {
            return None;
        }
        let element = Element { nodes: self.nodes };
        self.left -= 1;
        self.nodes = self.nodes.get(element.size()..).unwrap_or(&[]);
        Some(element)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(text: &str, visit: impl FnOnce(Element<'_>) -> Result<T, Reason>) -> Result<T, Reason> {
        Document::new(64, 1 << 20).read(text.as_bytes(), visit)
    }

    #[test]
    fn nested_values_are_passed_over_and_found() {
        let found = read(
            r#"{"skip":{"a":[1,{"b":2}],"c":3},"x":"1.50","list":[[1,2],[3,4]],"y":7}"#,
            |root| {
                let [x, list, y, none] = root.fields(&["x", "list", "y", "none"])?;
                assert!(none.is_none());
                let second = list.and_then(|list| list.items().nth(1));
                let pair = second.and_then(|row| row.exactly::<2>()).expect("a pair");
                assert_eq!(pair[1].as_u64(), Some(4));
                Ok((x.and_then(Element::as_f64), y.and_then(Element::as_u64)))
            },
        );
        assert_eq!(found, Ok((Some(1.5), Some(7))));
    }

    #[test]
    fn a_key_that_stands_twice_is_refused() {
        assert_eq!(
            read(r#"{"a":1,"a":2}"#, |root| root.fields(&["a"]).map(|_| ())),
            Err(Reason::FrameNotJson)
        );
        assert_eq!(
            read(r#"{"a":null,"a":2}"#, |root| root.fields(&["a"]).map(|_| ())),
            Err(Reason::FrameNotJson)
        );
    }

    #[test]
    fn bad_text_depth_and_length_are_refused() {
        let visit = |_: Element<'_>| Ok(());
        let deep = "[".repeat(10_000) + &"]".repeat(10_000);
        assert_eq!(read(&deep, visit), Err(Reason::FrameNotJson));
        let mut document = Document::new(64, 1000);
        assert_eq!(
            document.read(b"{\"a\":\"\xff\"}", visit),
            Err(Reason::FrameNotText)
        );
        assert_eq!(document.read(&[b' '; 1001], visit), Err(Reason::FrameTooLarge));
        assert_eq!(document.read(b"", visit), Err(Reason::FrameNotJson));
        assert_eq!(document.read(b"{}", visit), Ok(()));
    }
}
