//! The one client of every outgoing request: deliveries and consumers' key sets today.
//!
//! Relies on the operating system for names and for its trusted root certificates. Guarantees that no connection is
//! made to a private, loopback, link-local or metadata address unless the operator has allowed its range, whatever
//! form the address is given in ([`guard`], [`address`]); that no redirect is followed, no proxy variable of the
//! environment obeyed, no body inflated; that TLS is 1.2 or newer, and that no exchange outlasts its time limit.

pub mod address;
pub mod guard;
pub(in crate::engine) mod lookup;

use std::sync::Arc;
use std::time::Duration;

use http::header::ACCEPT;
use ipnet::IpNet;
use reqwest::{Certificate, Client, redirect, tls};
use url::Url;
use waxseal_jwks::{FetchError, HttpGet, HttpGetFuture, HttpResponse};

use self::address::AddressPolicy;
use self::guard::{Guard, GuardedResolver, PlainHttp, Transport, UrlRefused};
use self::lookup::Lookups;
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
    total_timeout: Duration,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EgressError {
    /// The extra root certificates are not PEM certificates, or there are none.
    #[error("the extra root certificates must be one or more certificates in PEM form")]
    ExtraRoots,
    /// The HTTP client could not be built.
    #[error("the HTTP client could not be set up; does the system have root certificates (ca-certificates)?")]
    Client(#[source] reqwest::Error),
}

impl EgressError {
    /// A stable code for logs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ExtraRoots => "egress.extra_roots",
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
        let guard = Arc::new(Guard::new(AddressPolicy::new(policy.allow), policy.http));
        let lookups = Arc::new(Lookups::of_system());
        let client = |transport| {
            let resolver = GuardedResolver { guard: guard.clone(), transport, lookups: lookups.clone() };
            Client::builder()
                .dns_resolver(Arc::new(resolver))
                .redirect(redirect::Policy::none())
                .no_proxy()
                .no_gzip()
                .no_brotli()
                .no_zstd()
                .no_deflate()
                .referer(false)
                .user_agent(USER_AGENT)
                .http1_only()
                .connect_timeout(policy.connect_timeout)
                .timeout(policy.total_timeout)
                .pool_idle_timeout(POOL_IDLE)
                .pool_max_idle_per_host(POOL_SIZE)
        };
        let roots = extra_roots(policy.extra_roots.as_deref())?;
        let tls = client(Transport::Tls)
            .https_only(true)
            .tls_version_min(tls::Version::TLS_1_2)
            .tls_certs_merge(roots)
            .build()
            .map_err(EgressError::Client)?;
        let plain = match policy.http {
            PlainHttp::Never => None,
            PlainHttp::AllowedRanges => {
                // It never speaks TLS, so it needs no roots.
                Some(client(Transport::Plain).tls_certs_only([]).build().map_err(EgressError::Client)?)
            }
        };
        Ok(Self { guard, tls, plain, total_timeout: policy.total_timeout })
    }

    /// Whether a request to `url` can be made, as far as that can be said before its host is resolved: what an
    /// endpoint's URL or a `jwks_uri` is checked with when it is given.
    ///
    /// # Errors
    /// [`UrlRefused`] says why not.
    pub fn check(&self, url: &Url) -> Result<(), UrlRefused> {
        self.guard.check(url).map(|_| ())
    }

    /// The client for `url`, once the guard has passed it. Every request starts here.
    pub(super) fn client_for(&self, url: &Url) -> Result<&Client, UrlRefused> {
        match self.guard.check(url)? {
            Transport::Tls => Ok(&self.tls),
            Transport::Plain => self.plain.as_ref().ok_or(UrlRefused::PlainHttp),
        }
    }

    async fn fetch(
        &self,
        url: &Url,
        max_bytes: usize,
        timeout: Duration,
    ) -> Result<HttpResponse, FetchError> {
        let client = self.client_for(url).map_err(|refused| FetchError::Transport(refused.into()))?;
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

fn extra_roots(pem: Option<&[u8]>) -> Result<Vec<Certificate>, EgressError> {
    let Some(pem) = pem else { return Ok(Vec::new()) };
    match Certificate::from_pem_bundle(pem) {
        Ok(roots) if !roots.is_empty() => Ok(roots),
        Ok(_) | Err(_) => Err(EgressError::ExtraRoots),
    }
}

fn fetch_error(error: reqwest::Error) -> FetchError {
    match PostError::from(error) {
        PostError::Timeout => FetchError::Timeout,
        other => FetchError::Transport(Box::new(other)),
    }
}

const USER_AGENT: &str = concat!("waxseal/", env!("CARGO_PKG_VERSION"));

/// What an endpoint is sent in a row comes within seconds; a new connection after a quiet quarter of a minute costs
/// little. It is also shorter than what common servers and load balancers keep (60 s and more), so that it is we who
/// close. All idle connections together are at most those that were used within this time.
const POOL_IDLE: Duration = Duration::from_secs(15);

/// Idle connections to one host. While a busy endpoint has 64 deliveries in flight, each connection that comes back is
/// taken again at once and hardly any is idle, so this bounds only what a burst leaves behind: 64 workers with 50
/// deliveries each open some 64 connections at 64, 32 and 8 alike, but rounds of 64 that all end before the next
/// begin keep half of theirs at 32.
const POOL_SIZE: usize = 32;

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
