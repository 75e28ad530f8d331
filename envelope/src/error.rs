//! What can go wrong, one enum per operation, each variant with whose fault it is and a stable `code()`.
//!
//! Nothing here carries a token, a key or a payload. `Decrypt` carries nothing at all, whatever the cause, so that
//! the receiver does not become an oracle (RFC 7516 section 11.5).

use std::time::Duration;

use thiserror::Error;

/// A segment of a compact token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Part {
    /// The protected header.
    Header,
    /// The payload of a JWS.
    Payload,
    /// The signature of a JWS.
    Signature,
    /// The encrypted key of a JWE.
    EncryptedKey,
    /// The initialisation vector of a JWE.
    Iv,
    /// The ciphertext of a JWE.
    Ciphertext,
    /// The authentication tag of a JWE.
    Tag,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Header => "protected header",
            Self::Payload => "payload",
            Self::Signature => "signature",
            Self::EncryptedKey => "encrypted key",
            Self::Iv => "initialisation vector",
            Self::Ciphertext => "ciphertext",
            Self::Tag => "authentication tag",
        })
    }
}

/// The bytes are not a compact token of the expected kind: the sender of the bytes is at fault.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Malformed {
    /// Longer than the limit for tokens.
    #[error("the token is longer than {limit} bytes")]
    TooLong {
        /// The limit that applies.
        limit: usize,
    },
    /// The protected header is longer than its limit.
    #[error("the protected header is longer than {limit} bytes")]
    HeaderTooLong {
        /// The limit that applies.
        limit: usize,
    },
    /// A byte that no compact token contains.
    #[error("byte {at} is not in [A-Za-z0-9_.-]")]
    Byte {
        /// Offset of the first such byte.
        at: usize,
    },
    /// Not the number of segments of a JWS (3) or a JWE (5).
    #[error("a token of {found} segments")]
    Segments {
        /// The number found.
        found: usize,
    },
    /// A segment is not canonical base64url without padding.
    #[error("the {part} is not canonical base64url")]
    Base64 {
        /// The segment.
        part: Part,
    },
    /// A segment whose length the algorithm fixes has another one.
    #[error("the {part} is not {expected} bytes long")]
    Length {
        /// The segment.
        part: Part,
        /// The length that the algorithm fixes.
        expected: usize,
    },
    /// A sealed token whose content is not a signed token. One nesting level, never more.
    #[error("the content of the sealed token is not a signed token")]
    Inner,
}

/// The protected header is not one that this format allows: the maker of the token is at fault.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum HeaderError {
    /// Not a JSON object in UTF-8.
    #[error("the protected header is not a JSON object")]
    Json,
    /// A member appears twice.
    #[error("header member `{}` appears twice", member.escape_debug())]
    Duplicate {
        /// Its name.
        member: String,
    },
    /// A member that is refused wherever it appears, for instance `crit`, `jwk` or `zip`.
    #[error("header member `{member}` is never accepted")]
    Refused {
        /// Its name.
        member: &'static str,
    },
    /// A member that this format does not know, or not in this place.
    #[error("header member `{}` is not known here", member.escape_debug())]
    Unknown {
        /// Its name, shortened.
        member: String,
    },
    /// A required member is missing.
    #[error("header member `{member}` is missing")]
    Missing {
        /// Its name.
        member: &'static str,
    },
    /// A member has the wrong JSON type or a value that it cannot have.
    #[error("header member `{member}` has a value that it cannot have")]
    Value {
        /// Its name.
        member: &'static str,
    },
    /// The ephemeral public key carries a private member.
    #[error("the ephemeral key `epk` carries a private member")]
    PrivateEpk,
}

/// The claims are not those of this format: the signer is at fault.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ClaimsError {
    /// Not a JSON object in UTF-8.
    #[error("the claims are not a JSON object")]
    Json,
    /// A member appears twice, at the top, in `events` or in the event's object.
    #[error("claim `{}` appears twice", claim.escape_debug())]
    Duplicate {
        /// Its name, shortened.
        claim: String,
    },
    /// A claim that this format does not use and refuses: `exp`, `nbf`, `sub`.
    #[error("claim `{claim}` is not allowed in this format")]
    Forbidden {
        /// Its name.
        claim: &'static str,
    },
    /// A required claim is missing.
    #[error("claim `{claim}` is missing")]
    Missing {
        /// Its name.
        claim: &'static str,
    },
    /// A claim has the wrong JSON type or a value that it cannot have.
    #[error("claim `{claim}` has a value that it cannot have")]
    Value {
        /// Its name.
        claim: &'static str,
    },
}

/// Why a compact JWS was refused by [`jws::verify`](crate::jws::verify).
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum JwsError {
    /// Not a compact JWS.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A protected header that is not allowed.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The header's `alg` is not the key's one algorithm.
    #[error("the algorithm in the header is not the key's")]
    Algorithm,
    /// The signature does not verify.
    #[error("the signature does not verify")]
    Signature,
}

impl JwsError {
    /// Stable name of the reason, for logs and documents.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "jws.malformed",
            Self::Header(_) => "jws.header",
            Self::Algorithm => "jws.algorithm",
            Self::Signature => "jws.signature",
        }
    }
}

