//! What the API says when it does not do what it was asked: problem details (RFC 9457).
//!
//! One total function for each operation's error decides what the caller learns. What went wrong inside is logged
//! under its stable code and never shown. Guarantees that every answer that is not a success has the media type
//! `application/problem+json`, a stable `code`, and the fields at fault where there are any.

use std::borrow::Cow;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use waxseal_keys::{ImportError, RotateError};

use super::show;
use crate::credentials::authority::AuthorityError;
use crate::data_keys::DataKeyError;
use crate::directory::ChangeError;
use crate::publish::{CancelError, PublishError, RedeliverError};
use crate::signing_keys::SigningKeysError;
use crate::store::StoreError;

/// One field of a request, and what was expected of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct FieldError {
    /// Where: `event_types[1]`, `to.consumer`; empty for the whole body.
    pub(super) field: String,
    /// What is wrong and what is expected.
    pub(super) detail: Cow<'static, str>,
}

impl FieldError {
    pub(super) fn new(field: impl Into<String>, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { field: field.into(), detail: detail.into() }
    }
}

/// An answer that is not a success.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    retry_after: Option<Duration>,
    inside: Option<Inside>,
}

/// What went wrong inside: for the log, never for the caller. It travels beside the answer.
#[derive(Clone, Debug)]
pub(super) struct Inside {
    /// The stable code of the error.
    pub(super) code: &'static str,
    /// The error.
    pub(super) source: Arc<dyn Error + Send + Sync>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, detail: detail.into(), errors: Vec::new(), retry_after: None, inside: None }
    }

    /// The request says something that it may not say.
    pub(super) fn validation(errors: Vec<FieldError>) -> Self {
        let detail = "the request was not accepted, nothing was changed; `errors` says what is expected";
        Self { errors, ..Self::new(StatusCode::BAD_REQUEST, "api.validation", detail) }
    }

    /// As [`Problem::validation`], for one field.
    pub(super) fn field(field: impl Into<String>, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::validation(vec![FieldError::new(field, detail)])
    }

    /// The thing does not exist, or the caller may not know that it does.
    pub(super) fn not_found(what: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "api.not_found", format!("there is no such {what}"))
    }

    /// The caller is nobody that we know. The reason is the same for every kind of bad token.
    pub(super) fn unauthenticated(detail: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "api.unauthenticated", detail)
    }

    pub(super) fn forbidden(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    pub(super) fn conflict(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// Our own fault.
    pub(super) fn internal(code: &'static str, source: impl Error + Send + Sync + 'static) -> Self {
        let detail = "the request failed inside; the log says why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "api.internal", detail).because(code, source)
    }

    /// Not now: the caller may try the same again.
    pub(super) fn unavailable(code: &'static str, source: impl Error + Send + Sync + 'static) -> Self {
        let detail = "the request cannot be carried out now; try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "api.unavailable", detail).because(code, source)
    }

    /// It depends on what other nodes have changed lately, and this one has not been able to read that.
    pub(super) fn behind() -> Self {
        let detail =
            "this node cannot tell at the moment what the others have changed; ask another one, or later";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "api.behind", detail)
    }

    /// Says after which time the same may be asked again, in whole seconds.
    pub(super) fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    fn because(self, code: &'static str, source: impl Error + Send + Sync + 'static) -> Self {
        Self { inside: Some(Inside { code, source: Arc::new(source) }), ..self }
    }

    /// What went wrong inside, if it was that.
    pub(super) fn inside(&self) -> Option<&Inside> {
        self.inside.as_ref()
    }

    /// The members, for an answer of its own or for one place in a batch.
    pub(super) fn to_json(&self) -> Value {
        let mut members = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        if !self.errors.is_empty() {
            let errors = self.errors.iter().map(|e| json!({ "field": e.field, "detail": e.detail }));
            members["errors"] = errors.collect();
        }
        members
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.to_json().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self.status {
            // RFC 6750 section 3: the challenge names the scheme and tells nothing about the token.
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"waxseal\""));
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::INSUFFICIENT_STORAGE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(inside) = self.inside {
            response.extensions_mut().insert(inside);
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound { what } => Self::not_found(what),
            StoreError::Unavailable(_) | StoreError::Closed | StoreError::Locked { .. } => {
                Self::unavailable(error.code(), error)
            }
            StoreError::Full => {
                let detail = "the disk of the sender's store is full: nothing was kept or changed. \
                              Whoever runs the sender must make room there; then try again";
                let status = StatusCode::INSUFFICIENT_STORAGE;
                Self::new(status, "api.store_full", detail).because(error.code(), error)
            }
            StoreError::ReadOnly => {
                let detail = "the sender's store is on a file system that has become read-only: nothing was kept or \
                              changed. Whoever runs the sender must make it writable; then try again";
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Self::new(status, "api.store_read_only", detail).because(error.code(), error)
            }
            StoreError::Superseded => Self::conflict("api.superseded", error.to_string()),
            StoreError::OlderSchema { .. }
            | StoreError::NewerSchema { .. }
            | StoreError::Moved { .. }
            | StoreError::Moving { .. }
            | StoreError::Corrupt { .. } => Self::internal(error.code(), error),
        }
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        let detail = error.to_string();
        match error {
            ChangeError::NotFound { what, .. } => Self::not_found(what),
            ChangeError::Exists { .. } => Self::conflict("api.exists", detail),
            ChangeError::InUse { .. } => Self::conflict("api.in_use", detail),
            ChangeError::TooManyRunning { .. } => Self::conflict("api.too_many_recoveries", detail),
            ChangeError::Invalid { field, detail } => Self::field(field, detail),
            ChangeError::Key(error) => error.into(),
            ChangeError::Store(error) => error.into(),
        }
    }
}

