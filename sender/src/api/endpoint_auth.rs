//! `authentication` and `server_authentication` of an endpoint: what is shown to its server, and what that must prove.
//!
//! Guarantees that secrets go in and never out; that nothing is kept which could not be sent (a header that HTTP or we
//! own, a value that ends its line, two forms for one field, a key that does not belong to its certificate); and that
//! a form that is given replaces the one before as a whole, so that no part of an old credential meets a new address.

use std::collections::BTreeMap;

use http::header::AUTHORIZATION;
use serde_json::{Map, Value, json};
use waxseal_keys::Timestamp;

use super::input::{Fields, Refused, Wrong, found};
use super::problem::Problem;
use super::{Caller, read, show};
use crate::directory::ChangeError;
use crate::engine::egress::Egress;
use crate::model::authentication::{
    ApiKey, Authentication, Basic, Bearer, ClientAuthentication, ClientCertificate, OAuth2,
};
use crate::model::certificate::{CertificateSummary, CertificateWithKey, TrustedCertificates};
use crate::model::endpoint::Endpoint;
use crate::model::header;
use crate::model::secret::Secret;
use crate::model::server_authentication::{LEAST_PINS, MOST_PINS, Pin, ServerAuthentication};

/// Whether a request says anything about these: that needs a permission of its own.
pub(super) fn concerned(fields: &Fields) -> bool {
    fields.has("authentication") || fields.has("server_authentication")
}

/// What a request says about them.
#[derive(Debug)]
pub(super) struct Proofs {
    authentication: Option<Option<OurProofs>>,
    server: Option<Option<TheirProofs>>,
}

/// For each form: `None`, it stays; `Some(None)`, it goes; else what replaces it.
#[derive(Debug)]
struct OurProofs {
    api_key: Option<Option<ApiKey>>,
    basic: Option<Option<Basic>>,
    bearer: Option<Option<Bearer>>,
    oauth2: Option<Option<OAuth2>>,
    client_certificate: Option<Option<ClientCertificate>>,
    headers: Option<Option<BTreeMap<String, Secret>>>,
}

#[derive(Debug)]
struct TheirProofs {
    ca_certificates: Option<Option<TrustedCertificates>>,
    pins: Option<Vec<Pin>>,
}

impl Proofs {
    pub(super) fn read(fields: &mut Fields, egress: &Egress, now: Timestamp) -> Result<Self, Refused> {
        let ours = fields.change_object("authentication", |fields| OurProofs::read(fields, egress, now));
        let theirs = fields.change_object("server_authentication", |fields| TheirProofs::read(fields, now));
        Ok(Self { authentication: ours?, server: theirs? })
    }

    /// An assertion that is signed with our key needs no secret of the one who asks for it. A consumer could name the
    /// authorization server and the client id of another one, and have the token posted to itself.
    pub(super) fn permitted(self, caller: &Caller) -> Result<Self, Problem> {
        let oauth2 = self.authentication.iter().flatten().filter_map(|ours| ours.oauth2.as_ref()?.as_ref());
        let speaks_for_us = |oauth2: &OAuth2| {
            matches!(oauth2.client_authentication, ClientAuthentication::PrivateKeyJwt { .. })
        };
        if oauth2.into_iter().any(speaks_for_us) {
            caller.unbound()?;
        }
        Ok(self)
    }

    /// Makes the changes, and checks that what comes out fits together.
    pub(super) fn apply(self, endpoint: &mut Endpoint) -> Result<(), ChangeError> {
        let changed = self.authentication.is_some() || self.server.is_some();
        match self.authentication {
            None => {}
            Some(None) => endpoint.authentication = None,
            Some(Some(ours)) => {
                let mut authentication = endpoint.authentication.take().unwrap_or_default();
                ours.apply(&mut authentication);
                endpoint.authentication = Some(authentication).filter(|shown| !shown.is_none());
            }
        }
        match self.server {
            None => {}
            Some(None) => endpoint.server_authentication = None,
            Some(Some(theirs)) => {
                let mut asked = endpoint.server_authentication.take().unwrap_or_default();
                theirs.apply(&mut asked);
                endpoint.server_authentication = Some(asked).filter(|asked| !asked.is_usual());
            }
        }
        if changed {
            tracing::info!(endpoint = %endpoint.id, consumer = %endpoint.consumer, "authentication was changed");
        }
        fits(endpoint)
    }
}

