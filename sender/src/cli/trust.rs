//! The keys that `waxseal open` trusts: an issuer's JWKS, and private keys from files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use url::Url;
use waxseal_jwks::{HttpGet, JwkSet, ReqwestGet, SetLimits};
use waxseal_keys::{DecryptionKey, PrivateJwk, VerifyingKey};

use super::error::CliError;
use super::keys::read_bytes;

/// The usable verifying keys of a JWKS, from a file or a URL.
///
/// # Errors
/// If it cannot be read, is not a JWKS, or has no usable key: with the reason for each that is not.
pub async fn verifying_keys(source: &str) -> Result<Vec<VerifyingKey>, CliError> {
    let document = match Url::parse(source) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => fetch(&url).await?,
        _ => read_bytes(source)?,
    };
    let parsed = JwkSet::parse(&document, &SetLimits::default())
        .map_err(|error| CliError::plain(format!("{source} is not a usable JWKS: {error}")))?;
    let mut reasons: Vec<_> =
        parsed.ignored.iter().map(|(index, error)| format!("key {index}: {error}")).collect();
    let mut keys = Vec::new();
    for jwk in parsed.set.keys() {
        match VerifyingKey::from_jwk(jwk) {
            Ok(key) => keys.push(key),
            Err(error) => reasons.push(error.to_string()),
        }
    }
    if keys.is_empty() {
        return Err(CliError::plain(format!("{source} has no key to verify with. {}", reasons.join("; "))));
    }
    Ok(keys)
}

/// The private keys in these files, each a JWK or a set of them.
///
/// # Errors
/// If a file cannot be read or holds something else.
pub fn decryption_keys(files: &[PathBuf]) -> Result<Vec<DecryptionKey>, CliError> {
    let keys = files.iter().map(|file| from_file(file)).collect::<Result<Vec<_>, _>>()?;
    Ok(keys.into_iter().flatten().collect())
}

fn from_file(file: &Path) -> Result<Vec<DecryptionKey>, CliError> {
    let bytes = std::fs::read(file).map_err(|error| CliError::file(file, error))?;
    let refused = |why: &dyn std::fmt::Display| CliError::plain(format!("{}: {why}", file.display()));
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| refused(&error))?;
    let documents = match value.get("keys").and_then(Value::as_array) {
        Some(keys) => keys.iter().map(|key| key.to_string().into_bytes()).collect(),
        None => vec![bytes],
    };
    let key = |document: &Vec<u8>| {
        let jwk = PrivateJwk::parse(document).map_err(|error| refused(&error))?;
        DecryptionKey::from_jwk(&jwk).map_err(|error| refused(&error))
    };
    documents.iter().map(key).collect()
}

async fn fetch(url: &Url) -> Result<Vec<u8>, CliError> {
    let client = ReqwestGet::new().map_err(|error| CliError::failed("cannot prepare HTTP", error))?;
    let response = client
        .get(url, SetLimits::default().bytes, Duration::from_secs(10))
        .await
        .map_err(|error| CliError::failed(format!("cannot fetch {url}"), error))?;
    match response.status {
        200 => Ok(response.body.to_vec()),
        status => Err(CliError::plain(format!("{url} answered {status}"))),
    }
}
