//! Every route against every scope, and against no token, a wrong one and one that is over.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use http::header::{ALLOW, AUTHORIZATION, WWW_AUTHENTICATE};
use http::{Method, Request};
use serde_json::json;
use waxseal_sender::api::auth::{Grant, NewToken};
use waxseal_sender::model::token::Scope;

use super::world::{NOW, World};

/// Each route and the scopes that open it, beside `admin`. The paths name what does not exist and the bodies lack
/// what is required, so that a request that is let in fails for another reason and changes nothing.
fn routes() -> Vec<(Method, &'static str, Vec<Scope>)> {
    use Scope::{Admin, Audit, ConsumerKeys, Keys, Manage, Metrics, Publish, Read, Tokens};
    let table: Vec<(&str, &str, &[Scope])> = vec![
        ("POST", "/v1/consumers", &[Manage]),
        ("GET", "/v1/consumers", &[Read]),
        ("GET", "/v1/consumers/none", &[Read]),
        ("PATCH", "/v1/consumers/none", &[Manage]),
        ("DELETE", "/v1/consumers/none", &[Manage]),
        ("GET", "/v1/consumers/none/encryption-keys", &[Read]),
        ("PUT", "/v1/consumers/none/encryption-keys", &[ConsumerKeys]),
        ("DELETE", "/v1/consumers/none/encryption-keys", &[ConsumerKeys]),
        ("DELETE", "/v1/consumers/none/encryption-keys/none", &[ConsumerKeys]),
        ("POST", "/v1/consumers/none/encryption-keys/none/admit", &[ConsumerKeys]),
        ("POST", "/v1/groups", &[Manage]),
        ("GET", "/v1/groups", &[Read]),
        ("GET", "/v1/groups/none", &[Read]),
        ("DELETE", "/v1/groups/none", &[Manage]),
        ("PUT", "/v1/groups/none/members/none", &[Manage]),
        ("DELETE", "/v1/groups/none/members/none", &[Manage]),
        ("POST", "/v1/event-types", &[Manage]),
        ("GET", "/v1/event-types", &[Read]),
        ("GET", "/v1/event-types/none", &[Read]),
        ("PATCH", "/v1/event-types/none", &[Manage]),
        ("DELETE", "/v1/event-types/none", &[Manage]),
        ("POST", "/v1/endpoints", &[Manage]),
        ("GET", "/v1/endpoints", &[Read]),
        ("GET", NO_ENDPOINT, &[Read]),
        ("PATCH", NO_ENDPOINT, &[Manage]),
        ("DELETE", NO_ENDPOINT, &[Manage]),
        ("POST", "/v1/endpoints/none/pause", &[Manage]),
        ("POST", "/v1/endpoints/none/resume", &[Manage]),
        ("POST", "/v1/endpoints/none/verify", &[Manage]),
        ("POST", "/v1/endpoints/none/test", &[Manage]),
        ("POST", "/v1/endpoints/none/cancel", &[Manage]),
        ("POST", "/v1/endpoints/none/recover", &[Manage]),
        ("GET", "/v1/endpoints/none/encryption-keys", &[Read]),
        ("PUT", "/v1/endpoints/none/encryption-keys", &[ConsumerKeys]),
        ("DELETE", "/v1/endpoints/none/encryption-keys", &[ConsumerKeys]),
        ("DELETE", "/v1/endpoints/none/encryption-keys/none", &[ConsumerKeys]),
        ("POST", "/v1/endpoints/none/encryption-keys/none/admit", &[ConsumerKeys]),
        ("POST", "/v1/events", &[Publish]),
        ("POST", "/v1/events/batch", &[Publish]),
        ("GET", "/v1/events/none", &[Read]),
        ("GET", "/v1/deliveries", &[Read]),
        ("GET", "/v1/deliveries/none", &[Read]),
        ("GET", "/v1/deliveries/none/attempts", &[Read]),
        ("POST", "/v1/deliveries/none/redeliver", &[Manage]),
        ("POST", "/v1/deliveries/none/cancel", &[Manage]),
        ("GET", "/v1/recoveries", &[Read]),
        ("GET", "/v1/recoveries/none", &[Read]),
        ("POST", "/v1/recoveries/none/cancel", &[Manage]),
        ("GET", "/v1/audit", &[Audit]),
        ("GET", "/v1/client-ca", &[Read]),
        ("GET", "/v1/cluster", &[Admin]),
        ("GET", "/v1/signing-keys", &[Read, Keys]),
        ("POST", "/v1/signing-keys", &[Keys]),
        ("POST", "/v1/signing-keys/rotate", &[Keys]),
        ("POST", "/v1/signing-keys/none/activate", &[Keys]),
        ("POST", "/v1/signing-keys/none/revoke", &[Keys]),
        ("POST", "/v1/tokens", &[Tokens]),
        ("GET", "/v1/tokens", &[Tokens]),
        ("DELETE", "/v1/tokens/none", &[Tokens]),
        ("GET", "/metrics", &[Metrics]),
    ];
    table.into_iter().map(|(m, path, scopes)| (m.parse().unwrap(), path, scopes.to_vec())).collect()
}

