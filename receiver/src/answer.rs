//! [`Answer`]: everything that a receiver says to a sender, and how it looks in HTTP (RFC 8935 §2).
//!
//! Relies on `http` types only, so any web framework can send it. Guarantees that error bodies have the
//! shape and headers of RFC 8935 §2.3, and that nothing but the constant or composed texts here is said.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_TYPE, RETRY_AFTER},
};

/// What the sender is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// `202`: taken now, or taken before.
    Taken,
    /// `200` with the state of a verification event: this endpoint wants what it gets.
    Verified {
        /// What the verification event carried.
        state: String,
    },
    /// `400` with an error code of RFC 8935: the token is refused.
    Refused {
        /// The code.
        err: ErrorCode,
        /// The reason in words.
        description: Cow<'static, str>,
    },
    /// `405`: an event is brought by `POST`.
    MethodNotAllowed,
    /// `408`: the body did not arrive in time.
    RequestTimeout,
    /// `413`: the body is too large.
    TooLarge,
    /// `415`: the body is not said to be a Security Event Token.
    UnsupportedMediaType,
    /// `429`: this peer asks too often.
    TooManyRequests {
        /// When it may ask again.
        retry_after: Duration,
    },
    /// `503`: the receiver's own trouble. The sender repeats the event later.
    Unavailable {
        /// When repeating is of use.
        retry_after: Duration,
    },
}

impl Answer {
    /// The status of the response.
    ///
    /// ```
    /// assert_eq!(waxseal_receiver::Answer::Taken.status(), 202);
    /// ```
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Taken => StatusCode::ACCEPTED,
            Self::Verified { .. } => StatusCode::OK,
            Self::Refused { .. } => StatusCode::BAD_REQUEST,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The response, for any framework that speaks `http`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use waxseal_receiver::Answer;
    ///
    /// let response = Answer::Unavailable { retry_after: Duration::from_millis(1500) }.into_http();
    /// assert_eq!(response.status(), 503);
    /// assert_eq!(response.headers()["retry-after"], "2");
    /// ```
    pub fn into_http(self) -> Response<Bytes> {
        let status = self.status();
        let mut response = Response::new(self.body());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        match &self {
            Self::Verified { .. } | Self::Refused { .. } => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            }
            Self::TooManyRequests { .. } => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            }
            Self::MethodNotAllowed => {
                headers.insert(ALLOW, HeaderValue::from_static("POST"));
            }
            Self::Taken
            | Self::RequestTimeout
            | Self::TooLarge
            | Self::UnsupportedMediaType
            | Self::Unavailable { .. } => {}
        }
        if status == StatusCode::BAD_REQUEST {
            headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static("en"));
        }
        if let Self::TooManyRequests { retry_after } | Self::Unavailable { retry_after } = self {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(retry_after)));
        }
        response
    }

    fn body(&self) -> Bytes {
        match self {
            Self::Verified { state } => serde_json::json!({ "state": state }).to_string().into(),
            Self::Refused { err, description } => {
                serde_json::json!({ "err": err.as_str(), "description": description }).to_string().into()
            }
            Self::TooManyRequests { .. } => Bytes::from_static(b"Too many requests.\n"),
            Self::Taken
            | Self::MethodNotAllowed
            | Self::RequestTimeout
            | Self::TooLarge
            | Self::UnsupportedMediaType
            | Self::Unavailable { .. } => Bytes::new(),
        }
    }
}

/// The error codes of RFC 8935 §2.4 that a receiver of this format uses. `invalid_issuer` is not among them:
/// who an endpoint listens to is not told to somebody whose signature was not checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorCode {
    /// `invalid_request`: not a token of this format, or not of this time.
    InvalidRequest,
    /// `invalid_key`: a key is unknown, wrong or missing.
    InvalidKey,
    /// `invalid_audience`: the token is for somebody else.
    InvalidAudience,
}

impl ErrorCode {
    /// The code on the wire.
    ///
    /// ```
    /// assert_eq!(waxseal_receiver::ErrorCode::InvalidKey.as_str(), "invalid_key");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidKey => "invalid_key",
            Self::InvalidAudience => "invalid_audience",
        }
    }
}

/// Rounded up: a sender that comes back too early is refused once more.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
}
