//! What is answered to the sender: the table of the wire format, section 4, as far as this receiver needs it.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LANGUAGE, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde_json::json;

/// An answer to one request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Answer {
    /// `202`: taken now, or before.
    Taken,
    /// `200` with the state of a verification event.
    Verified { state: String },
    /// `400` with an error code of RFC 8935 section 2.4.
    Refused { err: &'static str, description: &'static str },
    /// `415`: not said to be a token.
    UnsupportedMediaType,
    /// `503`: trouble of our own, or of the program behind us.
    Unavailable,
}

impl Answer {
    /// The token is no token of this format, or not of this time.
    pub(super) const INVALID_REQUEST: Self =
        Self::Refused { err: "invalid_request", description: "the token is malformed or not of this time" };
    /// One text for everything about keys: a sender that probes learns nothing.
    pub(super) const INVALID_KEY: Self =
        Self::Refused { err: "invalid_key", description: "the token could not be opened or verified" };
    /// Said only after the signature was verified.
    pub(super) const INVALID_AUDIENCE: Self =
        Self::Refused { err: "invalid_audience", description: "the token is for another audience" };

    pub(super) fn into_response(self) -> Response {
        match self {
            Self::Taken => StatusCode::ACCEPTED.into_response(),
            Self::Verified { state } => {
                ([(CONTENT_TYPE, "application/json")], json!({ "state": state }).to_string()).into_response()
            }
            Self::Refused { err, description } => {
                let body = json!({ "err": err, "description": description }).to_string();
                let headers = [(CONTENT_TYPE, "application/json"), (CONTENT_LANGUAGE, "en")];
                (StatusCode::BAD_REQUEST, headers, body).into_response()
            }
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response(),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5")]).into_response(),
        }
    }
}

/// RFC 8935 section 2.1.
pub(super) fn check_media_type(headers: &HeaderMap) -> Result<(), Answer> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = given.and_then(|text| text.split(';').next()).map(str::trim);
    match essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/secevent+jwt")) {
        true => Ok(()),
        false => Err(Answer::UnsupportedMediaType),
    }
}

/// What the wire format allows, 256 KiB.
pub(super) const MAX_BODY: usize = 256 * 1024;