/// What the router serves to those who have a token, by its source for the paths, with `none` for each parameter, and by
/// its own answers for the methods.
async fn served(world: &World) -> BTreeSet<String> {
    let mut served = BTreeSet::new();
    for path in paths().into_iter().filter(|path| !OPEN.contains(&path.as_str())) {
        let reply = world.call(Method::TRACE, &path, &world.admin, None).await;
        reply.refused(405, "api.method_not_allowed");
        let allow = reply.headers[ALLOW].to_str().unwrap();
        let methods = sorted(allow).into_iter().filter(|method| *method != "HEAD");
        served.extend(methods.map(|method| format!("{method} {path}")));
    }
    served
}

/// Every text of the router's source that is a path, or the end of one that others begin.
fn paths() -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api");
    let with_routes = |path: &Path| path.is_file() && fs::read_to_string(path).unwrap().contains(".route(");
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.filter(|path| with_routes(path)).collect();
    assert_eq!(files, [folder.join("mod.rs")], "routes stand in one file");
    let source = fs::read_to_string(&files[0]).unwrap();
    let texts: Vec<_> = source.split('"').skip(1).step_by(2).map(|text| text.replace("{{", "{")).collect();
    let whole = texts.iter().filter(|text| text.starts_with('/')).cloned();
    let begun = texts.iter().filter(|text| text.ends_with("/encryption-keys"));
    let ends: Vec<_> = texts.iter().filter_map(|text| text.strip_prefix("{path}")).collect();
    let joined = begun.flat_map(|begin| ends.iter().map(move |end| format!("{begin}{end}")));
    whole.chain(joined).map(|path| without_parameters(&path)).collect()
}

fn without_parameters(path: &str) -> String {
    let part = |part| if str::starts_with(part, '{') { "none" } else { part };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn the_table_has_every_route_that_the_router_serves() {
    let world = World::new().await;
    let plain = |path: &str| path.replace(NO_ENDPOINT, "/v1/endpoints/none");
    let listed: BTreeSet<_> =
        routes().into_iter().map(|(method, path, _)| format!("{method} {}", plain(path))).collect();
    let served = served(&world).await;
    let missing: Vec<_> = served.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&served).collect();
    assert!(missing.is_empty() && gone.is_empty(), "not in the table: {missing:?}; not served: {gone:?}");
}

#[tokio::test]
async fn each_route_opens_to_its_scopes_alone() {
    let world = World::new().await;
    let mut tokens = Vec::new();
    for scope in Scope::ALL {
        tokens.push((scope, world.token(&[scope], None).await));
    }
    // The authority is made when somebody first asks for it.
    world.get("/v1/client-ca").await;
    let before = world.kept().await;
    for (method, path, opening) in routes() {
        for (scope, token) in &tokens {
            let reply = world.call(method.clone(), path, token, None).await;
            let opens = *scope == Scope::Admin || opening.contains(scope);
            if opens {
                assert!(
                    ![401, 403, 405].contains(&reply.status.as_u16()),
                    "{method} {path} {scope:?}: {reply:?}"
                );
            } else {
                let problem = reply.refused(403, "api.scope");
                let named = problem["detail"].as_str().unwrap();
                let all = opening.iter().all(|scope| named.contains(&format!("`{}`", scope.name())));
                assert!(all, "{method} {path}: {named}");
            }
        }
    }
    assert_eq!(world.kept().await, before);
}

