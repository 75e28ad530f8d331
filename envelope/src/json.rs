//! The few pieces of JSON reading that headers and claims share.
//!
//! Relies on serde_json for the grammar. Guarantees that strings are borrowed where they have no escapes, and that
//! an error names the member at fault without anybody looking into an error's text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A JSON string, borrowed from the input unless it contains escapes.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl Text<'_> {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn into_string(self) -> String {
        self.0.into_owned()
    }

    /// The text for an error message: at most 64 characters.
    pub(crate) fn shortened(&self) -> String {
        self.0.chars().take(64).collect()
    }
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}

/// Appends `"name":"value"` to an object that is being written, with a comma unless it is the first.
pub(crate) fn push_member(out: &mut Vec<u8>, name: &'static str, value: &str) {
    push_name(out, name);
    push_string(out, value);
}

/// Appends `"name":`; names are literals of this crate and need no escaping.
pub(crate) fn push_name(out: &mut Vec<u8>, name: &'static str) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends a JSON string.
pub(crate) fn push_string(out: &mut Vec<u8>, value: &str) {
    serde_json::to_writer(out, value).expect("a string serialises, and a Vec takes every byte");
}
