//! Which endpoints get events: who may trust one, what ends that, and what is shown of those that are asked.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use waxseal_sender::engine::hold::Hold;
use waxseal_sender::id::EndpointId;
use waxseal_sender::model::token::Scope;
use waxseal_sender::model::verification::{Binding, Challenge, Verification};

use super::world::{NOW, World, encryption_jwk};

fn body(trusted: Option<bool>) -> Value {
    let mut body = json!({
        "consumer": "acme", "url": "https://acme.example/h", "event_types": ["*"], "protection": "sealed",
    });
    if let Some(trusted) = trusted {
        body["trusted"] = trusted.into();
    }
    body
}

impl World {
    async fn created(&self, body: Value) -> (String, Value) {
        let made = self.post("/v1/endpoints", body).await.expect(201);
        (format!("/v1/endpoints/{}", made["id"].as_str().unwrap()), made["verification"].clone())
    }

    async fn verification(&self, path: &str) -> Value {
        let shown = self.get(path).await.expect(200)["verification"].clone();
        let listed = self.get("/v1/endpoints?limit=200").await.expect(200);
        let id = path.rsplit('/').next().unwrap();
        let same = listed["data"].as_array().unwrap().iter().find(|one| one["id"] == id).unwrap();
        assert_eq!(same["verification"], shown);
        shown
    }

    /// As the engine notes it; the hash is that of the state.
    async fn ask(&self, path: &str, attempts_made: u32) -> EndpointId {
        let id = EndpointId::parse(path.rsplit('/').next().unwrap()).unwrap();
        let endpoint = self.directory.endpoint(id).unwrap();
        let keys = self.directory.key_set_for(&endpoint);
        let challenge = Challenge {
            state_sha256: "the-hash-of-the-state".to_owned(),
            binding: Binding::of(&endpoint, keys.as_deref()),
            sealed_to: keys.as_ref().map(|set| set.keys[0].thumbprint.clone()),
            attempts_made,
            answer_by: self.now(10),
            next_at: (attempts_made < 3).then(|| self.now(60)),
            ends_at: NOW.saturating_add(Duration::from_secs(3_600)),
        };
        assert!(self.directory.note_challenge(&endpoint, challenge).await.unwrap());
        id
    }

    fn now(&self, seconds: u64) -> waxseal_keys::Timestamp {
        waxseal_keys::Clock::now(&*self.clock).saturating_add(Duration::from_secs(seconds))
    }
}

#[tokio::test]
async fn only_the_operator_trusts_an_endpoint_and_it_is_on_record() {
    let (world, _) = World::furnished().await;
    let bound = world.token(&[Scope::Admin], Some("acme")).await;
    let manage = world.token(&[Scope::Manage], None).await;
    let both = world.token(&[Scope::Manage, Scope::ConsumerKeys], None).await;
    let (path, _) = world.created(body(None)).await;
    let before = world.kept().await;
    for (token, code) in [(&bound, "api.consumer_bound"), (&manage, "api.scope")] {
        for trusted in [true, false] {
            let post = world.call(Method::POST, "/v1/endpoints", token, Some(body(Some(trusted))));
            post.await.refused(403, code);
            let patch = world.call(Method::PATCH, &path, token, Some(json!({ "trusted": trusted })));
            patch.await.refused(403, code);
        }
    }
    world
        .post("/v1/endpoints", {
            let mut odd = body(None);
            odd["trusted"] = json!("yes");
            odd
        })
        .await
        .names(&["trusted"]);
    world.patch(&path, json!({ "trusted": null })).await.names(&["trusted"]);
    assert_eq!(world.kept().await, before);

    let made = world.call(Method::POST, "/v1/endpoints", &both, Some(body(Some(true)))).await.expect(201);
    let shown = &made["verification"];
    assert_eq!((&shown["status"], &shown["since"]), (&json!("trusted"), &json!("2026-11-21T20:39:58.000Z")));
    let tokens = world.get("/v1/tokens").await.expect(200);
    let known = tokens["data"].as_array().unwrap().iter().any(|token| token["id"] == shown["by"]);
    assert!(known, "the record names the token that said so: {shown}");
    assert_eq!(made.get("trusted"), None);
}

