//! [`Hold`]: why nothing is posted to an endpoint just now.
//!
//! A hold comes before the POST: it costs no attempt, counts against nobody, and never turns into a plaintext
//! delivery. It is visible, and examined again.

use std::fmt;

/// Why an endpoint's deliveries wait.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Hold {
    /// The endpoint is paused.
    EndpointPaused,
    /// The endpoint has not proved that its owner wants events, and nobody trusts it.
    EndpointUnverified,
    /// No signing key is active: the last one was revoked and no standby is ready.
    NoSigningKey,
    /// The endpoint requires sealing, and nobody has given encryption keys for it.
    NoKeySet,
    /// There are encryption keys, and none of them can be used.
    NoUsableKey,
    /// There are usable encryption keys, and none of them has been admitted.
    KeyNotAdmitted,
    /// The consumer's `jwks_uri` has not answered with a usable set for too long.
    KeySetUnreachable,
    /// A token could not be made of the event with these keys.
    SealFailed,
    /// The authorization server does not give us a token.
    TokenRefused,
    /// The authorization server has not answered with a usable token.
    TokenUnavailable,
    /// No client certificate could be made.
    NoClientCertificate,
    /// The client certificate that was uploaded has expired.
    ClientCertificateExpired,
    /// No TLS session can be set up as the endpoint asks for it.
    TlsSettings,
    /// A content in the store is damaged.
    ContentDamaged,
}

impl Hold {
    /// The hold as it is told to whoever is bound to the consumer, and so may have named the servers that we ask: not
    /// whether they refused, answered something else or did not answer at all. Operators are told which.
    #[must_use]
    pub fn as_told_to_consumer(self) -> Self {
        match self {
            Self::TokenRefused => Self::TokenUnavailable,
            Self::KeySetUnreachable => Self::NoUsableKey,
            other => other,
        }
    }

    /// As [`Self::as_told_to_consumer`], for a code that may be of something else than a hold.
    pub(crate) fn code_as_told_to_consumer(code: &'static str) -> &'static str {
        let told = [Self::TokenRefused, Self::KeySetUnreachable].into_iter().find(|hold| hold.code() == code);
        told.map_or(code, |hold| hold.as_told_to_consumer().code())
    }

    /// The hold that has this code.
    pub(crate) fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hold| hold.code() == code)
    }

    const ALL: [Self; 14] = [
        Self::EndpointPaused,
        Self::EndpointUnverified,
        Self::NoSigningKey,
        Self::NoKeySet,
        Self::NoUsableKey,
        Self::KeyNotAdmitted,
        Self::KeySetUnreachable,
        Self::SealFailed,
        Self::TokenRefused,
        Self::TokenUnavailable,
        Self::NoClientCertificate,
        Self::ClientCertificateExpired,
        Self::TlsSettings,
        Self::ContentDamaged,
    ];

    /// A stable code for the API, logs and metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::EndpointPaused => "hold.endpoint_paused",
            Self::EndpointUnverified => "hold.endpoint_unverified",
            Self::NoSigningKey => "hold.no_signing_key",
            Self::NoKeySet => "hold.no_key_set",
            Self::NoUsableKey => "hold.no_usable_key",
            Self::KeyNotAdmitted => "hold.key_not_admitted",
            Self::KeySetUnreachable => "hold.key_set_unreachable",
            Self::SealFailed => "hold.seal_failed",
            Self::TokenRefused => "hold.token_refused",
            Self::TokenUnavailable => "hold.token_unavailable",
            Self::NoClientCertificate => "hold.no_client_certificate",
            Self::ClientCertificateExpired => "hold.client_certificate_expired",
            Self::TlsSettings => "hold.tls_settings",
            Self::ContentDamaged => "hold.content_damaged",
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EndpointPaused => "The endpoint is paused; its deliveries wait until it is resumed.",
            Self::EndpointUnverified => {
                "The endpoint has not proved that its owner wants events. Its deliveries wait until it answers the \
                 verification event, or an operator trusts it."
            }
            Self::NoSigningKey => {
                "There is no active signing key: it was revoked before its successor was ready. \
                 Deliveries go on when the published standby has been visible for long enough."
            }
            Self::NoKeySet => {
                "The endpoint requires sealing, and neither it nor its consumer has encryption keys. Add a key set."
            }
            Self::NoUsableKey => {
                "The endpoint requires sealing, and none of the known encryption keys can be used. \
                 Replace them with keys that are fit for encryption."
            }
            Self::KeyNotAdmitted => {
                "The endpoint requires sealing, and no key from the jwks_uri has been admitted. \
                 Confirm a key's thumbprint with the consumer and admit it."
            }
            Self::KeySetUnreachable => {
                "The endpoint requires sealing, and the jwks_uri has not answered with a usable key set for too long."
            }
            Self::ContentDamaged => {
                "The content of an event that is to be delivered here is damaged in the store. \
                 Restore a backup, or cancel its delivery."
            }
            Self::SealFailed => "A token could not be made of the event with the present keys.",
            Self::TokenRefused => {
                "The authorization server refuses to give a token. Correct the endpoint's OAuth2 client and secret."
            }
            Self::TokenUnavailable => {
                "The authorization server has not answered with a usable token. It is asked again within minutes."
            }
            Self::NoClientCertificate => "No client certificate could be made for the endpoint's consumer.",
            Self::ClientCertificateExpired => {
                "The client certificate that was uploaded has expired. Upload its successor."
            }
            Self::TlsSettings => {
                "No TLS session can be set up with the endpoint's certificates. Give them again."
            }
        })
    }
}
