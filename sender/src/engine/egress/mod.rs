//! The way of every outgoing request: deliveries, consumers' key sets, OAuth tokens.
//!
//! Relies on the operating system for names and for its trusted root certificates. Guarantees that no connection is
//! made to a private, loopback, link-local or metadata address unless the operator has allowed its range, whatever
//! form the address is given in ([`guard`], [`address`]); that no redirect is followed, no proxy variable of the
//! environment obeyed, no body inflated; that TLS is 1.2 or newer, and that no exchange outlasts its time limit.

mod access;
pub mod address;
mod clients;
pub mod guard;
pub(in crate::engine) mod lookup;
pub(crate) mod session;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};
use ipnet::IpNet;
use reqwest::Client;
use url::Url;
use waxseal_jwks::{FetchError, HttpGet, HttpGetFuture, HttpResponse};

pub use self::access::Access;
use self::address::AddressPolicy;
use self::clients::Clients;
use self::guard::{Guard, PlainHttp, Transport, UrlRefused};
pub use self::lookup::{LookupFuture, Resolver};
use crate::engine::post::PostError;

/// What outgoing requests may do.
#[derive(Clone, Debug)]
pub struct EgressPolicy {
    /// Ranges that may be connected to beside the public addresses.
    pub allow: Vec<IpNet>,
    /// Whether a URL may be `http:`.
    pub http: PlainHttp,
    /// For resolving, connecting and the TLS handshake.
    pub connect_timeout: Duration,
    /// For a whole exchange.
    pub total_timeout: Duration,
    /// Root certificates to trust beside those of the operating system, PEM.
    pub extra_roots: Option<Vec<u8>>,
}

impl Default for EgressPolicy {
    /// Public addresses over `https:`; 5 seconds to connect, 15 in all.
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            http: PlainHttp::Never,
            connect_timeout: Duration::from_secs(5),
            total_timeout: Duration::from_secs(15),
            extra_roots: None,
        }
    }
}

/// The guarded client. Shared: it owns the pool of connections.
#[derive(Debug)]
pub struct Egress {
    guard: Arc<Guard>,
    tls: Client,
    /// There is one if the policy permits plain HTTP. It is a client of its own because its names must resolve to
    /// allowed ranges, and a resolver is not told the scheme.
    plain: Option<Client>,
    clients: Clients,
    total_timeout: Duration,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EgressError {
    /// The extra root certificates are not PEM certificates, or there are none.
    #[error("the extra root certificates must be one or more certificates in PEM form")]
    ExtraRoots,
    /// There are no root certificates at all.
    #[error("there are no root certificates to check a server against")]
    Roots,
    /// A stored client certificate does not open.
    #[error("the stored client certificate or its key cannot be read")]
    ClientCertificate,
    /// What an endpoint asks of TLS cannot be had.
    #[error("no TLS session can be set up as the endpoint asks for it")]
    Tls(#[source] rustls::Error),
    /// The HTTP client could not be built.
    #[error("the HTTP client could not be set up; does the system have root certificates (ca-certificates)?")]
    Client(#[source] reqwest::Error),
}

impl EgressError {
    /// A stable code for logs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ExtraRoots => "egress.extra_roots",
            Self::Roots => "egress.roots",
            Self::ClientCertificate => "egress.client_certificate",
            Self::Tls(_) => "egress.tls",
            Self::Client(_) => "egress.client",
        }
    }
}

impl Egress {
    /// A client under this policy.
    ///
    /// # Errors
    /// [`EgressError`], if the certificates are not usable.
    pub fn new(policy: EgressPolicy) -> Result<Self, EgressError> {
        Self::through(policy, lookup::system_resolver())
    }

    /// A client under this policy that resolves names by `resolver`. What that finds passes the same guard.
    ///
    /// # Errors
    /// [`EgressError`], if the certificates are not usable.
    pub fn through(policy: EgressPolicy, resolver: Arc<Resolver>) -> Result<Self, EgressError> {
        let EgressPolicy { allow, http, connect_timeout, total_timeout, extra_roots } = policy;
        let guard = Arc::new(Guard::new(AddressPolicy::new(allow), http));
        let clients = Clients::new(Arc::clone(&guard), resolver, connect_timeout, total_timeout, extra_roots);
        let tls = clients.common_tls()?;
        let plain = match http {
            PlainHttp::Never => None,
            PlainHttp::AllowedRanges => Some(clients.plain()?),
        };
        Ok(Self { guard, tls, plain, clients, total_timeout })
    }

    /// Whether a request to `url` can be made, as far as that can be said before its host is resolved: what an
    /// endpoint's URL or a `jwks_uri` is checked with when it is given.
    ///
    /// # Errors
    /// [`UrlRefused`] says why not.
    pub fn check(&self, url: &Url) -> Result<(), UrlRefused> {
        self.guard.check(url).map(|_| ())
    }

    /// The client for `url`, once the guard has passed it. Every request starts here. `own` is one whose sessions are
    /// special, where they are: it must be TLS then.
    pub(super) fn client_for<'a>(
        &'a self,
        url: &Url,
        own: Option<&'a Client>,
    ) -> Result<&'a Client, UrlRefused> {
        match (self.guard.check(url)?, own) {
            (Transport::Tls, own) => Ok(own.unwrap_or(&self.tls)),
            (Transport::Plain, None) => self.plain.as_ref().ok_or(UrlRefused::PlainHttp),
            (Transport::Plain, Some(_)) => Err(UrlRefused::PlainHttp),
        }
    }

    /// Posts a form with these credentials and reads the whole answer.
    pub(crate) async fn post_form(
        &self,
        url: &Url,
        form: String,
        access: &Access,
        max_bytes: usize,
        timeout: Duration,
    ) -> Result<HttpResponse, FetchError> {
        let client = self.client_for(url, access.client());
        let client = client.map_err(|refused| FetchError::Transport(refused.into()))?;
        let request = client
            .post(url.clone())
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .timeout(timeout.min(self.total_timeout));
        let mut headers = HeaderMap::new();
        access.add_to(&mut headers);
        HttpResponse::read(request.headers(headers).body(form).send().await.map_err(fetch_error)?, max_bytes)
            .await
    }

    async fn fetch(
        &self,
        url: &Url,
        max_bytes: usize,
        timeout: Duration,
    ) -> Result<HttpResponse, FetchError> {
        let client = self.client_for(url, None).map_err(|refused| FetchError::Transport(refused.into()))?;
        let request = client
            .get(url.clone())
            .header(ACCEPT, "application/jwk-set+json, application/json")
            .timeout(timeout.min(self.total_timeout));
        HttpResponse::read(request.send().await.map_err(fetch_error)?, max_bytes).await
    }
}

impl HttpGet for Egress {
    fn get<'a>(&'a self, url: &'a Url, max_bytes: usize, timeout: Duration) -> HttpGetFuture<'a> {
        Box::pin(self.fetch(url, max_bytes, timeout))
    }
}

fn fetch_error(error: reqwest::Error) -> FetchError {
    match PostError::from(error) {
        PostError::Timeout => FetchError::Timeout,
        other => FetchError::Transport(Box::new(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_certificates_that_are_none_are_refused() {
        for pem in
            [&b""[..], b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
        {
            let policy = EgressPolicy { extra_roots: Some(pem.to_vec()), ..EgressPolicy::default() };
            assert!(Egress::new(policy).is_err());
        }
    }
}
