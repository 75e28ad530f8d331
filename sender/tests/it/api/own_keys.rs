//! The sender's own keys over HTTP: imported, chosen, as certificates; and certificates of consumers.

use std::time::Duration;

use http::Method;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use openssl::x509::X509;
use serde_json::{Value, json};
use waxseal_keys::{Certificate, CertificateName, SignatureAlgorithm, generate_signing_key, pem};
use waxseal_sender::model::token::Scope;

use super::world::{NOW, World};

const KEYS: &str = "/v1/signing-keys";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn text(octets: &[u8]) -> String {
    String::from_utf8(octets.to_vec()).unwrap()
}

#[tokio::test]
async fn a_key_from_a_file_is_taken_in_waits_and_signs() {
    let world = World::new().await;
    let key = generate_signing_key(SignatureAlgorithm::Es256).unwrap();
    let file = text(&pem::private_to_encrypted_pem(&key.to_jwk(), b"sesame").unwrap());
    let body = json!({ "private_key": file, "passphrase": "sesame" });
    let imported = world.post(KEYS, body.clone()).await.expect(201);
    assert_eq!((&imported["kid"], &imported["state"]), (&json!(key.kid()), &json!("pending")));
    let activate = format!("{KEYS}/{}/activate", key.kid());
    let early = world.act(&activate).await.refused(409, "api.not_ready");
    assert!(early["detail"].as_str().unwrap().contains("2026-11-22T20:39:58"), "{early}");
    world.post(KEYS, body).await.refused(409, "api.exists");
    world.clock.advance(DAY);
    let keys = world.act(&activate).await.expect(200);
    let states: Vec<_> = keys["data"].as_array().unwrap().iter().map(|key| key["state"].clone()).collect();
    assert_eq!(states, ["retiring", "pending", "active"]);
    world.act(&activate).await.refused(409, "api.not_standby");
    world.act("/v1/signing-keys/none/activate").await.refused(404, "api.not_found");
}

#[tokio::test]
async fn a_file_that_cannot_sign_is_refused_by_field_and_never_shown() {
    let world = World::new().await;
    let key = generate_signing_key(SignatureAlgorithm::EdDsa).unwrap().to_jwk();
    let plain = text(&pem::private_to_pem(&key).unwrap());
    let encrypted = text(&pem::private_to_encrypted_pem(&key, b"sesame").unwrap());
    let p384 = generate_signing_key(SignatureAlgorithm::Es384).unwrap().to_jwk();
    let p384 = text(&pem::private_to_pem(&p384).unwrap());
    let reader = world.token(&[Scope::Read, Scope::Manage], None).await;
    let before = world.kept().await;
    for (body, field, expected) in [
        (json!({}), "private_key", "required"),
        (json!({ "private_key": 7 }), "private_key", "string"),
        (json!({ "private_key": "nonsense" }), "private_key", "not a private key"),
        (json!({ "private_key": encrypted }), "passphrase", "a passphrase is needed"),
        (json!({ "private_key": encrypted, "passphrase": "wrong" }), "passphrase", "cannot be decrypted"),
        (json!({ "private_key": p384 }), "private_key", "P-384"),
        (json!({ "private_key": plain, "algorithm": "RS256" }), "algorithm", "ES256"),
        (json!({ "private_key": plain, "algorithm": "PS256" }), "private_key", "PS256"),
        (json!({ "private_key": plain, "passphras": "x" }), "passphras", ""),
    ] {
        let problem = world.post(KEYS, body).await.names(&[field]);
        let detail = problem["errors"][0]["detail"].as_str().unwrap();
        assert!(detail.contains(expected), "{field}: {detail}");
        assert!(!problem.to_string().contains(&plain[40..60]), "{problem}");
    }
    let body = json!({ "private_key": plain });
    world.call(Method::POST, KEYS, &reader, Some(body)).await.refused(403, "api.scope");
    assert_eq!(world.kept().await, before);
}

