//! X.509 certificates as operators have them: PEM, checked and described.
//!
//! Relies on OpenSSL for reading what a certificate says and on rustls for whether it can be used: TLS is spoken by
//! rustls, and what it would refuse then is refused when it is given. Guarantees that a text which passed holds
//! certificates only, at least one, none of them expired, and, where there is a key, one that belongs to the first.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::nid::Nid;
use openssl::x509::X509;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use waxseal_keys::Timestamp;

use super::secret::Secret;

/// What people know a certificate by.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateSummary {
    /// Its subject: the common name if it has one, else all of it.
    pub subject: String,
    /// SHA-256 of the certificate, hexadecimal.
    pub fingerprint_sha256: String,
    /// When it ends.
    pub not_after: Timestamp,
}

/// Certificates that others' certificates are checked against.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedCertificates {
    /// As they were given.
    pub pem: String,
    /// Each of them.
    pub certificates: Vec<CertificateSummary>,
}

/// A certificate with its chain and its key.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateWithKey {
    /// The certificate first, then its chain, PEM.
    pub certificates: String,
    /// PEM; PKCS#8, SEC 1 or PKCS#1, not encrypted.
    pub private_key: Secret,
    /// The certificate's own.
    pub summary: CertificateSummary,
}

/// Why certificates or a key are refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateRefused {
    /// Longer than anybody needs.
    #[error("expected at most {MAX_PEM} bytes and {MAX_CERTIFICATES} certificates")]
    TooMuch,
    /// A private key among the certificates.
    #[error("this holds a private key; give certificates alone, and consider the key compromised")]
    PrivateKey,
    /// No certificate in it, or one that cannot be read.
    #[error("expected one or more certificates in PEM form (-----BEGIN CERTIFICATE-----)")]
    NotCertificates,
    /// One that cannot be trusted as a root.
    #[error("certificate {0} cannot be used as a root of trust")]
    NotARoot(usize),
    /// One that has ended.
    #[error("certificate {0} has expired")]
    Expired(usize),
    /// One that has not begun.
    #[error("certificate {0} is not valid yet")]
    NotYetValid(usize),
    /// Not a key, an encrypted one, or of a kind that TLS does not use.
    #[error(
        "expected an unencrypted private key in PEM form (PKCS#8: -----BEGIN PRIVATE KEY-----), for RSA, ECDSA or Ed25519"
    )]
    NotAKey,
    /// A key that belongs to something else.
    #[error("the private key does not belong to the first certificate")]
    OtherKey,
}

impl CertificateRefused {
    /// Whether it is the key, and not a certificate, that is refused.
    pub fn concerns_key(&self) -> bool {
        matches!(self, Self::NotAKey | Self::OtherKey)
    }
}

impl CertificateSummary {
    /// Describes one certificate.
    ///
    /// # Errors
    /// [`CertificateRefused::NotCertificates`], if it is none.
    pub fn of(der: &[u8]) -> Result<Self, CertificateRefused> {
        Parsed::read(der).map(|parsed| parsed.summary)
    }
}

impl TrustedCertificates {
    /// Reads root certificates. They need not be self-signed: whoever trusts an intermediate trusts what it signed.
    ///
    /// # Errors
    /// [`CertificateRefused`] says which of them is the trouble.
    pub fn parse(pem: &str, now: Timestamp) -> Result<Self, CertificateRefused> {
        let chain = read_chain(pem)?;
        let mut roots = RootCertStore::empty();
        let mut certificates = Vec::with_capacity(chain.len());
        for (index, der) in chain.into_iter().enumerate() {
            certificates.push(Parsed::read(&der)?.in_force(index, now)?);
            roots.add(der).map_err(|_| CertificateRefused::NotARoot(index))?;
        }
        Ok(Self { pem: pem.to_owned(), certificates })
    }

    /// The certificates.
    pub fn to_der(&self) -> Vec<CertificateDer<'static>> {
        read_chain(&self.pem).unwrap_or_default()
    }
}

