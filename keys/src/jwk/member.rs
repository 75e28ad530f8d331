//! Reading the members of a JWK: types, encodings and lengths, but not yet the mathematics.

use serde_json::{Map, Value};

use crate::alg::{Algorithm, Curve, KeyUse};
use crate::encoding::from_base64url;
use crate::jwk::{JwkError, PublicMaterial};

/// Which half of a key pair is being read: `key_ops` differ.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Half {
    Public,
    Private,
}

/// `kty`, `crv` and the public numbers (RFC 7518 §6.2.1, §6.3.1, RFC 8037 §2).
pub(crate) fn material(members: &Map<String, Value>) -> Result<PublicMaterial, JwkError> {
    match text(members, "kty")? {
        "EC" => {
            let curve = curve(members, "EC")?;
            Ok(PublicMaterial::Ec {
                curve,
                x: fixed(members, "x", curve.coordinate_len())?,
                y: fixed(members, "y", curve.coordinate_len())?,
            })
        }
        "OKP" => {
            let curve = curve(members, "OKP")?;
            Ok(PublicMaterial::Okp { curve, x: fixed(members, "x", curve.coordinate_len())? })
        }
        "RSA" => Ok(PublicMaterial::Rsa { n: octets(members, "n")?, e: octets(members, "e")? }),
        "oct" => Err(JwkError::Symmetric),
        kty => Err(JwkError::UnsupportedKeyType { kty: bounded(kty) }),
    }
}

/// `use` (RFC 7517 §4.2).
pub(crate) fn key_use(members: &Map<String, Value>) -> Result<Option<KeyUse>, JwkError> {
    match optional_text(members, "use")? {
        None => Ok(None),
        Some("sig") => Ok(Some(KeyUse::Sig)),
        Some("enc") => Ok(Some(KeyUse::Enc)),
        Some(_) => Err(JwkError::UnknownUse),
    }
}

/// What `key_ops` say (RFC 7517 §4.3). An empty array says nothing: WebCrypto exports public ECDH keys so.
pub(crate) fn key_ops(
    members: &Map<String, Value>,
    stated: Option<KeyUse>,
    half: Half,
) -> Result<Option<KeyUse>, JwkError> {
    let Some(value) = members.get("key_ops") else { return Ok(None) };
    let wrong_type = JwkError::WrongType { member: "key_ops", expected: "an array of strings" };
    let operations = value.as_array().ok_or_else(|| wrong_type.clone())?;
    let mut found: Option<KeyUse> = None;
    for (index, operation) in operations.iter().enumerate() {
        let name = operation.as_str().ok_or_else(|| wrong_type.clone())?;
        let key_use = operation_use(name, half).ok_or(JwkError::KeyOps)?;
        let repeated = operations[..index].contains(operation);
        if repeated || found.or(stated).is_some_and(|other| other != key_use) {
            return Err(JwkError::KeyOps);
        }
        found = Some(key_use);
    }
    Ok(found)
}

/// `kid`: it is echoed in headers, logs and pages, so control characters and quoting stay out; otherwise
/// lenient, for partners name keys by e-mail address, URL or base64.
pub(crate) fn kid(kid: &str) -> Result<String, JwkError> {
    let fits = |octet: u8| octet.is_ascii_graphic() && !matches!(octet, b'"' | b'\'' | b'`' | b'\\');
    if (1..=MAX_KID).contains(&kid.len()) && kid.bytes().all(fits) {
        Ok(kid.to_owned())
    } else {
        Err(JwkError::Kid)
    }
}

/// `alg`: on our list, or refused by name.
pub(crate) fn alg(alg: &str) -> Result<Algorithm, JwkError> {
    Algorithm::from_name(alg).ok_or_else(|| JwkError::AlgNotAccepted { alg: bounded(alg) })
}

/// A string member that may be absent; `null` is not absent.
pub(crate) fn optional_text<'a>(
    members: &'a Map<String, Value>,
    member: &'static str,
) -> Result<Option<&'a str>, JwkError> {
    members
        .get(member)
        .map(|value| value.as_str().ok_or(JwkError::WrongType { member, expected: "a string" }))
        .transpose()
}

/// Octets in canonical base64url (RFC 7515 §2, RFC 4648 §3.5).
pub(crate) fn octets(members: &Map<String, Value>, member: &'static str) -> Result<Vec<u8>, JwkError> {
    let octets = from_base64url(text(members, member)?).ok_or(JwkError::Encoding { member })?;
    if octets.is_empty() { Err(JwkError::Encoding { member }) } else { Ok(octets) }
}

/// Octets of exactly the curve's length (RFC 7518 §6.2.1.2, §6.2.2.1).
pub(crate) fn fixed(
    members: &Map<String, Value>,
    member: &'static str,
    expected: usize,
) -> Result<Vec<u8>, JwkError> {
    let octets = from_base64url(text(members, member)?).ok_or(JwkError::Encoding { member })?;
    if octets.len() == expected {
        Ok(octets)
    } else {
        Err(JwkError::Length { member, expected, actual: octets.len() })
    }
}

fn text<'a>(members: &'a Map<String, Value>, member: &'static str) -> Result<&'a str, JwkError> {
    optional_text(members, member)?.ok_or(JwkError::Missing { member })
}

fn curve(members: &Map<String, Value>, kty: &'static str) -> Result<Curve, JwkError> {
    let crv = text(members, "crv")?;
    let curve = Curve::from_name(crv).ok_or_else(|| JwkError::UnsupportedCurve { crv: bounded(crv) })?;
    if curve.key_type() == kty { Ok(curve) } else { Err(JwkError::CurveMismatch { crv: curve.name(), kty }) }
}

fn operation_use(name: &str, half: Half) -> Option<KeyUse> {
    match (name, half) {
        ("verify", _) | ("sign", Half::Private) => Some(KeyUse::Sig),
        ("encrypt" | "wrapKey" | "deriveKey" | "deriveBits", _)
        | ("decrypt" | "unwrapKey", Half::Private) => Some(KeyUse::Enc),
        _ => None,
    }
}

/// What somebody sent, short enough for a log line.
fn bounded(text: &str) -> String {
    text.chars().take(MAX_ECHO).collect()
}

const MAX_KID: usize = 128;
const MAX_ECHO: usize = 32;
