//! What is known of damage to the files: noticed once by whoever meets it, told to whoever runs the process.
//!
//! SQLite notices a page that is not one; decryption notices a byte of what is encrypted. Neither is answered as if it
//! were the data, and neither can be mended here. Nothing is removed or written over because of it.

use tokio::sync::watch;

use super::failure::Failure;

/// Whether damage was found.
#[derive(Debug)]
pub(super) struct Damage {
    found: watch::Sender<Option<&'static str>>,
}

impl Damage {
    /// None so far.
    pub(super) fn none() -> Self {
        Self { found: watch::Sender::new(None) }
    }

    /// Looks at what went wrong.
    pub(super) fn look_at(&self, failure: &Failure) {
        if failure.is_damage() {
            self.find("the database file");
        }
    }

    /// Damage was found in this. The first finding stays.
    pub(super) fn find(&self, what: &'static str) {
        self.found.send_if_modified(|found| {
            let first = found.is_none();
            found.get_or_insert(what);
            first
        });
    }

    /// In what damage was found, if it was.
    pub(super) fn found(&self) -> Option<&'static str> {
        *self.found.borrow()
    }

    /// Waits until damage is found; says in what.
    pub(super) async fn wait(&self) -> &'static str {
        let mut found = self.found.subscribe();
        match found.wait_for(Option::is_some).await.map(|what| *what) {
            Ok(Some(what)) => what,
            // The sender lives in `self`, and only what is there is waited for.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}
