//! [`Reject`]: why an event is not taken, and what the sender learns of it.
//!
//! Relies on the reasons of `waxseal-envelope`, `waxseal-jwks` and the guard. Guarantees that every reason has a
//! stable code for the local log, and that [`Reject::answer`] is the only place where a reason becomes an
//! answer: whatever is wrong with a key or a decryption is answered with one constant text (RFC 7516 §11.5).

use std::{borrow::Cow, time::Duration};

use waxseal_envelope::{EventType, OpenError};
use waxseal_jwks::JwksError;

use crate::{Answer, ErrorCode, GuardError};

/// Why an event is not taken. The text is for the receiver's own log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Reject {
    /// The method is not `POST`.
    #[error("the method is not POST")]
    Method,
    /// `Content-Type` is not exactly one `application/secevent+jwt` without parameters.
    #[error("the media type is not application/secevent+jwt")]
    MediaType,
    /// The body is too large.
    #[error("the body is longer than {limit} bytes")]
    TooLarge {
        /// The limit that applied, in bytes.
        limit: usize,
    },
    /// The body did not arrive in time.
    #[error("the body did not arrive in time")]
    SlowBody,
    /// The body did not arrive whole.
    #[error("the body did not arrive whole")]
    BrokenBody,
    /// Not a token of this format, or not of this time.
    #[error(transparent)]
    Token(OpenError),
    /// Signed by the right issuer, for somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// A key is unknown, wrong or missing. All of these are one answer.
    #[error(transparent)]
    Key(#[from] KeyFault),
    /// A verified event whose data is not what the handler takes. Only the place is told: serde's own words quote
    /// the data.
    #[error(
        "the data of event type {event_type} does not have the shape that the handler takes (line {line}, column {column})"
    )]
    Data {
        /// The type of the event.
        event_type: EventType,
        /// Line of the data where it ceases to fit, from 1; 0 if the data is binary.
        line: usize,
        /// Column of that line, from 1; 0 if the data is binary.
        column: usize,
    },
    /// The issuer's keys cannot be had now, or not be asked for yet.
    #[error("the issuer's keys: {0}")]
    Keys(JwksError),
    /// The replay guard cannot answer now.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// Another attempt of the same event is being processed.
    #[error("another attempt of this event is being processed")]
    InProgress {
        /// When asking again may be of use.
        retry_after: Duration,
    },
    /// As many requests as are allowed at the same time are being handled.
    #[error("as many requests as are allowed are being handled")]
    Busy,
    /// The peer asks more often than it may.
    #[error("the peer asks too often")]
    RateLimited {
        /// When it may ask again.
        retry_after: Duration,
    },
    /// The handler said that it could not process the event.
    #[error("the handler failed")]
    HandlerFailed,
    /// The handler panicked.
    #[error("the handler panicked")]
    HandlerPanicked,
    /// The handler was not done in time.
    #[error("the handler was not done in time")]
    HandlerSlow,
    /// The handler succeeded, but its lease had gone to another attempt, which decides.
    #[error("the lease ran out before the handler was done")]
    LeaseLost,
}

impl Reject {
    /// A stable name of the reason, for logs and metrics.
    ///
    /// ```
    /// assert_eq!(waxseal_receiver::Reject::MediaType.code(), "receive.media_type");
    /// ```
    pub fn code(&self) -> &'static str {
        match self {
            Self::Method => "receive.method",
            Self::MediaType => "receive.media_type",
            Self::TooLarge { .. } => "receive.too_large",
            Self::SlowBody => "receive.slow_body",
            Self::BrokenBody => "receive.broken_body",
            Self::Token(open) => open.code(),
            Self::Audience => "open.audience",
            Self::Key(fault) => fault.code(),
            Self::Data { .. } => "receive.data",
            Self::Keys(keys) => keys.code(),
            Self::Guard(guard) => guard.code(),
            Self::InProgress { .. } => "receive.in_progress",
            Self::Busy => "receive.busy",
            Self::RateLimited { .. } => "receive.rate_limited",
            Self::HandlerFailed => "receive.handler_failed",
            Self::HandlerPanicked => "receive.handler_panicked",
            Self::HandlerSlow => "receive.handler_slow",
            Self::LeaseLost => "receive.lease_lost",
        }
    }

    /// What the sender learns.
    ///
    /// ```
    /// use waxseal_receiver::{Answer, KeyFault, Reject};
    ///
    /// let unknown = Reject::from(KeyFault::UnknownSigner).answer();
    /// assert_eq!(unknown, Reject::from(KeyFault::UnknownRecipient).answer());
    /// assert_eq!(unknown.status(), 400);
    /// ```
    pub fn answer(&self) -> Answer {
        match self {
            Self::Method => Answer::MethodNotAllowed,
            Self::MediaType => Answer::UnsupportedMediaType,
            Self::TooLarge { .. } => Answer::TooLarge,
            Self::SlowBody => Answer::RequestTimeout,
            Self::BrokenBody => refused(ErrorCode::InvalidRequest, "The body did not arrive whole."),
            Self::Token(open) => refused(ErrorCode::InvalidRequest, open.to_string()),
            Self::Audience => refused(ErrorCode::InvalidAudience, "The token is for another audience."),
            Self::Key(_) => refused(ErrorCode::InvalidKey, KEY_REFUSED),
            Self::Data { event_type, .. } => refused(
                ErrorCode::InvalidRequest,
                format!(
                    "The data of event type {event_type} does not have the shape that this endpoint takes."
                ),
            ),
            Self::Keys(keys) => Answer::Unavailable { retry_after: held_off(keys) },
            Self::InProgress { retry_after } => Answer::Unavailable { retry_after: *retry_after },
            Self::Busy => Answer::Unavailable { retry_after: BUSY },
            Self::RateLimited { retry_after } => Answer::TooManyRequests { retry_after: *retry_after },
            Self::Guard(_)
            | Self::HandlerFailed
            | Self::HandlerPanicked
            | Self::HandlerSlow
            | Self::LeaseLost => Answer::Unavailable { retry_after: OWN_TROUBLE },
        }
    }
}

