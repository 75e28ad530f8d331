//! [`PrivateJwk`]: a key pair as JSON.
//!
//! Guarantees that the private members belong to the public ones, that every buffer of ours that held
//! them is zeroized, and that `Debug` shows the public half alone.

use std::fmt;

use aws_lc_rs::agreement;
use aws_lc_rs::rsa::{KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::{Ed25519KeyPair, RsaKeyPair};
use serde_json::{Map, Value};
use zeroize::{Zeroize, Zeroizing};

use crate::alg::{Curve, KeyUse};
use crate::encoding::secret_base64url;
use crate::encryption::agreement_algorithm;
use crate::jwk::{Jwk, JwkError, MAX_DEPTH, MAX_LEN, PublicMaterial, member};
use crate::strict_json;

/// A private key with its public half (RFC 7517, RFC 7518 §6.2.2 and §6.3.2, RFC 8037 §2).
///
/// ```
/// use waxseal_keys::PrivateJwk;
///
/// // RFC 8037 A.1
/// let key = PrivateJwk::parse(br#"{"kty":"OKP","crv":"Ed25519",
///     "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
///     "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#)?;
/// assert!(!format!("{key:?}").contains("nWGxne"));
/// # Ok::<(), waxseal_keys::JwkError>(())
/// ```
#[derive(Clone)]
pub struct PrivateJwk {
    public: Jwk,
    secret: PrivateMaterial,
}

impl PrivateJwk {
    /// Parses a key pair: as strict as [`Jwk::parse`], and both halves must belong together. RSA keys need
    /// all of `d`, `p`, `q`, `dp`, `dq` and `qi`.
    pub fn parse(json: &[u8]) -> Result<Self, JwkError> {
        if json.len() > MAX_LEN {
            return Err(JwkError::TooLarge { limit: MAX_LEN });
        }
        let members = strict_json::parse_object(json, MAX_DEPTH)?.ok_or(JwkError::NotAnObject)?;
        Self::from_members(&SecretMembers(members))
    }

    /// Its public half.
    pub fn public(&self) -> &Jwk {
        &self.public
    }

    /// This key with another `kid`.
    pub fn with_kid(self, kid: &str) -> Result<Self, JwkError> {
        Ok(Self { public: self.public.with_kid(kid)?, ..self })
    }

    /// This key with another `use`.
    pub fn with_use(self, key_use: KeyUse) -> Result<Self, JwkError> {
        Ok(Self { public: self.public.with_use(key_use)?, ..self })
    }

    /// This key with another `alg`: `Ed25519` instead of `EdDSA`, say.
    pub fn with_alg(self, alg: &str) -> Result<Self, JwkError> {
        Ok(Self { public: self.public.with_alg(alg)?, ..self })
    }

    /// The whole key as JSON, private members included.
    pub fn to_json(&self) -> Zeroizing<String> {
        let public = self.public.to_json();
        let public = public.as_object().into_iter().flatten();
        let mut members: Vec<(&str, Zeroizing<String>)> = public
            .filter_map(|(name, value)| Some((name.as_str(), Zeroizing::new(value.as_str()?.to_owned()))))
            .collect();
        members.extend(self.secret.members().map(|(name, octets)| (name, secret_base64url(octets))));
        // The exact capacity: growing the string would leave copies behind. No value needs escaping: they
        // are base64url, names of ours, and a `kid` without quotation marks or backslashes.
        let len: usize =
            members.iter().map(|(name, value)| name.len() + value.len() + r#","":"""#.len()).sum();
        let mut json = Zeroizing::new(String::with_capacity(len + 2));
        for (name, value) in &members {
            let separator = if json.is_empty() { "{\"" } else { ",\"" };
            for part in [separator, name, "\":\"", value.as_str(), "\""] {
                json.push_str(part);
            }
        }
        json.push('}');
        json
    }

    pub(crate) fn from_members(SecretMembers(members): &SecretMembers) -> Result<Self, JwkError> {
        if members.contains_key("k") {
            return Err(JwkError::Symmetric);
        }
        let public = Jwk::from_public_members(members, member::Half::Private)?;
        let secret = PrivateMaterial::read(members, public.material())?;
        if secret.belongs_to(public.material()) {
            Ok(Self { public, secret })
        } else {
            Err(JwkError::PairMismatch)
        }
    }

    /// A key of these numbers, checked as if it had been parsed.
    #[cfg(feature = "josekit")]
    pub(crate) fn from_parts(public: PublicMaterial, secret: PrivateMaterial) -> Result<Self, JwkError> {
        let public = Jwk::from_material(public)?;
        if secret.belongs_to(public.material()) {
            Ok(Self { public, secret })
        } else {
            Err(JwkError::PairMismatch)
        }
    }

    pub(crate) fn secret(&self) -> &PrivateMaterial {
        &self.secret
    }
}

impl fmt::Debug for PrivateJwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateJwk").field("public", &self.public).finish_non_exhaustive()
    }
}

