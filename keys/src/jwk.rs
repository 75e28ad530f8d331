//! Strict JSON Web Keys (RFC 7517, RFC 7518 §6, RFC 8037).
//!
//! Relies on [`strict_json`](crate::strict_json) for syntax and on `aws-lc-rs` for the arithmetic of
//! curves; needs neither josekit nor OpenSSL. Guarantees that a [`Jwk`] in hand is public, of an accepted
//! type, size and curve, on that curve, and that its `use`, `key_ops` and `alg` agree with each other and
//! with the material. `x5u`, `x5c`, `x5t` and members that we do not know are ignored, never trusted.

mod error;
mod member;
mod point;
mod private;

use serde_json::{Map, Value};

use crate::alg::{Algorithm, Curve, KeyUse};
use crate::encoding::base64url;
use crate::strict_json;
use crate::thumbprint::Thumbprint;
use crate::time::Timestamp;

pub use error::JwkError;
pub use private::PrivateJwk;

#[cfg(feature = "josekit")]
pub(crate) use private::{PrivateMaterial, SecretMembers};

/// A public key. It cannot hold private members: those are a [`PrivateJwk`], another type.
///
/// ```
/// use waxseal_keys::{Jwk, KeyUse};
///
/// let jwk = Jwk::parse(br#"{"kty":"OKP","crv":"Ed25519","use":"sig",
///     "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#)?;
/// assert_eq!(jwk.key_use(), Some(KeyUse::Sig));
/// assert_eq!(jwk.thumbprint().as_str(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
/// # Ok::<(), waxseal_keys::JwkError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Jwk {
    kid: Option<String>,
    key_use: Option<KeyUse>,
    alg: Option<Algorithm>,
    exp: Option<Timestamp>,
    material: PublicMaterial,
}

/// The numbers of a public key, as big-endian octets (little-endian for OKP, RFC 7748, RFC 8032).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PublicMaterial {
    /// `kty` EC: a point of [`Curve::P256`] or [`Curve::P384`].
    Ec {
        /// The curve.
        curve: Curve,
        /// First coordinate, of the curve's full length.
        x: Vec<u8>,
        /// Second coordinate, of the curve's full length.
        y: Vec<u8>,
    },
    /// `kty` OKP: a key of [`Curve::Ed25519`] or [`Curve::X25519`].
    Okp {
        /// The curve.
        curve: Curve,
        /// The public key, 32 octets.
        x: Vec<u8>,
    },
    /// `kty` RSA.
    Rsa {
        /// Modulus, without leading zero octets.
        n: Vec<u8>,
        /// Exponent, without leading zero octets.
        e: Vec<u8>,
    },
}

impl Jwk {
    /// Parses a public key, refusing whatever could not be used safely; see [`JwkError`].
    pub fn parse(json: &[u8]) -> Result<Self, JwkError> {
        if json.len() > MAX_LEN {
            return Err(JwkError::TooLarge { limit: MAX_LEN });
        }
        Self::from_value(&strict_json::from_slice(json, MAX_DEPTH)?)
    }

    /// As [`Jwk::parse`], for a key inside a document that [`strict_json`] has read already.
    pub fn from_value(value: &Value) -> Result<Self, JwkError> {
        let members = value.as_object().ok_or(JwkError::NotAnObject)?;
        if let Some(member) = PRIVATE_MEMBERS.into_iter().find(|member| members.contains_key(*member)) {
            return Err(match member {
                "k" => JwkError::Symmetric,
                _ => JwkError::PrivateKey { member },
            });
        }
        Self::from_public_members(members, member::Half::Public)
    }

    /// A key of these numbers, checked as if it had been parsed.
    pub fn from_material(material: PublicMaterial) -> Result<Self, JwkError> {
        point::check(&material)?;
        Ok(Self { kid: None, key_use: None, alg: None, exp: None, material })
    }

    /// This key with another `kid`.
    pub fn with_kid(self, kid: &str) -> Result<Self, JwkError> {
        Ok(Self { kid: Some(member::kid(kid)?), ..self })
    }

    /// This key with another `use`, which must agree with its `alg` and curve.
    pub fn with_use(self, key_use: KeyUse) -> Result<Self, JwkError> {
        Self { key_use: Some(key_use), ..self }.agreed()
    }

    /// This key with another `alg`, which must agree with its `use`, type and curve.
    pub fn with_alg(self, alg: &str) -> Result<Self, JwkError> {
        Self { alg: Some(member::alg(alg)?), ..self }.agreed()
    }

    /// Its `kid`.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Its `use`; where that is absent, what its `key_ops` say.
    pub fn key_use(&self) -> Option<KeyUse> {
        self.key_use
    }

    /// Its `alg`, if it has one.
    pub fn alg(&self) -> Option<&str> {
        self.alg.map(Algorithm::name)
    }

