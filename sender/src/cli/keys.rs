//! `waxseal keys`: the sender's signing keys; and the encryption keys of consumers and endpoints.

use std::fs;
use std::io::Read;
use std::path::Path;

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};
use waxseal_keys::{
    Clock, EncryptionKey, EncryptionKeyType, Jwk, JwkError, SystemClock, generate_decryption_key,
};

use super::client::Remote;
use super::error::CliError;
use super::files::write_secret;
use super::import::ImportArgs;
use super::output::line;
use super::rewrap::RewrapArgs;
use crate::consumer_keys::import::certified;

/// Keys: the sender's own, and new ones for a consumer
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// List the sender's signing keys and their states
    List,
    /// Sign with the standby key from now on; refused until it has been published long enough
    Rotate {
        /// The kid of one of several keys that stand by
        #[arg(long)]
        to: Option<String>,
    },
    /// Withdraw a signing key at once, because it is compromised
    Revoke {
        /// Its kid
        kid: String,
    },
    /// Take in a signing key from a file, as a further standby
    Import(ImportArgs),
    /// Print a published signing key as a certificate (PEM)
    Certificate {
        /// Its kid
        kid: String,
    },
    /// Wrap this machine's store under another key-encryption key
    Rewrap(RewrapArgs),
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
        /// A file with a public JWK or JWK Set, or with certificates in PEM; `-` for standard input
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
            Self::Rotate { to } => {
                let path = match to.as_deref() {
                    Some(kid) => vec!["signing-keys", kid, "activate"],
                    None => vec!["signing-keys", "rotate"],
                };
                output.item(&remote.connect()?.post(&path, None).await?)
            }
            Self::Import(args) => args.run(remote).await,
            Self::Certificate { kid } => {
                let path = ["waxseal", "signing-keys", &format!("{kid}.pem")];
                line(remote.connect()?.get_well_known(&path).await?.trim_end())
            }
            Self::Rewrap(args) => args.run().await,
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
                let (form, keys) = read_keys(&file)?;
                let body = json!({ form: keys });
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

/// Reads public encryption keys from a file, or from standard input for `-`: a JWK, a set of them, or certificates in
/// PEM. What is returned, the field of a request and its value, is made of what was understood, so that a private key
/// never leaves this machine.
///
/// # Errors
/// If it cannot be read, or a key is not one that content can be sealed to.
pub fn read_keys(file: &str) -> Result<(&'static str, Value), CliError> {
    let bytes = read_bytes(file)?;
    let refused = |why: String| CliError::plain(format!("{file}: {why}. Nothing was sent"));
    if bytes.windows(PEM_BEGIN.len()).any(|window| window == PEM_BEGIN) {
        let keys = certified(&bytes, SystemClock.now()).map_err(|error| refused(error.to_string()))?;
        return Ok(("certificates", keys.iter().map(|key| key.pem.as_str()).collect::<String>().into()));
    }
    let document: Value = serde_json::from_slice(&bytes)
        .map_err(|error| CliError::failed(format!("{file} is not JSON, nor a certificate in PEM"), error))?;
    let keys = match document.get("keys") {
        None => vec![public_key(&document).map_err(refused)?],
        Some(Value::Array(keys)) => {
            let public = |(index, key)| public_key(key).map_err(|why| refused(format!("key {index}: {why}")));
            keys.iter().enumerate().map(public).collect::<Result<_, _>>()?
        }
        Some(_) => return Err(refused("`keys` must be an array of keys".to_owned())),
    };
    Ok(("jwks", json!({ "keys": keys })))
}

fn public_key(key: &Value) -> Result<Value, String> {
    let jwk = Jwk::from_value(key).map_err(|error| match error {
        JwkError::PrivateKey { member } => {
            format!("this is a private key (it has \"{member}\"); give its public half")
        }
        JwkError::Symmetric => {
            "this is a symmetric key; only public keys (EC, OKP, RSA) are of use".to_owned()
        }
        other => other.to_string(),
    })?;
    EncryptionKey::from_jwk(&jwk).map_err(|error| error.to_string())?;
    Ok(jwk.to_json())
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

/// How the armour of RFC 7468 begins. JSON cannot: it knows no hyphen there.
const PEM_BEGIN: &[u8] = b"-----BEGIN ";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(document: &Value) -> Result<Value, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), document.to_string()).unwrap();
        let (form, keys) = read_keys(file.path().to_str().unwrap()).map_err(|error| error.to_string())?;
        assert_eq!(form, "jwks");
        Ok(keys)
    }

    #[test]
    fn a_private_key_is_refused_here_wherever_it_stands() {
        let key = generate_decryption_key(EncryptionKeyType::X25519).unwrap();
        let public = key.public_jwk().to_json();
        let private: Value = serde_json::from_str(&key.to_jwk().to_json()).unwrap();
        for document in [
            private.clone(),
            json!({ "keys": [private] }),
            json!({ "keys": [public, private] }),
            json!({ "kty": "oct", "k": "AAAA" }),
            json!({ "keys": { "one": private } }),
        ] {
            let refusal = read(&document).unwrap_err();
            assert!(refusal.contains("Nothing was sent"), "{refusal}");
            assert!(!refusal.contains(private["d"].as_str().unwrap()), "{refusal}");
        }
        assert!(read(&private).unwrap_err().contains("give its public half"));
    }

    #[test]
    fn a_certificate_stands_for_its_key() {
        let signer = waxseal_keys::generate_signing_key(waxseal_keys::SignatureAlgorithm::Es256).unwrap();
        let name =
            waxseal_keys::CertificateName { common: "acme".into(), uri: "https://acme.example".into() };
        let now = SystemClock.now();
        let day = std::time::Duration::from_secs(86_400);
        let pem = |from, until| {
            waxseal_keys::Certificate::self_signed(&signer, &name, from, until).unwrap().to_pem()
        };
        let read = |text: String| {
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(file.path(), text).unwrap();
            read_keys(file.path().to_str().unwrap()).map_err(|error| error.to_string())
        };
        let valid = pem(now.saturating_sub(day), now.saturating_add(day));
        let private = waxseal_keys::pem::private_to_pem(&signer.to_jwk()).unwrap();
        let private = String::from_utf8_lossy(&private).into_owned();
        let sent = ("certificates", Value::from(valid.as_str()));
        assert_eq!(
            read(format!("{private}a note\n{valid}")).unwrap(),
            sent,
            "the certificate, and nothing else"
        );
        let expired = read(pem(now.saturating_sub(2 * day), now.saturating_sub(day))).unwrap_err();
        assert!(expired.contains("expired") && expired.contains("Nothing was sent"), "{expired}");
        let private = read(private).unwrap_err();
        assert!(private.contains("not a certificate"), "{private}");
    }

    #[test]
    fn only_what_was_understood_is_sent() {
        let key = generate_decryption_key(EncryptionKeyType::P256).unwrap();
        let private: Value = serde_json::from_str(&key.to_jwk().to_json()).unwrap();
        let public = key.public_jwk().to_json();
        let expected = json!({ "keys": [public] });
        assert_eq!(read(&public).unwrap(), expected);
        assert_eq!(read(&json!({ "keys": [public], "backup": private })).unwrap(), expected);
    }
}
