//! [`JwkSet`]: public keys, found by `kid`, parsed strictly from what strangers publish.
//!
//! Relies on `waxseal-keys` for the rules of a single key. Guarantees that a set never holds a private
//! or symmetric key, and that no two keys of a parsed set answer to the same `kid`: a key that we
//! cannot use is left out (RFC 7517 §5), a document that shows a lost secret or is ambiguous is refused whole.

use std::collections::HashSet;

use serde_json::{Map, Value};
use waxseal_keys::{Jwk, JwkError, strict_json};

use crate::JwkSetError;

/// A JWK Set of public keys (RFC 7517 §5), in document order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JwkSet {
    keys: Vec<Jwk>,
}

impl JwkSet {
    /// A set of own keys, in the order in which they will be published.
    pub fn new(keys: Vec<Jwk>) -> Self {
        Self { keys }
    }

    /// Parses a set that someone else published.
    ///
    /// ```
    /// use waxseal_jwks::{JwkSet, SetLimits};
    ///
    /// let document = br#"{"keys":[
    ///     {"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
    ///     {"kty":"unheard-of","kid":"b"}]}"#;
    /// let parsed = JwkSet::parse(document, &SetLimits::default())?;
    /// assert!(parsed.set.find("a").is_some());
    /// assert_eq!(parsed.ignored.len(), 1);
    /// # Ok::<_, waxseal_jwks::JwkSetError>(())
    /// ```
    pub fn parse(document: &[u8], limits: &SetLimits) -> Result<ParsedSet, JwkSetError> {
        let entries = entries(document, limits)?;
        let mut parsed = ParsedSet { set: Self::default(), ignored: Vec::new() };
        let mut kids = HashSet::new();
        for (index, entry) in entries.into_iter().enumerate() {
            refuse_secrets(index, &entry)?;
            match Jwk::from_value(&Value::Object(entry)) {
                Ok(key) => {
                    if let Some(kid) = kids.replace(effective_kid(&key)) {
                        return Err(JwkSetError::DuplicateKid { kid });
                    }
                    parsed.set.keys.push(key);
                }
                Err(reason) => parsed.ignored.push((index, reason)),
            }
        }
        Ok(parsed)
    }

    /// The keys, in document order.
    pub fn keys(&self) -> &[Jwk] {
        &self.keys
    }

    /// The key that answers to `kid`: the first whose `kid`, or whose thumbprint where it has none, equals it.
    pub fn find(&self, kid: &str) -> Option<&Jwk> {
        self.keys.iter().find(|key| effective_kid(key) == kid)
    }

    /// The document to publish: public members only, in a constant order.
    pub fn to_json(&self) -> String {
        let keys = self.keys.iter().map(Jwk::to_json).collect();
        Value::Object(Map::from_iter([("keys".to_owned(), Value::Array(keys))])).to_string()
    }
}

/// A parsed set, and what was left out of it.
#[derive(Debug)]
#[non_exhaustive]
pub struct ParsedSet {
    /// The usable keys.
    pub set: JwkSet,
    /// Position in the document and reason of every key that cannot be used.
    pub ignored: Vec<(usize, JwkError)>,
}

/// How large a set may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "two numbers that a caller sets; a third would be a new rule")]
pub struct SetLimits {
    /// Bytes of the document; 64 KiB by default.
    pub bytes: usize,
    /// Keys, usable or not; 32 by default.
    pub keys: usize,
}

impl Default for SetLimits {
    fn default() -> Self {
        Self { bytes: 64 * 1024, keys: 32 }
    }
}

/// The `kid` of a key, or its RFC 7638 thumbprint where it has none.
fn effective_kid(key: &Jwk) -> String {
    key.kid().map_or_else(|| key.thumbprint().to_string(), str::to_owned)
}

/// The members of `keys`, uninterpreted. Other members of the set are ignored (RFC 7517 §5).
fn entries(document: &[u8], limits: &SetLimits) -> Result<Vec<Map<String, Value>>, JwkSetError> {
    if document.len() > limits.bytes {
        return Err(JwkSetError::TooLarge { limit: limits.bytes });
    }
    let value = strict_json::from_slice(document, MAX_DEPTH)
        .map_err(|_| JwkSetError::Json { max_depth: MAX_DEPTH })?;
    let Value::Object(mut set) = value else { return Err(JwkSetError::Shape) };
    let Some(Value::Array(keys)) = set.remove("keys") else { return Err(JwkSetError::Shape) };
    if keys.len() > limits.keys {
        return Err(JwkSetError::TooManyKeys { count: keys.len(), limit: limits.keys });
    }
    let objects = keys.into_iter().map(|key| match key {
        Value::Object(members) => Ok(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(JwkSetError::Shape)
        }
    });
    objects.collect()
}

/// A secret in a published set is refused even in a key that would be ignored: its owner must learn of it.
fn refuse_secrets(index: usize, entry: &Map<String, Value>) -> Result<(), JwkSetError> {
    if entry.get("kty").and_then(Value::as_str) == Some("oct") || entry.contains_key("k") {
        return Err(JwkSetError::Symmetric { index });
    }
    match PRIVATE_MEMBERS.iter().find(|member| entry.contains_key(**member)) {
        Some(member) => Err(JwkSetError::PrivateKey { index, member }),
        None => Ok(()),
    }
}

/// RFC 7518 §6.2.2 and §6.3.2, RFC 8037 §2.
const PRIVATE_MEMBERS: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "oth"];

/// Set, `keys`, key, and one level for members like `x5c` or `key_ops`; the rest is slack for extensions.
const MAX_DEPTH: usize = 8;
