//! HTTP clients: the common ones, and those whose TLS sessions belong to certain endpoints.
//!
//! A client owns its connections and its TLS sessions. Guarantees that endpoints share one only if they show the same
//! certificate and ask the same of the server: a connection on which a certificate was shown, or which a pin has not
//! seen, never carries a delivery for another endpoint, even at the same host. Clients that nobody has used for long
//! go first when there are too many.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use lru::LruCache;
use reqwest::{Certificate, Client, ClientBuilder, redirect, retry, tls};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::guard::{Guard, GuardedResolver, Transport};
use super::lookup::{Lookups, Resolver};
use super::{EgressError, session};
use crate::model::certificate::CertificateWithKey;
use crate::model::server_authentication::ServerAuthentication;

/// Makes clients, and keeps those that are not common.
#[derive(Debug)]
pub(super) struct Clients {
    guard: Arc<Guard>,
    lookups: Arc<Lookups>,
    connect_timeout: Duration,
    total_timeout: Duration,
    /// PEM.
    extra_roots: Option<Vec<u8>>,
    /// Read when they are needed first: the common client reads them for itself.
    system_roots: OnceLock<Arc<RootCertStore>>,
    own: Mutex<LruCache<[u8; 32], Client>>,
}

impl Clients {
    pub(super) fn new(
        guard: Arc<Guard>,
        resolver: Arc<Resolver>,
        connect_timeout: Duration,
        total_timeout: Duration,
        extra_roots: Option<Vec<u8>>,
    ) -> Self {
        Self {
            guard,
            lookups: Arc::new(Lookups::new(resolver)),
            connect_timeout,
            total_timeout,
            extra_roots,
            system_roots: OnceLock::new(),
            own: Mutex::new(LruCache::new(CLIENTS_KEPT)),
        }
    }

    /// The client of everything over TLS that asks for nothing special.
    pub(super) fn common_tls(&self) -> Result<Client, EgressError> {
        let roots = match &self.extra_roots {
            None => Vec::new(),
            Some(pem) => match Certificate::from_pem_bundle(pem) {
                Ok(roots) if !roots.is_empty() => roots,
                Ok(_) | Err(_) => return Err(EgressError::ExtraRoots),
            },
        };
        let builder = self.builder(Transport::Tls).https_only(true);
        let builder = builder.tls_version_min(tls::Version::TLS_1_2).tls_certs_merge(roots);
        builder.build().map_err(EgressError::Client)
    }

    /// The client of everything without TLS.
    pub(super) fn plain(&self) -> Result<Client, EgressError> {
        // It never speaks TLS, so it needs no roots.
        self.builder(Transport::Plain).tls_certs_only([]).build().map_err(EgressError::Client)
    }

    /// The client for those who show this certificate and ask this of the server.
    pub(super) fn of_own(
        &self,
        shown: Option<&CertificateWithKey>,
        asked: Option<&ServerAuthentication>,
    ) -> Result<Client, EgressError> {
        let name = name(shown, asked);
        let kept = || self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = kept().get(&name) {
            return Ok(client.clone());
        }
        let roots = match asked.and_then(|asked| asked.ca_certificates.as_ref()) {
            Some(own) => Arc::new(store(own.to_der())?),
            None => self.system_roots()?,
        };
        let pins = asked.map(|asked| asked.pins.as_slice()).unwrap_or_default();
        let config = session::config(roots, pins, shown)?;
        let builder = self.builder(Transport::Tls).https_only(true).tls_backend_preconfigured(config);
        let client = builder.build().map_err(EgressError::Client)?;
        // Of two that were made at once the first stays, so that its connections are used.
        Ok(kept().get_or_insert(name, || client).clone())
    }

    fn builder(&self, transport: Transport) -> ClientBuilder {
        let (guard, lookups) = (Arc::clone(&self.guard), Arc::clone(&self.lookups));
        Client::builder()
            .dns_resolver(Arc::new(GuardedResolver { guard, transport, lookups }))
            .redirect(redirect::Policy::none())
            // Nor a second POST that nobody knows of; without any, requests are not copied for it either.
            .retry(retry::never().max_retries_per_request(0))
            .no_proxy()
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .referer(false)
            .user_agent(USER_AGENT)
            .http1_only()
            .connect_timeout(self.connect_timeout)
            .timeout(self.total_timeout)
            .pool_idle_timeout(POOL_IDLE)
    }

    /// The operating system's roots and the operator's.
    fn system_roots(&self) -> Result<Arc<RootCertStore>, EgressError> {
        if let Some(roots) = self.system_roots.get() {
            return Ok(Arc::clone(roots));
        }
        let mut roots = RootCertStore::empty();
        // One that cannot be read is passed over, as the common client does.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(pem) = &self.extra_roots {
            let extra = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
            roots.add_parsable_certificates(extra.map_err(|_| EgressError::ExtraRoots)?);
        }
        if roots.is_empty() {
            return Err(EgressError::Roots);
        }
        Ok(Arc::clone(self.system_roots.get_or_init(|| Arc::new(roots))))
    }
}

fn store(certificates: Vec<CertificateDer<'static>>) -> Result<RootCertStore, EgressError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(EgressError::Tls)?;
    }
    if roots.is_empty() { Err(EgressError::Roots) } else { Ok(roots) }
}

/// Tells clients apart by all that makes a session what it is. The key goes with its certificate.
fn name(shown: Option<&CertificateWithKey>, asked: Option<&ServerAuthentication>) -> [u8; 32] {
    let mut digest = Context::new(&SHA256);
    let mut part = |bytes: &[u8]| {
        digest.update(&bytes.len().to_be_bytes());
        digest.update(bytes);
    };
    part(shown.map_or(&[], |shown| shown.certificates.as_bytes()));
    part(asked.and_then(|asked| asked.ca_certificates.as_ref()).map_or(&[], |roots| roots.pem.as_bytes()));
    for pin in asked.map(|asked| asked.pins.as_slice()).unwrap_or_default() {
        part(pin.as_bytes());
    }
    digest.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

const USER_AGENT: &str = concat!("waxseal/", env!("CARGO_PKG_VERSION"));

/// What an endpoint is sent in a row comes within seconds; a new connection after a quiet quarter of a minute costs
/// little. It is also shorter than what common servers and load balancers keep (60 s and more), so that it is we who
/// close. Their number needs no bound of its own for each host: at most as many are idle as were in flight at once within
/// this time, and most are at times; of all hosts together, as many as there were deliveries within it. A connection is
/// idle while its delivery is being settled, and deliveries that share a commit are settled together, so that with a
/// lower bound each round would close what the next one opens again.
const POOL_IDLE: Duration = Duration::from_secs(15);

/// A client without connections is some kilobytes.
const CLIENTS_KEPT: NonZeroUsize = NonZeroUsize::new(1_024).expect("not zero");
