//! Key files as operators have them: PEM and DER, PKCS#8 (RFC 5958) and SubjectPublicKeyInfo (RFC 5280
//! §4.1.2.7), through OpenSSL. Feature `josekit`.
//!
//! Guarantees that a key that comes in has passed the same checks as a JWK. Traditional private keys
//! (`BEGIN EC PRIVATE KEY`, `BEGIN RSA PRIVATE KEY`) are read as well; PKCS#8 is what is written. RSA keys that
//! are restricted to RSASSA-PSS (`id-RSASSA-PSS`) are refused: their parameters could contradict PS256.
//!
//! ```
//! use waxseal_keys::{SignatureAlgorithm, generate_signing_key, pem};
//!
//! let key = generate_signing_key(SignatureAlgorithm::Es256)?.to_jwk();
//! let text = pem::private_to_pem(&key)?;
//! let again = pem::private_from_pem(&text)?;
//! assert_eq!(again.public().thumbprint(), key.public().thumbprint());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use openssl::bn::{BigNum, BigNumContext, BigNumRef};
use openssl::ec::{EcGroup, EcKey, EcPoint};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, Id, PKey, PKeyRef, Private, Public};
use openssl::rsa::{Rsa, RsaPrivateKeyBuilder};
use openssl::symm::Cipher;
use zeroize::Zeroizing;

use crate::alg::Curve;
use crate::jwk::{Jwk, JwkError, PrivateJwk, PrivateMaterial, PublicMaterial};

/// Why a key file was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PemError {
    /// Not a key in this form.
    #[error("this is not a {expected}")]
    Malformed {
        /// What was expected.
        expected: &'static str,
    },
    /// The file is encrypted and no passphrase was given.
    #[error("this private key is encrypted: a passphrase is needed")]
    Encrypted,
    /// The passphrase does not open the file, or the file is damaged.
    #[error("the private key cannot be decrypted with this passphrase")]
    Passphrase,
    /// A kind of key that we do not use.
    #[error("this kind of key is not supported; use P-256, P-384, Ed25519, X25519 or RSA")]
    Unsupported,
    /// The key is of a supported kind, but not acceptable.
    #[error(transparent)]
    Key(#[from] JwkError),
    /// The cryptographic library could not write the key.
    #[error("the cryptographic library could not write the key")]
    Library,
}

impl PemError {
    /// A stable code for logs and problem details.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "pem.malformed",
            Self::Encrypted => "pem.encrypted",
            Self::Passphrase => "pem.passphrase",
            Self::Unsupported => "pem.unsupported",
            Self::Key(error) => error.code(),
            Self::Library => "pem.library",
        }
    }
}

/// Reads an unencrypted private key in PEM.
pub fn private_from_pem(pem: &[u8]) -> Result<PrivateJwk, PemError> {
    let mut asked = false;
    // Without a callback OpenSSL would ask for the passphrase on the terminal.
    let key = PKey::private_key_from_pem_callback(pem, |_| {
        asked = true;
        Err(ErrorStack::get())
    });
    match key {
        Ok(key) => private_from_openssl(&key),
        Err(_) if asked => Err(PemError::Encrypted),
        Err(_) => Err(PemError::Malformed { expected: "private key in PEM" }),
    }
}

/// Reads a private key in PEM that may be encrypted (`BEGIN ENCRYPTED PRIVATE KEY`, or the traditional form).
pub fn private_from_encrypted_pem(pem: &[u8], passphrase: &[u8]) -> Result<PrivateJwk, PemError> {
    let mut asked = false;
    let key = PKey::private_key_from_pem_callback(pem, |room| give(passphrase, room, &mut asked));
    opened(key, asked, "private key in PEM")
}

/// Reads an encrypted private key in DER (PKCS#8 `EncryptedPrivateKeyInfo`, RFC 5958 §3).
pub fn private_from_encrypted_der(der: &[u8], passphrase: &[u8]) -> Result<PrivateJwk, PemError> {
    let mut asked = false;
    let key = PKey::private_key_from_pkcs8_callback(der, |room| give(passphrase, room, &mut asked));
    opened(key, asked, "private key in DER")
}

/// Reads a private key file in whichever of these forms it is.
///
/// # Errors
/// [`PemError::Encrypted`] if it needs a passphrase and there is none, [`PemError::Passphrase`] if it is another one.
pub fn private_from_file(file: &[u8], passphrase: Option<&[u8]>) -> Result<PrivateJwk, PemError> {
    let is_pem = file.windows(PEM_BEGIN.len()).any(|window| window == PEM_BEGIN);
    match (is_pem, passphrase) {
        (true, None) => private_from_pem(file),
        (true, Some(passphrase)) => private_from_encrypted_pem(file, passphrase),
        (false, _) => match (private_from_der(file), passphrase) {
            (Err(PemError::Malformed { .. }), Some(passphrase)) => {
                private_from_encrypted_der(file, passphrase)
            }
            (Err(PemError::Malformed { .. }), None) => private_from_encrypted_der(file, b"").map_err(needed),
            (read, _) => read,
        },
    }
}

