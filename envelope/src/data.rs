//! What an event says: JSON, carried byte for byte, or bytes with a media type.
//!
//! Relies on serde_json for the grammar. Guarantees that what [`Data::json`] and [`Data::binary`] accept can be
//! parsed by any receiver in exactly one way: no duplicate members at any depth, no lone surrogates, no numbers
//! that are not finite, bounded depth and size.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::json::Text;

/// The content of an event.
#[derive(Clone)]
pub enum Data {
    /// JSON, in the publisher's own bytes. Make it with [`Data::json`].
    Json(Box<RawValue>),
    /// Anything else. Make it with [`Data::binary`].
    Binary {
        /// Its media type.
        content_type: String,
        /// The bytes.
        bytes: Vec<u8>,
    },
}

impl Data {
    /// Takes JSON text, byte for byte except for white space around it, if every receiver can parse it.
    ///
    /// ```
    /// use waxseal_envelope::Data;
    ///
    /// let data = Data::json(br#"{"order": "991", "total": 12.50}"#)?;
    /// let Data::Json(text) = &data else { unreachable!() };
    /// assert_eq!(text.get(), r#"{"order": "991", "total": 12.50}"#);
    ///
    /// let refused = Data::json(br#"{"items":[{"sku":1},{"sku":2,"sku":3}]}"#).unwrap_err();
    /// assert_eq!(refused.to_string(), "member `sku` appears twice in the object at /items/1");
    /// # Ok::<(), waxseal_envelope::DataError>(())
    /// ```
    pub fn json(text: &[u8]) -> Result<Self, DataError> {
        check_length(text.len())?;
        let text = str::from_utf8(text).map_err(|error| DataError::Utf8 { at: error.valid_up_to() })?;
        check_json(text)?;
        let raw = RawValue::from_string(text.to_owned())
            .map_err(|error| DataError::Syntax { detail: error.to_string() })?;
        Ok(Self::Json(raw))
    }

    /// As [`Data::json`], of a part of JSON that has been read: it need not be parsed once more to be taken.
    ///
    /// # Errors
    /// [`DataError`] says why not every receiver can parse it.
    pub fn json_value(value: &RawValue) -> Result<Self, DataError> {
        check_length(value.get().len())?;
        check_json(value.get())?;
        Ok(Self::Json(value.to_owned()))
    }

    /// Takes bytes that are not JSON, with their media type.
    ///
    /// ```
    /// use waxseal_envelope::Data;
    ///
    /// assert!(Data::binary("image/png", vec![0x89, b'P', b'N', b'G']).is_ok());
    /// assert!(Data::binary("", vec![]).is_err());
    /// ```
    pub fn binary(content_type: &str, bytes: Vec<u8>) -> Result<Self, DataError> {
        if bytes.len() > MAX_BINARY {
            return Err(DataError::BinaryTooLong { found: bytes.len(), limit: MAX_BINARY });
        }
        if !is_content_type(content_type) {
            return Err(DataError::ContentType);
        }
        Ok(Self::Binary { content_type: content_type.to_owned(), bytes })
    }
}

fn check_length(found: usize) -> Result<(), DataError> {
    if found > MAX_JSON { Err(DataError::JsonTooLong { found, limit: MAX_JSON }) } else { Ok(()) }
}

fn check_json(text: &str) -> Result<(), DataError> {
    let finding = RefCell::default();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let scan = Scan { depth: 0, finding: &finding };
    let outcome = scan.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    outcome.map_err(|error| match finding.take().into_error() {
        Some(refused) => refused,
        None => DataError::Syntax { detail: error.to_string() },
    })
}

/// Shows the kind and size, never the content.
impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(text) => write!(f, "Json({} bytes)", text.get().len()),
            Self::Binary { content_type, bytes } => {
                write!(f, "Binary({content_type:?}, {} bytes)", bytes.len())
            }
        }
    }
}

/// Equal if the bytes are: JSON is compared as text.
impl PartialEq for Data {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Json(a), Self::Json(b)) => a.get() == b.get(),
            (Self::Binary { content_type: a, bytes: x }, Self::Binary { content_type: b, bytes: y }) => {
                a == b && x == y
            }
            (Self::Json(_), Self::Binary { .. }) | (Self::Binary { .. }, Self::Json(_)) => false,
        }
    }
}

impl Eq for Data {}