impl CertificateWithKey {
    /// Reads a certificate, its chain and its key.
    ///
    /// # Errors
    /// [`CertificateRefused`] says what does not fit.
    pub fn parse(certificates: &str, private_key: &str, now: Timestamp) -> Result<Self, CertificateRefused> {
        let chain = read_chain(certificates)?;
        let mut summaries = Vec::with_capacity(chain.len());
        for (index, der) in chain.iter().enumerate() {
            summaries.push(Parsed::read(der)?.in_force(index, now)?);
        }
        let key = read_key(private_key)?;
        CertifiedKey::from_der(chain, key, &default_provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => CertificateRefused::OtherKey,
            _ => CertificateRefused::NotAKey,
        })?;
        Ok(Self {
            certificates: certificates.to_owned(),
            private_key: Secret::new(private_key),
            summary: summaries.swap_remove(0),
        })
    }

    /// What TLS speaks with. `None`: what was stored is damaged.
    pub fn to_der(&self) -> Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        Some((read_chain(&self.certificates).ok()?, read_key(self.private_key.reveal()).ok()?))
    }
}

struct Parsed {
    summary: CertificateSummary,
    not_before: Timestamp,
}

impl Parsed {
    fn read(der: &[u8]) -> Result<Self, CertificateRefused> {
        let read = |der: &[u8]| {
            let certificate = X509::from_der(der).ok()?;
            let summary = CertificateSummary {
                subject: subject(&certificate),
                fingerprint_sha256: fingerprint(der),
                not_after: moment(certificate.not_after())?,
            };
            Some(Self { summary, not_before: moment(certificate.not_before())? })
        };
        read(der).ok_or(CertificateRefused::NotCertificates)
    }

    fn in_force(self, index: usize, now: Timestamp) -> Result<CertificateSummary, CertificateRefused> {
        match () {
            () if self.summary.not_after <= now => Err(CertificateRefused::Expired(index)),
            () if self.not_before > now => Err(CertificateRefused::NotYetValid(index)),
            () => Ok(self.summary),
        }
    }
}

/// SHA-256 in hexadecimal.
pub fn fingerprint(der: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in digest(&SHA256, der).as_ref() {
        write!(text, "{byte:02x}").expect("a String takes everything");
    }
    text
}

fn read_chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, CertificateRefused> {
    if pem.len() > MAX_PEM {
        return Err(CertificateRefused::TooMuch);
    }
    if pem.contains("PRIVATE KEY-----") {
        return Err(CertificateRefused::PrivateKey);
    }
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    match chain {
        Ok(chain) if chain.is_empty() => Err(CertificateRefused::NotCertificates),
        Ok(chain) if chain.len() > MAX_CERTIFICATES => Err(CertificateRefused::TooMuch),
        Ok(chain) => Ok(chain),
        Err(_) => Err(CertificateRefused::NotCertificates),
    }
}

fn read_key(pem: &str) -> Result<PrivateKeyDer<'static>, CertificateRefused> {
    if pem.len() > MAX_PEM {
        return Err(CertificateRefused::TooMuch);
    }
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| CertificateRefused::NotAKey)
}

/// The common name, or every attribute of the subject. Cut: it was written by a stranger.
fn subject(certificate: &X509) -> String {
    let name = certificate.subject_name();
    let text = |entry: &openssl::x509::X509NameEntryRef| entry.data().to_string().unwrap_or_default();
    let common = name.entries_by_nid(Nid::COMMONNAME).next().map(text);
    let whole = || {
        let entries = name
            .entries()
            .map(|entry| format!("{}={}", entry.object().nid().short_name().unwrap_or("?"), text(entry)));
        entries.collect::<Vec<_>>().join(", ")
    };
    let shown = common.unwrap_or_else(whole);
    shown.chars().filter(|c| !c.is_control()).take(MAX_SUBJECT).collect()
}

fn moment(time: &Asn1TimeRef) -> Option<Timestamp> {
    let since = Asn1Time::from_unix(0).ok()?.diff(time).ok()?;
    let seconds = i64::from(since.days).checked_mul(24 * 60 * 60)?.checked_add(since.secs.into())?;
    Some(Timestamp::from_seconds(seconds))
}

const MAX_PEM: usize = 64 * 1024;
const MAX_CERTIFICATES: usize = 16;
const MAX_SUBJECT: usize = 256;

#[cfg(test)]
mod tests;
