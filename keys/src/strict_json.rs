//! JSON as RFC 8259 wants it and as attackers do not: no duplicate members, a depth limit.
//!
//! Relies on `serde_json` for syntax, UTF-8, lone surrogates and numbers that are not finite, all of which
//! it refuses. Guarantees that two readers of the same text cannot disagree about which of two members
//! counts (RFC 7515 §4, RFC 7517 §4, RFC 7519 §4: member names are unique).

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Why a text was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StrictJsonError {
    /// Not JSON at all, or something after it.
    #[error("not valid JSON (line {line}, column {column})")]
    Syntax {
        /// Line of the fault, from 1.
        line: usize,
        /// Column of the fault, from 1.
        column: usize,
    },
    /// A member name appears twice in one object.
    #[error("member \"{}\" appears twice in one object", member.escape_debug())]
    DuplicateMember {
        /// The name, cut to a bounded length.
        member: String,
    },
    /// Objects and arrays are nested too deeply.
    #[error("objects and arrays are nested more than {max_depth} deep")]
    TooDeep {
        /// The limit.
        max_depth: usize,
    },
}

impl StrictJsonError {
    /// A stable code for logs and problem details.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "json.syntax",
            Self::DuplicateMember { .. } => "json.duplicate_member",
            Self::TooDeep { .. } => "json.too_deep",
        }
    }
}

/// Parses exactly one JSON value, refusing duplicate members at every depth and more than `max_depth`
/// nested objects and arrays (never more than 127, whatever is asked for).
///
/// ```
/// use waxseal_keys::strict_json;
///
/// assert!(strict_json::from_slice(br#"{"a":{"b":1}}"#, 2).is_ok());
/// assert!(strict_json::from_slice(br#"{"a":{"b":1,"b":2}}"#, 2).is_err());
/// assert!(strict_json::from_slice(br#"{"a":{"b":{}}}"#, 2).is_err());
/// ```
pub fn from_slice(bytes: &[u8], max_depth: usize) -> Result<Value, StrictJsonError> {
    let refusal = Cell::new(None);
    let seed = Strict { depth_left: max_depth, max_depth, refusal: &refusal };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let parsed = seed.deserialize(&mut deserializer).and_then(|value| {
        deserializer.end()?;
        Ok(value)
    });
    parsed.map_err(|error| {
        refusal
            .take()
            .unwrap_or_else(|| StrictJsonError::Syntax { line: error.line(), column: error.column() })
    })
}

/// As [`from_slice`], for a text whose outermost value must be an object; `None` if it is another value.
pub fn parse_object(bytes: &[u8], max_depth: usize) -> Result<Option<Map<String, Value>>, StrictJsonError> {
    Ok(match from_slice(bytes, max_depth)? {
        Value::Object(members) => Some(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
    })
}

#[derive(Clone, Copy)]
struct Strict<'a> {
    depth_left: usize,
    max_depth: usize,
    refusal: &'a Cell<Option<StrictJsonError>>,
}

impl Strict<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left, ..self }),
            None => Err(self.refuse(StrictJsonError::TooDeep { max_depth: self.max_depth })),
        }
    }

    /// Remembers the reason; serde's own error only carries it out as text.
    fn refuse<E: serde::de::Error>(self, reason: StrictJsonError) -> E {
        self.refusal.set(Some(reason));
        E::custom("refused")
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number that is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if map.contains_key(&name) {
                let member = name.chars().take(MAX_REPORTED_NAME).collect();
                return Err(self.refuse(StrictJsonError::DuplicateMember { member }));
            }
            map.insert(name, members.next_value_seed(inner)?);
        }
        Ok(Value::Object(map))
    }
}

/// A hostile name must not fill a log line.
const MAX_REPORTED_NAME: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_serde_json_on_honest_text() {
        let text = br#" {"a":[1,-2,0.5,1e3,true,null,"\u00e9\ud83d\ude00"],"b":{"a":{}}} "#;
        assert_eq!(from_slice(text, 8).unwrap(), serde_json::from_slice::<Value>(text).unwrap());
    }

    #[test]
    fn duplicates_are_refused_at_every_depth_and_however_spelt() {
        for text in [r#"{"a":1,"a":1}"#, r#"[{"x":[{"a":1,"a":2}]}]"#, r#"{"a":1,"\u0061":2}"#] {
            let error = from_slice(text.as_bytes(), 8).unwrap_err();
            assert_eq!(error, StrictJsonError::DuplicateMember { member: "a".into() }, "{text}");
        }
    }

    #[test]
    fn depth_counts_objects_and_arrays() {
        assert!(from_slice(b"1", 0).is_ok());
        assert!(from_slice(b"[[{}]]", 3).is_ok());
        assert_eq!(from_slice(b"[[{}]]", 2).unwrap_err(), StrictJsonError::TooDeep { max_depth: 2 });
        assert!(from_slice("[".repeat(100_000).as_bytes(), usize::MAX).is_err());
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            &b"{} {}"[..],
            b"{\"a\":1,}",
            b"\xef\xbb\xbf{}",
            b"\"\xff\"",
            b"\"\\ud800\"",
            b"1e999",
            b"",
            b"{\"a\":NaN}",
        ] {
            assert_eq!(from_slice(text, 8).unwrap_err().code(), "json.syntax", "{text:?}");
        }
    }

    #[test]
    fn only_objects_are_objects() {
        assert_eq!(parse_object(b"[]", 4).unwrap(), None);
        assert!(parse_object(b"{}", 4).unwrap().is_some());
    }
}