#[tokio::test]
async fn trust_is_in_one_url_and_one_protection() {
    let (world, _) = World::furnished().await;
    let bound = world.token(&[Scope::Manage, Scope::ConsumerKeys], Some("acme")).await;
    let (path, _) = world.created(body(Some(true))).await;
    for same in [
        json!({ "description": "x" }),
        json!({ "url": "https://acme.example/h" }),
        json!({ "protection": "sealed", "event_types": ["order.created"] }),
    ] {
        world.call(Method::PATCH, &path, &bound, Some(same)).await.expect(200);
        assert_eq!(world.verification(&path).await["status"], "trusted");
    }

    for (token, change) in [
        (&bound, json!({ "url": "https://acme.example/other" })),
        (&world.admin, json!({ "url": "https://acme.example/again" })),
        (&bound, json!({ "protection": "signed" })),
        (&world.admin, json!({ "protection": "sealed" })),
    ] {
        let changed = world.call(Method::PATCH, &path, token, Some(change.clone())).await.expect(200);
        let shown = &changed["verification"];
        let unasked =
            json!({ "status": "pending", "code": null, "since": null, "by": null, "expires_at": null });
        assert_eq!(*shown, unasked, "{change}");
        let meant = json!({ "trusted": true, "url": changed["url"], "protection": changed["protection"] });
        world.patch(&path, meant).await.expect(200);
    }
    let moved = json!({ "url": "https://acme.example/trusted-too", "protection": "sealed", "trusted": true });
    assert_eq!(world.patch(&path, moved).await.expect(200)["verification"]["status"], "trusted");
    let withdrawn = world.patch(&path, json!({ "trusted": false })).await.expect(200);
    assert_eq!(withdrawn["verification"]["status"], "pending");
}

#[tokio::test]
async fn what_is_shown_of_asking_is_a_matter_of_time_alone() {
    let (world, _) = World::furnished().await;
    let mut unsealed = body(None);
    unsealed["protection"] = json!("signed");
    let (path, _) = world.created(unsealed).await;
    world.ask(&path, 1).await;
    let asked = world.verification(&path).await;
    let expected = json!({
        "status": "pending", "code": null, "since": null, "by": null, "expires_at": "2026-11-21T21:39:58.000Z",
    });
    assert_eq!(asked, expected);
    world.clock.advance(Duration::from_secs(9));
    assert_eq!(world.verification(&path).await, expected, "however soon it was refused");
    world.clock.advance(Duration::from_secs(1));
    let missed = world.verification(&path).await;
    assert_eq!(
        (&missed["status"], &missed["code"]),
        (&json!("pending"), &json!("verification.not_confirmed"))
    );
    world.ask(&path, 3).await;
    assert_eq!(world.verification(&path).await["status"], "pending");
    world.clock.advance(Duration::from_secs(10));
    let failed = world.verification(&path).await;
    assert_eq!(
        (&failed["status"], &failed["code"]),
        (&json!("failed"), &json!("verification.not_confirmed"))
    );
    assert!(!failed.to_string().contains("the-hash"));

    *world.engine.waits_for.lock().unwrap() = Some("hold.no_key_set");
    let again = world.act(&format!("{path}/verify")).await.expect(202);
    let shown = &again["verification"];
    assert_eq!((&shown["status"], &shown["code"]), (&json!("pending"), &json!("hold.no_key_set")));
}

#[tokio::test]
async fn asking_again_begins_anew_unless_it_is_verified_or_just_asked() {
    let (world, endpoints) = World::furnished().await;
    let bound = world.token(&[Scope::Manage], Some("beta")).await;
    let (path, _) = world.created(body(None)).await;
    let verify = format!("{path}/verify");
    world.call(Method::POST, &verify, &bound, None).await.refused(404, "api.not_found");
    let trusted = world.act(&format!("/v1/endpoints/{}/verify", endpoints.acme)).await.expect(200);
    assert_eq!(trusted["verification"]["status"], "trusted");

    world
        .put(&format!("{path}/encryption-keys"), json!({ "jwks": { "keys": [encryption_jwk()] } }))
        .await
        .expect(200);
    let id = world.ask(&path, 2).await;
    world.act(&verify).await.expect(202);
    let challenge = |verification| match verification {
        Verification::Awaited { challenge, .. } => challenge.map(|challenge| challenge.attempts_made),
        other => panic!("{other:?}"),
    };
    let stored = || world.directory.endpoint(id).unwrap().verification.clone();
    assert_eq!(challenge(stored()), Some(2), "its answer may be on its way");
    world.clock.advance(Duration::from_secs(10));
    world.act(&verify).await.expect(202);
    assert_eq!(challenge(stored()), None);

    // What was asked before does not count any more, nor does it after its time.
    let prove = async |now| world.directory.prove(id, "the-hash-of-the-state", now).await.unwrap();
    assert!(!prove(world.now(0)).await);
    world.ask(&path, 1).await;
    assert!(!world.directory.prove(id, "the-hash-of-another", world.now(0)).await.unwrap());
    assert!(!prove(world.now(10)).await);
    assert!(prove(world.now(9)).await);
    assert!(!prove(world.now(9)).await, "once");
    let proven = world.act(&verify).await.expect(200)["verification"].clone();
    assert_eq!((&proven["status"], &proven["by"]), (&json!("proven"), &Value::Null));
}