/// Why a compact JWE was refused by [`jwe::decrypt`](crate::jwe::decrypt).
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum JweError {
    /// Not a compact JWE with the fixed lengths of A256GCM.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A protected header that is not allowed.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The header's `alg` is not the key's one algorithm, or `enc` is not A256GCM.
    #[error("the algorithms in the header are not those of the key")]
    Algorithm,
    /// It does not decrypt. The cause is never told.
    #[error("the token does not decrypt")]
    Decrypt,
}

impl JweError {
    /// Stable name of the reason, for logs and documents.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "jwe.malformed",
            Self::Header(_) => "jwe.header",
            Self::Algorithm => "jwe.algorithm",
            Self::Decrypt => "jwe.decrypt",
        }
    }
}

/// Why a token was not opened.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum OpenError {
    /// Not a token of this format.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A protected header that this format does not allow.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// An algorithm that is not allowed, or not the key's.
    #[error("the algorithm is not allowed for this key")]
    Algorithm,
    /// The key that was given is not the one that the token names by `kid`.
    #[error("the token names another key")]
    UnknownKey,
    /// It does not decrypt. The cause is never told.
    #[error("the token does not decrypt")]
    Decrypt,
    /// The signature does not verify.
    #[error("the signature does not verify")]
    Signature,
    /// `iss` is not the issuer whose key verified the token.
    #[error("the issuer is not the expected one")]
    Issuer,
    /// `aud` is not this receiver.
    #[error("the token is for another audience")]
    Audience,
    /// Signed too long ago.
    #[error("the token was signed {}s ago, longer than is accepted", age.as_secs())]
    Stale {
        /// How long ago.
        age: Duration,
    },
    /// Signed in the future, beyond the accepted clock difference.
    #[error("the token was signed {}s in the future, further than is accepted", ahead.as_secs())]
    Future {
        /// How far ahead.
        ahead: Duration,
    },
    /// Claims that are not those of this format.
    #[error(transparent)]
    Claims(#[from] ClaimsError),
    /// `iss` or `aud` in the outer header differ from the signed ones.
    #[error("`{member}` outside differs from the signed one")]
    Outer {
        /// The member.
        member: &'static str,
    },
}

impl OpenError {
    /// Stable name of the reason, for logs and documents.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "open.malformed",
            Self::Header(_) => "open.header",
            Self::Algorithm => "open.algorithm",
            Self::UnknownKey => "open.unknown_key",
            Self::Decrypt => "open.decrypt",
            Self::Signature => "open.signature",
            Self::Issuer => "open.issuer",
            Self::Audience => "open.audience",
            Self::Stale { .. } => "open.stale",
            Self::Future { .. } => "open.future",
            Self::Claims(_) => "open.claims",
            Self::Outer { .. } => "open.outer",
        }
    }
}

impl From<JweError> for OpenError {
    fn from(error: JweError) -> Self {
        match error {
            JweError::Malformed(cause) => Self::Malformed(cause),
            JweError::Header(cause) => Self::Header(cause),
            JweError::Algorithm => Self::Algorithm,
            JweError::Decrypt => Self::Decrypt,
        }
    }
}

/// Why an event was not sealed, or bytes not signed or encrypted: the caller or a key is at fault.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum SealError {
    /// The signer's algorithm is not one of this format.
    #[error("the signer's algorithm `{alg}` is not allowed")]
    Algorithm {
        /// Its name.
        alg: String,
    },
    /// The signer has no key id: a verifier could not find the key.
    #[error("the signer has no key id")]
    MissingKid,
    /// A key id that a receiver would refuse.
    #[error("a key id must be 1 to 128 characters of [A-Za-z0-9._~-]")]
    Kid,
    /// The publisher's own id is empty, too long or has control characters.
    #[error("`txn` must be 1 to {MAX_TXN} bytes without control characters")]
    Txn,
    /// A time that is before 1970 or after the year 9999.
    #[error("`{claim}` is out of range")]
    Time {
        /// The claim.
        claim: &'static str,
    },
    /// A type that is a URI under the issuer's own `/events/`: the receiver would read another type.
    #[error("an event type cannot be a URI under the issuer's own `/events/`")]
    EventType,
    /// The finished token would be longer than receivers accept.
    #[error("the token would be longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// The signer failed.
    #[error("signing failed")]
    Sign,
    /// Encrypting to the recipient's key failed.
    #[error("encrypting failed")]
    Encrypt,
}

impl SealError {
    /// Stable name of the reason, for logs and documents.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Algorithm { .. } => "seal.algorithm",
            Self::MissingKid => "seal.missing_kid",
            Self::Kid => "seal.kid",
            Self::Txn => "seal.txn",
            Self::Time { .. } => "seal.time",
            Self::EventType => "seal.event_type",
            Self::TooLong { .. } => "seal.too_long",
            Self::Sign => "seal.sign",
            Self::Encrypt => "seal.encrypt",
        }
    }
}

/// Longest publisher's own id, in bytes.
pub const MAX_TXN: usize = 256;
