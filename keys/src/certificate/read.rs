//! Reading certificates of others: for the key in them.
//!
//! A certificate that a consumer gives stands for its key alone. Who signed it is not looked at: whoever gives it has
//! been authenticated otherwise, as with a JWK. Its dates are, because a key whose time is over is given by mistake.

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;
use openssl::x509::X509;

use crate::jwk::Jwk;
use crate::pem::{PemError, public_from_openssl};
use crate::time::Timestamp;

/// The public key of a certificate.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CertifiedKey {
    /// The key, checked like every other.
    pub jwk: Jwk,
    /// Until when the certificate is in force.
    pub not_after: Timestamp,
    /// The certificate by itself, PEM: without what stood around it.
    pub pem: String,
}

/// Why a certificate was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateRefused {
    /// Not a certificate, or none at all.
    #[error("this is not a certificate in PEM")]
    Malformed,
    /// Its time is over.
    #[error("this certificate has expired")]
    Expired,
    /// Its time has not come.
    #[error("this certificate is not yet valid")]
    NotYetValid,
    /// The key in it is not one that we use.
    #[error(transparent)]
    Key(#[from] PemError),
}

impl CertificateRefused {
    /// A stable code for logs and problem details.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "certificate.malformed",
            Self::Expired => "certificate.expired",
            Self::NotYetValid => "certificate.not_yet_valid",
            Self::Key(error) => error.code(),
        }
    }
}

impl CertifiedKey {
    /// The keys of all certificates in a PEM text, in order, one at least.
    ///
    /// # Errors
    /// [`CertificateRefused`], if there is none, or one of them cannot be used at `now`.
    pub fn from_pem(pem: &[u8], now: Timestamp) -> Result<Vec<Self>, CertificateRefused> {
        let certificates = X509::stack_from_pem(pem).map_err(|_| CertificateRefused::Malformed)?;
        if certificates.is_empty() {
            return Err(CertificateRefused::Malformed);
        }
        certificates.iter().map(|certificate| Self::read(certificate, now)).collect()
    }

    fn read(certificate: &X509, now: Timestamp) -> Result<Self, CertificateRefused> {
        let moment = |at| moment(at).map_err(|_| CertificateRefused::Malformed);
        let (not_before, not_after) = (moment(certificate.not_before())?, moment(certificate.not_after())?);
        if now < not_before {
            return Err(CertificateRefused::NotYetValid);
        }
        if now.as_seconds() > not_after.as_seconds() {
            return Err(CertificateRefused::Expired);
        }
        let key = certificate.public_key().map_err(|_| PemError::Unsupported)?;
        let pem = certificate.to_pem().ok().and_then(|pem| String::from_utf8(pem).ok());
        let pem = pem.ok_or(CertificateRefused::Malformed)?;
        Ok(Self { jwk: public_from_openssl(&key)?, not_after, pem })
    }
}

fn moment(at: &Asn1TimeRef) -> Result<Timestamp, ErrorStack> {
    let since = Asn1Time::from_unix(0)?.diff(at)?;
    Ok(Timestamp::from_seconds(i64::from(since.days) * SECONDS_PER_DAY + i64::from(since.secs)))
}

const SECONDS_PER_DAY: i64 = 86_400;
