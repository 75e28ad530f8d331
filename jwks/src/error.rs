//! What can go wrong with a JWK Set: one enum per operation.
//!
//! Relies on nothing but `thiserror`. Guarantees that no message holds key material, a response
//! body or the query of a URL, and that every variant has a stable [`code`](FetchError::code).

use std::time::Duration;

/// Why a document is not accepted as a JWK Set. The whole document is refused, not one key of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwkSetError {
    /// The document is longer than the limit.
    #[error("the JWK Set is longer than {limit} bytes")]
    TooLarge {
        /// The limit that applied, in bytes.
        limit: usize,
    },
    /// The document is not strict JSON: a syntax error, a duplicate member, nested too deeply.
    #[error("the JWK Set is not strict JSON: no duplicate members, at most {max_depth} levels")]
    Json {
        /// How deeply a set may nest.
        max_depth: usize,
    },
    /// The document is JSON, but not an object whose `keys` is an array of objects (RFC 7517 §5).
    #[error("a JWK Set is an object whose member \"keys\" is an array of objects (RFC 7517 section 5)")]
    Shape,
    /// More keys than the limit, counting those that would be ignored.
    #[error("the JWK Set has {count} keys; at most {limit} are accepted")]
    TooManyKeys {
        /// How many keys the document has.
        count: usize,
        /// The limit that applied.
        limit: usize,
    },
    /// A key with private members. Whoever published it has lost it.
    #[error("key {index} has the private member {member:?}: this key is now compromised, replace it")]
    PrivateKey {
        /// Position in `keys`, from 0.
        index: usize,
        /// The member that should not be there.
        member: &'static str,
    },
    /// A symmetric key. Whoever published it has lost it.
    #[error("key {index} is symmetric: it is now compromised and of no use here, replace it")]
    Symmetric {
        /// Position in `keys`, from 0.
        index: usize,
    },
    /// Two usable keys answer to one `kid`.
    #[error("two usable keys have the kid {kid:?}")]
    DuplicateKid {
        /// The `kid`, or the thumbprint that stands for it.
        kid: String,
    },
}

impl JwkSetError {
    /// A stable name of the reason, for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "jwks.too_large",
            Self::Json { .. } => "jwks.json",
            Self::Shape => "jwks.shape",
            Self::TooManyKeys { .. } => "jwks.too_many_keys",
            Self::PrivateKey { .. } => "jwks.private_key",
            Self::Symmetric { .. } => "jwks.symmetric_key",
            Self::DuplicateKid { .. } => "jwks.duplicate_kid",
        }
    }
}

/// Why a set could not be fetched: the way to it, or what came back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The URL is neither `https` nor plain `http` to this machine itself, or it carries credentials.
    #[error("a JWK Set is fetched from an https URL without credentials (http only from loopback)")]
    InsecureUrl,
    /// No complete answer within the time limit.
    #[error("no complete answer in time")]
    Timeout,
    /// The body is longer than the limit.
    #[error("the answer is longer than {limit} bytes")]
    TooLarge {
        /// The limit that applied, in bytes.
        limit: usize,
    },
    /// Any status but 200. A redirect is never followed.
    #[error("the answer's status is {status}, not 200")]
    Status {
        /// The status of the answer.
        status: u16,
    },
    /// The media type is neither `application/jwk-set+json` nor `application/json`.
    #[error("the answer is neither application/jwk-set+json nor application/json")]
    ContentType,
    /// The body is not an acceptable JWK Set.
    #[error(transparent)]
    Set(#[from] JwkSetError),
    /// Resolving, connecting, TLS or HTTP failed, or the client could not be built.
    #[error("the request failed")]
    Transport(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl FetchError {
    /// A stable name of the reason, for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InsecureUrl => "jwks.insecure_url",
            Self::Timeout => "jwks.timeout",
            Self::TooLarge { .. } => "jwks.too_large",
            Self::Status { .. } => "jwks.status",
            Self::ContentType => "jwks.content_type",
            Self::Set(set) => set.code(),
            Self::Transport(_) => "jwks.transport",
        }
    }
}

/// Why a [`RemoteJwks`](crate::RemoteJwks) has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwksError {
    /// The set was fetched just now, and the key is not in it. The peer named a wrong key.
    #[error("the key is not in the set")]
    UnknownKey,
    /// The key is not in the cached set, and the next fetch is held off. Our own trouble: the key may exist.
    #[error("the key is not in the cached set, and fetching is held off for {retry_after:?}")]
    CoolingDown {
        /// When a fetch is possible again.
        retry_after: Duration,
    },
    /// There is no usable set: fetching failed, and what was cached is too old or lacks the key.
    #[error("no usable JWK Set; the next fetch is possible in {retry_after:?}")]
    Unavailable {
        /// When a fetch is possible again.
        retry_after: Duration,
    },
}

impl JwksError {
    /// A stable name of the reason, for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownKey => "jwks.no_matching_key",
            Self::CoolingDown { .. } => "jwks.cooling_down",
            Self::Unavailable { .. } => "jwks.unavailable",
        }
    }
}