#[tokio::test]
async fn a_proof_ends_with_the_keys_that_it_was_made_with() {
    let (world, _) = World::furnished().await;
    let (path, _) = world.created(body(None)).await;
    let (own, all) = (format!("{path}/encryption-keys"), "/v1/consumers/acme/encryption-keys");
    let (one, two) = (encryption_jwk(), encryption_jwk());
    let set = |keys: &[&Value]| json!({ "jwks": { "keys": keys } });
    world.put(all, set(&[&one])).await.expect(200);
    let prove = async || {
        let id = world.ask(&path, 1).await;
        assert!(world.directory.prove(id, "the-hash-of-the-state", world.now(0)).await.unwrap());
        assert_eq!(world.verification(&path).await["status"], "proven");
    };
    prove().await;
    world.put(all, set(&[&one])).await.expect(200);
    world.patch("/v1/consumers/acme", json!({ "description": "x" })).await.expect(200);
    assert_eq!(world.verification(&path).await["status"], "proven", "nothing has changed");
    world.put(all, set(&[&one, &two])).await.expect(200);
    assert_eq!(world.verification(&path).await["status"], "pending");
    prove().await;
    world.put(&own, set(&[&two])).await.expect(200);
    assert_eq!(world.verification(&path).await["status"], "pending", "keys of its own");
    prove().await;
    world.put(&own, json!({ "jwks_uri": "https://acme.example/jwks.json" })).await.expect(200);
    assert_eq!(world.verification(&path).await["status"], "pending", "another source");
    world.delete(&own).await.expect(204);
    prove().await;

    // Asked before the keys changed, answered after.
    let id = world.ask(&path, 1).await;
    world.put(all, set(&[&two])).await.expect(200);
    assert!(!world.directory.prove(id, "the-hash-of-the-state", world.now(0)).await.unwrap());
    // A question that was made with keys that are gone is not even noted.
    let endpoint = world.directory.endpoint(id).unwrap();
    let Verification::Awaited { challenge: Some(stale), .. } = endpoint.verification.clone() else {
        panic!()
    };
    assert!(!world.directory.note_challenge(&endpoint, *stale).await.unwrap());
}

#[tokio::test]
async fn what_waits_for_an_endpoint_that_never_proves_itself_ends() {
    let (world, _) = World::furnished().await;
    let (path, _) = world.created(body(None)).await;
    let id = path.rsplit('/').next().unwrap();
    let mut event = json!({ "type": "order.created", "data": 1, "to": { "consumer": "acme" } });
    for (ttl_seconds, unverified, trusted) in [
        (Value::Null, json!("2026-11-24T20:39:58.000Z"), Value::Null),
        (json!(60), json!("2026-11-21T20:40:58.000Z"), json!("2026-11-21T20:40:58.000Z")),
    ] {
        if !ttl_seconds.is_null() {
            event["ttl_seconds"] = ttl_seconds;
        }
        let published = world.post("/v1/events", event.clone()).await.expect(202);
        let deliveries = published["deliveries"].as_array().unwrap();
        assert_eq!(deliveries.len(), 2);
        for delivery in deliveries {
            let shown = world.get(&format!("/v1/deliveries/{}", delivery["id"].as_str().unwrap())).await;
            let expected = if delivery["endpoint"] == id { &unverified } else { &trusted };
            assert_eq!(shown.expect(200)["expires_at"], *expected);
        }
    }
}

#[tokio::test]
async fn a_consumer_is_not_told_how_its_token_server_or_key_source_failed() {
    let (world, endpoints) = World::furnished().await;
    let bound = world.token(&[Scope::Manage, Scope::Read], Some("acme")).await;
    let acme = EndpointId::parse(&endpoints.acme).unwrap();
    let (path, _) = world.created(body(None)).await;
    let trusted = format!("/v1/endpoints/{}", endpoints.acme);
    for (hold, told) in [
        (Hold::TokenRefused, "hold.token_unavailable"),
        (Hold::TokenUnavailable, "hold.token_unavailable"),
        (Hold::TlsSettings, "hold.tls_settings"),
        (Hold::KeySetUnreachable, "hold.no_usable_key"),
        (Hold::NoUsableKey, "hold.no_usable_key"),
        (Hold::KeyNotAdmitted, "hold.key_not_admitted"),
    ] {
        *world.engine.holds.lock().unwrap() = vec![(acme, hold)];
        *world.engine.waits_for.lock().unwrap() = Some(hold.code());
        for (token, told) in [(&bound, told), (&world.admin, hold.code())] {
            let shown = world.call(Method::GET, &trusted, token, None).await.expect(200);
            assert_eq!(shown["hold"], told);
            let shown = world.call(Method::GET, &path, token, None).await.expect(200);
            assert_eq!(shown["verification"]["code"], told);
            let verified = world.call(Method::POST, &format!("{path}/verify"), token, None).await.expect(202);
            assert_eq!(verified["verification"]["code"], told);
            let change = Some(json!({ "description": "x" }));
            let changed = world.call(Method::PATCH, &trusted, token, change).await.expect(200);
            assert_eq!(changed["hold"], told);
            let listed =
                world.call(Method::GET, "/v1/endpoints?consumer=acme", token, None).await.expect(200);
            for one in listed["data"].as_array().unwrap() {
                let is_trusted = one["id"] == endpoints.acme.as_str();
                let code = if is_trusted { &one["hold"] } else { &one["verification"]["code"] };
                assert_eq!(code, told);
            }
        }
    }
}
