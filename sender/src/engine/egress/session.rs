//! TLS sessions that are an endpoint's own: which roots, which pins, which certificate of ours.
//!
//! Relies on rustls and webpki for validation. Guarantees TLS 1.2 or newer, and that a pin is looked for only after
//! the certificate was validated in full, so that a pin can make a session rarer, never easier.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs::default_provider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError,
    RootCertStore, SignatureScheme,
};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use super::EgressError;
use crate::model::certificate::CertificateWithKey;
use crate::model::server_authentication::Pin;

/// The chain is valid, and no key in it is one that was named.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no key of the server's certificate chain is among the pinned ones")]
pub(super) struct PinMismatch;

pub(super) fn config(
    roots: Arc<RootCertStore>,
    pins: &[Pin],
    shown: Option<&CertificateWithKey>,
) -> Result<ClientConfig, EgressError> {
    let provider = Arc::new(default_provider());
    let usual =
        WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider)).build();
    let usual = usual.map_err(|_| EgressError::Roots)?;
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_protocol_versions(&[&TLS13, &TLS12]).map_err(EgressError::Tls)?;
    let builder = if pins.is_empty() {
        builder.with_webpki_verifier(usual)
    } else {
        let pinned = PinnedVerifier { usual, roots, provider, pins: pins.into() };
        builder.dangerous().with_custom_certificate_verifier(Arc::new(pinned))
    };
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some(shown) => {
            let (chain, key) = shown.to_der().ok_or(EgressError::ClientCertificate)?;
            builder.with_client_auth_cert(chain, key).map_err(EgressError::Tls)?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The usual validation, and then one of the pins somewhere in the validated chain, root included (RFC 7469
/// section 2.6). Certificates that the server sends beside its chain do not count: anybody can send them.
struct PinnedVerifier {
    usual: Arc<WebPkiServerVerifier>,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    pins: Box<[Pin]>,
}

impl PinnedVerifier {
    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let refused = || Error::InvalidCertificate(CertificateError::BadEncoding);
        let certificate = EndEntityCert::try_from(end_entity).map_err(|_| refused())?;
        // The chain is built again to see it; where several are valid, one with a pin is enough.
        let without_pin = Cell::new(false);
        let has_pin = |path: &VerifiedPath<'_>| {
            if self.has_pin(path) {
                return Ok(());
            }
            without_pin.set(true);
            Err(webpki::Error::UnknownIssuer)
        };
        let algorithms = self.provider.signature_verification_algorithms.all;
        let path = certificate.verify_for_usage(
            algorithms,
            &self.roots.roots,
            intermediates,
            now,
            KeyUsage::server_auth(),
            None,
            Some(&has_pin),
        );
        match path {
            Ok(_) => Ok(()),
            Err(_) if without_pin.get() => {
                Err(Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(PinMismatch)))))
            }
            Err(_) => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        }
    }

    fn has_pin(&self, path: &VerifiedPath<'_>) -> bool {
        let is_pinned = |key: &[u8]| self.pins.contains(&Pin::of_digest(sha256(key)));
        is_pinned(&path.end_entity().subject_public_key_info())
            || path.intermediate_certificates().any(|one| is_pinned(&one.subject_public_key_info()))
            || is_pinned(&sequence(&path.anchor().subject_public_key_info))
    }
}

impl ServerCertVerifier for PinnedVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.usual.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        self.check(end_entity, intermediates, now)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

impl fmt::Debug for PinnedVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinnedVerifier").field("pins", &self.pins).finish_non_exhaustive()
    }
}

/// A stable code for why there is no TLS session.
pub(crate) fn code(error: &Error) -> &'static str {
    match error {
        Error::InvalidCertificate(reason) => match reason {
            CertificateError::Other(other) if other.0.is::<PinMismatch>() => "post.tls_pin",
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "post.tls_expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "post.tls_not_yet_valid"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "post.tls_name"
            }
            CertificateError::UnknownIssuer => "post.tls_unknown_issuer",
            _ => "post.tls_certificate",
        },
        Error::AlertReceived(alert) => match alert {
            // What a server says of our certificate, or of our having none.
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied => "post.tls_client_certificate",
            AlertDescription::ProtocolVersion => "post.tls_version",
            _ => "post.tls",
        },
        Error::PeerIncompatible(_) => "post.tls_version",
        _ => "post.tls",
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// A trust anchor keeps its key without the tag and the length that a pin covers (X.690 section 8.1).
fn sequence(content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
    let mut der = vec![0x30];
    match (length.as_slice(), u8::try_from(length.len())) {
        ([short], _) if *short < 0x80 => der.push(*short),
        ([], _) => der.push(0),
        (long, Ok(count)) => {
            der.push(0x80 | count);
            der.extend_from_slice(long);
        }
        (_, Err(_)) => {}
    }
    der.extend_from_slice(content);
    der
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_has_its_length_in_the_shortest_form() {
        assert_eq!(sequence(&[]), [0x30, 0]);
        assert_eq!(sequence(&[7; 0x7f])[..3], [0x30, 0x7f, 7]);
        assert_eq!(sequence(&[7; 0x80])[..4], [0x30, 0x81, 0x80, 7]);
        assert_eq!(sequence(&[7; 0x123])[..5], [0x30, 0x82, 0x01, 0x23, 7]);
    }

    #[test]
    fn what_is_wrong_with_a_session_has_a_name() {
        let invalid = Error::InvalidCertificate;
        for (error, expected) in [
            (invalid(CertificateError::Other(OtherError(Arc::new(PinMismatch)))), "post.tls_pin"),
            (invalid(CertificateError::Expired), "post.tls_expired"),
            (invalid(CertificateError::NotValidYet), "post.tls_not_yet_valid"),
            (invalid(CertificateError::NotValidForName), "post.tls_name"),
            (invalid(CertificateError::UnknownIssuer), "post.tls_unknown_issuer"),
            (invalid(CertificateError::BadSignature), "post.tls_certificate"),
            (Error::AlertReceived(AlertDescription::CertificateRequired), "post.tls_client_certificate"),
            (Error::AlertReceived(AlertDescription::ProtocolVersion), "post.tls_version"),
            (Error::General("x".to_owned()), "post.tls"),
        ] {
            assert_eq!(code(&error), expected, "{error:?}");
        }
    }
}
