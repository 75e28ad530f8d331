//! The guard in front of every outgoing request: the URL is checked before it, the addresses of a name between
//! resolving and connecting.
//!
//! Relies on [`AddressPolicy`]. Guarantees that what a connection is made to has been checked: an HTTP client never
//! asks its resolver for an IP literal, so literals are checked in the URL (whose parser has normalised octal,
//! hexadecimal and shortened spellings); a name is resolved once and the connection goes to exactly the addresses
//! that passed, so a second answer of its name server is never asked for.
//!
//! Of a name's addresses those that pass are used, the others are dropped; a name of which none passes is refused.
//! A stray or an internal second address does no harm when nothing connects to it, and must not stop deliveries.
//! One attempt tries a few of them: whoever answers for a name must not turn it into connections to thousands of hosts.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::address::{AddressPolicy, AddressRefused, Reach};
use super::lookup::Lookups;

/// Whether a URL may be `http:`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PlainHttp {
    /// Never.
    #[default]
    Never,
    /// To addresses in the ranges that the operator allowed; public addresses always need `https:`.
    AllowedRanges,
}

/// A URL that no request is made to.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlRefused {
    /// Neither `https:` nor `http:`.
    #[error("the URL must be https")]
    Scheme,
    /// `http:`, where it is not allowed.
    #[error(
        "the URL must be https: plain http is for addresses in allowed ranges, where the operator permits it"
    )]
    PlainHttp,
    /// A user name or password in the URL.
    #[error("the URL must not carry a user name or password")]
    Credentials,
    /// The host is an address that we do not connect to.
    #[error(transparent)]
    Address(#[from] AddressRefused),
}

impl UrlRefused {
    /// A stable code for logs, metrics and problem details.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Scheme => "url.scheme",
            Self::PlainHttp => "url.plain_http",
            Self::Credentials => "url.credentials",
            Self::Address(_) => "url.address",
        }
    }
}

/// What a permitted URL is requested over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Transport {
    /// TLS, to any permitted address.
    Tls,
    /// Plain TCP, to addresses in allowed ranges only.
    Plain,
}

#[derive(Debug)]
pub(super) struct Guard {
    addresses: AddressPolicy,
    plain_http: PlainHttp,
}

impl Guard {
    pub(super) fn new(addresses: AddressPolicy, plain_http: PlainHttp) -> Self {
        Self { addresses, plain_http }
    }

    /// Everything that can be said about a URL before its host is resolved.
    pub(super) fn check(&self, url: &Url) -> Result<Transport, UrlRefused> {
        let transport = match (url.scheme(), self.plain_http) {
            ("https", _) => Transport::Tls,
            ("http", PlainHttp::AllowedRanges) => Transport::Plain,
            ("http", PlainHttp::Never) => return Err(UrlRefused::PlainHttp),
            _ => return Err(UrlRefused::Scheme),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlRefused::Credentials);
        }
        match url.host() {
            Some(Host::Ipv4(literal)) => self.check_literal(transport, literal.into())?,
            Some(Host::Ipv6(literal)) => self.check_literal(transport, literal.into())?,
            Some(Host::Domain(name)) => {
                // The client asks itself the same before it asks the resolver.
                if let Ok(literal) = name.parse() {
                    self.check_literal(transport, literal)?;
                }
            }
            None => return Err(UrlRefused::Scheme),
        }
        Ok(transport)
    }

    fn check_literal(&self, transport: Transport, literal: IpAddr) -> Result<(), UrlRefused> {
        match (transport, self.addresses.judge(literal)?) {
            (Transport::Plain, Reach::Public) => Err(UrlRefused::PlainHttp),
            (Transport::Plain, Reach::Allowed) | (Transport::Tls, Reach::Public | Reach::Allowed) => Ok(()),
        }
    }

    /// The addresses of a name that may be connected to over `transport`, the first few of them.
    fn passing(&self, transport: Transport, found: &[IpAddr]) -> Result<Vec<SocketAddr>, UrlRefused> {
        let mut refused = None;
        let mut passing = Vec::with_capacity(found.len().min(MOST_ADDRESSES));
        for address in found {
            if passing.len() == MOST_ADDRESSES {
                break;
            }
            match self.check_literal(transport, *address) {
                Ok(()) => passing.push(SocketAddr::new(*address, 0)),
                Err(reason) => refused = Some(reason),
            }
        }
        match refused {
            Some(reason) if passing.is_empty() => Err(reason),
            _ => Ok(passing),
        }
    }
}

