//! Certificates for the keys of a ring.

use std::time::Duration;

use crate::certificate::{Certificate, CertificateError, CertificateName};
use crate::ring::{KeyRing, RingEntry};
use crate::time::Timestamp;

impl KeyRing {
    /// Makes a certificate for every published key that has none, and anew for one of which less than a third of its
    /// time is left. Tells whether it made any.
    ///
    /// It begins an hour before the key was made, for clocks that are behind, and lasts half as long again as the key
    /// is [planned](crate::RingPolicy::planned_life) to live: so a key that is changed on schedule has one certificate
    /// all its life, and one that stays longer is never published with one that has expired. If one cannot be made the
    /// ring is as it was.
    pub fn certify(&mut self, name: &CertificateName, now: Timestamp) -> Result<bool, CertificateError> {
        let (now, planned) = (self.not_before_seen(now), self.policy.planned_life().max(SHORTEST_PLAN));
        let (life, reserve) = (planned.saturating_mul(3) / 2, planned / 2);
        let until = now.saturating_add(life);
        let mut made = Vec::new();
        for (index, entry) in self.entries.iter().enumerate() {
            let Some(key) = entry.key.as_ref().filter(|_| entry.wants_certificate(now, reserve)) else {
                continue;
            };
            let from = entry.created.saturating_sub(CLOCK_SKEW);
            made.push((index, Certificate::self_signed(key, name, from, until)?));
        }
        let any = !made.is_empty();
        for (index, certificate) in made {
            self.entries[index].certificate = Some(certificate);
        }
        Ok(any)
    }
}

impl RingEntry {
    fn wants_certificate(&self, now: Timestamp, reserve: Duration) -> bool {
        let in_force = |certificate: &Certificate| now.saturating_add(reserve) < certificate.not_after();
        !self.certificate.as_ref().is_some_and(in_force)
    }
}

/// How far behind a reader's clock may be.
const CLOCK_SKEW: Duration = Duration::from_secs(60 * 60);

/// Certificates are counted in seconds and read by people: keys that live for minutes get some days all the same.
const SHORTEST_PLAN: Duration = Duration::from_secs(7 * 24 * 60 * 60);