#[tokio::test]
async fn a_published_key_can_be_downloaded_as_a_certificate_by_anybody() {
    let world = World::new().await;
    let set = world.get("/.well-known/jwks.json").await.expect(200);
    for key in set["keys"].as_array().unwrap() {
        let path = format!("/.well-known/waxseal/signing-keys/{}.pem", key["kid"].as_str().unwrap());
        let reply = world.call(Method::GET, &path, "", None).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.headers[CONTENT_TYPE], "application/pem-certificate-chain");
        assert_eq!(reply.headers[CACHE_CONTROL], "public, max-age=300");
        assert_eq!(reply.headers[ETAG], format!("\"{}\"", key["x5t#S256"].as_str().unwrap()));
        let certificate = X509::from_pem(reply.text.as_bytes()).unwrap();
        let jwk = waxseal_keys::Jwk::from_value(key).unwrap();
        let spki = certificate.public_key().unwrap().public_key_to_der().unwrap();
        assert_eq!(spki, pem::public_to_der(&jwk).unwrap(), "the certificate has the key of the JWK");
    }
    let kid = set["keys"][0]["kid"].as_str().unwrap();
    for nothing in ["none.pem", kid, ".pem", "a%2fb.pem"] {
        let path = format!("/.well-known/waxseal/signing-keys/{nothing}");
        assert_eq!(world.get(&path).await.status, 404, "{nothing}");
    }
    world.act(&format!("{KEYS}/{kid}/revoke")).await.expect(200);
    let gone = world.get(&format!("/.well-known/waxseal/signing-keys/{kid}.pem")).await;
    gone.refused(404, "api.not_found");
    let keys = world.get(KEYS).await.expect(200);
    assert_eq!(keys["data"][0]["certificate"], Value::Null);
    assert!(keys["data"][1]["certificate"]["not_after"].is_string());
}

#[tokio::test]
async fn a_consumer_may_give_its_key_as_a_certificate() {
    let (world, _) = World::furnished().await;
    let path = "/v1/consumers/acme/encryption-keys";
    let certificate = |alg, from, until| {
        let name = CertificateName { common: "acme".to_owned(), uri: "https://acme.example".to_owned() };
        let key = generate_signing_key(alg).unwrap();
        let made = Certificate::self_signed(&key, &name, from, until).unwrap();
        (key.public_jwk().thumbprint().to_string(), made.to_pem())
    };
    let (yesterday, tomorrow) = (NOW.saturating_sub(DAY), NOW.saturating_add(DAY));
    let (first, ec) = certificate(SignatureAlgorithm::Es256, yesterday, tomorrow);
    let (second, rsa) = certificate(SignatureAlgorithm::Ps256, yesterday, tomorrow);
    let set = world.put(path, json!({ "certificates": format!("{ec}{rsa}") })).await.expect(200);
    assert_eq!(set["source"], "pinned");
    assert_eq!(
        (&set["keys"][0]["thumbprint"], &set["keys"][1]["thumbprint"]),
        (&json!(first), &json!(second))
    );
    for key in set["keys"].as_array().unwrap() {
        assert_eq!(key["certificate_not_after"], "2026-11-22T20:39:58.000Z");
    }

    let before = world.kept().await;
    let (_, over) = certificate(SignatureAlgorithm::Es256, yesterday, yesterday.saturating_add(DAY / 2));
    let (_, early) = certificate(SignatureAlgorithm::Es256, tomorrow, tomorrow.saturating_add(DAY));
    let (_, signs) = certificate(SignatureAlgorithm::EdDsa, yesterday, tomorrow);
    for (given, expected) in [
        (json!("nothing"), "not a certificate"),
        (json!(7), "string"),
        (json!(over), "expired"),
        (json!(early), "not yet valid"),
        (json!(signs), "for signatures"),
        (json!(format!("{ec}{ec}")), "twice"),
    ] {
        let problem = world.put(path, json!({ "certificates": given })).await.names(&["certificates"]);
        let detail = problem["errors"][0]["detail"].as_str().unwrap();
        assert!(detail.contains(expected), "{expected}: {detail}");
    }
    let both = json!({ "certificates": ec, "jwks": { "keys": [] } });
    world.put(path, both).await.names(&["certificates"]);
    assert_eq!(world.kept().await, before);
}
