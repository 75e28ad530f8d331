//! JSON Web Encryption, compact serialisation, over raw plaintext bytes (RFC 7516 sections 5.1 and 5.2).
//!
//! Relies on the agreement and OAEP of `waxseal-keys` and on AES-256-GCM of aws-lc-rs. Guarantees, before any
//! cryptography, the lengths that A256GCM and the key management fix: an initialisation vector of 12 bytes, a tag of
//! 16 (RFC 7518 section 5.3), no encrypted key for ECDH-ES (section 4.6), one of modulus length for RSA. Every
//! failure after that is the same one (RFC 7516 section 11.5).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand;
use waxseal_keys::{ContentEncryption, Curve, DecryptionKey, EncryptionKey, KeyManagementAlgorithm};
use zeroize::Zeroizing;

use crate::compact::{self, Limits, Segments};
use crate::ecdh_es;
use crate::error::{HeaderError, JweError, Malformed, Part, SealError};
use crate::header::{Epk, Header};
use crate::json::{Text, push_member, push_name};

/// Encrypts `plaintext` to the recipient's key and returns the compact token.
///
/// `typ` says what the whole object is, `cty` what the plaintext is (`JWT` for a nested token).
///
/// ```
/// # #[cfg(feature = "seal")] {
/// use waxseal_envelope::jwe;
/// use waxseal_keys::{EncryptionKey, EncryptionKeyType, generate_decryption_key};
///
/// let own = generate_decryption_key(EncryptionKeyType::X25519)?;
/// let published = EncryptionKey::from_jwk(&own.public_jwk())?;
/// let token = jwe::encrypt(b"hello", None, None, &published)?;
/// assert_eq!(jwe::decrypt(token.as_bytes(), &own)?, b"hello");
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn encrypt(
    plaintext: &[u8],
    typ: Option<&str>,
    cty: Option<&str>,
    key: &EncryptionKey,
) -> Result<String, SealError> {
    encrypt_in_place(plaintext.to_vec(), typ, cty, key).map(compact::into_text)
}

pub(crate) fn encrypt_in_place(
    mut content: Vec<u8>,
    typ: Option<&str>,
    cty: Option<&str>,
    key: &EncryptionKey,
) -> Result<Vec<u8>, SealError> {
    let mut json = Vec::with_capacity(384 + key.kid().len());
    json.push(b'{');
    push_member(&mut json, "alg", key.alg().name());
    push_member(&mut json, "enc", ContentEncryption::A256Gcm.name());
    push_member(&mut json, "kid", key.kid());
    for (name, value) in [("typ", typ), ("cty", cty)] {
        if let Some(value) = value {
            push_member(&mut json, name, value);
        }
    }
    let (cek, encrypted_key) = match key.alg() {
        KeyManagementAlgorithm::EcdhEs => {
            let (public, z) = key.agree_ephemeral().map_err(|_| SealError::Encrypt)?;
            push_epk(&mut json, key.curve().ok_or(SealError::Encrypt)?, &public);
            (ecdh_es::derive(&z, ContentEncryption::A256Gcm.name(), b"", b""), Vec::new())
        }
        KeyManagementAlgorithm::RsaOaep256 => {
            let mut cek = Zeroizing::new([0; CEK_LEN]);
            rand::fill(&mut cek[..]).map_err(|_| SealError::Encrypt)?;
            let encrypted_key = key.rsa_oaep_encrypt(&cek[..]).map_err(|_| SealError::Encrypt)?;
            (cek, encrypted_key)
        }
    };
    json.push(b'}');

    let lengths = [json.len(), encrypted_key.len(), IV_LEN, content.len(), TAG_LEN].map(compact::encoded_len);
    let mut token = Vec::with_capacity(lengths.iter().sum::<usize>() + 4);
    compact::encode_into(&mut token, &json);
    let mut iv = [0; IV_LEN];
    rand::fill(&mut iv).map_err(|_| SealError::Encrypt)?;
    // The encoded header is the additional authenticated data (RFC 7516 section 5.1 step 14).
    let tag = gcm(&cek)
        .and_then(|gcm| {
            let nonce = Nonce::assume_unique_for_key(iv); // the key is new for every token
            gcm.seal_in_place_separate_tag(nonce, Aad::from(&token), &mut content).ok()
        })
        .ok_or(SealError::Encrypt)?;
    for segment in [&encrypted_key[..], &iv, &content, tag.as_ref()] {
        token.push(b'.');
        compact::encode_into(&mut token, segment);
    }
    Ok(token)
}

/// Decrypts a compact token with exactly this key and returns the plaintext.
///
/// ```
/// use waxseal_envelope::{JweError, Malformed, jwe};
/// use waxseal_keys::{DecryptionKey, PrivateJwk};
///
/// // The key of RFC 7517 appendix A.2; the token has no tag.
/// let jwk = br#"{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
///     "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"}"#;
/// let key = DecryptionKey::from_jwk(&PrivateJwk::parse(jwk)?)?;
/// let refused = jwe::decrypt(b"e30.....", &key).unwrap_err();
/// assert_eq!(refused, JweError::Malformed(Malformed::Segments { found: 6 }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn decrypt(token: &[u8], key: &DecryptionKey) -> Result<Vec<u8>, JweError> {
    let limits = Limits::default();
    let Segments::Five(segments) = Segments::split(token, &limits)? else {
        return Err(JweError::Malformed(Malformed::Segments { found: 3 }));
    };
    let json = compact::decode_header(segments[0], &limits)?;
    Parts::parse(segments, &Header::parse(&json)?)?.decrypt(key)
}

