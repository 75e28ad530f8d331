//! JSON Web Signature, compact serialisation, over raw payload bytes (RFC 7515 sections 5.1 and 5.2).
//!
//! Relies on the caller for the key. Guarantees that a payload comes out only if the header is one that this crate
//! allows, its `alg` is exactly the key's one algorithm, and the signature verifies. What the payload means, and
//! whether `typ` and `kid` are right, is for the layer above.

#[cfg(feature = "seal")]
use josekit::jws::JwsSigner;
#[cfg(feature = "seal")]
use waxseal_keys::SignatureAlgorithm;
use waxseal_keys::VerifyingKey;

use crate::compact::{self, Limits, Segments};
#[cfg(feature = "seal")]
use crate::error::SealError;
use crate::error::{HeaderError, JwsError, Malformed, Part};
use crate::header::Header;
#[cfg(feature = "seal")]
use crate::header::is_signer_kid;

/// What the caller may say in the protected header; `alg` and `kid` are the signer's.
#[cfg(feature = "seal")]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct JwsHeader<'a> {
    /// `typ`: what the whole object is. Always give one: it keeps kinds of tokens apart (RFC 8725 section 3.11).
    pub typ: Option<&'a str>,
    /// `cty`: what the payload is.
    pub cty: Option<&'a str>,
}

/// Signs `payload` and returns the compact token.
///
/// The signer's algorithm must be one that this crate would verify, and the signer must have a key id.
///
/// ```
/// use waxseal_envelope::jws::{self, JwsHeader};
/// use waxseal_keys::{SignatureAlgorithm, generate_signing_key};
///
/// let key = generate_signing_key(SignatureAlgorithm::Es256)?;
/// let header = JwsHeader { typ: Some("example+jws"), cty: None };
/// let token = jws::sign(b"hello", &header, &key)?;
/// assert_eq!(jws::verify(token.as_bytes(), &key.verifying_key())?, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(feature = "seal")]
pub fn sign(payload: &[u8], header: &JwsHeader<'_>, signer: &dyn JwsSigner) -> Result<String, SealError> {
    sign_bytes(payload, header, signer).map(compact::into_text)
}

#[cfg(feature = "seal")]
pub(crate) fn sign_bytes(
    payload: &[u8],
    header: &JwsHeader<'_>,
    signer: &dyn JwsSigner,
) -> Result<Vec<u8>, SealError> {
    let alg = signer.algorithm().name();
    if SignatureAlgorithm::from_name(alg).is_none() {
        return Err(SealError::Algorithm { alg: alg.to_owned() });
    }
    let kid = signer.key_id().ok_or(SealError::MissingKid)?;
    if !is_signer_kid(kid) {
        return Err(SealError::Kid);
    }
    let mut json = Vec::with_capacity(96 + kid.len());
    json.push(b'{');
    for (name, value) in [("typ", header.typ), ("cty", header.cty), ("alg", Some(alg)), ("kid", Some(kid))] {
        if let Some(value) = value {
            crate::json::push_member(&mut json, name, value);
        }
    }
    json.push(b'}');

    let signature_len = signer.signature_len();
    let lengths = [json.len(), payload.len(), signature_len].map(compact::encoded_len);
    let mut token = Vec::with_capacity(lengths.iter().sum::<usize>() + 2);
    compact::encode_into(&mut token, &json);
    token.push(b'.');
    compact::encode_into(&mut token, payload);
    let signature = signer.sign(&token).map_err(|_| SealError::Sign)?;
    token.push(b'.');
    compact::encode_into(&mut token, &signature);
    Ok(token)
}

/// Verifies a compact token with exactly this key and returns its payload.
///
/// The key's algorithm decides; the header's must be the same, so that no token chooses how it is checked.
///
/// ```
/// use waxseal_envelope::jws;
/// use waxseal_keys::{Jwk, VerifyingKey};
///
/// // RFC 8037 appendix A.4
/// let jwk = br#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
/// let key = VerifyingKey::from_jwk(&Jwk::parse(jwk)?)?;
/// let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6\
///              dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
/// assert_eq!(jws::verify(token.as_bytes(), &key)?, b"Example of Ed25519 signing");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn verify(token: &[u8], key: &VerifyingKey) -> Result<Vec<u8>, JwsError> {
    let limits = Limits::default();
    let Segments::Three([header, payload, signature]) = Segments::split(token, &limits)? else {
        return Err(JwsError::Malformed(Malformed::Segments { found: 5 }));
    };
    let json = compact::decode_header(header, &limits)?;
    let parsed = Header::parse(&json)?;
    require_jws(&parsed)?;
    if parsed.alg()? != key.alg().name() {
        return Err(JwsError::Algorithm);
    }
    let signature = compact::decode(signature, Part::Signature)?;
    let payload_bytes = compact::decode(payload, Part::Payload)?;
    let signing_input = &token[..header.len() + 1 + payload.len()];
    key.verify(signing_input, &signature).map_err(|_| JwsError::Signature)?;
    Ok(payload_bytes)
}

fn require_jws(header: &Header<'_>) -> Result<(), HeaderError> {
    header.alg()?;
    header.require_jws()
}
