//! TLS to the database: which certificates of a server are taken, by the names that other programs have for it.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::settings::SettingsError;

/// What is asked of the server's certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verification {
    /// There is no TLS.
    Disable,
    /// Nothing: it protects from who listens, not from who answers in the server's place.
    Require,
    /// That an authority which is trusted has signed it.
    Ca,
    /// That it is this host's, too.
    Full,
}

impl Verification {
    /// The mode that has this name.
    pub(super) fn parse(name: &str) -> Result<Self, SettingsError> {
        match name {
            "disable" => Ok(Self::Disable),
            "require" => Ok(Self::Require),
            "verify-ca" => Ok(Self::Ca),
            "verify-full" => Ok(Self::Full),
            _ => Err(SettingsError::Parameter {
                parameter: "sslmode",
                expected: "disable, require, verify-ca or verify-full",
            }),
        }
    }
}

/// What makes the TLS connections; none if there are none. Without a file of authorities those of the system are trusted.
pub(super) fn connector(
    mode: Verification,
    root: Option<&Path>,
) -> Result<Option<MakeRustlsConnect>, SettingsError> {
    let mode = match (mode, root) {
        (Verification::Disable, Some(_)) => {
            return Err(SettingsError::Parameter {
                parameter: "sslrootcert",
                expected: "none, as sslmode is disable",
            });
        }
        (Verification::Disable, None) => return Ok(None),
        // Who names an authority wants it asked: other programs read it so, too.
        (Verification::Require, Some(_)) => Verification::Ca,
        (mode, _) => mode,
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| SettingsError::Url(error.to_string()))?;
    let config = match mode {
        Verification::Full => builder.with_root_certificates(roots(root)?).with_no_client_auth(),
        Verification::Ca => {
            let verifier = verifier(roots(root)?, &provider)?;
            let verifier = danger::AnyName::dangerous_over(verifier);
            builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
        }
        Verification::Require | Verification::Disable => {
            let verifier = danger::AnyServer::dangerous_with(provider);
            builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
        }
    };
    Ok(Some(MakeRustlsConnect::new(config)))
}

fn verifier(
    roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, SettingsError> {
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| SettingsError::Url(format!("`sslrootcert`: {error}")))
}

fn roots(file: Option<&Path>) -> Result<RootCertStore, SettingsError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = file else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(SettingsError::Parameter {
                parameter: "sslrootcert",
                expected: "a file of authorities: this system has none of its own",
            });
        }
        return Ok(roots);
    };
    let problem = |problem: String| SettingsError::File {
        what: "`sslrootcert`",
        path: path.display().to_string(),
        problem,
    };
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| problem(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| problem(error.to_string()))?;
        roots.add(certificate).map_err(|error| problem(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(problem("there is no certificate in it".to_owned()));
    }
    Ok(roots)
}

/// Verification that does without something, for who has asked for that by name.
mod danger {
    use std::sync::Arc;

    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

    /// Takes every certificate, of whoever has its key.
    #[derive(Debug)]
    pub(super) struct AnyServer(Arc<CryptoProvider>);

    /// Takes a certificate of an authority that is trusted, whatever host it is for.
    #[derive(Debug)]
    pub(super) struct AnyName(Arc<WebPkiServerVerifier>);

    impl AnyServer {
        pub(super) fn dangerous_with(provider: Arc<CryptoProvider>) -> Arc<Self> {
            Arc::new(Self(provider))
        }
    }

    impl AnyName {
        pub(super) fn dangerous_over(verifier: Arc<WebPkiServerVerifier>) -> Arc<Self> {
            Arc::new(Self(verifier))
        }
    }

    impl ServerCertVerifier for AnyServer {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }

    impl ServerCertVerifier for AnyName {
        fn verify_server_cert(
            &self,
            certificate: &CertificateDer<'_>,
            chain: &[CertificateDer<'_>],
            name: &ServerName<'_>,
            ocsp: &[u8],
            now: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            match self.0.verify_server_cert(certificate, chain, name, ocsp, now) {
                // The name is looked at last: all else was well.
                Err(Error::InvalidCertificate(
                    CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
                )) => Ok(ServerCertVerified::assertion()),
                verified => verified,
            }
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.0.verify_tls12_signature(message, certificate, signed)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            self.0.verify_tls13_signature(message, certificate, signed)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.supported_verify_schemes()
        }
    }
}
