//! The sender's own certificate authority: client certificates for endpoints that ask for mutual TLS.
//!
//! The authority's key and certificate are one record of the directory, encrypted like every other. Certificates are
//! made when they are needed, one for each consumer, and their keys exist in memory only: after a restart there are
//! new ones, and a receiver that trusts the authority notices nothing.
//!
//! Guarantees that a certificate is replaced while a third of its life is left, without a restart; that the
//! authority's own is made anew a year before its end, with the same name and key, so that receivers may change from
//! one to the other at any time of that year; and that what it signs is good for TLS clients and nothing else.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::rand;
use lru::LruCache;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use time::OffsetDateTime;
use url::Url;
use waxseal_envelope::Issuer;
use waxseal_keys::{Clock, Timestamp};

use crate::directory::{ChangeError, Directory};
use crate::id::ConsumerId;
use crate::model::certificate::{CertificateRefused, CertificateWithKey};
use crate::model::client_ca::ClientCa;
use crate::model::secret::Secret;

/// Makes client certificates.
#[derive(Debug)]
pub struct ClientAuthority {
    directory: Arc<Directory>,
    issuer: Issuer,
    clock: Arc<dyn Clock>,
    issued: Mutex<LruCache<ConsumerId, Arc<CertificateWithKey>>>,
    /// Held by whoever makes the authority's own certificate.
    making: tokio::sync::Mutex<()>,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The record could not be written.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// A certificate could not be made.
    #[error("a certificate cannot be made")]
    Make(#[from] rcgen::Error),
    /// What was made cannot be used.
    #[error("a certificate that was made is refused: {0}")]
    Refused(#[from] CertificateRefused),
    /// The time of day is outside of what certificates can say.
    #[error("the time is outside of what a certificate can say")]
    Time,
}

impl AuthorityError {
    /// A stable code for logs and problem details.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Change(error) => error.code(),
            Self::Make(_) => "client_ca.make",
            Self::Refused(_) => "client_ca.refused",
            Self::Time => "client_ca.time",
        }
    }
}

impl ClientAuthority {
    /// The authority of `issuer`'s sender. It comes into being when it is needed first.
    pub fn new(directory: Arc<Directory>, issuer: Issuer, clock: Arc<dyn Clock>) -> Self {
        let issued = Mutex::new(LruCache::new(CERTIFICATES_KEPT));
        Self { directory, issuer, clock, issued, making: tokio::sync::Mutex::new(()) }
    }

    /// The authority with its present certificate, made first if there is none, anew if it ends within a year.
    ///
    /// # Errors
    /// [`AuthorityError`], if it cannot be made or written.
    pub async fn current(&self) -> Result<Arc<ClientCa>, AuthorityError> {
        if let Some(kept) = self.in_force() {
            return Ok(kept);
        }
        let _making = self.making.lock().await;
        if let Some(kept) = self.in_force() {
            return Ok(kept);
        }
        let now = self.clock.now();
        let old = self.directory.client_ca();
        let made = match &old {
            Some(old) => certify(old.name.clone(), &KeyPair::from_pem(old.private_key.reveal())?, now)?,
            None => certify(format!("Waxseal client CA {}", self.host()), &KeyPair::generate()?, now)?,
        };
        tracing::info!(name = made.name, "a certificate was made for the authority of client certificates");
        Ok(self.directory.put_client_ca(made, old.as_deref()).await?)
    }

    /// The certificate that a consumer's endpoints are shown.
    ///
    /// # Errors
    /// [`AuthorityError`], if it cannot be made.
    pub async fn certificate_for(
        &self,
        consumer: &ConsumerId,
    ) -> Result<Arc<CertificateWithKey>, AuthorityError> {
        let now = self.clock.now();
        if let Some(issued) = self.issued().get(consumer)
            && now.saturating_add(RENEW_BEFORE) < issued.summary.not_after
        {
            return Ok(Arc::clone(issued));
        }
        let authority = self.current().await?;
        let issued = Arc::new(self.issue(&authority, consumer, now)?);
        self.issued().put(consumer.clone(), Arc::clone(&issued));
        Ok(issued)
    }

    fn in_force(&self) -> Option<Arc<ClientCa>> {
        let ends_late = |ca: &Arc<ClientCa>| self.clock.now().saturating_add(CA_RENEW_BEFORE) < ca.not_after;
        self.directory.client_ca().filter(ends_late)
    }

    fn issue(
        &self,
        authority: &ClientCa,
        consumer: &ConsumerId,
        now: Timestamp,
    ) -> Result<CertificateWithKey, AuthorityError> {
        let mut params = params(self.host(), now, CERTIFICATE_LIFE)?;
        // The whole name: who sends, and for whom. The common name is for people.
        let name = format!("{}/consumers/{consumer}", self.issuer.as_str());
        params.subject_alt_names = vec![SanType::URI(name.try_into()?)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let signer = rcgen::Issuer::new(
            ca_params(authority.name.clone(), now)?,
            KeyPair::from_pem(authority.private_key.reveal())?,
        );
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &signer)?;
        let key = Secret::new(key.serialize_pem());
        Ok(CertificateWithKey::parse(&certificate.pem(), key.reveal(), now)?)
    }

    /// The issuer's host, no longer than fits into a common name with what stands before it (RFC 5280 appendix A: 64).
    fn host(&self) -> String {
        let host = Url::parse(self.issuer.as_str()).ok().and_then(|url| url.host_str().map(str::to_owned));
        host.unwrap_or_default().chars().take(MAX_HOST).collect()
    }

    fn issued(&self) -> MutexGuard<'_, LruCache<ConsumerId, Arc<CertificateWithKey>>> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A self-signed certificate for an authority's key.
fn certify(name: String, key: &KeyPair, now: Timestamp) -> Result<ClientCa, AuthorityError> {
    let certificate = ca_params(name.clone(), now)?.self_signed(key)?;
    Ok(ClientCa {
        name,
        private_key: Secret::new(key.serialize_pem()),
        certificate: certificate.pem(),
        not_after: now.saturating_add(CA_LIFE),
    })
}

fn ca_params(name: String, now: Timestamp) -> Result<CertificateParams, AuthorityError> {
    let mut params = params(name, now, CA_LIFE)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn params(name: String, now: Timestamp, life: Duration) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    let at = |moment: Timestamp| OffsetDateTime::from_unix_timestamp(moment.as_seconds());
    params.not_before = at(now.saturating_sub(CLOCK_SKEW)).map_err(|_| AuthorityError::Time)?;
    params.not_after = at(now.saturating_add(life)).map_err(|_| AuthorityError::Time)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(serial_number());
    Ok(params)
}

/// RFC 5280 section 4.1.2.2: positive, at most 20 bytes, never used twice.
fn serial_number() -> SerialNumber {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).expect("the system's random generator works");
    bytes[0] &= 0x7f;
    SerialNumber::from_slice(&bytes)
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const CERTIFICATE_LIFE: Duration = DAY.saturating_mul(90);
const RENEW_BEFORE: Duration = DAY.saturating_mul(30);
/// Receivers install it by hand.
const CA_LIFE: Duration = DAY.saturating_mul(3_650);
const CA_RENEW_BEFORE: Duration = DAY.saturating_mul(365);
/// How far behind a receiver's clock may be.
const CLOCK_SKEW: Duration = Duration::from_secs(60 * 60);
const MAX_HOST: usize = 46;
const CERTIFICATES_KEPT: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");
