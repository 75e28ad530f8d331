//! Making a certificate of a signing key.
//!
//! Guarantees that what it says is the key's own: subject and issuer are equal, the key is good for signatures and for
//! nothing else, and it is no authority. RSA keys sign it with RSASSA-PKCS1-v1_5, which every tool reads; tokens they
//! sign with PSS alone. What is signed here is DER and begins with the octets 0x30 0x82, which no JWS Signing Input
//! does (RFC 7515 §5.1: base64url), so it can never pass for a token.

use aws_lc_rs::rand;
use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::BigNum;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey};
use openssl::x509::extension::{BasicConstraints, KeyUsage, SubjectAlternativeName, SubjectKeyIdentifier};
use openssl::x509::{X509, X509Builder, X509Name};

use super::Certificate;
use crate::pem::private_to_der;
use crate::signing::SigningKey;
use crate::time::Timestamp;

/// Whose key it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateName {
    /// The common name: a host, for people.
    pub common: String,
    /// The subject alternative name: the issuer of the tokens, as they say it.
    pub uri: String,
}

/// No certificate was made.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The cryptographic library could not make it, or the dates are outside of what a certificate can say.
    #[error("the cryptographic library could not make a certificate")]
    Library,
}

impl CertificateError {
    /// A stable code for logs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Library => "certificate.library",
        }
    }
}

impl Certificate {
    /// Makes a certificate of `key`, in force from `from` until `until` (both in whole seconds).
    ///
    /// # Errors
    /// [`CertificateError`], if OpenSSL cannot.
    pub fn self_signed(
        key: &SigningKey,
        name: &CertificateName,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Self, CertificateError> {
        let der = make(key, name, from, until).map_err(|_| CertificateError::Library)?;
        let whole = |at: Timestamp| Timestamp::from_seconds(at.as_seconds());
        Ok(Self { der, not_before: whole(from), not_after: whole(until) })
    }
}

fn make(
    key: &SigningKey,
    name: &CertificateName,
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<u8>, ErrorStack> {
    let key = private_to_der(&key.to_jwk()).map_err(|_| ErrorStack::get())?;
    let key = PKey::private_key_from_der(&key)?;
    let mut subject = X509Name::builder()?;
    let common: String = name.common.chars().take(MAX_COMMON_NAME).collect();
    subject.append_entry_by_nid(Nid::COMMONNAME, &common)?;
    let subject = subject.build();
    let mut certificate = X509::builder()?;
    certificate.set_version(X509_V3)?;
    certificate.set_serial_number(&*serial_number()?)?;
    certificate.set_subject_name(&subject)?;
    certificate.set_issuer_name(&subject)?;
    certificate.set_not_before(&*Asn1Time::from_unix(from.as_seconds())?)?;
    certificate.set_not_after(&*Asn1Time::from_unix(until.as_seconds())?)?;
    certificate.set_pubkey(&key)?;
    extend(&mut certificate, name)?;
    // Ed25519 hashes by itself (RFC 8410).
    let hash = if key.id() == Id::ED25519 { MessageDigest::null() } else { MessageDigest::sha256() };
    certificate.sign(&key, hash)?;
    certificate.build().to_der()
}

fn extend(certificate: &mut X509Builder, name: &CertificateName) -> Result<(), ErrorStack> {
    certificate.append_extension(BasicConstraints::new().critical().build()?)?;
    certificate.append_extension(KeyUsage::new().critical().digital_signature().build()?)?;
    let identifier = SubjectKeyIdentifier::new().build(&certificate.x509v3_context(None, None))?;
    certificate.append_extension(identifier)?;
    let names =
        SubjectAlternativeName::new().uri(&name.uri).build(&certificate.x509v3_context(None, None))?;
    certificate.append_extension(names)
}

/// RFC 5280 §4.1.2.2: positive, at most 20 octets, never used twice.
fn serial_number() -> Result<Asn1Integer, ErrorStack> {
    let mut octets = [0; 16];
    rand::fill(&mut octets).expect("AWS-LC ends the process rather than go without randomness");
    octets[0] = octets[0] & 0x7f | 0x40;
    BigNum::from_slice(&octets)?.to_asn1_integer()
}

/// Version 3 is written as 2 (RFC 5280 §4.1.2.1).
const X509_V3: i32 = 2;

/// RFC 5280 appendix A: ub-common-name.
const MAX_COMMON_NAME: usize = 64;
