//! What somebody who looked at the key set at every moment has seen of the signing keys.

use std::collections::BTreeMap;

use waxseal_keys::Timestamp;
use waxseal_receiver::jwks::publish::PublishedKeys;

use super::MINUTE;
use super::house::{RING, Running};
use super::ledger::Entry;

#[derive(Debug, Default)]
pub struct WatchedKeys {
    published: BTreeMap<String, (Timestamp, Timestamp)>,
    revoked: Option<(String, Timestamp)>,
}

impl WatchedKeys {
    pub fn look(&mut self, sender: &Running, now: Timestamp) {
        for jwk in sender.signing_keys.published().keys() {
            let kid = jwk.kid().unwrap().to_owned();
            self.published.entry(kid).or_insert((now, now)).1 = now;
        }
    }

    pub fn revoked(&mut self, kid: &str, now: Timestamp) {
        self.revoked = Some((kid.to_owned(), now));
    }

    /// Holds what was signed against what was published; returns how many keys have signed.
    pub fn check(&self, ledger: &[Entry], start: Timestamp, now: Timestamp) -> usize {
        let mut signed: BTreeMap<&str, (Timestamp, Timestamp)> = BTreeMap::new();
        for attempt in ledger.iter().flat_map(|entry| &entry.attempts) {
            let at = attempt.started_at;
            let (first, last) = signed.entry(&attempt.signing_kid).or_insert((at, at));
            (*first, *last) = (at.min(*first), at.max(*last));
        }
        // No receiver can have been waiting for another key than the very first.
        let earliest = signed.iter().min_by_key(|(_, (first, _))| *first).map(|(kid, _)| *kid);
        for (kid, (first, last)) in &signed {
            let (since, until) = self.published[*kid];
            let known_for = first.duration_since(since);
            let is_first = earliest == Some(*kid) && since == start;
            assert!(known_for >= RING.pending_for || is_first, "{kid} signed after {known_for:?}");
            if let Some((revoked, at)) = &self.revoked
                && revoked == kid
            {
                assert!(last <= at, "{kid} signed after it was revoked");
                assert!(until <= *at, "{kid} was published after it was revoked");
                continue;
            }
            let kept = until.saturating_add(MINUTE).duration_since(*last);
            assert!(
                until == now || kept >= RING.retiring_for,
                "{kid} was published for {kept:?} after its last signature"
            );
        }
        assert!(self.revoked.as_ref().is_some_and(|(kid, _)| signed.contains_key(kid.as_str())));
        signed.len()
    }
}
