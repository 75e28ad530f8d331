//! Keys: those that consumers give to be sealed to, and those that the sender signs with.

use http::Method;
use serde_json::{Value, json};
use waxseal_sender::id::ConsumerId;
use waxseal_sender::model::encryption_keys::{KeyOwner, KnownKey};
use waxseal_sender::model::token::Scope;

use super::world::{Furniture, NOW, World, encryption_jwk};

const PATH: &str = "/v1/consumers/acme/encryption-keys";

fn set(keys: &[&Value]) -> Value {
    json!({ "jwks": { "keys": keys, "unknown": "ignored" } })
}

fn thumbprints(set: &Value) -> Vec<String> {
    let keys = set["keys"].as_array().unwrap();
    keys.iter().map(|key| key["thumbprint"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_pinned_set_is_admitted_by_being_given() {
    let (world, _) = World::furnished().await;
    world.get(PATH).await.refused(404, "api.not_found");
    let (one, two) = (encryption_jwk(), encryption_jwk());
    let given = world.put(PATH, set(&[&one])).await.expect(200);
    assert_eq!((&given["source"], &given["keys"][0]["jwk"]["x"]), (&json!("pinned"), &one["x"]));
    assert_eq!(given["keys"][0]["admitted_at"], "2026-11-21T20:39:58.000Z");

    world.clock.advance(std::time::Duration::from_secs(3_600));
    let both = world.put(PATH, set(&[&one, &two])).await.expect(200);
    assert_eq!(both["keys"][0]["first_seen"], "2026-11-21T20:39:58.000Z", "a known key keeps its date");
    assert_eq!(both["keys"][1]["first_seen"], "2026-11-21T21:39:58.000Z");

    let first = &thumbprints(&both)[0];
    world.delete(&format!("{PATH}/{first}")).await.expect(204);
    assert_eq!(thumbprints(&world.get(PATH).await.expect(200)), thumbprints(&both)[1..]);
    world.delete(&format!("{PATH}/{first}")).await.refused(404, "api.not_found");
    world.delete(PATH).await.expect(204);
    world.get(PATH).await.refused(404, "api.not_found");
}

#[tokio::test]
async fn a_fetched_key_is_used_once_it_is_admitted() {
    let (world, _) = World::furnished().await;
    let uri = json!({ "jwks_uri": "https://acme.example/jwks.json" });
    let given = world.put(PATH, uri.clone()).await.expect(200);
    let expected = json!({
        "source": "uri", "jwks_uri": "https://acme.example/jwks.json", "admission": "approve", "keys": [],
    });
    assert_eq!(given, expected);

    let owner = KeyOwner::Consumer(ConsumerId::parse("acme").unwrap());
    let fetched = KnownKey {
        thumbprint: "thumb".to_owned(),
        jwk: encryption_jwk(),
        first_seen: NOW,
        admitted_at: None,
        certificate_not_after: None,
    };
    let found = |set: &mut waxseal_sender::model::encryption_keys::EncryptionKeySet| {
        set.keys.push(fetched);
        Ok(())
    };
    world.directory.update_key_set(&owner, found).await.unwrap();
    assert_eq!(world.get(PATH).await.expect(200)["keys"][0]["admitted_at"], Value::Null);
    world.act(&format!("{PATH}/other/admit")).await.refused(404, "api.not_found");
    let admitted = world.act(&format!("{PATH}/thumb/admit")).await.expect(200);
    assert_eq!(admitted["keys"][0]["admitted_at"], "2026-11-21T20:39:58.000Z");

    // The same place keeps what was found and admitted there; another place does not.
    let automatic = json!({ "jwks_uri": "https://acme.example/jwks.json", "admission": "automatic" });
    let same = world.put(PATH, automatic).await.expect(200);
    assert_eq!((same["keys"].as_array().unwrap().len(), &same["admission"]), (1, &json!("automatic")));
    let moved = world.put(PATH, json!({ "jwks_uri": "https://other.example/jwks.json" })).await.expect(200);
    assert_eq!(moved["keys"], json!([]));
}

#[tokio::test]
async fn an_endpoint_can_have_keys_of_its_own() {
    let (world, Furniture { acme, .. }) = World::furnished().await;
    let path = format!("/v1/endpoints/{acme}/encryption-keys");
    world.put(PATH, set(&[&encryption_jwk()])).await.expect(200);
    world.get(&path).await.refused(404, "api.not_found");
    let own = world.put(&path, set(&[&encryption_jwk()])).await.expect(200);
    assert_ne!(thumbprints(&own), thumbprints(&world.get(PATH).await.expect(200)));
    world.delete(&path).await.expect(204);
    world.get(PATH).await.expect(200);
    for path in ["/v1/consumers/none/encryption-keys", "/v1/endpoints/none/encryption-keys"] {
        world.put(path, set(&[&encryption_jwk()])).await.refused(404, "api.not_found");
        world.delete(path).await.refused(404, "api.not_found");
    }
}

#[tokio::test]
async fn where_content_can_be_read_needs_a_scope_of_its_own() {
    let (world, Furniture { acme, .. }) = World::furnished().await;
    let manage = world.token(&[Scope::Manage], None).await;
    let both = world.token(&[Scope::Manage, Scope::ConsumerKeys], None).await;
    let path = format!("/v1/endpoints/{acme}");
    let new = json!({
        "consumer": "acme", "url": "https://a.example/", "event_types": ["*"], "protection": "sealed",
        "encryption_keys": set(&[&encryption_jwk()]),
    });
    let before = world.kept().await;
    for (method, path, body) in [
        (Method::PATCH, path.as_str(), json!({ "url": "https://new.example/" })),
        (Method::PATCH, &path, json!({ "protection": "signed", "description": "x" })),
        (Method::POST, "/v1/endpoints", new.clone()),
    ] {
        let reply = world.call(method, path, &manage, Some(body)).await;
        let problem = reply.refused(403, "api.scope");
        assert!(problem["detail"].as_str().unwrap().contains("`consumer_keys`"));
    }
    assert_eq!(world.kept().await, before);
    world.call(Method::PATCH, &path, &manage, Some(json!({ "description": "x" }))).await.expect(200);
    world.call(Method::PATCH, &path, &both, Some(json!({ "url": "https://new.example/" }))).await.expect(200);
    world.call(Method::POST, "/v1/endpoints", &both, Some(new)).await.expect(201);
}

#[tokio::test]
async fn signing_keys_are_listed_rotated_when_ready_and_revoked_at_once() {
    let world = World::new().await;
    let list = async || world.get("/v1/signing-keys").await.expect(200)["data"].clone();
    let keys = list().await;
    let states = |keys: &Value| -> Vec<String> {
        keys.as_array().unwrap().iter().map(|key| key["state"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(states(&keys), ["active", "pending"]);
    assert_eq!(keys[0]["alg"], "ES256");
    assert!(!keys.to_string().contains("\"d\""));

    let before = world.kept().await;
    let early = world.act("/v1/signing-keys/rotate").await.refused(409, "api.not_ready");
    assert!(early["detail"].as_str().unwrap().contains("2026-11-22T"), "{early}");
    world.act("/v1/signing-keys/none/revoke").await.refused(404, "api.not_found");
    assert_eq!(world.kept().await, before);

    world.clock.advance(std::time::Duration::from_secs(25 * 3_600));
    let rotated = world.act("/v1/signing-keys/rotate").await.expect(200)["data"].clone();
    assert_eq!(states(&rotated)[..2], ["retiring", "active"]);
    let active = rotated[1]["kid"].as_str().unwrap().to_owned();
    let revoked = world.act(&format!("/v1/signing-keys/{active}/revoke")).await.expect(200)["data"].clone();
    assert_eq!(revoked[1]["state"], "revoked");
    let published = world.get("/.well-known/jwks.json").await;
    assert!(!published.text.contains(&active), "a revoked key is still published");
}