impl OurProofs {
    fn read(fields: &mut Fields, egress: &Egress, now: Timestamp) -> Result<Self, Refused> {
        let api_key = fields.change_object("api_key", |fields| {
            let header = fields.required("header", api_key_header);
            let value = fields.required("value", header_value);
            Ok(ApiKey { header: header?, value: value? })
        });
        let basic = fields.change_object("basic", |fields| {
            let username = fields.required("username", |value| user_text(value, 1..=MAX_USER));
            let password = fields.required("password", |value| user_text(value, 0..=MAX_SECRET));
            let username = username.and_then(|name| match name.contains(':') {
                true => Err(fields.refuse("username", "expected a user name without a colon")),
                false => Ok(name),
            });
            Ok(Basic { username: username?, password: Secret::new(password?) })
        });
        let bearer = fields.change_object("bearer", |fields| {
            Ok(Bearer { token: Secret::new(fields.required("token", |value| visible(value, MAX_SECRET))?) })
        });
        let oauth2 = fields.change_object("oauth2", |fields| oauth2(fields, egress, now));
        let client_certificate =
            fields.change_object("client_certificate", |fields| client_certificate(fields, now));
        let headers = headers(fields);
        Ok(Self {
            api_key: api_key?,
            basic: basic?,
            bearer: bearer?,
            oauth2: oauth2?,
            client_certificate: client_certificate?,
            headers: headers?,
        })
    }

    fn apply(self, to: &mut Authentication) {
        let Self { api_key, basic, bearer, oauth2, client_certificate, headers } = self;
        to.api_key = api_key.unwrap_or_else(|| to.api_key.take());
        to.basic = basic.unwrap_or_else(|| to.basic.take());
        to.bearer = bearer.unwrap_or_else(|| to.bearer.take());
        to.oauth2 = oauth2.unwrap_or_else(|| to.oauth2.take());
        to.client_certificate = client_certificate.unwrap_or_else(|| to.client_certificate.take());
        if let Some(headers) = headers {
            to.headers = headers.unwrap_or_default();
        }
    }
}

impl TheirProofs {
    fn read(fields: &mut Fields, now: Timestamp) -> Result<Self, Refused> {
        let ca_certificates = fields.change("ca_certificates", |value| trusted(value, now));
        let cleared = fields.has("pins");
        let pins = fields.list("pins", MOST_PINS, |value| {
            Pin::parse(read::text(value)?).map_err(|error| error.to_string().into())
        });
        let pins = pins.and_then(|pins| match pins {
            None => Ok(cleared.then(Vec::new)),
            Some(pins) => {
                let distinct = pins.iter().collect::<std::collections::HashSet<_>>().len();
                if distinct == pins.len() && (pins.is_empty() || distinct >= LEAST_PINS) {
                    return Ok(Some(pins));
                }
                let detail = "expected at least two different pins: the key in use, and a backup that is not in use yet";
                Err(fields.refuse("pins", detail))
            }
        });
        Ok(Self { ca_certificates: ca_certificates?, pins: pins? })
    }

    fn apply(self, to: &mut ServerAuthentication) {
        to.ca_certificates = self.ca_certificates.unwrap_or_else(|| to.ca_certificates.take());
        to.pins = self.pins.unwrap_or_else(|| std::mem::take(&mut to.pins));
    }
}

/// What single fields cannot say.
fn fits(endpoint: &Endpoint) -> Result<(), ChangeError> {
    let refused = |field, detail: String| Err(ChangeError::Invalid { field, detail });
    if endpoint.url.scheme() != "https" && endpoint.needs_own_tls() {
        let field = if endpoint.server_authentication.is_some() {
            "server_authentication"
        } else {
            "authentication.client_certificate"
        };
        return refused(field, "this needs an https URL: without TLS nothing is proved".to_owned());
    }
    let Some(shown) = &endpoint.authentication else { return Ok(()) };
    if let [first, second, ..] = shown.authorizations()[..] {
        let detail = format!(
            "`{first}` and `{second}` both fill the Authorization header; give one of them, and null for the other"
        );
        return refused("authentication", detail);
    }
    if let Some(key) = &shown.api_key
        && shown.headers.contains_key(&key.header)
    {
        return refused(
            "authentication.headers",
            format!("`{}` is the header of `api_key` already", key.header),
        );
    }
    let bytes =
        shown.headers.iter().map(|(name, value)| name.len() + value.reveal().len() + 4).sum::<usize>();
    if bytes > MAX_HEADER_BYTES {
        let detail = format!("expected at most {MAX_HEADER_BYTES} bytes of headers, found {bytes}");
        return refused("authentication.headers", detail);
    }
    Ok(())
}