    /// When its owner stops using it: `exp`, a number of seconds since 1970. It is in common use and in no RFC, so what is
    /// no such number says nothing.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.exp
    }

    /// The key itself.
    pub fn material(&self) -> &PublicMaterial {
        &self.material
    }

    /// Its RFC 7638 thumbprint: depends on the key itself alone, not on `kid`, `use` or `alg`.
    pub fn thumbprint(&self) -> Thumbprint {
        Thumbprint::of(&self.material)
    }

    /// The key as JSON: public members only, whatever it was parsed from.
    pub fn to_json(&self) -> Value {
        let optional =
            [("kid", self.kid.as_deref()), ("use", self.key_use.map(KeyUse::name)), ("alg", self.alg())];
        let given = optional.into_iter().filter_map(|(name, value)| Some((name, value?.to_owned())));
        let members = self.material.members().into_iter().chain(given);
        let mut json: Map<_, _> =
            members.map(|(name, value)| (name.to_owned(), Value::String(value))).collect();
        if let Some(exp) = self.exp {
            json.insert("exp".to_owned(), Value::from(exp.as_seconds()));
        }
        Value::Object(json)
    }

    /// Refuses a key that is expressly or by its nature for something else than `wanted`.
    pub(crate) fn require_use(&self, wanted: KeyUse) -> Result<(), JwkError> {
        let by_alg = || self.alg.map(Algorithm::key_use);
        let stated = self.key_use.or_else(by_alg).or_else(|| self.material.natural_use());
        match stated {
            Some(found) if found != wanted => Err(JwkError::WrongUse { wanted, found }),
            Some(_) | None => Ok(()),
        }
    }

    pub(crate) fn algorithm(&self) -> Option<Algorithm> {
        self.alg
    }

    fn from_public_members(members: &Map<String, Value>, half: member::Half) -> Result<Self, JwkError> {
        let material = member::material(members)?;
        point::check(&material)?;
        let stated_use = member::key_use(members)?;
        let jwk = Self {
            kid: member::optional_text(members, "kid")?.map(member::kid).transpose()?,
            key_use: member::key_ops(members, stated_use, half)?.or(stated_use),
            alg: member::optional_text(members, "alg")?.map(member::alg).transpose()?,
            exp: members.get("exp").and_then(Value::as_i64).map(Timestamp::from_seconds),
            material,
        };
        jwk.agreed()
    }

    /// RFC 7517 §4.2 to §4.4: `use`, `alg` and the key must not contradict each other.
    fn agreed(self) -> Result<Self, JwkError> {
        if let Some(alg) = self.alg {
            if !alg.fits(self.material.curve()) {
                return Err(JwkError::AlgMismatch { alg: alg.name(), key: self.material.describe() });
            }
            if let Some(key_use) = self.key_use.filter(|key_use| *key_use != alg.key_use()) {
                return Err(JwkError::UseConflict { key_use, with: alg.name() });
            }
        }
        match (self.key_use, self.material.natural_use()) {
            (Some(key_use), Some(natural)) if key_use != natural => {
                Err(JwkError::UseConflict { key_use, with: self.material.describe() })
            }
            _ => Ok(self),
        }
    }
}

impl PublicMaterial {
    /// The curve; `None` for RSA.
    pub fn curve(&self) -> Option<Curve> {
        match self {
            Self::Ec { curve, .. } | Self::Okp { curve, .. } => Some(*curve),
            Self::Rsa { .. } => None,
        }
    }

    /// The required members, in the lexicographic order that RFC 7638 §3 asks for.
    pub(crate) fn members(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Ec { curve, x, y } => vec![
                ("crv", curve.name().to_owned()),
                ("kty", "EC".to_owned()),
                ("x", base64url(x)),
                ("y", base64url(y)),
            ],
            Self::Okp { curve, x } => {
                vec![("crv", curve.name().to_owned()), ("kty", "OKP".to_owned()), ("x", base64url(x))]
            }
            Self::Rsa { n, e } => vec![("e", base64url(e)), ("kty", "RSA".to_owned()), ("n", base64url(n))],
        }
    }

    /// SEC 1 §2.3.3 uncompressed point, or the octets of an OKP key; empty for RSA.
    pub(crate) fn point(&self) -> Vec<u8> {
        match self {
            Self::Ec { x, y, .. } => [&[SEC1_UNCOMPRESSED], x.as_slice(), y.as_slice()].concat(),
            Self::Okp { x, .. } => x.clone(),
            Self::Rsa { .. } => Vec::new(),
        }
    }

    fn describe(&self) -> &'static str {
        self.curve().map_or("RSA", Curve::name)
    }

    /// Ed25519 keys only sign, X25519 keys only agree (RFC 8037 §3).
    fn natural_use(&self) -> Option<KeyUse> {
        match self.curve() {
            Some(Curve::Ed25519) => Some(KeyUse::Sig),
            Some(Curve::X25519) => Some(KeyUse::Enc),
            Some(Curve::P256 | Curve::P384) | None => None,
        }
    }
}

/// First octet of an uncompressed point (SEC 1 §2.3.3).
pub(crate) const SEC1_UNCOMPRESSED: u8 = 0x04;

/// Room for an RSA key of 8192 bits with a certificate chain, and no more.
const MAX_LEN: usize = 65_536;

/// A JWK is flat but for arrays; the rest is room for unknown members.
const MAX_DEPTH: usize = 8;

/// Members that are private or secret in some `kty` (RFC 7518 §6.2.2, §6.3.2, §6.4; RFC 8037 §2).
const PRIVATE_MEMBERS: [&str; 9] = ["k", "d", "p", "q", "dp", "dq", "qi", "oth", "priv"];