impl From<AuthorityError> for Problem {
    fn from(error: AuthorityError) -> Self {
        match error {
            AuthorityError::Change(error) => error.into(),
            AuthorityError::Make(_) | AuthorityError::Refused(_) | AuthorityError::Time => {
                Self::internal(error.code(), error)
            }
        }
    }
}

impl From<DataKeyError> for Problem {
    fn from(error: DataKeyError) -> Self {
        match error {
            DataKeyError::Store(error) => error.into(),
            error @ (DataKeyError::WrongKeyEncryptionKey { .. } | DataKeyError::Damaged(_)) => {
                Self::internal("data_key.unusable", error)
            }
        }
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        let detail = error.to_string();
        match error {
            PublishError::Refused { field, detail } => Self::field(field, detail),
            PublishError::Conflict { .. } => Self::conflict("api.idempotency_conflict", detail),
            PublishError::Store(error) => error.into(),
            PublishError::Ending => Self::unavailable(error.code(), error),
        }
    }
}

impl From<RedeliverError> for Problem {
    fn from(error: RedeliverError) -> Self {
        let detail = error.to_string();
        match error {
            RedeliverError::EndpointGone => Self::conflict("api.endpoint_gone", detail),
            RedeliverError::NotVisible => Self::conflict("api.not_visible", detail),
            RedeliverError::ContentGone => Self::new(StatusCode::GONE, "api.content_gone", detail),
            RedeliverError::ContentNotKept => Self::new(StatusCode::GONE, "api.content_not_kept", detail),
            RedeliverError::Store(error) => error.into(),
            RedeliverError::Ending => Self::unavailable(error.code(), error),
        }
    }
}

impl From<CancelError> for Problem {
    fn from(error: CancelError) -> Self {
        let detail = error.to_string();
        match error {
            CancelError::NotFound => Self::not_found("delivery"),
            CancelError::Over { .. } => Self::conflict("api.delivery_over", detail),
            CancelError::Store(error) => error.into(),
            CancelError::Contended | CancelError::Ending => Self::unavailable(error.code(), error),
        }
    }
}

impl From<SigningKeysError> for Problem {
    fn from(error: SigningKeysError) -> Self {
        match error {
            SigningKeysError::Store(error) => error.into(),
            SigningKeysError::Rotate(RotateError::UnknownKey) | SigningKeysError::Revoke(_) => {
                Self::not_found("signing key")
            }
            SigningKeysError::Rotate(error @ RotateError::NotPending { .. }) => {
                Self::conflict("api.not_standby", error.to_string())
            }
            SigningKeysError::Rotate(error) => Self::conflict("api.not_ready", not_ready(&error)),
            SigningKeysError::Import(error @ ImportError::Known { .. }) => {
                Self::conflict("api.exists", error.to_string())
            }
            SigningKeysError::Import(error) => Self::conflict("api.too_many_keys", error.to_string()),
            SigningKeysError::Contended | SigningKeysError::Interrupted => {
                Self::unavailable(error.code(), error)
            }
            SigningKeysError::Sealed(_) | SigningKeysError::Record(_) | SigningKeysError::Generate(_) => {
                Self::internal(error.code(), error)
            }
        }
    }
}

fn not_ready(error: &RotateError) -> String {
    match error {
        RotateError::NotReady { ready_at: Some(at) } => {
            let at = show::moment(*at);
            format!("the standby key must be published for longer before it may sign; it is ready at {at}")
        }
        _ => format!("{error}; it is not published yet"),
    }
}
