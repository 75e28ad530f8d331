//! What a handler takes from a request: its body, its query, nothing else.
//!
//! Guarantees that every refusal on the way is a problem: wrong media type, malformed JSON, a body that is too large
//! or comes too slowly, unknown or repeated query parameters.

use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Request};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use url::form_urlencoded;
use waxseal_keys::strict_json::{self, StrictJsonError};

use super::Api;
use super::input::Fields;
use super::problem::{FieldError, Problem};

/// The members of a JSON body.
#[derive(Debug)]
pub(super) struct Input(pub(super) Fields);

impl FromRequest<Api> for Input {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let JsonText(text) = JsonText::from_request(request, api).await?;
        Ok(Self(parse(&text)?))
    }
}

/// The bytes of a JSON body, not yet parsed.
#[derive(Debug)]
pub(super) struct JsonText(pub(super) Bytes);

impl FromRequest<Api> for JsonText {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Api) -> Result<Self, Problem> {
        Query::of(request.uri().query())?.finish()?;
        json_media_type(request.headers())?;
        read_body(request).await.map(Self)
    }
}

/// No body, or an empty object: the path says it all.
#[derive(Debug)]
pub(super) struct NoInput;

impl FromRequest<Api> for NoInput {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Api) -> Result<Self, Problem> {
        Query::of(request.uri().query())?.finish()?;
        let body = read_body(request).await?;
        if body.is_empty() { Ok(Self) } else { parse(&body)?.finish().map(|()| Self) }
    }
}

/// The members of a JSON body, or none without one: the path says nearly all.
#[derive(Debug)]
pub(super) struct MaybeInput(pub(super) Fields);

impl FromRequest<Api> for MaybeInput {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Api) -> Result<Self, Problem> {
        Query::of(request.uri().query())?.finish()?;
        let media_type = json_media_type(request.headers());
        let body = read_body(request).await?;
        if body.is_empty() {
            return parse(b"{}").map(Self);
        }
        media_type?;
        parse(&body).map(Self)
    }
}

/// The query parameters that are not read yet.
#[derive(Debug)]
pub(super) struct Query {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
    errors: Vec<FieldError>,
}

impl Query {
    fn of(query: Option<&str>) -> Result<Self, Problem> {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let pairs: Vec<_> =
            pairs.take(MAX_PARAMETERS + 1).map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
        if pairs.len() > MAX_PARAMETERS {
            return Err(Problem::field("", format!("expected at most {MAX_PARAMETERS} query parameters")));
        }
        Ok(Self { pairs, known: Vec::new(), errors: Vec::new() })
    }

    /// A parameter that may be missing, read by `read`, which says what was expected.
    pub(super) fn optional<T, E: ToString>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.known.push(name);
        let at = self.pairs.iter().position(|(given, _)| given == name)?;
        let (_, value) = self.pairs.remove(at);
        if self.pairs.iter().any(|(given, _)| given == name) {
            self.pairs.retain(|(given, _)| given != name);
            self.errors.push(FieldError::new(name, "expected this query parameter once"));
            return None;
        }
        read(&value).map_err(|wrong| self.errors.push(FieldError::new(name, wrong.to_string()))).ok()
    }

    /// How many items a page may have.
    pub(super) fn limit(&mut self) -> usize {
        let read = |text: &str| match text.parse::<usize>() {
            Ok(limit @ 1..=MAX_LIMIT) => Ok(limit),
            _ => Err(format!("expected a number from 1 to {MAX_LIMIT}")),
        };
        self.optional("limit", read).unwrap_or(DEFAULT_LIMIT)
    }

    /// Refuses the request if a parameter was wrong or unknown.
    pub(super) fn finish(mut self) -> Result<(), Problem> {
        let known = match self.known.as_slice() {
            [] => "none".to_owned(),
            names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
        };
        for (name, _) in self.pairs {
            let name = name.chars().take(64).collect::<String>();
            let detail = format!("there is no such query parameter here; expected {known}");
            self.errors.push(FieldError::new(name, detail));
        }
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::validation(self.errors)) }
    }
}

impl FromRequestParts<Api> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        Self::of(parts.uri.query())
    }
}

/// No query parameters at all.
#[derive(Debug)]
pub(super) struct NoQuery;

impl FromRequestParts<Api> for NoQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        Query::of(parts.uri.query())?.finish().map(|()| Self)
    }
}

/// The one variable part of a path, decoded. What is not UTF-8 names nothing.
#[derive(Debug)]
pub(super) struct Name(pub(super) String);

impl FromRequestParts<Api> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let path = axum::extract::Path::<String>::from_request_parts(parts, api).await;
        path.map(|axum::extract::Path(name)| Self(name)).map_err(|_| Problem::not_found("thing"))
    }
}

/// The two variable parts of a path, decoded.
#[derive(Debug)]
pub(super) struct Names(pub(super) String, pub(super) String);

impl FromRequestParts<Api> for Names {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let path = axum::extract::Path::<(String, String)>::from_request_parts(parts, api).await;
        path.map(|axum::extract::Path((one, two))| Self(one, two)).map_err(|_| Problem::not_found("thing"))
    }
}

/// The members of a JSON object, duplicates refused at every depth.
pub(super) fn parse(text: &[u8]) -> Result<Fields, Problem> {
    Fields::new(parse_value(text)?)
}

/// As [`parse`], for any JSON value.
pub(super) fn parse_value(text: &[u8]) -> Result<Value, Problem> {
    strict_json::from_slice(text, MAX_DEPTH).map_err(|error| {
        let code = match &error {
            StrictJsonError::DuplicateMember { .. } => "api.duplicate_member",
            _ => "api.malformed_json",
        };
        Problem::new(StatusCode::BAD_REQUEST, code, format!("the body is not acceptable JSON: {error}"))
    })
}

fn json_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = given.and_then(|text| text.split(';').next()).map(str::trim);
    if essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json")) {
        return Ok(());
    }
    let detail = "expected a body with `Content-Type: application/json`";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "api.media_type", detail))
}

async fn read_body(request: Request) -> Result<Bytes, Problem> {
    let Ok(read) = tokio::time::timeout(BODY_TIME, Bytes::from_request(request, &())).await else {
        let detail = format!("the body did not arrive within {} seconds", BODY_TIME.as_secs());
        return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "api.slow_body", detail));
    };
    read.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = "the body is larger than is accepted here";
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "api.too_large", detail)
        }
        _ => Problem::new(StatusCode::BAD_REQUEST, "api.body", "the body could not be read"),
    })
}

/// As deep as published data may be, and the members around it.
const MAX_DEPTH: usize = 68;
const MAX_PARAMETERS: usize = 16;
const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 200;
/// A body is at most 4 MiB; whoever needs longer holds a connection that others could use.
const BODY_TIME: Duration = Duration::from_secs(20);
