//! Asking endpoints whether they want events: what was asked is noted before it is sent, and a proof is taken only for
//! what was noted last.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use waxseal_keys::Timestamp;

use super::item::{Edit, Item};
use super::{ChangeError, Directory};
use crate::id::EndpointId;
use crate::model::encryption_keys::EncryptionKeySet;
use crate::model::endpoint::{Endpoint, Protection};
use crate::model::verification::{Challenge, Standing, Verification};

impl Directory {
    /// How an endpoint stands: proven, trusted, or neither.
    pub fn standing(&self, endpoint: &Endpoint, now: Timestamp) -> Standing {
        // It is asked before every delivery: keys are looked for only where they matter.
        let keys = match (&endpoint.verification, endpoint.protection) {
            (Verification::Trusted { .. }, _) | (_, Protection::Signed) => None,
            (Verification::Proven { .. } | Verification::Awaited { .. }, Protection::Sealed) => {
                self.key_set_for(endpoint)
            }
        };
        endpoint.verification.standing(endpoint, keys.as_deref(), now)
    }

    /// Notes what `asked` is about to be asked, in place of what it was asked before. `false`: it is not what it was
    /// when the question was made, so that the question must not be sent.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn note_challenge(
        &self,
        asked: &Arc<Endpoint>,
        challenge: Challenge,
    ) -> Result<bool, ChangeError> {
        let changing = self.turn().await?;
        let Some(endpoint) = self.endpoint(asked.id).filter(|now| Arc::ptr_eq(now, asked)) else {
            return Ok(false);
        };
        if !self.is_current(&endpoint, &challenge) {
            return Ok(false);
        }
        let agreed_at = endpoint.verification.agreed_at(&endpoint);
        let verification = Verification::Awaited { challenge: Some(Box::new(challenge)), agreed_at };
        let endpoint = Endpoint { verification, ..Endpoint::clone(&endpoint) };
        self.commit(changing, vec![Edit::Put(Item::Endpoint(Arc::new(endpoint)))]).await?;
        Ok(true)
    }

    /// Takes a proof, once: the endpoint has answered with the state of this hash. `false`: it is not the state that it
    /// was asked last, its time is over, or the endpoint is another one now.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn prove(
        &self,
        id: EndpointId,
        state_sha256: &str,
        now: Timestamp,
    ) -> Result<bool, ChangeError> {
        // A proof that was given is not lost to what another node changes at the same moment.
        for _ in 1..ROUNDS {
            match self.try_to_prove(id, state_sha256, now).await {
                Err(error) if error.is_superseded() => {}
                taken => return taken,
            }
        }
        self.try_to_prove(id, state_sha256, now).await
    }

    async fn try_to_prove(
        &self,
        id: EndpointId,
        state_sha256: &str,
        now: Timestamp,
    ) -> Result<bool, ChangeError> {
        let changing = self.turn().await?;
        let Some(endpoint) = self.endpoint(id) else { return Ok(false) };
        let Verification::Awaited { challenge: Some(challenge), .. } = &endpoint.verification else {
            return Ok(false);
        };
        let same =
            verify_slices_are_equal(challenge.state_sha256.as_bytes(), state_sha256.as_bytes()).is_ok();
        if !same || !challenge.is_under_way(now) || !self.is_current(&endpoint, challenge) {
            return Ok(false);
        }
        let verification = Verification::Proven { at: now, binding: Box::new(challenge.binding.clone()) };
        let endpoint = Endpoint { verification, ..Endpoint::clone(&endpoint) };
        self.commit(changing, vec![Edit::Put(Item::Endpoint(Arc::new(endpoint)))]).await?;
        Ok(true)
    }

    /// Has an endpoint asked from the beginning, unless it is verified or an answer may be on its way just now.
    ///
    /// # Errors
    /// If there is none with this id, or the store fails.
    pub async fn ask_again(&self, id: EndpointId, now: Timestamp) -> Result<Arc<Endpoint>, ChangeError> {
        let changing = self.turn().await?;
        let endpoint = self
            .endpoint(id)
            .ok_or_else(|| ChangeError::NotFound { what: "endpoint", id: id.to_string() })?;
        let keys = self.key_set_for(&endpoint);
        let verification = &endpoint.verification;
        let under_way =
            verification.challenge(&endpoint, keys.as_deref()).is_some_and(|one| one.is_under_way(now));
        let verified = matches!(self.standing(&endpoint, now), Standing::Trusted | Standing::Proven);
        if verified || under_way {
            return Ok(endpoint);
        }
        let agreed_at = verification.agreed_at(&endpoint);
        let verification = Verification::Awaited { challenge: None, agreed_at };
        let endpoint = Arc::new(Endpoint { verification, ..Endpoint::clone(&endpoint) });
        self.commit(changing, vec![Edit::Put(Item::Endpoint(Arc::clone(&endpoint)))]).await?;
        Ok(endpoint)
    }

    /// Whether the endpoint is what the challenge was made for, and its key still there.
    fn is_current(&self, endpoint: &Endpoint, challenge: &Challenge) -> bool {
        let keys = self.key_set_for(endpoint);
        let sealed_to = challenge.sealed_to.as_deref();
        let key_is_there = sealed_to.is_none_or(|key| keys.as_ref().is_some_and(|set| admits(set, key)));
        key_is_there && challenge.binding.is_of(endpoint, keys.as_deref())
    }
}

fn admits(set: &EncryptionKeySet, thumbprint: &str) -> bool {
    set.keys.iter().any(|key| key.thumbprint == thumbprint && key.admitted_at.is_some())
}

/// How often a proof is taken anew on top of what others change.
const ROUNDS: usize = 4;