/// A JWE whose header and lengths are right: all that decryption needs.
pub(crate) struct Parts {
    alg: KeyManagementAlgorithm,
    epk: Option<Epk>,
    apu: Vec<u8>,
    apv: Vec<u8>,
    encrypted_key: Vec<u8>,
    iv: [u8; IV_LEN],
    /// Ciphertext and tag, as GCM takes them.
    content: Vec<u8>,
    /// The header as it was sent.
    aad: Vec<u8>,
}

impl Parts {
    pub(crate) fn parse(segments: [&[u8]; 5], header: &Header<'_>) -> Result<Self, JweError> {
        let [aad, encrypted_key, iv, ciphertext, tag] = segments;
        let alg = KeyManagementAlgorithm::from_name(header.alg()?).ok_or(JweError::Algorithm)?;
        let enc = header.enc.as_ref().ok_or(HeaderError::Missing { member: "enc" })?;
        ContentEncryption::from_name(enc.as_str()).ok_or(JweError::Algorithm)?;
        let iv = compact::decode_exact(iv, Part::Iv)?;
        let tag = compact::decode_exact::<TAG_LEN>(tag, Part::Tag)?;
        match alg {
            KeyManagementAlgorithm::EcdhEs => {
                compact::decode_exact::<0>(encrypted_key, Part::EncryptedKey)?;
                if header.epk.is_none() {
                    return Err(HeaderError::Missing { member: "epk" }.into());
                }
            }
            KeyManagementAlgorithm::RsaOaep256 => {
                let stray = [
                    ("epk", header.epk.is_some()),
                    ("apu", header.apu.is_some()),
                    ("apv", header.apv.is_some()),
                ];
                if let Some((member, _)) = stray.iter().find(|(_, present)| *present) {
                    return Err(HeaderError::Unknown { member: (*member).into() }.into());
                }
            }
        }
        let mut content = compact::decode(ciphertext, Part::Ciphertext)?;
        content.extend_from_slice(&tag);
        Ok(Self {
            alg,
            epk: header.epk.as_ref().map(|epk| Epk { curve: epk.curve, public: epk.public.clone() }),
            apu: party_info("apu", header.apu.as_ref())?,
            apv: party_info("apv", header.apv.as_ref())?,
            encrypted_key: compact::decode(encrypted_key, Part::EncryptedKey)?,
            iv,
            content,
            aad: aad.to_vec(),
        })
    }

    /// Decrypts in place. `Decrypt` is the answer to everything that the key holder alone could tell apart.
    pub(crate) fn decrypt(self, key: &DecryptionKey) -> Result<Vec<u8>, JweError> {
        if key.alg() != self.alg {
            return Err(JweError::Algorithm);
        }
        let cek = self.content_encryption_key(key).ok_or(JweError::Decrypt)?;
        let mut content = self.content;
        let gcm = gcm(&cek).ok_or(JweError::Decrypt)?;
        let len = gcm
            .open_in_place(Nonce::assume_unique_for_key(self.iv), Aad::from(&self.aad), &mut content)
            .map_err(|_| JweError::Decrypt)?
            .len();
        content.truncate(len);
        Ok(content)
    }

    fn content_encryption_key(&self, key: &DecryptionKey) -> Option<Zeroizing<[u8; CEK_LEN]>> {
        match (self.alg, &self.epk) {
            (KeyManagementAlgorithm::EcdhEs, Some(epk)) if key.curve() == Some(epk.curve) => {
                let z = key.agree(&epk.public).ok()?;
                Some(ecdh_es::derive(&z, ContentEncryption::A256Gcm.name(), &self.apu, &self.apv))
            }
            (KeyManagementAlgorithm::RsaOaep256, None)
                if key.rsa_modulus_len() == Some(self.encrypted_key.len()) =>
            {
                let bytes = key.rsa_oaep_decrypt(&self.encrypted_key).ok()?;
                let mut cek = Zeroizing::new([0; CEK_LEN]);
                (bytes.len() == CEK_LEN).then(|| cek.copy_from_slice(&bytes))?;
                Some(cek)
            }
            _ => None,
        }
    }
}

/// Shows sizes only.
impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Parts({}, {} bytes)", self.alg.name(), self.content.len())
    }
}

fn gcm(cek: &Zeroizing<[u8; CEK_LEN]>) -> Option<LessSafeKey> {
    UnboundKey::new(&AES_256_GCM, &cek[..]).ok().map(LessSafeKey::new)
}

/// `epk` has exactly its public members (RFC 7518 section 4.6.1.1).
fn push_epk(json: &mut Vec<u8>, curve: Curve, public: &[u8]) {
    push_name(json, "epk");
    json.push(b'{');
    push_member(json, "kty", curve.key_type());
    push_member(json, "crv", curve.name());
    for (name, coordinate) in ["x", "y"].into_iter().zip(public.chunks(curve.coordinate_len())) {
        push_name(json, name);
        json.push(b'"');
        compact::encode_into(json, coordinate);
        json.push(b'"');
    }
    json.push(b'}');
}

/// `apu` and `apv` are base64url and go into the derivation (RFC 7518 sections 4.6.1.2 and 4.6.1.3).
fn party_info(member: &'static str, value: Option<&Text<'_>>) -> Result<Vec<u8>, HeaderError> {
    value.map_or(Ok(Vec::new()), |text| {
        compact::decode(text.as_str().as_bytes(), Part::Header).map_err(|_| HeaderError::Value { member })
    })
}

const CEK_LEN: usize = 32;
const IV_LEN: usize = 12;
const TAG_LEN: usize = 16;
