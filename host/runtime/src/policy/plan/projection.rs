//! The body of a request whose key is made of fields: an object of those fields and nothing
//! else. The guest receives it in place of the client's, so a key of fields cannot be too
//! small: what is not in it, the guest does not see.

use std::collections::BTreeMap;

/// An object under construction: canonical JSON texts by the names that lead to them.
#[derive(Default)]
pub(super) struct Projection<'a>(BTreeMap<&'a str, Node<'a>>);

enum Node<'a> {
    Value(Vec<u8>),
    Object(Projection<'a>),
}

impl<'a> Projection<'a> {
    /// Puts `value` where `names` lead. Plans whose fields lead through one another are
    /// refused when they are compiled, so a place is never taken.
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

    /// The canonical text.
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
