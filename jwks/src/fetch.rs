//! The HTTP client as this crate sees it: one bounded GET, injected.
//!
//! Relies on the implementation for the network. Guarantees nothing about the answer: status, media
//! type and body are judged by [`RemoteJwks`](crate::RemoteJwks), whoever fetched them.

use std::{fmt::Debug, future::Future, net::IpAddr, pin::Pin, time::Duration};

use bytes::Bytes;
use url::{Host, Url};

use crate::FetchError;

/// A client that makes one GET request.
///
/// An implementation follows no redirect, reads at most `max_bytes` of the body
/// ([`FetchError::TooLarge`] beyond), and gives up after `timeout`, which covers the whole exchange.
pub trait HttpGet: Debug + Send + Sync {
    /// Fetches `url`.
    fn get<'a>(&'a self, url: &'a Url, max_bytes: usize, timeout: Duration) -> HttpGetFuture<'a>;
}

/// The pending answer of an [`HttpGet`].
pub type HttpGetFuture<'a> = Pin<Box<dyn Future<Output = Result<HttpResponse, FetchError>> + Send + 'a>>;

/// What came back, whatever the status.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "implementations of HttpGet outside this crate build it")]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// `Content-Type`, if there is exactly one.
    pub content_type: Option<String>,
    /// How long the answer says that it stays fresh, if it says so.
    pub max_age: Option<Duration>,
    /// The body.
    pub body: Bytes,
}

/// Whether a set may be fetched from `url`: `https`, or `http` to a loopback host (development, tests);
/// no credentials in it.
///
/// ```
/// use waxseal_jwks::is_secure_url;
///
/// assert!(is_secure_url(&"https://hooks.example.com/.well-known/jwks.json".parse()?));
/// assert!(is_secure_url(&"http://127.0.0.1:8080/jwks.json".parse()?));
/// assert!(!is_secure_url(&"http://hooks.example.com/jwks.json".parse()?));
/// assert!(!is_secure_url(&"https://user:secret@hooks.example.com/jwks.json".parse()?));
/// # Ok::<_, url::ParseError>(())
/// ```
pub fn is_secure_url(url: &Url) -> bool {
    let scheme_is_fit = match url.scheme() {
        "https" => url.has_host(),
        "http" => is_loopback(url),
        _ => false,
    };
    scheme_is_fit && url.username().is_empty() && url.password().is_none()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

/// Where a party's set is, below its URL.
pub const WELL_KNOWN: &str = "/.well-known/jwks.json";
