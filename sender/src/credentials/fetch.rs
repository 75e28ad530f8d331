//! One request to a token endpoint, and what came back (RFC 6749 sections 4.4 and 5).
//!
//! Relies on the guarded client. Guarantees bounds on the time and the size of an answer, and that neither the token
//! nor anything that was sent is in an error or a log.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use serde_json::Value;
use url::form_urlencoded::{Serializer, byte_serialize};
use waxseal_jwks::{FetchError, HttpResponse};
use waxseal_keys::{SigningKey, Timestamp, strict_json};
use zeroize::Zeroizing;

use super::{assertion, put};
use crate::engine::egress::{Access, Egress, EgressError};
use crate::engine::hold::Hold;
use crate::model::authentication::{ClientAuthentication, OAuth2};
use crate::model::secret::Secret;
use crate::model::server_authentication::ServerAuthentication;

/// A token that was given.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) token: Secret,
    pub(super) lasts: Duration,
}

/// Why none was.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchTokenError {
    #[error("no signing key is active to prove ourselves with")]
    NoSigningKey,
    #[error("the assertion cannot be signed")]
    Sign,
    #[error(transparent)]
    Tls(#[from] EgressError),
    #[error("the token endpoint did not answer")]
    Exchange(#[from] FetchError),
    /// The code of RFC 6749 section 5.2, if it gave one.
    #[error("the token endpoint refused with status {status}: {error}")]
    Refused { status: u16, error: &'static str },
    #[error("the token endpoint's answer is not a bearer token: {0}")]
    NotAToken(&'static str),
}

impl FetchTokenError {
    /// A stable code for logs.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::NoSigningKey => "token.no_signing_key",
            Self::Sign => "token.sign",
            Self::Tls(error) => error.code(),
            Self::Exchange(_) => "token.exchange",
            Self::Refused { .. } => "token.refused",
            Self::NotAToken(_) => "token.answer",
        }
    }

    /// What it means for the endpoint.
    pub(super) fn hold(&self) -> Hold {
        match self {
            Self::NoSigningKey => Hold::NoSigningKey,
            Self::Tls(_) => Hold::TlsSettings,
            Self::Refused { status: 400..=407 | 409..=428 | 430..=499, .. } => Hold::TokenRefused,
            Self::Sign | Self::Exchange(_) | Self::Refused { .. } | Self::NotAToken(_) => {
                Hold::TokenUnavailable
            }
        }
    }
}

/// Asks for a token, once.
pub(super) async fn fetch(
    egress: &Egress,
    oauth2: &OAuth2,
    signer: Option<SigningKey>,
    now: Timestamp,
) -> Result<Granted, FetchTokenError> {
    let mut access = Access::default();
    if let Some(roots) = &oauth2.ca_certificates {
        let asked = ServerAuthentication { ca_certificates: Some(roots.clone()), pins: Vec::new() };
        access.own_session(egress, None, Some(&asked))?;
    }
    let form = form(oauth2, signer, now, &mut access)?;
    let answer = egress.post_form(&oauth2.token_url, form, &access, MAX_ANSWER, TIMEOUT).await?;
    read(&answer)
}

fn form(
    oauth2: &OAuth2,
    signer: Option<SigningKey>,
    now: Timestamp,
    access: &mut Access,
) -> Result<String, FetchTokenError> {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    if let Some(scope) = &oauth2.scope {
        form.append_pair("scope", scope);
    }
    if let Some(audience) = &oauth2.audience {
        form.append_pair("audience", audience);
    }
    match &oauth2.client_authentication {
        ClientAuthentication::ClientSecretBasic { client_secret } => {
            put(access, AUTHORIZATION, &basic(&oauth2.client_id, client_secret.reveal()));
        }
        ClientAuthentication::ClientSecretPost { client_secret } => {
            form.append_pair("client_id", &oauth2.client_id);
            form.append_pair("client_secret", client_secret.reveal());
        }
        ClientAuthentication::PrivateKeyJwt { audience } => {
            let signer = signer.ok_or(FetchTokenError::NoSigningKey)?;
            let audience = audience.as_deref().unwrap_or(oauth2.token_url.as_str());
            let assertion = assertion::sign(&oauth2.client_id, audience, &signer, now);
            form.append_pair("client_id", &oauth2.client_id);
            form.append_pair("client_assertion_type", ASSERTION_TYPE);
            form.append_pair("client_assertion", &assertion.map_err(|_| FetchTokenError::Sign)?);
        }
    }
    Ok(form.finish())
}

/// RFC 6749 section 2.3.1: each half is form-encoded first, unlike in plain Basic.
fn basic(client_id: &str, secret: &str) -> Zeroizing<String> {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = Zeroizing::new(format!("{}:{}", encoded(client_id), encoded(secret)));
    Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())))
}

