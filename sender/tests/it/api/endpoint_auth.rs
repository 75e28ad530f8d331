//! Authentication of and by an endpoint's server: secrets go in and never out, and do not follow a changed address.

use http::Method;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::{Value, json};
use waxseal_sender::id::EndpointId;
use waxseal_sender::model::authentication::{Authentication, ClientCertificate};
use waxseal_sender::model::token::Scope;

use super::world::{Furniture, World};

pub(crate) struct Pem {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A certificate that is valid in the world's year.
pub(crate) fn pem() -> Pem {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "waxseal at acme");
    (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2028, 1, 1));
    let key = KeyPair::generate().unwrap();
    Pem { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

const PINS: [&str; 2] = [
    "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
    "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
];

fn oauth2() -> Value {
    json!({
        "token_url": "https://login.example/token", "client_id": "waxseal", "client_secret": "hunter2-oauth",
        "client_authentication": "client_secret_post", "scope": "hooks.write", "audience": "https://api.example",
    })
}

/// Every form but the two others that would fill `Authorization`, too.
fn everything(pem: &Pem) -> Value {
    json!({
        "api_key": { "header": "X-Api-Key", "value": "hunter2-key" },
        "oauth2": oauth2(),
        "client_certificate": { "source": "uploaded", "certificate": pem.certificate, "private_key": pem.key },
        "headers": { "X-Tenant": "hunter2-header" },
    })
}

impl World {
    fn stored(&self, id: &str) -> Option<Box<Authentication>> {
        self.directory.endpoint(EndpointId::parse(id).unwrap()).unwrap().authentication.clone()
    }
}

#[tokio::test]
async fn every_form_is_shown_without_its_secrets_and_kept_encrypted() {
    let (world, _) = World::furnished().await;
    let pem = pem();
    let made = world
        .post(
            "/v1/endpoints",
            json!({
                "consumer": "acme", "url": "https://acme.example/h", "event_types": ["*"], "protection": "signed",
                "authentication": everything(&pem),
                "server_authentication": { "ca_certificates": pem.certificate, "pins": PINS },
            }),
        )
        .await
        .expect(201);
    let shown = &made["authentication"];
    assert_eq!(shown["api_key"], json!({ "header": "x-api-key" }));
    assert_eq!(shown["headers"], json!(["x-tenant"]));
    assert_eq!(shown["oauth2"]["client_id"], "waxseal");
    assert_eq!(shown["oauth2"]["client_authentication"], "client_secret_post");
    let certificate = &shown["client_certificate"];
    assert_eq!(
        (&certificate["source"], &certificate["subject"]),
        (&json!("uploaded"), &json!("waxseal at acme"))
    );
    assert_eq!(certificate["not_after"], "2028-01-01T00:00:00.000Z");
    assert_eq!(certificate["fingerprint_sha256"].as_str().unwrap().len(), 64);
    assert_eq!(made["server_authentication"]["pins"], json!(PINS));
    assert_eq!(made["server_authentication"]["ca_certificates"][0]["subject"], "waxseal at acme");

    let id = made["id"].as_str().unwrap();
    let again = world.get(&format!("/v1/endpoints/{id}")).await.expect(200);
    assert_eq!(again["authentication"], *shown);
    let listed = world.get("/v1/endpoints?limit=200").await.expect(200);
    for answer in [&made, &again, &listed] {
        let text = answer.to_string();
        assert!(!text.contains("hunter2") && !text.contains("PRIVATE KEY"), "{text}");
    }
    let kept = format!("{:?}", world.kept().await);
    assert!(!kept.contains("hunter2") && !kept.contains("x-api-key"));
    let records = waxseal_sender::store::Catalog::records(&*world.store).await.unwrap();
    for record in records {
        assert!(!record.sealed.windows(7).any(|bytes| bytes == b"hunter2"));
    }

    // It is read back as it was when the sender starts again.
    let before = world.stored(id).unwrap();
    let reloaded = waxseal_sender::directory::Directory::load(world.store.clone(), world.data_keys.clone());
    let reloaded = reloaded.await.unwrap().endpoint(EndpointId::parse(id).unwrap()).unwrap();
    assert_eq!(reloaded.authentication, Some(before));
    assert!(matches!(
        reloaded.authentication.as_ref().unwrap().client_certificate,
        Some(ClientCertificate::Uploaded(_))
    ));
    assert!(!format!("{reloaded:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_patch_replaces_a_form_as_a_whole_and_leaves_the_others() {
    let (world, Furniture { acme, .. }) = World::furnished().await;
    let path = format!("/v1/endpoints/{acme}");
    let shown = world.get(&path).await.expect(200);
    assert_eq!((&shown["authentication"], &shown["server_authentication"]), (&Value::Null, &Value::Null));
    let patch = async |body: Value| world.patch(&path, body).await.expect(200)["authentication"].clone();

    let basic = json!({ "basic": { "username": "u", "password": "p" } });
    assert_eq!(patch(json!({ "authentication": basic })).await, json!({ "basic": { "username": "u" } }));
    let both = patch(json!({ "authentication": { "headers": { "x-a": "1", "x-b": "2" } } })).await;
    assert_eq!(both, json!({ "basic": { "username": "u" }, "headers": ["x-a", "x-b"] }));
    let headers = patch(json!({ "authentication": { "headers": { "x-c": "3" } } })).await;
    assert_eq!(headers["headers"], json!(["x-c"]));
    // Another way to fill the same field needs the first one to go, in one step.
    let bearer = json!({ "bearer": { "token": "t" } });
    world.patch(&path, json!({ "authentication": bearer })).await.names(&["authentication"]);
    let changed = patch(json!({ "authentication": { "basic": null, "bearer": { "token": "t" } } })).await;
    assert_eq!(changed, json!({ "bearer": {}, "headers": ["x-c"] }));
    assert_eq!(patch(json!({ "description": "x" })).await, changed);
    let own =
        patch(json!({ "authentication": { "client_certificate": { "source": "own" }, "headers": null } }))
            .await;
    assert_eq!(own, json!({ "bearer": {}, "client_certificate": { "source": "own" } }));
    assert_eq!(patch(json!({ "authentication": null })).await, Value::Null);
    assert_eq!(world.stored(&acme), None);

    let server = async |body: Value| {
        world.patch(&path, json!({ "server_authentication": body })).await.expect(200)["server_authentication"].clone()
    };
    assert_eq!(server(json!({ "pins": PINS })).await, json!({ "ca_certificates": null, "pins": PINS }));
    let both = server(json!({ "ca_certificates": pem().certificate })).await;
    assert_eq!(both["pins"], json!(PINS));
    assert_eq!(server(json!({ "pins": null })).await["pins"], json!([]));
    assert_eq!(server(json!({ "ca_certificates": null })).await, Value::Null);
}

#[tokio::test]
async fn a_changed_url_erases_what_the_old_server_was_shown() {
    let (world, Furniture { acme, .. }) = World::furnished().await;
    let path = format!("/v1/endpoints/{acme}");
    let fill = json!({ "authentication": everything(&pem()), "server_authentication": { "pins": PINS } });
    for url in ["https://evil.example/hook", "https://acme.example:8443/hook", "https://acme.example/other"] {
        let filled = world.patch(&path, fill.clone()).await.expect(200);
        assert!(filled["authentication"].is_object());
        let same = world.patch(&path, json!({ "url": filled["url"] })).await.expect(200);
        assert_eq!(same["authentication"], filled["authentication"], "the same URL changes nothing");
        let moved = world.patch(&path, json!({ "url": url })).await.expect(200);
        assert_eq!(moved["authentication"], Value::Null, "{url}");
        assert_eq!(world.stored(&acme), None);
        assert_eq!(moved["server_authentication"]["pins"], json!(PINS), "what a server must prove stays");
    }
    let bearer = json!({ "bearer": { "token": "t" } });
    world.patch(&path, fill).await.expect(200);
    let body = json!({ "url": "https://new.example/", "authentication": bearer });
    let moved = world.patch(&path, body).await.expect(200);
    assert_eq!(moved["authentication"], json!({ "bearer": {} }), "only what was given with the new URL");
}

#[tokio::test]
async fn a_changed_token_url_needs_its_own_secret() {
    let (world, Furniture { acme, .. }) = World::furnished().await;
    let path = format!("/v1/endpoints/{acme}");
    world.patch(&path, json!({ "authentication": { "oauth2": oauth2() } })).await.expect(200);
    let mut moved = oauth2();
    moved["token_url"] = json!("https://evil.example/token");
    moved.as_object_mut().unwrap().remove("client_secret");
    let refused = world.patch(&path, json!({ "authentication": { "oauth2": moved } })).await;
    refused.names(&["authentication.oauth2.client_secret"]);
}

#[tokio::test]
async fn it_is_a_permission_of_its_own() {
    let (world, Furniture { acme, .. }) = World::furnished().await;
    let path = format!("/v1/endpoints/{acme}");
    let manage = world.token(&[Scope::Manage], None).await;
    for body in [
        json!({ "authentication": { "bearer": { "token": "t" } } }),
        json!({ "authentication": null }),
        json!({ "server_authentication": { "pins": PINS } }),
        json!({ "server_authentication": null }),
    ] {
        world.call(Method::PATCH, &path, &manage, Some(body.clone())).await.refused(403, "api.scope");
        let mut whole = json!({ "consumer": "acme", "url": "https://a.example/", "event_types": ["*"], "protection": "signed" });
        whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        world.call(Method::POST, "/v1/endpoints", &manage, Some(whole)).await.refused(403, "api.scope");
    }
    let allowed = world.token(&[Scope::Manage, Scope::ConsumerKeys], Some("acme")).await;
    let body = json!({ "authentication": { "bearer": { "token": "t" } } });
    world.call(Method::PATCH, &path, &allowed, Some(body)).await.expect(200);
}

#[tokio::test]
async fn a_consumer_cannot_have_us_speak_for_ourselves() {
    let (world, Furniture { acme, .. }) = World::furnished().await;
    let path = format!("/v1/endpoints/{acme}");
    let bound = world.token(&[Scope::Manage, Scope::ConsumerKeys], Some("acme")).await;
    let jwt = json!({ "token_url": "https://login.example/t", "client_id": "us", "client_authentication": "private_key_jwt" });
    let body = json!({ "authentication": { "oauth2": jwt } });
    world.call(Method::PATCH, &path, &bound, Some(body.clone())).await.refused(403, "api.consumer_bound");
    let shown = world.patch(&path, body).await.expect(200);
    assert_eq!(shown["authentication"]["oauth2"]["client_authentication"], "private_key_jwt");
    // With a secret of its own it may.
    let body = json!({ "authentication": { "oauth2": oauth2() } });
    world.call(Method::PATCH, &path, &bound, Some(body)).await.expect(200);
}

#[tokio::test]
async fn the_authority_of_client_certificates_can_be_downloaded_and_stays() {
    let world = World::new().await;
    let reply = world.get("/v1/client-ca").await;
    assert_eq!(reply.headers["content-type"], "application/pem-certificate-chain");
    assert!(
        reply.text.starts_with("-----BEGIN CERTIFICATE-----") && !reply.text.contains("PRIVATE"),
        "{}",
        reply.text
    );
    assert_eq!(world.get("/v1/client-ca").await.text, reply.text);
    let reloaded = waxseal_sender::directory::Directory::load(world.store.clone(), world.data_keys.clone());
    assert_eq!(reloaded.await.unwrap().client_ca().unwrap().certificate, reply.text);
    for record in waxseal_sender::store::Catalog::records(&*world.store).await.unwrap() {
        assert!(!record.sealed.windows(11).any(|bytes| bytes == b"PRIVATE KEY"), "the key is kept encrypted");
    }
    let publish = world.token(&[Scope::Publish], None).await;
    world.call(Method::GET, "/v1/client-ca", &publish, None).await.refused(403, "api.scope");
}
