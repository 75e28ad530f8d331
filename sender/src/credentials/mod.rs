//! What endpoints are shown beside the token: headers, a token from an authorization server, a certificate of ours.
//!
//! Relies on the endpoint's record for what it wants. Guarantees that what belongs to one endpoint is put together
//! for that endpoint alone, each time from its present record; and that where something cannot be had the answer is a
//! [`Hold`], so that nothing is posted without what the endpoint asked for.

mod assertion;
pub mod authority;
mod fetch;
mod mask;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderName;
use http::header::AUTHORIZATION;
use waxseal_keys::Clock;
use zeroize::Zeroizing;

use self::authority::ClientAuthority;
use self::tokens::{Token, Tokens};
use crate::engine::egress::{Access, Egress};
use crate::engine::hold::Hold;
use crate::engine::post::BodyEnd;
use crate::host_limits::HostLimits;
use crate::model::authentication::{Authentication, Basic, ClientCertificate};
use crate::model::certificate::CertificateWithKey;
use crate::model::endpoint::Endpoint;
use crate::model::header::sensitive;
use crate::signing_keys::SigningKeys;

/// Puts together what endpoints are shown.
#[derive(Debug)]
pub struct Credentials {
    egress: Arc<Egress>,
    authority: Arc<ClientAuthority>,
    tokens: Tokens,
    clock: Arc<dyn Clock>,
}

/// What one POST shows.
#[derive(Debug)]
pub struct Shown {
    access: Access,
    /// The token in it, if there is one that can be renewed.
    token: Option<Arc<Token>>,
}

impl Shown {
    /// Takes what was shown, and what it was made of, out of an answer: a server may send back what it is shown.
    /// `authentication` is that of the endpoint, `end` says whether this is all of the answer.
    pub fn mask(&self, authentication: Option<&Authentication>, excerpt: &mut Vec<u8>, end: BodyEnd) {
        let token = self.token.as_ref().map(|token| token.reveal().as_bytes());
        let configured = authentication.into_iter().flat_map(Authentication::secrets).map(str::as_bytes);
        let shown: Vec<_> = self.access.values().chain(token).chain(configured).collect();
        mask::mask(&shown, excerpt, end);
    }

    /// What the client of the POST needs.
    pub fn access(&self) -> &Access {
        &self.access
    }
}

impl Credentials {
    /// Fetches tokens through `egress`, proves itself with `signing_keys` where that is asked for, and takes
    /// certificates from `authority`.
    pub fn new(
        egress: Arc<Egress>,
        signing_keys: Arc<SigningKeys>,
        authority: Arc<ClientAuthority>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let tokens = Tokens::new(Arc::clone(&egress), signing_keys, Arc::clone(&clock));
        Self { egress, authority, tokens, clock }
    }

    /// With questions to authorization servers that fail taking so long at least; as it comes, as long as one that is not
    /// answered. Less lets whoever names one read off whether anything is there.
    #[must_use]
    pub fn failing_after(mut self, at_least: Duration) -> Self {
        self.tokens.failing_after(at_least);
        self
    }

    /// With other bounds than those that are usual on how often tokens are renewed before their time, because endpoints
    /// refuse them. For each consumer and host once a minute is a bound beside them.
    #[must_use]
    pub fn renewing_within(mut self, limits: HostLimits) -> Self {
        self.tokens.renewing_within(limits);
        self
    }

    /// What `endpoint` is to be shown; `None` for nothing but the token, as most. Waits only where an authorization
    /// server has to be asked.
    ///
    /// # Errors
    /// [`Hold`], if something of it cannot be had.
    pub async fn shown_to(&self, endpoint: &Endpoint) -> Result<Option<Box<Shown>>, Hold> {
        match (&endpoint.authentication, &endpoint.server_authentication) {
            (None, None) => Ok(None),
            (authentication, _) => self
                .put_together(endpoint, authentication.as_deref())
                .await
                .map(|shown| Some(Box::new(shown))),
        }
    }

    /// To be asked when `endpoint` refused what it was shown: sees to it that there is another token, at most once a
    /// minute for each of its consumer's hosts. `true`: there is one, and the same may be posted again at once, once.
    pub async fn renew_after_refusal(&self, endpoint: &Endpoint, shown: &Shown) -> bool {
        let oauth2 = endpoint.authentication.as_ref().and_then(|shown| shown.oauth2.as_ref());
        match (oauth2, &shown.token) {
            (Some(oauth2), Some(refused)) => self.tokens.renew(endpoint, oauth2, refused).await,
            _ => false,
        }
    }

    async fn put_together(
        &self,
        endpoint: &Endpoint,
        authentication: Option<&Authentication>,
    ) -> Result<Shown, Hold> {
        let mut access = Access::default();
        let asked = endpoint.server_authentication.as_deref();
        let certificate = match authentication.and_then(|shown| shown.client_certificate.as_ref()) {
            None => None,
            Some(wanted) => Some(self.certificate(endpoint, wanted).await?),
        };
        if certificate.is_some() || asked.is_some() {
            access.own_session(&self.egress, certificate.as_deref(), asked).map_err(|error| {
                tracing::warn!(endpoint = %endpoint.id, code = error.code(), %error, "no TLS session of its own");
                Hold::TlsSettings
            })?;
        }
        let Some(authentication) = authentication else { return Ok(Shown { access, token: None }) };
        put_headers(&mut access, authentication);
        let token = match &authentication.oauth2 {
            None => None,
            Some(oauth2) => {
                let token = self.tokens.token_for(endpoint, oauth2).await?;
                put(&mut access, AUTHORIZATION, &Zeroizing::new(format!("Bearer {}", token.reveal())));
                Some(token)
            }
        };
        Ok(Shown { access, token })
    }

    async fn certificate(
        &self,
        endpoint: &Endpoint,
        wanted: &ClientCertificate,
    ) -> Result<Arc<CertificateWithKey>, Hold> {
        match wanted {
            ClientCertificate::Own => self.authority.certificate_for(&endpoint.consumer).await.map_err(|error| {
                tracing::warn!(endpoint = %endpoint.id, code = error.code(), %error, "no client certificate");
                Hold::NoClientCertificate
            }),
            ClientCertificate::Uploaded(given) if given.summary.not_after > self.clock.now() => {
                Ok(Arc::clone(given))
            }
            ClientCertificate::Uploaded(_) => Err(Hold::ClientCertificateExpired),
        }
    }
}

/// What needs nobody to be asked.
fn put_headers(access: &mut Access, shown: &Authentication) {
    for (name, value) in &shown.headers {
        put_named(access, name, value.reveal());
    }
    if let Some(key) = &shown.api_key {
        put_named(access, &key.header, key.value.reveal());
    }
    if let Some(Basic { username, password }) = &shown.basic {
        put(access, AUTHORIZATION, &basic(username, password.reveal()));
    }
    if let Some(bearer) = &shown.bearer {
        put(access, AUTHORIZATION, &Zeroizing::new(format!("Bearer {}", bearer.token.reveal())));
    }
}

/// RFC 7617 section 2.
fn basic(username: &str, password: &str) -> Zeroizing<String> {
    let pair = Zeroizing::new(format!("{username}:{password}"));
    Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())))
}

fn put_named(access: &mut Access, name: &str, value: &str) {
    // Names and values were checked when they were given.
    if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
        put(access, name, value);
    }
}

fn put(access: &mut Access, name: HeaderName, value: &str) {
    if let Some(value) = sensitive(value) {
        access.header(name, value);
    }
}