fn read(answer: &HttpResponse) -> Result<Granted, FetchTokenError> {
    let members = strict_json::parse_object(&answer.body, MAX_DEPTH).ok().flatten();
    if answer.status != 200 {
        let error = members.as_ref().and_then(|members| members.get("error")).and_then(Value::as_str);
        // Written by a stranger, who has just been shown a secret: nothing but a known code is repeated.
        let error = match error {
            None => "no reason given",
            Some(given) => CODES.into_iter().find(|code| *code == given).unwrap_or("for a reason of its own"),
        };
        return Err(FetchTokenError::Refused { status: answer.status, error });
    }
    let members = members.ok_or(FetchTokenError::NotAToken("it is no JSON object"))?;
    let bearer = members.get("token_type").and_then(Value::as_str);
    if !bearer.is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
        return Err(FetchTokenError::NotAToken("`token_type` is not `Bearer`"));
    }
    let token = members.get("access_token").and_then(Value::as_str).unwrap_or_default();
    let sound = token.bytes().all(|byte| byte.is_ascii_graphic());
    if token.is_empty() || token.len() > MAX_TOKEN || !sound {
        return Err(FetchTokenError::NotAToken("`access_token` cannot be sent in a header"));
    }
    let lasts = match members.get("expires_in") {
        None | Some(Value::Null) => DEFAULT_LIFE,
        Some(Value::Number(seconds)) => whole_seconds(seconds.as_f64())?,
        // Not what RFC 6749 says, and found in the wild.
        Some(Value::String(seconds)) => whole_seconds(seconds.parse().ok())?,
        Some(_) => return Err(FetchTokenError::NotAToken("`expires_in` is not a number")),
    };
    Ok(Granted { token: Secret::new(token), lasts: lasts.min(LONGEST_LIFE) })
}

fn whole_seconds(seconds: Option<f64>) -> Result<Duration, FetchTokenError> {
    match seconds.map(Duration::try_from_secs_f64) {
        Some(Ok(lasts)) if lasts >= SHORTEST_LIFE => Ok(lasts),
        Some(Err(_)) if seconds.is_some_and(|seconds| seconds > 0.0) => Ok(LONGEST_LIFE),
        _ => Err(FetchTokenError::NotAToken("`expires_in` is over already, or not a number")),
    }
}

/// RFC 7523 section 2.2.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How long one question takes at most.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_ANSWER: usize = 32 * 1024;
const MAX_DEPTH: usize = 16;
/// RFC 6749 section 5.2, RFC 8707 section 2, and what servers answer beside it (section 4.1.2.1).
const CODES: [&str; 10] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_target",
    "access_denied",
    "server_error",
    "temporarily_unavailable",
];
/// As long as a header that servers take.
const MAX_TOKEN: usize = 8 * 1024 - 32;
/// Of a token that does not say how long it lasts. Servers that leave it out mean an hour and more.
const DEFAULT_LIFE: Duration = Duration::from_secs(5 * 60);
const SHORTEST_LIFE: Duration = Duration::from_secs(1);
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, body: &str) -> Result<Granted, FetchTokenError> {
        let body = bytes::Bytes::copy_from_slice(body.as_bytes());
        read(&HttpResponse { status, content_type: None, max_age: None, body })
    }

    fn lasts(expires_in: &str) -> Option<u64> {
        let body = format!(r#"{{"access_token":"t","token_type":"bearer"{expires_in}}}"#);
        answered(200, &body).ok().map(|granted| granted.lasts.as_secs())
    }

    #[test]
    fn a_token_lasts_as_long_as_it_says_within_bounds() {
        for (expires_in, expected) in [
            ("", Some(300)),
            (r#","expires_in":null"#, Some(300)),
            (r#","expires_in":3600"#, Some(3_600)),
            (r#","expires_in":"3600""#, Some(3_600)),
            (r#","expires_in":3599.5"#, Some(3_599)),
            (r#","expires_in":1e300"#, Some(86_400)),
            (r#","expires_in":999999999"#, Some(86_400)),
            (r#","expires_in":0"#, None),
            (r#","expires_in":-5"#, None),
            (r#","expires_in":"soon""#, None),
            (r#","expires_in":true"#, None),
        ] {
            assert_eq!(lasts(expires_in), expected, "{expires_in}");
        }
    }

    #[test]
    fn what_is_no_bearer_token_is_refused_without_being_shown() {
        for body in [
            "",
            "[]",
            "access_token=t&token_type=bearer",
            r#"{"access_token":"hunter2"}"#,
            r#"{"access_token":"hunter2","token_type":"DPoP"}"#,
            r#"{"token_type":"bearer"}"#,
            r#"{"access_token":"","token_type":"bearer"}"#,
            r#"{"access_token":"hunter2\r\nhost: x","token_type":"bearer"}"#,
            r#"{"access_token":"hunter2","access_token":"b","token_type":"bearer"}"#,
        ] {
            let error = answered(200, body).unwrap_err();
            assert_eq!((error.code(), error.hold()), ("token.answer", Hold::TokenUnavailable), "{body}");
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn a_refusal_is_told_from_trouble() {
        for (status, body, hold) in [
            (401, r#"{"error":"invalid_client","error_description":"x"}"#, Hold::TokenRefused),
            (400, "", Hold::TokenRefused),
            (302, "", Hold::TokenUnavailable),
            (429, "", Hold::TokenUnavailable),
            (408, "", Hold::TokenUnavailable),
            (503, "down", Hold::TokenUnavailable),
        ] {
            assert_eq!(answered(status, body).unwrap_err().hold(), hold, "{status}");
        }
    }

    #[test]
    fn a_refusal_repeats_nothing_but_known_codes() {
        let shown = |error| answered(400, &format!(r#"{{"error":"{error}"}}"#)).unwrap_err().to_string();
        assert!(shown("invalid_client").ends_with("400: invalid_client"));
        for error in ["hunter2", "wrong secret hunter2", "\\u001b[31m"] {
            assert!(shown(error).ends_with("400: for a reason of its own"), "{error}");
        }
    }

    #[test]
    fn id_and_secret_are_form_encoded_in_basic() {
        let encoded = STANDARD.encode("a%3Ab:c+%26%2B");
        assert_eq!(*basic("a:b", "c &+"), format!("Basic {encoded}"));
    }
}
