//! Readers of single forms of authentication: each gives what can be sent as it is, or says what was expected.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use serde_json::Value;
use url::Url;
use waxseal_keys::Timestamp;

use crate::api::input::{Fields, Refused, Wrong, found};
use crate::api::read;
use crate::engine::egress::Egress;
use crate::model::authentication::{ApiKey, Basic, Bearer, ClientAuthentication, ClientCertificate, OAuth2};
use crate::model::certificate::{CertificateWithKey, TrustedCertificates};
use crate::model::header;
use crate::model::secret::Secret;

pub(super) fn api_key(fields: &mut Fields) -> Result<ApiKey, Refused> {
    let header = fields.required("header", api_key_header);
    let value = fields.required("value", header_value);
    Ok(ApiKey { header: header?, value: value? })
}

pub(super) fn basic(fields: &mut Fields) -> Result<Basic, Refused> {
    let username = fields.required("username", |value| match user_text(value, 1..=MAX_USER)? {
        name if name.contains(':') => Err("expected a user name without a colon".into()),
        name => Ok(name),
    });
    let password = fields.required("password", |value| user_text(value, 0..=MAX_SECRET));
    Ok(Basic { username: username?, password: Secret::new(password?) })
}

pub(super) fn bearer(fields: &mut Fields) -> Result<Bearer, Refused> {
    let token = fields.required("token", |value| visible(value, MAX_SECRET));
    Ok(Bearer { token: Secret::new(token?) })
}

pub(super) fn oauth2(fields: &mut Fields, egress: &Egress, now: Timestamp) -> Result<OAuth2, Refused> {
    let token_url = fields.required("token_url", |value| read::target_url(value, egress));
    let client_id = fields.required("client_id", |value| printable(value, MAX_CLIENT_ID));
    let method = fields.optional("client_authentication", |value| match read::text(value)? {
        method @ ("client_secret_basic" | "client_secret_post" | "private_key_jwt") => Ok(method.to_owned()),
        _ => Err("expected `client_secret_basic`, `client_secret_post` or `private_key_jwt`".into()),
    });
    let scope = fields.optional("scope", scope);
    let audience = fields.optional("audience", |value| printable(value, MAX_AUDIENCE));
    let ca_certificates = fields.optional("ca_certificates", |value| trusted(value, now));
    let method = method.inspect_err(|_| {
        // What else is there depends on it.
        fields.take("client_secret");
        fields.take("assertion_audience");
    });
    let method = method?.unwrap_or_else(|| "client_secret_basic".to_owned());
    let client_authentication = if method == "private_key_jwt" {
        if fields.take("client_secret").is_some() {
            return Err(
                fields.refuse("client_secret", "`private_key_jwt` takes none: the sender's own key signs")
            );
        }
        let audience = fields.optional("assertion_audience", |value| printable(value, MAX_AUDIENCE));
        let (token_url, audience) = (token_url.as_ref().map_err(|refused| *refused)?, audience?);
        if audience.as_deref().is_some_and(|audience| !same_origin(audience, token_url)) {
            let detail = "expected a URL with the scheme, host and port of `token_url`: what we sign for one server must be worthless at another";
            return Err(fields.refuse("assertion_audience", detail));
        }
        ClientAuthentication::PrivateKeyJwt { audience }
    } else {
        let client_secret = fields.required("client_secret", |value| printable(value, MAX_SECRET));
        if fields.take("assertion_audience").is_some() {
            return Err(fields.refuse("assertion_audience", "this is for `private_key_jwt` alone"));
        }
        let client_secret = Secret::new(client_secret?);
        match method.as_str() {
            "client_secret_post" => ClientAuthentication::ClientSecretPost { client_secret },
            _ => ClientAuthentication::ClientSecretBasic { client_secret },
        }
    };
    Ok(OAuth2 {
        token_url: token_url?,
        client_id: client_id?,
        client_authentication,
        scope: scope?,
        audience: audience?,
        ca_certificates: ca_certificates?,
    })
}

fn same_origin(audience: &str, token_url: &Url) -> bool {
    Url::parse(audience).is_ok_and(|audience| audience.origin() == token_url.origin())
}