/// Members of a private key, zeroized when dropped.
pub(crate) struct SecretMembers(pub(crate) Map<String, Value>);

impl SecretMembers {
    fn wipe(&mut self) {
        for value in self.0.values_mut() {
            if let Value::String(text) = value {
                text.zeroize();
            }
        }
    }
}

impl Drop for SecretMembers {
    fn drop(&mut self) {
        self.wipe();
    }
}

/// The private numbers.
#[derive(Clone)]
pub(crate) enum PrivateMaterial {
    /// Scalar (EC, X25519) or seed (Ed25519), of the curve's full length.
    Curve(Zeroizing<Vec<u8>>),
    /// `d`, `p`, `q`, `dp`, `dq`, `qi`.
    Rsa([Zeroizing<Vec<u8>>; 6]),
}

impl PrivateMaterial {
    fn read(members: &Map<String, Value>, public: &PublicMaterial) -> Result<Self, JwkError> {
        match public.curve() {
            Some(curve) => {
                Ok(Self::Curve(Zeroizing::new(member::fixed(members, "d", curve.coordinate_len())?)))
            }
            None if members.contains_key("oth") => Err(JwkError::MultiPrime),
            None => {
                let mut numbers: [Zeroizing<Vec<u8>>; 6] = Default::default();
                for (number, name) in numbers.iter_mut().zip(RSA_PRIVATE) {
                    *number = Zeroizing::new(member::octets(members, name)?);
                }
                Ok(Self::Rsa(numbers))
            }
        }
    }

    /// The key pair for `aws-lc-rs`, which checks that all numbers agree.
    pub(crate) fn rsa_key_pair(&self, public: &PublicMaterial) -> Option<RsaKeyPair> {
        let (Self::Rsa([d, p, q, dp, dq, qi]), PublicMaterial::Rsa { n, e }) = (self, public) else {
            return None;
        };
        RsaKeyPair::from_components(&KeyPairComponents {
            public_key: PublicKeyComponents { n, e },
            d: d.as_slice(),
            p: p.as_slice(),
            q: q.as_slice(),
            dP: dp.as_slice(),
            dQ: dq.as_slice(),
            qInv: qi.as_slice(),
        })
        .ok()
    }

    /// The private scalar or seed; empty for RSA.
    pub(crate) fn scalar(&self) -> &[u8] {
        match self {
            Self::Curve(d) => d,
            Self::Rsa(_) => &[],
        }
    }

    fn belongs_to(&self, public: &PublicMaterial) -> bool {
        let Some(curve) = public.curve() else { return self.rsa_key_pair(public).is_some() };
        if curve == Curve::Ed25519 {
            return Ed25519KeyPair::from_seed_and_public_key(self.scalar(), &public.point()).is_ok();
        }
        agreement_algorithm(curve)
            .and_then(|algorithm| agreement::PrivateKey::from_private_key(algorithm, self.scalar()).ok())
            .and_then(|key| key.compute_public_key().ok())
            .is_some_and(|computed| computed.as_ref() == public.point())
    }

    fn members(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let (names, numbers) = match self {
            Self::Curve(d) => (&RSA_PRIVATE[..1], std::slice::from_ref(d)),
            Self::Rsa(numbers) => (&RSA_PRIVATE[..], &numbers[..]),
        };
        names.iter().copied().zip(numbers.iter().map(|number| number.as_slice()))
    }
}

/// The private members of RSA; the first is that of every other key as well.
const RSA_PRIVATE: [&str; 6] = ["d", "p", "q", "dp", "dq", "qi"];

#[cfg(test)]
mod tests {
    use zeroize::ZeroizeOnDrop;

    use super::*;

    /// RFC 8037 A.1.
    const KEY: &[u8] = br#"{"kty":"OKP","crv":"Ed25519",
        "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    fn zeroized_on_drop<T: ZeroizeOnDrop>(_: &T) {}

    #[test]
    fn private_numbers_are_zeroized() {
        let key = PrivateJwk::parse(KEY).unwrap();
        match key.secret() {
            PrivateMaterial::Curve(d) => zeroized_on_drop(d),
            PrivateMaterial::Rsa([d, ..]) => zeroized_on_drop(d),
        }
        zeroized_on_drop(&key.to_json());
    }

    #[test]
    fn what_was_parsed_is_wiped() {
        let mut members = SecretMembers(strict_json::parse_object(KEY, MAX_DEPTH).unwrap().unwrap());
        members.wipe();
        assert!(members.0.values().all(|value| value.as_str().is_some_and(str::is_empty)));
    }

    #[test]
    fn json_comes_back_in_one_allocation() {
        let key = PrivateJwk::parse(KEY).unwrap().with_kid("k").unwrap().with_alg("Ed25519").unwrap();
        let json = key.to_json();
        assert!(json.capacity() <= json.len() + 2, "grown strings leave copies of the key behind");
        let again = PrivateJwk::parse(json.as_bytes()).unwrap();
        assert_eq!((again.public(), again.secret().scalar()), (key.public(), key.secret().scalar()));
    }
}
