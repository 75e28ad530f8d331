//! The sender's own keys as operators handle them: by schedule, from files, as certificates.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use openssl::bn::BigNum;
use openssl::ecdsa::EcdsaSig;
use openssl::sha::sha256;
use openssl::x509::X509;
use serde_json::{Value, json};
use waxseal_tests::api::Api;
use waxseal_tests::process::program;
use waxseal_tests::sender::SenderFolder;
use waxseal_tests::sink::Sink;

use crate::support::{SHORT_KEYS, publish, register, trusted_endpoint};

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

/// Runs `waxseal keys …` against this sender, in its folder.
fn keys(folder: &SenderFolder, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(program("waxseal"))
        .arg("keys")
        .args(arguments)
        .current_dir(folder.path())
        .env("WAXSEAL_URL", &folder.origin)
        .env("WAXSEAL_TOKEN", &folder.token)
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

fn openssl(folder: &SenderFolder, line: &str) -> String {
    let output =
        Command::new("openssl").args(line.split_whitespace()).current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "openssl {line}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// The kids of the keys in a state.
fn in_state(answer: &Value, state: &str) -> Vec<String> {
    let keys = answer["data"].as_array().unwrap().iter().filter(|key| key["state"] == state);
    keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

async fn active_other_than(api: &Api, known: &BTreeSet<String>) -> String {
    let other = |answer: &Value| in_state(answer, "active").iter().any(|kid| !known.contains(kid));
    in_state(&api.until("/v1/signing-keys", other).await, "active").remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_rotates_by_schedule_with_nobody_there_and_goes_on_after_a_kill() {
    let folder = SenderFolder::init(&format!("{SHORT_KEYS}rotate_every = \"3s\"\n"), None);
    let mut sender = folder.start().await;
    let mut known = BTreeSet::from([in_state(&sender.api.get("/v1/signing-keys").await, "active").remove(0)]);
    known.insert(active_other_than(&sender.api, &known).await);
    sender.process.kill();
    let sender = folder.start().await;
    let kept = sender.api.get("/v1/signing-keys").await;
    for kid in &known {
        assert!(kept["data"].as_array().unwrap().iter().any(|key| key["kid"] == kid.as_str()), "{kept}");
    }
    known.insert(active_other_than(&sender.api, &known).await);
    assert_eq!(known.len(), 3);
    assert!(sender.process.log().contains("a signing key has come into another state"), "it is to be found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_made_with_openssl_is_imported_and_its_token_verifies_with_the_certificate_alone() {
    let folder = SenderFolder::init(&format!("{SHORT_KEYS}x5c = true\n"), None);
    let sender = folder.start().await;
    openssl(&folder, "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out plain.pem");
    openssl(&folder, "pkcs8 -topk8 -in plain.pem -v2 aes-256-cbc -passout pass:sesame -out key.p8");
    std::fs::write(folder.file("passphrase.txt"), "sesame\n").unwrap();
    std::fs::write(folder.file("wrong.txt"), "simsim\n").unwrap();

    let locked = keys(&folder, &["import", "key.p8"], &[]);
    assert!(said(&locked).contains("set WAXSEAL_KEY_PASSPHRASE. Nothing was sent"), "{}", said(&locked));
    let wrong = keys(&folder, &["import", "key.p8", "--passphrase-file", "wrong.txt"], &[]);
    assert!(said(&wrong).contains("cannot be decrypted with this passphrase"), "{}", said(&wrong));
    assert!(!said(&wrong).contains("simsim"));
    let wrong = keys(&folder, &["import", "key.p8"], &[("WAXSEAL_KEY_PASSPHRASE", "simsim")]);
    assert_eq!(wrong.status.code(), Some(1), "{}", said(&wrong));
    openssl(&folder, "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out small.pem");
    let small = keys(&folder, &["import", "small.pem"], &[]);
    assert!(said(&small).contains("1024"), "{}", said(&small));

    let imported = keys(&folder, &["import", "key.p8", "--passphrase-file", "passphrase.txt", "--json"], &[]);
    assert!(imported.status.success(), "{}", said(&imported));
    let imported: Value = serde_json::from_slice(&imported.stdout).unwrap();
    assert_eq!(imported["state"], "pending");
    let kid = imported["kid"].as_str().unwrap();
    let twice = keys(&folder, &["import", "plain.pem"], &[]);
    assert!(said(&twice).contains("the ring has had this key before"), "{}", said(&twice));
    let early = keys(&folder, &["rotate", "--to", kid], &[]);
    assert!(said(&early).contains("must be published for longer"), "{}", said(&early));

    let activate = format!("/v1/signing-keys/{kid}/activate");
    for _ in 0..200 {
        if sender.api.call(reqwest::Method::POST, &activate, None).await.0 == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let certificate = keys(&folder, &["certificate", kid], &[]);
    assert!(certificate.status.success(), "{}", said(&certificate));
    std::fs::write(folder.file("certificate.pem"), &certificate.stdout).unwrap();
    let shown = openssl(&folder, "x509 -in certificate.pem -noout -text");
    assert!(shown.contains("CN = 127.0.0.1") || shown.contains("CN=127.0.0.1"), "{shown}");
    assert!(shown.contains(&format!("URI:{}", folder.origin)) && shown.contains("CA:FALSE"), "{shown}");
    let public = openssl(&folder, "x509 -in certificate.pem -noout -pubkey");
    assert_eq!(public, openssl(&folder, "pkey -in plain.pem -pubout"), "the key that was imported");
    let verified = openssl(&folder, "verify -CAfile certificate.pem certificate.pem");
    assert!(verified.contains("OK"), "{verified}");

    let jwks = sender.api.get("/.well-known/jwks.json").await;
    let jwk = jwks["keys"].as_array().unwrap().iter().find(|key| key["kid"] == kid).unwrap().clone();
    let der = X509::from_pem(&certificate.stdout).unwrap().to_der().unwrap();
    assert_eq!(jwk["x5c"], json!([openssl::base64::encode_block(&der)]));

    let mut sink = Sink::start().await;
    register(&sender.api, "acme").await;
    trusted_endpoint(&sender.api, "acme", &sink.url(), "signed", None).await;
    publish(&sender.api, "acme", json!({ "n": 1 })).await;
    let (_, token) = sink.next().await;
    assert!(verifies(&token, &X509::from_pem(&certificate.stdout).unwrap()));
    keys(&folder, &["revoke", kid], &[]);
    let gone = keys(&folder, &["certificate", kid], &[]);
    assert!(said(&gone).contains("404"), "{}", said(&gone));
}

/// ES256 (RFC 7518 section 3.4) with OpenSSL, and nothing but the certificate.
fn verifies(token: &[u8], certificate: &X509) -> bool {
    use base64::Engine as _;
    let token = std::str::from_utf8(token).unwrap();
    let (input, signature) = token.rsplit_once('.').unwrap();
    let signature = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(signature).unwrap();
    let number = |octets: &[u8]| BigNum::from_slice(octets).unwrap();
    let signature = EcdsaSig::from_private_components(number(&signature[..32]), number(&signature[32..]));
    let key = certificate.public_key().unwrap().ec_key().unwrap();
    signature.unwrap().verify(&sha256(input.as_bytes()), &key).unwrap()
}
