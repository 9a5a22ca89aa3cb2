//! The body of a request whose key consists of fields: an object with only those fields. The
//! guest receives it instead of the client's body, so a key cannot omit a field that the guest
//! reads: the guest does not see such a field.

use std::collections::BTreeMap;

/// An object under construction: canonical JSON texts by member name, nested.
#[derive(Default)]
pub(super) struct Projection<'a>(BTreeMap<&'a str, Node<'a>>);

enum Node<'a> {
    Value(Vec<u8>),
    Object(Projection<'a>),
}

impl<'a> Projection<'a> {
    /// Inserts `value` at the path `names`. Plans with overlapping fields are refused when they
    /// are compiled, so nothing is ever overwritten.
    pub(super) fn insert(&mut self, names: &'a [String], value: Vec<u8>) {
        match names {
            [] => {}
            [name] => {
                self.0.insert(name, Node::Value(value));
            }
            [name, rest @ ..] => {
                let below = self.0.entry(name).or_insert_with(|| Node::Object(Self::default()));
                if let Node::Object(object) = below {
                    object.insert(rest, value);
                }
            }
        }
    }

    /// Appends the object's canonical text to `out`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (index, (name, node)) in self.0.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.extend_from_slice(serde_json::Value::from(*name).to_string().as_bytes());
            out.push(b':');
            match node {
                Node::Value(value) => out.extend_from_slice(value),
                Node::Object(object) => object.write(out),
            }
        }
        out.push(b'}');
    }
}
