//! The signing keys and their life.

use std::time::Duration;

use serde::{Deserialize, Deserializer};
use waxseal_keys::SignatureAlgorithm;

use super::{duration, unless_never};
use crate::store::{LEASE, TRUSTED_FOR};

/// The signing keys and their life.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SigningConfig {
    /// `ES256`, `EdDSA`, `Ed25519` or `PS256`: what new keys are made for.
    #[serde(deserialize_with = "signature_algorithm")]
    pub algorithm: SignatureAlgorithm,
    /// How long a key is published before it signs.
    #[serde(deserialize_with = "duration")]
    pub pending_for: Duration,
    /// How long a key stays published after its last signature.
    #[serde(deserialize_with = "duration")]
    pub retiring_for: Duration,
    /// How often the signing key is changed; `"never"`: by hand only.
    #[serde(deserialize_with = "unless_never")]
    pub rotate_every: Option<Duration>,
    /// How long receivers may cache the JWKS.
    #[serde(deserialize_with = "duration")]
    pub jwks_max_age: Duration,
    /// Whether the JWKS has each key as a certificate as well (`x5c`, `x5t#S256`).
    pub x5c: bool,
}

impl SigningConfig {
    /// What no single field can say.
    pub(super) fn check(&self) -> Result<(), String> {
        let needed = self.jwks_max_age.saturating_mul(2);
        if self.pending_for < needed {
            let needed = humantime::format_duration(needed);
            return Err(format!(
                "signing.pending_for: expected at least twice signing.jwks_max_age ({needed}), so that every receiver knows a key before it signs"
            ));
        }
        if let Some(every) = self.rotate_every {
            let turn = every.max(self.pending_for);
            let retiring = self.retiring_for.as_nanos().div_ceil(turn.as_nanos());
            if retiring > MAX_RETIRING {
                return Err(format!(
                    "signing.rotate_every: {retiring} keys would be published after their time at once; expected at most {MAX_RETIRING}: a longer time, or a shorter signing.retiring_for"
                ));
            }
        }
        Ok(())
    }

    /// What there is to say where several nodes may sign by the same keys.
    ///
    /// # Errors
    /// The field at fault and what was expected.
    pub fn check_shared(&self) -> Result<(), String> {
        if self.retiring_for < LEASE {
            let (least, late) = (humantime::format_duration(LEASE), humantime::format_duration(TRUSTED_FOR));
            return Err(format!(
                "signing.retiring_for: expected at least {least}, as nodes share the store: one that does not know yet of a rotation signs with the key from before for up to {late}, and what it has signed is still on its way then"
            ));
        }
        Ok(())
    }
}

impl Default for SigningConfig {
    fn default() -> Self {
        Self {
            algorithm: SignatureAlgorithm::Es256,
            pending_for: DAY,
            retiring_for: DAY,
            rotate_every: Some(DAY.saturating_mul(90)),
            jwks_max_age: Duration::from_secs(300),
            x5c: false,
        }
    }
}

fn signature_algorithm<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SignatureAlgorithm, D::Error> {
    let name = String::deserialize(deserializer)?;
    parse_signature_algorithm(&name).map_err(serde::de::Error::custom)
}

/// Reads the name of an algorithm that the sender may sign with.
///
/// # Errors
/// A sentence that names those that it may.
pub fn parse_signature_algorithm(name: &str) -> Result<SignatureAlgorithm, String> {
    match SignatureAlgorithm::from_name(name) {
        Some(SignatureAlgorithm::Es384) | None => {
            Err(format!("`{name}` is not an algorithm to sign with; expected ES256, EdDSA, Ed25519 or PS256"))
        }
        Some(algorithm) => Ok(algorithm),
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Receivers read sets of 32 keys; the rest is for those that sign and stand by.
const MAX_RETIRING: u128 = 22;
