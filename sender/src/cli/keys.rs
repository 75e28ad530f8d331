//! `waxseal keys`: the sender's signing keys; and the encryption keys of consumers and endpoints.

use std::fs;
use std::io::Read;
use std::path::Path;

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};
use waxseal_keys::{EncryptionKeyType, generate_decryption_key};

use super::client::Remote;
use super::endpoint::as_set;
use super::error::CliError;
use super::files::write_secret;
use super::output::line;

/// Keys: the sender's own, and new ones for a consumer
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// List the sender's signing keys and their states
    List,
    /// Sign with the standby key from now on; refused until it has been published long enough
    Rotate,
    /// Withdraw a signing key at once, because it is compromised
    Revoke {
        /// Its kid
        kid: String,
    },
    /// Print the certificate that the sender's own client certificates are checked against (mutual TLS)
    ClientCa,
    /// Make a decryption key for a consumer, on this machine: the private key into a file, the public one printed
    #[command(
        after_help = "Example:\n  waxseal keys generate --type p256 --out consumer-key.json > consumer-public.json"
    )]
    Generate {
        /// What kind
        #[arg(long = "type", default_value = "p256")]
        kind: KeyTypeArg,
        /// The file for the private key (mode 0600; never overwritten)
        #[arg(long)]
        out: String,
    },
}

/// The kind of a decryption key.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum KeyTypeArg {
    /// ECDH-ES on P-256
    P256,
    /// ECDH-ES on X25519
    X25519,
    /// RSA-OAEP-256 with 3072 bits
    Rsa3072,
}

/// Public encryption keys of a consumer or an endpoint
#[derive(Debug, Subcommand)]
pub enum KeySetCommand {
    /// Give a JWK Set (pinned), or the address of one
    Set {
        /// A file with a public JWK or JWK Set; `-` for standard input
        #[arg(required_unless_present = "jwks_uri", conflicts_with = "jwks_uri")]
        file: Option<String>,
        /// Fetch the set from here
        #[arg(long)]
        jwks_uri: Option<String>,
        /// When a key first seen there may be used
        #[arg(long, requires = "jwks_uri")]
        admission: Option<AdmissionArg>,
    },
    /// List the keys
    List,
    /// Confirm a fetched key by its thumbprint, so that it may be used
    Admit {
        /// Its RFC 7638 thumbprint
        thumbprint: String,
    },
    /// Take one key out
    Delete {
        /// Its RFC 7638 thumbprint
        thumbprint: String,
    },
}

/// When a fetched key may be used.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum AdmissionArg {
    /// Once its thumbprint is confirmed
    Approve,
    /// At once; does not resist whoever controls the consumer's DNS
    Automatic,
}

impl KeysCommand {
    /// Carries the command out.
    ///
    /// # Errors
    /// If the sender refuses or cannot be reached, or a file cannot be written.
    pub async fn run(self, remote: &Remote) -> Result<(), CliError> {
        let output = remote.output();
        match self {
            Self::List => {
                let answer = remote.connect()?.get(&["signing-keys"], &[]).await?;
                output.list(&answer, &["kid", "alg", "state", "published_since"])
            }
            Self::Rotate => output.item(&remote.connect()?.post(&["signing-keys", "rotate"], None).await?),
            Self::Revoke { kid } => {
                output.item(&remote.connect()?.post(&["signing-keys", &kid, "revoke"], None).await?)
            }
            Self::ClientCa => line(remote.connect()?.get_text(&["client-ca"]).await?.trim_end()),
            Self::Generate { kind, out } => generate(kind, Path::new(&out)),
        }
    }
}

impl KeySetCommand {
    /// Carries the command out for the owner at `path`.
    ///
    /// # Errors
    /// If the sender refuses or cannot be reached, or a file cannot be read.
    pub async fn run(self, remote: &Remote, path: &[&str]) -> Result<(), CliError> {
        let (api, output) = (remote.connect()?, remote.output());
        let set = [path, &["encryption-keys"]].concat();
        match self {
            Self::Set { file: Some(file), .. } => {
                let body = json!({ "jwks": as_set(read_json(&file)?) });
                output.item(&api.put(&set, Some(body)).await?)
            }
            Self::Set { file: None, jwks_uri, admission } => {
                let mut body = json!({ "jwks_uri": jwks_uri });
                if let Some(admission) = admission {
                    body["admission"] = match admission {
                        AdmissionArg::Approve => "approve".into(),
                        AdmissionArg::Automatic => "automatic".into(),
                    };
                }
                output.item(&api.put(&set, Some(body)).await?)
            }
            Self::List => output.item(&api.get(&set, &[]).await?),
            Self::Admit { thumbprint } => {
                output.item(&api.post(&[set.as_slice(), &[&thumbprint, "admit"]].concat(), None).await?)
            }
            Self::Delete { thumbprint } => {
                output.item(&api.delete(&[set.as_slice(), &[&thumbprint]].concat()).await?)
            }
        }
    }
}

/// Reads JSON from a file, or from standard input for `-`.
///
/// # Errors
/// If it cannot be read or is not JSON.
pub fn read_json(file: &str) -> Result<Value, CliError> {
    let bytes = read_bytes(file)?;
    serde_json::from_slice(&bytes).map_err(|error| CliError::failed(format!("{file} is not JSON"), error))
}

/// Reads a file, or standard input for `-`.
///
/// # Errors
/// If it cannot be read.
pub fn read_bytes(file: &str) -> Result<Vec<u8>, CliError> {
    if file != "-" {
        return fs::read(file).map_err(|error| CliError::file(Path::new(file), error));
    }
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .read_to_end(&mut bytes)
        .map_err(|error| CliError::failed("cannot read standard input", error))?;
    Ok(bytes)
}

fn generate(kind: KeyTypeArg, out: &Path) -> Result<(), CliError> {
    let kind = match kind {
        KeyTypeArg::P256 => EncryptionKeyType::P256,
        KeyTypeArg::X25519 => EncryptionKeyType::X25519,
        KeyTypeArg::Rsa3072 => EncryptionKeyType::Rsa3072,
    };
    let key = generate_decryption_key(kind).map_err(|error| CliError::failed("cannot make a key", error))?;
    write_secret(out, key.to_jwk().to_json().as_bytes())?;
    line(&key.public_jwk().to_json().to_string())
}