/// Why content cannot be published: what is wrong with it, and where.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum DataError {
    /// Longer than JSON may be.
    #[error("the JSON is {found} bytes long, at most {limit} are allowed")]
    JsonTooLong {
        /// Its length.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// Longer than other content may be.
    #[error("the content is {found} bytes long, at most {limit} are allowed")]
    BinaryTooLong {
        /// Its length.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// Not UTF-8.
    #[error("the JSON is not UTF-8 from byte {at} on")]
    Utf8 {
        /// Offset of the first wrong byte.
        at: usize,
    },
    /// Not JSON, or JSON that receivers could not parse: a lone surrogate, a number that is not finite.
    #[error("not valid JSON: {detail}")]
    Syntax {
        /// What is wrong, with line and column.
        detail: String,
    },
    /// A member appears twice in one object.
    #[error("member `{member}` appears twice in the object at {}", pointer_text(pointer))]
    Duplicate {
        /// Its name, shortened.
        member: String,
        /// The object, as a JSON pointer (RFC 6901), shortened.
        pointer: String,
    },
    /// Objects and arrays nested too deep.
    #[error("nested more than {limit} levels deep at {}", pointer_text(pointer))]
    TooDeep {
        /// The limit.
        limit: usize,
        /// The place, as a JSON pointer (RFC 6901), shortened.
        pointer: String,
    },
    /// Not a media type.
    #[error("the content type must be a media type of at most {MAX_CONTENT_TYPE} visible ASCII characters")]
    ContentType,
}

impl DataError {
    /// Stable name of the reason, for problem details and documents.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::JsonTooLong { .. } | Self::BinaryTooLong { .. } => "data.too_long",
            Self::Utf8 { .. } => "data.utf8",
            Self::Syntax { .. } => "data.syntax",
            Self::Duplicate { .. } => "data.duplicate",
            Self::TooDeep { .. } => "data.too_deep",
            Self::ContentType => "data.content_type",
        }
    }
}

/// `type/subtype` and perhaps parameters: visible ASCII and single spaces, enough to carry it safely.
pub(crate) fn is_content_type(text: &str) -> bool {
    text.len() <= MAX_CONTENT_TYPE
        && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
        && text.split_once('/').is_some_and(|(kind, rest)| {
            !kind.is_empty()
                && kind.bytes().all(is_media_token)
                && rest.bytes().next().is_some_and(is_media_token)
        })
}

fn is_media_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$&-^_.+*".contains(&byte)
}

fn pointer_text(pointer: &str) -> &str {
    if pointer.is_empty() { "the top" } else { pointer }
}

/// What the scan found, and the way back up from there.
#[derive(Default)]
struct Finding {
    kind: Option<Kind>,
    path: Vec<String>,
}

enum Kind {
    Duplicate(String),
    TooDeep,
}

impl Finding {
    fn into_error(self) -> Option<DataError> {
        let pointer = self.path.iter().rev().take(16).flat_map(|step| ["/", step]).collect();
        self.kind.map(|kind| match kind {
            Kind::Duplicate(member) => DataError::Duplicate { member, pointer },
            Kind::TooDeep => DataError::TooDeep { limit: MAX_DEPTH, pointer },
        })
    }
}

/// Reads a value without keeping it.
#[derive(Clone, Copy)]
struct Scan<'f> {
    depth: usize,
    finding: &'f RefCell<Finding>,
}

impl Scan<'_> {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(self.refuse(Kind::TooDeep));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }

    fn refuse<E: de::Error>(self, kind: Kind) -> E {
        self.finding.borrow_mut().kind = Some(kind);
        E::custom("refused")
    }

    /// Notes the step to the place of a finding while the error travels up.
    fn step<E>(self, error: E, step: impl FnOnce() -> String) -> E {
        let mut finding = self.finding.borrow_mut();
        if finding.kind.is_some() {
            finding.path.push(step());
        }
        error
    }
}

impl<'de> DeserializeSeed<'de> for Scan<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scan<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(()) // serde_json refuses what overflows a double
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(()) // serde_json refuses lone surrogates
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut index = 0_usize;
        while items
            .next_element_seed(inner)
            .map_err(|error| self.step(error, || index.to_string()))?
            .is_some()
        {
            index += 1;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut seen = Seen::default();
        while let Some(name) = members.next_key::<Text<'de>>()? {
            if seen.contains(&name) {
                return Err(self.refuse(Kind::Duplicate(name.shortened())));
            }
            members.next_value_seed(inner).map_err(|error| {
                self.step(error, || name.shortened().replace('~', "~0").replace('/', "~1"))
            })?;
            seen.insert(name);
        }
        Ok(())
    }
}

/// Member names of one object: a list while it is short, a set when it is long.
#[derive(Default)]
pub(crate) struct Seen<'a> {
    few: Vec<Text<'a>>,
    many: HashSet<Text<'a>>,
}

impl<'a> Seen<'a> {
    pub(crate) fn contains(&self, name: &Text<'a>) -> bool {
        self.few.contains(name) || self.many.contains(name)
    }

    pub(crate) fn insert(&mut self, name: Text<'a>) {
        if self.few.len() < 12 {
            self.few.push(name);
        } else {
            self.many.insert(name);
        }
    }
}

/// 128 KiB of JSON are about 234 KB when signed and sealed: under a receiver's 256 KiB.
pub const MAX_JSON: usize = 128 * 1024;
/// 96 KiB become 128 KiB of base64 inside the claims.
pub const MAX_BINARY: usize = 96 * 1024;
/// Half of serde_json's own limit; other languages' parsers have lower ones than that.
pub const MAX_DEPTH: usize = 64;
/// Longest media type.
pub(crate) const MAX_CONTENT_TYPE: usize = 255;

#[cfg(test)]
mod tests;
