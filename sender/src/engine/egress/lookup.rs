//! Names into addresses, one lookup at a time for each name.
//!
//! Relies on the operating system's resolver, which occupies a thread for as long as a name server keeps it waiting.
//! Guarantees that one name occupies at most one thread, however many connections wait for it; that all names together
//! occupy far fewer threads than there are, and the names of one domain a part of those, so that silent name servers
//! stop neither the store nor other lookups; and that a name whose servers were silent is left alone for a while. Of
//! answers nothing is kept once they are there: connections are kept instead.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Shared;
use tokio::time::{sleep, timeout};

use crate::quota::Quota;

/// Why there is no address.
#[derive(Clone, Debug, thiserror::Error)]
pub(in crate::engine) enum LookupFailed {
    /// The name has none.
    #[error("the name cannot be resolved")]
    NoAddress(#[source] Option<Arc<io::Error>>),
    /// Nobody answered when it was last asked for.
    #[error("the name's servers did not answer a moment ago")]
    Silent,
    /// Too many other lookups wait for their answers.
    #[error("too many names are being resolved")]
    Busy,
}

/// Lookups that are under way.
pub(super) struct Lookups {
    resolver: Arc<Resolver>,
    limits: LookupLimits,
    places: Arc<Quota>,
    under_way: UnderWay,
}

/// How many at once, and for how long.
#[derive(Clone, Copy)]
struct LookupLimits {
    at_once: usize,
    of_one_domain: usize,
    /// How long a lookup waits for its turn.
    turn: Duration,
    /// After which a name's servers count as silent.
    silence: Duration,
    /// How long a name with silent servers is left alone.
    rest: Duration,
}

/// Finds the addresses of a name, in the order in which they are to be tried. It is asked one thing at a time for each
/// name, and what it finds must pass the guard.
pub type Resolver = dyn Fn(String) -> LookupFuture + Send + Sync;
/// Addresses on their way.
pub type LookupFuture = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

type SharedLookup = Shared<Pin<Box<dyn Future<Output = Result<Arc<[IpAddr]>, LookupFailed>> + Send>>>;
/// `None`: its servers are silent.
type UnderWay = Arc<Mutex<HashMap<String, Option<SharedLookup>>>>;

impl Lookups {
    pub(super) fn new(resolver: Arc<Resolver>) -> Self {
        Self::within(resolver, LIMITS)
    }

    fn within(resolver: Arc<Resolver>, limits: LookupLimits) -> Self {
        let places = Arc::new(Quota::new(limits.at_once, limits.of_one_domain));
        Self { resolver, limits, places, under_way: Arc::default() }
    }

    /// The addresses of `name`, at least one, by the lookup that is under way or by a new one.
    pub(super) async fn addresses_of(&self, name: &str) -> Result<Arc<[IpAddr]>, LookupFailed> {
        let lookup = {
            let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            match under_way.get(name).cloned() {
                Some(lookup) => lookup.ok_or(LookupFailed::Silent)?,
                None => {
                    let lookup = self.start(name.to_owned());
                    under_way.insert(name.to_owned(), Some(lookup.clone()));
                    lookup
                }
            }
        };
        lookup.await
    }

    /// A task of its own: it goes on, and others can join it, when the one who started it has given up.
    fn start(&self, name: String) -> SharedLookup {
        let (resolver, limits, places) = (Arc::clone(&self.resolver), self.limits, Arc::clone(&self.places));
        let landing = Landing { name: name.clone(), under_way: Arc::clone(&self.under_way) };
        let task = tokio::spawn(async move {
            // Given back when the thread is free again, not when nobody waits for it any more.
            let Ok(_place) = timeout(limits.turn, places.place(domain(&name))).await else {
                return Err(LookupFailed::Busy);
            };
            let mut looking = resolver(name);
            let (found, rest) = match timeout(limits.silence, &mut looking).await {
                Ok(found) => (found, None),
                Err(_) => {
                    landing.is_silent();
                    (looking.await, Some(limits.rest))
                }
            };
            let outcome = match found {
                Ok(found) if !found.is_empty() => Ok(Arc::from(found)),
                Ok(_) => Err(LookupFailed::NoAddress(None)),
                Err(error) => Err(LookupFailed::NoAddress(Some(Arc::new(error)))),
            };
            if let (Err(_), Some(rest)) = (&outcome, rest) {
                tokio::spawn(async move {
                    sleep(rest).await;
                    drop(landing);
                });
            }
            outcome
        });
        async move { task.await.unwrap_or(Err(LookupFailed::NoAddress(None))) }.boxed().shared()
    }
}

/// The operating system's resolver.
pub(super) fn system_resolver() -> Arc<Resolver> {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}

/// What a name's owner has registered, near enough for a share: its last two labels, or three below `co.uk` and the
/// like. Only labels that nobody can register below a country count, or a domain could have many shares.
fn domain(name: &str) -> &str {
    let name = name.strip_suffix('.').unwrap_or(name);
    let dots: Vec<_> = name.rmatch_indices('.').map(|(at, _)| at).collect();
    let labels = match dots.as_slice() {
        [top, second, ..] if name.len() - top == 3 && PUBLIC_LABELS.contains(&&name[second + 1..*top]) => 3,
        _ => 2,
    };
    dots.get(labels - 1).map_or(name, |dot| &name[dot + 1..])
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookups").finish_non_exhaustive()
    }
}

/// Ends a lookup's being under way, however it ends.
struct Landing {
    name: String,
    under_way: UnderWay,
}

