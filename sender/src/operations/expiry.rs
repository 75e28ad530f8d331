//! What expires: consumers' encryption keys and the certificates in which they were given, the certificates of
//! endpoints, the sender's own server certificate.
//!
//! What is told is when something stops working, so of several keys or roots that can take each other's place the last
//! one counts, and where one of them has no end there is nothing to tell.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use waxseal_keys::Timestamp;

use super::notices::{self, Expiring};
use crate::directory::{Directory, News};
use crate::model::authentication::ClientCertificate;
use crate::model::certificate::CertificateSummary;
use crate::model::encryption_keys::{EncryptionKeySet, KeyOwner, KnownKey};
use crate::model::endpoint::Endpoint;
use crate::model::told::Told;

/// Everything that has an end.
pub(super) async fn collect(directory: &Directory, server_certificate: Option<&Path>) -> Vec<Expiring> {
    let operator = directory.operator();
    let endpoints = directory.endpoints(None, None, usize::MAX);
    let mut found: Vec<_> = directory.key_sets().iter().flat_map(|set| of_keys(set)).collect();
    found.extend(endpoints.iter().flat_map(|endpoint| of_endpoint(endpoint)));
    found.retain(|one| one.consumer.is_none() || one.consumer != operator);
    if let Some(path) = server_certificate {
        found.extend(of_file(path).await);
    }
    found
}

/// What has come closer to its end than was told; and what was told of things that are gone, or last longer by now.
pub(super) fn look(
    found: Vec<Expiring>,
    told: &[Arc<Told>],
    warn_before: &[Duration],
    now: Timestamp,
) -> News {
    let mut news = News::default();
    let mut due = Vec::new();
    let mut standing = std::collections::HashSet::new();
    for one in found {
        let left = one.not_after.duration_since(now);
        let passed = warn_before.iter().filter(|before| left <= **before).count();
        let warnings = passed + usize::from(one.not_after <= now);
        if warnings == 0 {
            continue;
        }
        let (subject, not_after) = (subject(&one), one.not_after);
        let told_now = Told::Expiring { subject, not_after, warnings };
        standing.insert(told_now.id());
        let is_known = told.iter().any(|told| match &**told {
            Told::Expiring { warnings: given, .. } => told.id() == told_now.id() && *given >= warnings,
            _ => false,
        });
        if !is_known {
            news.told.push(told_now);
            due.push(one);
        }
    }
    let of_expiry = told.iter().filter(|told| matches!(***told, Told::Expiring { .. })).map(|told| told.id());
    news.over.extend(of_expiry.filter(|id| !standing.contains(id)));
    if !due.is_empty() {
        due.sort_by_key(|one| one.not_after);
        news.notices.push(notices::expiring(&due, now));
    }
    news
}

/// With its end: a successor is another subject.
fn subject(one: &Expiring) -> String {
    let owner = match (&one.consumer, one.endpoint) {
        (_, Some(endpoint)) => endpoint.to_string(),
        (Some(consumer), None) => consumer.to_string(),
        (None, None) => String::new(),
    };
    format!("{}/{owner}/{}/{}", one.kind, one.fingerprint, one.not_after.as_millis())
}

/// The admitted key that lasts longest: after it nothing can be sealed. And that whose certificate does: its consumer
/// has a plan for the day after it, which the sender, going on with the key, would not know.
fn of_keys(set: &EncryptionKeySet) -> Vec<Expiring> {
    let of_key = last(set, "encryption_key", KnownKey::expires_at);
    let of_certificate = last(set, "encryption_certificate", |key| key.certificate_not_after);
    [of_key, of_certificate].into_iter().flatten().collect()
}

fn last(
    set: &EncryptionKeySet,
    kind: &'static str,
    end: impl Fn(&KnownKey) -> Option<Timestamp>,
) -> Option<Expiring> {
    let admitted = set.keys.iter().filter(|key| key.admitted_at.is_some());
    let ends: Option<Vec<_>> = admitted.map(|key| Some((end(key)?, key))).collect();
    let (not_after, last) = ends?.into_iter().max_by_key(|(end, _)| *end)?;
    let endpoint = match &set.owner {
        KeyOwner::Consumer(_) => None,
        KeyOwner::Endpoint(_, endpoint) => Some(*endpoint),
    };
    Some(Expiring {
        kind,
        consumer: Some(set.owner.consumer().clone()),
        endpoint,
        fingerprint: last.thumbprint.clone(),
        not_after,
    })
}

fn of_endpoint(endpoint: &Endpoint) -> Vec<Expiring> {
    let uploaded = endpoint.authentication.as_ref().and_then(|shown| match &shown.client_certificate {
        Some(ClientCertificate::Uploaded(certificate)) => Some(&certificate.summary),
        Some(ClientCertificate::Own) | None => None,
    });
    let roots = endpoint.server_authentication.as_ref().and_then(|asked| asked.ca_certificates.as_ref());
    let last_root =
        roots.and_then(|roots| roots.certificates.iter().max_by_key(|certificate| certificate.not_after));
    let found = [("client_certificate", uploaded), ("trusted_certificate", last_root)];
    let expiring = |(kind, summary): (&'static str, Option<&CertificateSummary>)| {
        let summary = summary?;
        Some(Expiring {
            kind,
            consumer: Some(endpoint.consumer.clone()),
            endpoint: Some(endpoint.id),
            fingerprint: summary.fingerprint_sha256.clone(),
            not_after: summary.not_after,
        })
    };
    found.into_iter().filter_map(expiring).collect()
}

/// A file that cannot be read is told by whoever serves with it.
async fn of_file(path: &Path) -> Option<Expiring> {
    let pem = tokio::fs::read(path).await.ok()?;
    let leaf = CertificateDer::pem_slice_iter(&pem).next()?.ok()?;
    let summary = CertificateSummary::of(&leaf).ok()?;
    Some(Expiring {
        kind: "server_certificate",
        consumer: None,
        endpoint: None,
        fingerprint: summary.fingerprint_sha256,
        not_after: summary.not_after,
    })
}

#[cfg(test)]
mod tests;