pub(super) fn client_certificate(fields: &mut Fields, now: Timestamp) -> Result<ClientCertificate, Refused> {
    let source = fields.required("source", |value| match read::text(value)? {
        source @ ("own" | "uploaded") => Ok(source.to_owned()),
        _ => Err("expected `own` or `uploaded`".into()),
    })?;
    if source == "own" {
        return Ok(ClientCertificate::Own);
    }
    let certificate = fields.required("certificate", |value| read::text(value).map(str::to_owned));
    let key = fields.required("private_key", |value| read::text(value).map(Secret::new));
    let read = CertificateWithKey::parse(&certificate?, key?.reveal(), now);
    read.map(|read| ClientCertificate::Uploaded(Arc::new(read))).map_err(|error| {
        let field = if error.concerns_key() { "private_key" } else { "certificate" };
        fields.refuse(field, error.to_string())
    })
}

/// `{name: value, …}`.
pub(super) fn headers(fields: &mut Fields) -> Result<Option<Option<BTreeMap<String, Secret>>>, Refused> {
    let members = match fields.take("headers") {
        None => return Ok(None),
        Some(Value::Null) => return Ok(Some(None)),
        Some(Value::Object(members)) => members,
        Some(other) => return Err(fields.refuse("headers", found("an object of names and values", &other))),
    };
    if members.len() > MAX_HEADERS {
        let detail = format!("expected at most {MAX_HEADERS} headers, found {}", members.len());
        return Err(fields.refuse("headers", detail));
    }
    let mut headers = BTreeMap::new();
    let mut refused = None;
    for (given, value) in &members {
        let read = match (header::parse_name(given), header_value(value)) {
            (Err(error), _) => Err(error.to_string().into()),
            (Ok(_), Err(wrong)) => Err(wrong),
            (Ok(name), Ok(value)) => match headers.insert(name.as_str().to_owned(), value) {
                None => Ok(()),
                Some(_) => Err(Wrong::from("this header is given twice; case makes no difference")),
            },
        };
        if let Err(wrong) = read {
            let shown = given.chars().filter(|c| !c.is_control()).take(MAX_NAME_SHOWN).collect::<String>();
            refused = Some(fields.refuse(&format!("headers.{shown}"), wrong));
        }
    }
    refused.map_or(Ok(Some(Some(headers))), Err)
}

fn api_key_header(value: &Value) -> Result<String, Wrong> {
    let text = read::text(value)?;
    if text.eq_ignore_ascii_case(AUTHORIZATION.as_str()) {
        return Ok(AUTHORIZATION.as_str().to_owned());
    }
    header::parse_name(text).map(|name| name.as_str().to_owned()).map_err(|error| error.to_string().into())
}

fn header_value(value: &Value) -> Result<Secret, Wrong> {
    header::parse_value(read::text(value)?).map_err(|error| error.to_string().into())
}

pub(super) fn trusted(value: &Value, now: Timestamp) -> Result<TrustedCertificates, Wrong> {
    TrustedCertificates::parse(read::text(value)?, now).map_err(|error| error.to_string().into())
}

/// RFC 7617 section 2: any text without control characters.
fn user_text(value: &Value, length: RangeInclusive<usize>) -> Result<String, Wrong> {
    let text = read::text(value)?;
    if !length.contains(&text.len()) || text.chars().any(char::is_control) {
        let (least, most) = length.into_inner();
        return Err(format!("expected {least} to {most} bytes without control characters").into());
    }
    Ok(text.to_owned())
}

/// RFC 6749 appendix A: `VSCHAR`.
fn printable(value: &Value, most: usize) -> Result<String, Wrong> {
    let text = read::text(value)?;
    let sound = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if sound && (1..=most).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err(format!("expected 1 to {most} printable ASCII characters").into())
}

/// Wider than RFC 6750's `b64token`, because tokens in use are; still nothing that ends the field.
fn visible(value: &Value, most: usize) -> Result<String, Wrong> {
    let text = read::text(value)?;
    if text.bytes().all(|byte| byte.is_ascii_graphic()) && (1..=most).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    Err(format!("expected 1 to {most} visible ASCII characters, without the word `Bearer`").into())
}

/// RFC 6749 section 3.3.
fn scope(value: &Value) -> Result<String, Wrong> {
    let text = read::text(value)?;
    let word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
    };
    if text.len() <= MAX_SCOPE && text.split(' ').all(word) {
        return Ok(text.to_owned());
    }
    Err(format!("expected words of visible ASCII characters with single spaces between them, at most {MAX_SCOPE} in all").into())
}

const MAX_HEADERS: usize = 16;
const MAX_NAME_SHOWN: usize = 64;
const MAX_USER: usize = 255;
/// Enough for a JWT with many claims.
const MAX_SECRET: usize = 4_096;
const MAX_CLIENT_ID: usize = 255;
const MAX_AUDIENCE: usize = 512;
const MAX_SCOPE: usize = 1_024;