impl Landing {
    /// Those who have joined go on waiting, others are told at once.
    fn is_silent(&self) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.insert(self.name.clone(), None);
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

const LIMITS: LookupLimits = LookupLimits {
    // A quarter of the threads that Tokio has for what blocks.
    at_once: 128,
    of_one_domain: 16,
    // An answer takes milliseconds, so only silence can keep a place taken for this long.
    turn: Duration::from_secs(1),
    // Shorter than the resolver's own five seconds for each try, longer than any recursion that goes well.
    silence: Duration::from_secs(3),
    rest: Duration::from_secs(60),
};

/// Second levels below which registries of countries sell names.
const PUBLIC_LABELS: [&str; 10] = ["ac", "co", "com", "edu", "go", "gov", "ne", "net", "or", "org"];

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const HASTY: LookupLimits = LookupLimits {
        at_once: 4,
        of_one_domain: 2,
        turn: Duration::from_millis(50),
        silence: Duration::from_millis(50),
        rest: Duration::from_millis(200),
    };

    fn through(
        resolver: impl Fn(String) -> LookupFuture + Send + Sync + 'static,
        limits: LookupLimits,
    ) -> Lookups {
        Lookups::within(Arc::new(resolver), limits)
    }

    #[tokio::test]
    async fn waiters_for_one_name_share_one_lookup() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let lookups = through(
            |_| {
                Box::pin(async {
                    ASKED.fetch_add(1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    Ok(vec![IpAddr::from([192, 0, 2, 1])])
                })
            },
            LIMITS,
        );
        let (one, two) = tokio::join!(lookups.addresses_of("a.example"), lookups.addresses_of("a.example"));
        assert_eq!(one.unwrap(), two.unwrap());
        assert_eq!(ASKED.load(Ordering::SeqCst), 1);
        lookups.addresses_of("a.example").await.unwrap();
        assert_eq!(ASKED.load(Ordering::SeqCst), 2, "an answer is not kept");
    }

    #[tokio::test]
    async fn a_name_without_addresses_is_a_failure_and_not_kept_either() {
        let lookups = through(
            |name| {
                Box::pin(async move {
                    match name.as_str() {
                        "panics.example" => panic!("a resolver that panics"),
                        "fails.example" => Err(io::Error::from(io::ErrorKind::NotFound)),
                        _ => Ok(Vec::new()),
                    }
                })
            },
            LIMITS,
        );
        for name in ["empty.example", "fails.example", "panics.example"] {
            assert!(lookups.addresses_of(name).await.is_err(), "{name}");
        }
        assert!(lookups.under_way.lock().unwrap().is_empty());
    }

    /// Names below `silent.example` and `other-*.example` are never answered, all others at once.
    fn half_silent() -> Lookups {
        through(
            |name| {
                Box::pin(async move {
                    if name.ends_with("silent.example") || name.starts_with("other-") {
                        std::future::pending::<()>().await;
                    }
                    Ok(vec![IpAddr::from([192, 0, 2, 1])])
                })
            },
            HASTY,
        )
    }

    #[tokio::test]
    async fn silent_servers_of_one_domain_hold_up_nobody_else() {
        let lookups = half_silent();
        let names = ["a.silent.example", "b.silent.example", "c.silent.example", "d.silent.example"];
        let asked = names.map(|name| timeout(HASTY.turn * 20, lookups.addresses_of(name)));
        let (silent, sound) = tokio::join!(futures_util::future::join_all(asked), async {
            tokio::task::yield_now().await;
            lookups.addresses_of("sound.example").await
        });
        assert!(sound.is_ok());
        let busy = silent.iter().filter(|outcome| matches!(outcome, Ok(Err(LookupFailed::Busy)))).count();
        assert_eq!(busy, 2, "two have the domain's places, the others are told");
    }

    #[tokio::test]
    async fn when_all_places_are_taken_it_is_said_soon() {
        let lookups = half_silent();
        for number in 0..HASTY.at_once {
            let name = format!("other-{number}.example");
            let _ = timeout(Duration::from_millis(5), lookups.addresses_of(&name)).await;
        }
        let sound = lookups.addresses_of("sound.example").await;
        assert!(matches!(sound, Err(LookupFailed::Busy)), "{sound:?}");
    }

    #[tokio::test]
    async fn a_name_whose_servers_are_silent_is_not_asked_for_again_for_a_while() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let resolver = |_| -> LookupFuture {
            Box::pin(async {
                ASKED.fetch_add(1, Ordering::SeqCst);
                sleep(HASTY.silence * 2).await;
                Err(io::Error::from(io::ErrorKind::TimedOut))
            })
        };
        let lookups = through(resolver, HASTY);
        let first = lookups.addresses_of("a.example").await;
        assert!(matches!(first, Err(LookupFailed::NoAddress(Some(_)))), "{first:?}");
        let second = lookups.addresses_of("a.example").await;
        assert!(matches!(second, Err(LookupFailed::Silent)), "{second:?}");
        assert_eq!(ASKED.load(Ordering::SeqCst), 1);
        let later = async {
            while !lookups.under_way.lock().unwrap().is_empty() {
                sleep(Duration::from_millis(5)).await;
            }
            lookups.addresses_of("a.example").await
        };
        let third = timeout(Duration::from_secs(20), later).await.unwrap();
        assert!(matches!(third, Err(LookupFailed::NoAddress(Some(_)))), "{third:?}");
        assert_eq!(ASKED.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_share_is_for_what_somebody_registers() {
        for (name, expected) in [
            ("hooks.example.com", "example.com"),
            ("a.b.hooks.example.com.", "example.com"),
            ("example.com", "example.com"),
            ("hooks.acme.co.uk", "acme.co.uk"),
            ("acme.com.au", "acme.com.au"),
            ("a.b.x.io", "x.io"),
            ("localhost", "localhost"),
            ("", ""),
        ] {
            assert_eq!(domain(name), expected, "{name}");
        }
    }
}
