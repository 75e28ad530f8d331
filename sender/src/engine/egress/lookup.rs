//! Names into addresses, one lookup at a time for each name.
//!
//! Relies on the operating system's resolver, which occupies a thread for as long as a name server keeps it waiting.
//! Guarantees that one name occupies at most one thread, however many connections wait for it. Nothing is kept once
//! an answer is there: connections are kept instead.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::Shared;

/// A name that has no address.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the name cannot be resolved")]
pub(super) struct LookupFailed(#[source] Option<Arc<io::Error>>);

/// Lookups that are under way.
pub(super) struct Lookups {
    resolver: fn(String) -> LookupFuture,
    under_way: Arc<Mutex<HashMap<String, SharedLookup>>>,
}

type LookupFuture = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;
type SharedLookup = Shared<Pin<Box<dyn Future<Output = Result<Arc<[IpAddr]>, LookupFailed>> + Send>>>;

impl Lookups {
    /// Lookups through the operating system.
    pub(super) fn of_system() -> Self {
        Self::through(|name| {
            Box::pin(async move {
                let found = tokio::net::lookup_host((name, 0)).await?;
                Ok(found.map(|address| address.ip()).collect())
            })
        })
    }

    fn through(resolver: fn(String) -> LookupFuture) -> Self {
        Self { resolver, under_way: Arc::default() }
    }

    /// The addresses of `name`, at least one, by the lookup that is under way or by a new one.
    pub(super) async fn addresses_of(&self, name: &str) -> Result<Arc<[IpAddr]>, LookupFailed> {
        let lookup = {
            let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            under_way.get(name).cloned().unwrap_or_else(|| {
                let lookup = self.start(name.to_owned());
                under_way.insert(name.to_owned(), lookup.clone());
                lookup
            })
        };
        lookup.await
    }

    /// A task of its own: it goes on, and others can join it, when the one who started it has given up.
    fn start(&self, name: String) -> SharedLookup {
        let looking = (self.resolver)(name.clone());
        let landing = Landing { name, under_way: self.under_way.clone() };
        let task = tokio::spawn(async move {
            let found = looking.await;
            drop(landing);
            found
        });
        let outcome = async move {
            match task.await {
                Ok(Ok(found)) if !found.is_empty() => Ok(Arc::from(found)),
                Ok(Ok(_)) | Err(_) => Err(LookupFailed(None)),
                Ok(Err(error)) => Err(LookupFailed(Some(Arc::new(error)))),
            }
        };
        outcome.boxed().shared()
    }
}

impl fmt::Debug for Lookups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookups").finish_non_exhaustive()
    }
}

/// Ends a lookup's being under way, however it ends.
struct Landing {
    name: String,
    under_way: Arc<Mutex<HashMap<String, SharedLookup>>>,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn waiters_for_one_name_share_one_lookup() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let lookups = Lookups::through(|_| {
            Box::pin(async {
                ASKED.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                Ok(vec![IpAddr::from([192, 0, 2, 1])])
            })
        });
        let (one, two) = tokio::join!(lookups.addresses_of("a.example"), lookups.addresses_of("a.example"));
        assert_eq!(one.unwrap(), two.unwrap());
        assert_eq!(ASKED.load(Ordering::SeqCst), 1);
        lookups.addresses_of("a.example").await.unwrap();
        assert_eq!(ASKED.load(Ordering::SeqCst), 2, "an answer is not kept");
    }

    #[tokio::test]
    async fn a_name_without_addresses_is_a_failure_and_not_kept_either() {
        let lookups = Lookups::through(|name| {
            Box::pin(async move {
                match name.as_str() {
                    "panics.example" => panic!("a resolver that panics"),
                    "fails.example" => Err(io::Error::from(io::ErrorKind::NotFound)),
                    _ => Ok(Vec::new()),
                }
            })
        });
        for name in ["empty.example", "fails.example", "panics.example"] {
            assert!(lookups.addresses_of(name).await.is_err(), "{name}");
        }
        assert!(lookups.under_way.lock().unwrap().is_empty());
    }
}
