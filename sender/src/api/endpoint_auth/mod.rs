//! `authentication` and `server_authentication` of an endpoint: what is shown to its server, and what that must prove.
//!
//! Guarantees that secrets go in and never out; that nothing is kept which could not be sent (a header that HTTP or we
//! own, a value that ends its line, two forms for one field, a key that does not belong to its certificate); and that
//! a form that is given replaces the one before as a whole, so that no part of an old credential meets a new address.

mod form;
mod shown;

use std::collections::{BTreeMap, HashSet};

use waxseal_keys::Timestamp;

pub(super) use self::shown::{authentication, server};
use super::input::{Fields, Refused};
use super::problem::Problem;
use super::{Caller, read};
use crate::directory::ChangeError;
use crate::engine::egress::Egress;
use crate::model::authentication::{
    ApiKey, Authentication, Basic, Bearer, ClientAuthentication, ClientCertificate, OAuth2,
};
use crate::model::certificate::TrustedCertificates;
use crate::model::endpoint::Endpoint;
use crate::model::secret::Secret;
use crate::model::server_authentication::{LEAST_PINS, MOST_PINS, Pin, ServerAuthentication};

/// Whether a request says anything about these: that needs a permission of its own.
pub(super) fn concerned(fields: &Fields) -> bool {
    fields.has("authentication") || fields.has("server_authentication")
}

/// Which of the fields that decide who reads an endpoint's deliveries are in a request: for the record.
pub(super) fn sensitive(fields: &Fields) -> Vec<&'static str> {
    SENSITIVE.into_iter().filter(|name| fields.has(name)).collect()
}

/// Puts a change that was made on record: who made it, to what. Never the values.
pub(super) fn record(caller: &Caller, endpoint: &Endpoint, changed: &[&'static str]) {
    if !changed.is_empty() {
        let (token, changed) = (caller.token_id(), changed.join(","));
        tracing::info!(%token, endpoint = %endpoint.id, consumer = %endpoint.consumer, changed, "an endpoint was changed");
    }
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
        fits(endpoint)
    }
}

impl OurProofs {
    fn read(fields: &mut Fields, egress: &Egress, now: Timestamp) -> Result<Self, Refused> {
        let api_key = fields.change_object("api_key", form::api_key);
        let basic = fields.change_object("basic", form::basic);
        let bearer = fields.change_object("bearer", form::bearer);
        let oauth2 = fields.change_object("oauth2", |fields| form::oauth2(fields, egress, now));
        let client_certificate =
            fields.change_object("client_certificate", |fields| form::client_certificate(fields, now));
        let headers = form::headers(fields);
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
        let ca_certificates = fields.change("ca_certificates", |value| form::trusted(value, now));
        let pins = fields.list_or_null("pins", MOST_PINS, |value| {
            Pin::parse(read::text(value)?).map_err(|error| error.to_string().into())
        });
        let pins = pins.and_then(|pins| match pins {
            None => Ok(None),
            Some(None) => Ok(Some(Vec::new())),
            Some(Some(pins)) => {
                let distinct = pins.iter().collect::<HashSet<_>>().len();
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

const SENSITIVE: [&str; 6] =
    ["url", "protection", "encryption_keys", "authentication", "server_authentication", "trusted"];
/// Servers commonly take 8 KiB for one line and 16 to 32 KiB for all.
const MAX_HEADER_BYTES: usize = 8 * 1024;
