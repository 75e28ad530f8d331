//! The sender's own keys: which one signs, and which were revoked, compared with what the operator knows.
//!
//! It is derived from the ring, which is on disk before it is seen: a change in the last moment of a process is told by
//! the next one.

use std::collections::BTreeSet;
use std::sync::Arc;

use waxseal_keys::{KeyState, RingEntry, Timestamp};

use super::notices;
use crate::directory::News;
use crate::model::told::Told;

/// What is new in the ring. The first look tells nothing: it is where telling begins.
pub(super) fn look(entries: &[RingEntry], told: &[Arc<Told>], now: Timestamp) -> News {
    let of_state = |state: KeyState| {
        entries.iter().filter(move |entry| entry.state() == state).map(|entry| entry.kid().to_owned())
    };
    let active = of_state(KeyState::Active).next();
    let revoked: BTreeSet<_> = of_state(KeyState::Revoked).collect();
    let known = told.iter().find_map(|told| match &**told {
        Told::SigningKeys { active, revoked } => Some((active, revoked)),
        _ => None,
    });
    let mut news = News::default();
    if known == Some((&active, &revoked)) {
        return news;
    }
    if let Some((active_before, revoked_before)) = known {
        for kid in revoked.difference(revoked_before) {
            news.notices.push(notices::revoked(kid, active.as_deref(), now));
        }
        if active != *active_before {
            news.notices.push(notices::rotated(active_before.as_deref(), active.as_deref(), now));
        }
    }
    news.told.push(Told::SigningKeys { active, revoked });
    news
}