/// OpenSSL's question for a passphrase, answered.
fn give(passphrase: &[u8], room: &mut [u8], asked: &mut bool) -> Result<usize, ErrorStack> {
    *asked = true;
    let place = room.get_mut(..passphrase.len()).ok_or_else(ErrorStack::get)?;
    place.copy_from_slice(passphrase);
    Ok(passphrase.len())
}

/// What was read with a passphrase. One that was asked for and did not help was the wrong one.
fn opened(
    key: Result<PKey<Private>, ErrorStack>,
    asked: bool,
    expected: &'static str,
) -> Result<PrivateJwk, PemError> {
    match key {
        Ok(key) => private_from_openssl(&key),
        Err(_) if asked => Err(PemError::Passphrase),
        Err(_) => Err(PemError::Malformed { expected }),
    }
}

fn needed(error: PemError) -> PemError {
    if error == PemError::Passphrase { PemError::Encrypted } else { error }
}

/// Reads a private key in DER.
pub fn private_from_der(der: &[u8]) -> Result<PrivateJwk, PemError> {
    let malformed = |_| PemError::Malformed { expected: "private key in DER" };
    private_from_openssl(&*PKey::private_key_from_der(der).map_err(malformed)?)
}

/// Writes a private key as PKCS#8 in PEM.
pub fn private_to_pem(key: &PrivateJwk) -> Result<Zeroizing<Vec<u8>>, PemError> {
    private_to_openssl(key)?.private_key_to_pem_pkcs8().map(Zeroizing::new).map_err(library)
}

/// Writes a private key as PKCS#8 in PEM, encrypted with AES-256-CBC under the passphrase (PBES2).
pub fn private_to_encrypted_pem(key: &PrivateJwk, passphrase: &[u8]) -> Result<Vec<u8>, PemError> {
    let key = private_to_openssl(key)?;
    key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), passphrase).map_err(library)
}

/// Writes a private key as PKCS#8 in DER.
pub fn private_to_der(key: &PrivateJwk) -> Result<Zeroizing<Vec<u8>>, PemError> {
    private_to_openssl(key)?.private_key_to_pkcs8().map(Zeroizing::new).map_err(library)
}

/// Reads a public key in PEM.
pub fn public_from_pem(pem: &[u8]) -> Result<Jwk, PemError> {
    let malformed = |_| PemError::Malformed { expected: "public key in PEM" };
    public_from_openssl(&*PKey::public_key_from_pem(pem).map_err(malformed)?)
}

/// Reads a public key in DER.
pub fn public_from_der(der: &[u8]) -> Result<Jwk, PemError> {
    let malformed = |_| PemError::Malformed { expected: "public key in DER" };
    public_from_openssl(&*PKey::public_key_from_der(der).map_err(malformed)?)
}

/// Writes a public key as SubjectPublicKeyInfo in PEM.
pub fn public_to_pem(key: &Jwk) -> Result<Vec<u8>, PemError> {
    public_to_openssl(key.material()).and_then(|key| key.public_key_to_pem()).map_err(library)
}

/// Writes a public key as SubjectPublicKeyInfo in DER.
pub fn public_to_der(key: &Jwk) -> Result<Vec<u8>, PemError> {
    public_to_openssl(key.material()).and_then(|key| key.public_key_to_der()).map_err(library)
}

pub(crate) fn public_from_openssl<T: HasPublic>(key: &PKeyRef<T>) -> Result<Jwk, PemError> {
    Ok(Jwk::from_material(public_material(key)?)?)
}

fn private_from_openssl(key: &PKeyRef<Private>) -> Result<PrivateJwk, PemError> {
    let secret = |number: &BigNumRef, len: usize| {
        i32::try_from(len).ok().and_then(|len| number.to_vec_padded(len).ok()).map(Zeroizing::new)
    };
    let public = public_material(key)?;
    let private = match &public {
        PublicMaterial::Ec { curve, .. } => key
            .ec_key()
            .ok()
            .and_then(|ec| secret(ec.private_key(), curve.coordinate_len()))
            .map(PrivateMaterial::Curve),
        PublicMaterial::Okp { .. } => {
            key.raw_private_key().ok().map(Zeroizing::new).map(PrivateMaterial::Curve)
        }
        PublicMaterial::Rsa { .. } => key.rsa().ok().and_then(|rsa| rsa_private(&rsa)),
    };
    Ok(PrivateJwk::from_parts(public, private.ok_or(PemError::Unsupported)?)?)
}