/// The resolver of one client: looks a name up and hands on what passes the guard.
#[derive(Debug)]
pub(super) struct GuardedResolver {
    pub(super) guard: Arc<Guard>,
    pub(super) transport: Transport,
    pub(super) lookups: Arc<Lookups>,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, transport, lookups) = (self.guard.clone(), self.transport, self.lookups.clone());
        Box::pin(async move {
            let found = lookups.addresses_of(name.as_str()).await?;
            let passing = guard.passing(transport, &found)?;
            let addresses: Addrs = Box::new(passing.into_iter());
            Ok(addresses)
        })
    }
}

/// How many addresses of a name one attempt may connect to. Dual-stack hosts have two to four.
const MOST_ADDRESSES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(allow: &[&str], plain_http: PlainHttp) -> Guard {
        let allow = allow.iter().map(|range| range.parse().unwrap()).collect();
        Guard::new(AddressPolicy::new(allow), plain_http)
    }

    fn refused(guard: &Guard, url: &str) -> Option<&'static str> {
        guard.check(&Url::parse(url).unwrap()).err().map(|reason| reason.code())
    }

    #[test]
    fn a_literal_is_refused_in_every_spelling() {
        let closed = guard(&[], PlainHttp::AllowedRanges);
        for url in [
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://127.0.0.1./",
            "https://%31%32%37.0.0.1/",
            "https://１２７.0.0.1/",
            "https://127。0。0。1/",
            "https://0/",
            "https://[::1]/",
            "https://[::]:8080/",
            "https://[0:0:0:0:0:ffff:7f00:1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::127.0.0.1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[2002:7f00:1::]/",
            "https://169.254.169.254/latest/meta-data/",
            "http://169.254.169.254/latest/meta-data/",
            "https://[fd00:ec2::254]/",
            "https://[fe80::1]/",
        ] {
            assert_eq!(refused(&closed, url), Some("url.address"), "{url}");
        }
    }

    #[test]
    fn scheme_and_credentials_are_checked_before_anything_is_resolved() {
        let closed = guard(&["10.0.0.0/8"], PlainHttp::Never);
        let open = guard(&["10.0.0.0/8"], PlainHttp::AllowedRanges);
        for (guard, url, expected) in [
            (&closed, "https://hooks.example.com/in?token=1", None),
            (&closed, "https://hooks.example.com:8443/", None),
            (&closed, "https://10.0.0.1/", None),
            (&closed, "https://8.8.8.8/", None),
            (&closed, "http://10.0.0.1/", Some("url.plain_http")),
            (&closed, "http://hooks.example.com/", Some("url.plain_http")),
            (&open, "http://10.0.0.1/", None),
            (&open, "http://hooks.internal/", None), // decided by its addresses
            (&open, "http://8.8.8.8/", Some("url.plain_http")),
            (&open, "https://user@hooks.example.com/", Some("url.credentials")),
            (&open, "https://:secret@hooks.example.com/", Some("url.credentials")),
            (&open, "ftp://hooks.example.com/", Some("url.scheme")),
            (&open, "file:///etc/passwd", Some("url.scheme")),
            (&open, "data:text/plain,hello", Some("url.scheme")),
        ] {
            assert_eq!(refused(guard, url), expected, "{url}");
        }
    }

    #[test]
    fn only_passing_addresses_of_a_name_are_connected_to() {
        let guard = guard(&["10.0.0.0/8"], PlainHttp::AllowedRanges);
        let public: IpAddr = "8.8.8.8".parse().unwrap();
        let allowed: IpAddr = "10.0.0.1".parse().unwrap();
        let loopback: IpAddr = "::1".parse().unwrap();
        let found = [loopback, public, allowed];
        let over = |transport, found: &[IpAddr]| -> Result<Vec<IpAddr>, &'static str> {
            let passing = guard.passing(transport, found).map_err(|reason| reason.code())?;
            Ok(passing.iter().map(SocketAddr::ip).collect())
        };
        assert_eq!(over(Transport::Tls, &found), Ok(vec![public, allowed]));
        assert_eq!(over(Transport::Plain, &found), Ok(vec![allowed]));
        assert_eq!(over(Transport::Tls, &[loopback]), Err("url.address"));
        assert_eq!(over(Transport::Plain, &[public]), Err("url.plain_http"));
    }

    #[test]
    fn a_name_with_many_addresses_is_not_tried_at_all_of_them() {
        let guard = guard(&[], PlainHttp::Never);
        let mut found = vec![IpAddr::from([127, 0, 0, 1]); 100];
        found.extend((0..100).map(|last| IpAddr::from([8, 8, 8, last])));
        let passing = guard.passing(Transport::Tls, &found).unwrap();
        let first: Vec<_> = (0..8).map(|last| IpAddr::from([8, 8, 8, last])).collect();
        assert_eq!(passing.iter().map(SocketAddr::ip).collect::<Vec<_>>(), first);
    }
}
