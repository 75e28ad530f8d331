//! `waxseal keys import`: a signing key from a file, as operators have them.
//!
//! The file is read, opened and checked here. What is sent is the key itself, over the connection that carries the API
//! token: the passphrase never leaves this machine.

use std::env;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use waxseal_keys::{SignatureAlgorithm, pem};
use zeroize::Zeroizing;

use super::client::Remote;
use super::error::CliError;
use super::keys::read_bytes;
use crate::config::parse_signature_algorithm;
use crate::signing_keys::import::signing_key_from_file;

/// Which key.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  waxseal keys import key.pem\n  waxseal keys import encrypted.p8 --passphrase-file passphrase.txt\n\nPEM or DER; PKCS#8, encrypted PKCS#8, or the traditional form (EC PRIVATE KEY, RSA PRIVATE KEY); P-256, Ed25519 or RSA of 2048 bits and more. The passphrase comes from a file or from WAXSEAL_KEY_PASSPHRASE.\n\nThe key is published at once and stands by. When it has been published long enough, `waxseal keys rotate --to KID` has it sign."
)]
pub struct ImportArgs {
    /// The file; `-` for standard input
    file: String,
    /// A file with the passphrase, on its first line
    #[arg(long)]
    passphrase_file: Option<PathBuf>,
    /// `Ed25519` for an Ed25519 key that is to go by that name; otherwise it follows from the key
    #[arg(long, value_parser = parse_signature_algorithm)]
    algorithm: Option<SignatureAlgorithm>,
}

impl ImportArgs {
    /// Imports.
    ///
    /// # Errors
    /// If the file is not a key that can sign, or the sender refuses.
    pub async fn run(self, remote: &Remote) -> Result<(), CliError> {
        let file = Zeroizing::new(read_bytes(&self.file)?);
        let passphrase = self.passphrase()?;
        let passphrase = passphrase.as_ref().map(|text| text.as_bytes());
        let key = signing_key_from_file(&file, passphrase, self.algorithm).map_err(|error| {
            let remedy = match (error.concerns_passphrase(), passphrase.is_some()) {
                (true, false) => "; give --passphrase-file, or set WAXSEAL_KEY_PASSPHRASE",
                _ => "",
            };
            CliError::plain(format!("{}: {error}{remedy}. Nothing was sent", self.file))
        })?;
        let file = pem::private_to_pem(&key.to_jwk()).map_err(|error| CliError::failed(&self.file, error))?;
        let body = json!({ "private_key": String::from_utf8_lossy(&file), "algorithm": key.alg().name() });
        remote.output().item(&remote.connect()?.post(&["signing-keys"], Some(body)).await?)
    }

    /// The passphrase, if there is one: from a file, else from the environment.
    fn passphrase(&self) -> Result<Option<Zeroizing<String>>, CliError> {
        let Some(path) = &self.passphrase_file else {
            return Ok(env::var(VARIABLE).ok().filter(|text| !text.is_empty()).map(Zeroizing::new));
        };
        first_line(path).map(Some)
    }
}

fn first_line(path: &Path) -> Result<Zeroizing<String>, CliError> {
    let text = std::fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(|error| CliError::file(path, error))?;
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
}

const VARIABLE: &str = "WAXSEAL_KEY_PASSPHRASE";