fn rsa_private(rsa: &Rsa<Private>) -> Option<PrivateMaterial> {
    let number = |number: &BigNumRef| Zeroizing::new(number.to_vec());
    Some(PrivateMaterial::Rsa([
        number(rsa.d()),
        number(rsa.p()?),
        number(rsa.q()?),
        number(rsa.dmp1()?),
        number(rsa.dmq1()?),
        number(rsa.iqmp()?),
    ]))
}

fn public_material<T: HasPublic>(key: &PKeyRef<T>) -> Result<PublicMaterial, PemError> {
    let okp = |curve| key.raw_public_key().map(|x| PublicMaterial::Okp { curve, x });
    let rsa = || key.rsa().map(|rsa| PublicMaterial::Rsa { n: rsa.n().to_vec(), e: rsa.e().to_vec() });
    match key.id() {
        Id::EC => return ec_material(key),
        Id::ED25519 => okp(Curve::Ed25519),
        Id::X25519 => okp(Curve::X25519),
        Id::RSA => rsa(),
        _ => return Err(PemError::Unsupported),
    }
    .map_err(|_| PemError::Unsupported)
}

fn ec_material<T: HasPublic>(key: &PKeyRef<T>) -> Result<PublicMaterial, PemError> {
    let ec = key.ec_key().map_err(|_| PemError::Unsupported)?;
    let curve = match ec.group().curve_name() {
        Some(Nid::X9_62_PRIME256V1) => Curve::P256,
        Some(Nid::SECP384R1) => Curve::P384,
        _ => return Err(PemError::Unsupported),
    };
    let coordinates = || -> Result<(Vec<u8>, Vec<u8>), ErrorStack> {
        let (mut x, mut y) = (BigNum::new()?, BigNum::new()?);
        ec.public_key().affine_coordinates(ec.group(), &mut x, &mut y, &mut *BigNumContext::new()?)?;
        let len = if curve == Curve::P256 { 32 } else { 48 };
        Ok((x.to_vec_padded(len)?, y.to_vec_padded(len)?))
    };
    let (x, y) = coordinates().map_err(|_| PemError::Unsupported)?;
    Ok(PublicMaterial::Ec { curve, x, y })
}

fn public_to_openssl(material: &PublicMaterial) -> Result<PKey<Public>, ErrorStack> {
    match material {
        PublicMaterial::Ec { curve, x, y } => {
            let (x, y) = (BigNum::from_slice(x)?, BigNum::from_slice(y)?);
            PKey::from_ec_key(EcKey::from_public_key_affine_coordinates(&*group(*curve)?, &x, &y)?)
        }
        PublicMaterial::Okp { curve, x } => PKey::public_key_from_raw_bytes(x, okp_id(*curve)),
        PublicMaterial::Rsa { n, e } => {
            PKey::from_rsa(Rsa::from_public_components(BigNum::from_slice(n)?, BigNum::from_slice(e)?)?)
        }
    }
}

fn private_to_openssl(key: &PrivateJwk) -> Result<PKey<Private>, PemError> {
    let convert = || -> Result<PKey<Private>, ErrorStack> {
        match (key.public().material(), key.secret()) {
            (PublicMaterial::Ec { curve, .. }, secret) => {
                let group = group(*curve)?;
                let point = key.public().material().point();
                let point = EcPoint::from_bytes(&group, &point, &mut *BigNumContext::new()?)?;
                let d = BigNum::from_slice(secret.scalar())?;
                PKey::from_ec_key(EcKey::from_private_components(&group, &d, &point)?)
            }
            (PublicMaterial::Okp { curve, .. }, secret) => {
                PKey::private_key_from_raw_bytes(secret.scalar(), okp_id(*curve))
            }
            (PublicMaterial::Rsa { n, e }, PrivateMaterial::Rsa([d, p, q, dp, dq, qi])) => {
                let number = |octets: &[u8]| BigNum::from_slice(octets);
                let rsa = RsaPrivateKeyBuilder::new(number(n)?, number(e)?, number(d)?)?
                    .set_factors(number(p)?, number(q)?)?
                    .set_crt_params(number(dp)?, number(dq)?, number(qi)?)?;
                PKey::from_rsa(rsa.build())
            }
            (PublicMaterial::Rsa { .. }, PrivateMaterial::Curve(_)) => Err(ErrorStack::get()),
        }
    };
    convert().map_err(library)
}

fn group(curve: Curve) -> Result<EcGroup, ErrorStack> {
    EcGroup::from_curve_name(if curve == Curve::P256 { Nid::X9_62_PRIME256V1 } else { Nid::SECP384R1 })
}

fn okp_id(curve: Curve) -> Id {
    if curve == Curve::Ed25519 { Id::ED25519 } else { Id::X25519 }
}

/// OpenSSL's own text stays here: it may quote what it was given.
fn library(_: ErrorStack) -> PemError {
    PemError::Library
}

/// How the armour of RFC 7468 begins.
const PEM_BEGIN: &[u8] = b"-----BEGIN ";