fn oauth2(fields: &mut Fields, egress: &Egress, now: Timestamp) -> Result<OAuth2, Refused> {
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

fn same_origin(audience: &str, token_url: &url::Url) -> bool {
    url::Url::parse(audience).is_ok_and(|audience| audience.origin() == token_url.origin())
}

fn client_certificate(fields: &mut Fields, now: Timestamp) -> Result<ClientCertificate, Refused> {
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
    read.map(|read| ClientCertificate::Uploaded(Box::new(read))).map_err(|error| {
        let field = if error.concerns_key() { "private_key" } else { "certificate" };
        fields.refuse(field, error.to_string())
    })
}

/// `{name: value, …}`.
fn headers(fields: &mut Fields) -> Result<Option<Option<BTreeMap<String, Secret>>>, Refused> {
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

fn trusted(value: &Value, now: Timestamp) -> Result<TrustedCertificates, Wrong> {
    TrustedCertificates::parse(read::text(value)?, now).map_err(|error| error.to_string().into())
}

/// RFC 7617 section 2: any text without control characters.
fn user_text(value: &Value, length: std::ops::RangeInclusive<usize>) -> Result<String, Wrong> {
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

/// What is shown to a server, without its secrets.
pub(super) fn authentication(shown: &Authentication) -> Value {
    let mut forms = Map::new();
    if let Some(ApiKey { header, .. }) = &shown.api_key {
        forms.insert("api_key".to_owned(), json!({ "header": header }));
    }
    if let Some(Basic { username, .. }) = &shown.basic {
        forms.insert("basic".to_owned(), json!({ "username": username }));
    }
    if shown.bearer.is_some() {
        forms.insert("bearer".to_owned(), json!({}));
    }
    if let Some(oauth2) = &shown.oauth2 {
        let assertion_audience = match &oauth2.client_authentication {
            ClientAuthentication::PrivateKeyJwt { audience } => audience.as_deref(),
            ClientAuthentication::ClientSecretBasic { .. }
            | ClientAuthentication::ClientSecretPost { .. } => None,
        };
        let shown = json!({
            "token_url": oauth2.token_url,
            "client_id": oauth2.client_id,
            "client_authentication": oauth2.client_authentication.name(),
            "assertion_audience": assertion_audience,
            "scope": oauth2.scope,
            "audience": oauth2.audience,
            "ca_certificates": oauth2.ca_certificates.as_ref().map(certificates),
        });
        forms.insert("oauth2".to_owned(), shown);
    }
    match &shown.client_certificate {
        None => {}
        Some(ClientCertificate::Own) => {
            forms.insert("client_certificate".to_owned(), json!({ "source": "own" }));
        }
        Some(ClientCertificate::Uploaded(uploaded)) => {
            let mut shown = certificate(&uploaded.summary);
            shown["source"] = "uploaded".into();
            forms.insert("client_certificate".to_owned(), shown);
        }
    }
    if !shown.headers.is_empty() {
        forms.insert("headers".to_owned(), shown.headers.keys().cloned().collect());
    }
    forms.into()
}

/// What a server must prove. All of it is public.
pub(super) fn server(asked: &ServerAuthentication) -> Value {
    json!({ "ca_certificates": asked.ca_certificates.as_ref().map(certificates), "pins": asked.pins })
}

fn certificates(trusted: &TrustedCertificates) -> Value {
    trusted.certificates.iter().map(certificate).collect()
}

fn certificate(summary: &CertificateSummary) -> Value {
    json!({
        "subject": summary.subject,
        "fingerprint_sha256": summary.fingerprint_sha256,
        "not_after": show::moment(summary.not_after),
    })
}

const MAX_HEADERS: usize = 16;
/// Servers commonly take 8 KiB for one line and 16 to 32 KiB for all.
const MAX_HEADER_BYTES: usize = 8 * 1024;
const MAX_NAME_SHOWN: usize = 64;
const MAX_USER: usize = 255;
/// Enough for a JWT with many claims.
const MAX_SECRET: usize = 4_096;
const MAX_CLIENT_ID: usize = 255;
const MAX_AUDIENCE: usize = 512;
const MAX_SCOPE: usize = 1_024;