#[tokio::test]
async fn no_route_opens_without_a_token_that_works() {
    let world = World::new().await;
    let ends = NOW.saturating_add(std::time::Duration::from_secs(60));
    let grant = Grant { scopes: [Scope::Admin].into(), expires_at: Some(ends), ..Grant::default() };
    let expired = NewToken::generate(grant, NOW);
    world.directory.create_token(expired.record).await.unwrap();
    let expired = format!("Bearer {}", *expired.secret);
    let works = Request::get("/v1/consumers").header(AUTHORIZATION, &expired);
    assert_eq!(world.send(works.body("".into()).unwrap()).await.status, 200);
    world.clock.set(ends);

    let unknown = format!("Bearer wxs_{}", "A".repeat(43));
    let other_end = if world.admin.ends_with('A') { 'E' } else { 'A' };
    let almost = format!("Bearer {}{other_end}", &world.admin[..world.admin.len() - 1]);
    let cut = format!("Bearer {}", &world.admin[..world.admin.len() - 1]);
    let longer = format!("Bearer {}A", world.admin);
    let other_scheme = format!("Basic {}", world.admin);
    let bare = world.admin.clone();
    let wrong =
        [unknown, almost, cut, longer, other_scheme, bare, expired, "Bearer ".to_owned(), String::new()];
    for (method, path, _) in routes() {
        let request = Request::builder().method(method.clone()).uri(path);
        let reply = world.send(request.body("".into()).unwrap()).await;
        reply.refused(401, "api.unauthenticated");
        assert_eq!(reply.headers[WWW_AUTHENTICATE], "Bearer realm=\"waxseal\"", "{method} {path}");
        for header in &wrong {
            let request = Request::builder().method(method.clone()).uri(path).header(AUTHORIZATION, header);
            let reply = world.send(request.body("".into()).unwrap()).await;
            reply.refused(401, "api.unauthenticated");
        }
    }
}

#[tokio::test]
async fn the_scheme_is_read_in_any_case() {
    let world = World::new().await;
    let request = Request::get("/v1/groups").header(AUTHORIZATION, format!("bEaReR {}", world.admin));
    assert_eq!(world.send(request.body("".into()).unwrap()).await.status, 200);
}

#[tokio::test]
async fn health_and_the_published_keys_are_open() {
    let world = World::new().await;
    let health = world.send(Request::get("/health").body("".into()).unwrap()).await;
    assert_eq!(health.expect(200), json!({ "status": "ok" }));
    let keys = world.send(Request::get("/.well-known/jwks.json").body("".into()).unwrap()).await.expect(200);
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2, "one signs, one stands by");
    assert!(!keys.to_string().contains("\"d\""));
}

#[tokio::test]
async fn health_says_when_the_store_does_not_answer() {
    let world = World::new().await;
    world.store.close().await;
    let health = world.send(Request::get("/health").body("".into()).unwrap()).await;
    health.refused(503, "api.unhealthy");
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_possible_are_problems_too() {
    let world = World::new().await;
    for path in ["/", "/v1", "/v2/consumers", "/v1/consumers/a/b", "/v1/consumers/", "/.well-known/none"] {
        world.get(path).await.refused(404, "api.no_such_route");
    }
    for (method, path, allow) in [
        (Method::PUT, "/v1/consumers", "GET,HEAD,POST"),
        (Method::GET, "/v1/events", "POST"),
        (Method::POST, "/v1/consumers/acme", "GET,HEAD,PATCH,DELETE"),
        (Method::TRACE, "/v1/tokens", "GET,HEAD,POST"),
    ] {
        let reply = world.call(method, path, &world.admin, None).await;
        reply.refused(405, "api.method_not_allowed");
        assert_eq!(sorted(reply.headers[ALLOW].to_str().unwrap()), sorted(allow), "{path}");
    }
}

#[tokio::test]
async fn every_answer_has_an_id_of_its_own() {
    let world = World::new().await;
    let id = |reply: super::world::Reply| reply.headers["x-request-id"].to_str().unwrap().to_owned();
    let ids =
        [id(world.get("/health").await), id(world.get("/nowhere").await), id(world.get("/v1/tokens").await)];
    assert!(ids.iter().all(|id| id.starts_with("req_") && id.len() == 20), "{ids:?}");
    assert!(ids[0] != ids[1] && ids[1] != ids[2], "{ids:?}");
}

#[tokio::test]
async fn metrics_are_text() {
    let world = World::new().await;
    let token = world.token(&[Scope::Metrics], None).await;
    let reply = world.call(Method::GET, "/metrics", &token, None).await;
    assert_eq!((reply.status.as_u16(), reply.text.as_str()), (200, "up 1\n"));
}

const NO_ENDPOINT: &str = "/v1/endpoints/ep_0190a6a0000070008000000000000000";

/// For everybody.
const OPEN: [&str; 2] = ["/health", "/.well-known/waxseal/signing-keys/none"];

fn sorted(allow: &str) -> Vec<&str> {
    let mut methods: Vec<_> = allow.split(',').map(str::trim).collect();
    methods.sort_unstable();
    methods
}