impl From<OpenError> for Reject {
    fn from(reason: OpenError) -> Self {
        match reason {
            OpenError::Malformed(_)
            | OpenError::Header(_)
            | OpenError::Claims(_)
            | OpenError::Outer { .. }
            | OpenError::Stale { .. }
            | OpenError::Future { .. } => Self::Token(reason),
            OpenError::Audience => Self::Audience,
            // The enum may grow. A reason that is not known here is told in the words that tell least.
            OpenError::Algorithm
            | OpenError::UnknownKey
            | OpenError::Decrypt
            | OpenError::Signature
            | OpenError::Issuer
            | _ => Self::Key(KeyFault::Token(reason)),
        }
    }
}

impl From<JwksError> for Reject {
    fn from(reason: JwksError) -> Self {
        match reason {
            JwksError::UnknownKey => Self::Key(KeyFault::UnknownSigner),
            // CoolingDown, Unavailable and whatever comes: the key may exist, so it is our own trouble.
            _ => Self::Keys(reason),
        }
    }
}

/// What is wrong with a key. Told to the local log only.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFault {
    /// Sealed to a key that this receiver does not have.
    #[error("sealed to a key that is not configured")]
    UnknownRecipient,
    /// The issuer is not configured.
    #[error("the issuer is not configured")]
    UnknownIssuer,
    /// Signed only, where the issuer's events must be sealed.
    #[error("signed only, where sealing is required")]
    NotSealed,
    /// Sealed, where the issuer's events must be readable on the way.
    #[error("sealed, where signed only is required")]
    Sealed,
    /// Signed by a key that the issuer does not publish.
    #[error("signed by a key that the issuer does not publish")]
    UnknownSigner,
    /// It does not decrypt or verify.
    #[error(transparent)]
    Token(OpenError),
}

impl KeyFault {
    /// A stable name of the reason, for logs and metrics.
    ///
    /// ```
    /// assert_eq!(waxseal_receiver::KeyFault::NotSealed.code(), "receive.not_sealed");
    /// ```
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownRecipient => "receive.unknown_recipient",
            Self::UnknownIssuer => "receive.unknown_issuer",
            Self::NotSealed => "receive.not_sealed",
            Self::Sealed => "receive.sealed",
            Self::UnknownSigner => "jwks.no_matching_key",
            Self::Token(open) => open.code(),
        }
    }
}

fn refused(err: ErrorCode, description: impl Into<Cow<'static, str>>) -> Answer {
    Answer::Refused { err, description: description.into() }
}

fn held_off(keys: &JwksError) -> Duration {
    match keys {
        JwksError::CoolingDown { retry_after } | JwksError::Unavailable { retry_after } => *retry_after,
        _ => OWN_TROUBLE,
    }
}

/// The one text for everything that is wrong with keys.
const KEY_REFUSED: &str = "A key that signs or encrypts this token is not acceptable here.";

/// How long to stay away after trouble whose end nobody knows.
const OWN_TROUBLE: Duration = Duration::from_secs(5);

/// How long to stay away when there is merely much to do.
const BUSY: Duration = Duration::from_secs(1);
