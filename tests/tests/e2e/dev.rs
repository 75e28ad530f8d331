//! `waxseal dev --once`, as whoever has just cloned the repository runs it.

use std::process::Command;

use waxseal_tests::process::{Process, program};

fn start() -> Process {
    Process::start("waxseal dev", Command::new(program("waxseal")).args(["dev", "--once"]))
}

/// What follows this label, on each line that has it.
fn after<'a>(said: &'a str, label: &str) -> Vec<&'a str> {
    said.lines().filter_map(|line| line.trim_start().strip_prefix(label)).map(str::trim).collect()
}

/// The signing keys each time that they were shown, as `kid` and state.
fn keys(said: &str) -> Vec<Vec<(&str, &str)>> {
    let mut shown = vec![Vec::<(&str, &str)>::new()];
    for line in said.lines() {
        let Some(key) = line.trim_start().strip_prefix("key ") else { continue };
        let key = key.trim().split_once("  ").unwrap();
        if shown.last().unwrap().iter().any(|(kid, _)| *kid == key.0) {
            shown.push(Vec::new());
        }
        shown.last_mut().unwrap().push(key);
    }
    shown
}

fn in_state<'a>(keys: &[(&'a str, &str)], state: &str) -> Vec<&'a str> {
    keys.iter().filter(|key| key.1 == state).map(|key| key.0).collect()
}

#[test]
fn one_round_ends_well_when_the_content_arrived_and_the_keys_have_rotated() {
    let mut dev = start();
    let status = dev.until_ended();
    let said = dev.last_words();
    assert_eq!(status.code(), Some(0), "{said}");

    let published: Vec<_> =
        after(&said, "publish ").into_iter().map(|one| one.split_once(' ').unwrap()).collect();
    let read: Vec<_> = said.lines().filter_map(|line| line.trim().strip_suffix("  (equal)")).collect();
    let data: Vec<_> =
        ["991", "992", "993"].map(|order| format!("{{\"order\":\"{order}\",\"total\":\"12.50\"}}")).into();
    assert_eq!(
        published,
        data.iter().map(|data| ("order.created", data.as_str())).collect::<Vec<_>>(),
        "{said}"
    );
    assert_eq!(read, data, "{said}");

    let wire = after(&said, "wire ");
    assert_eq!(wire.len(), 3, "{said}");
    assert!(wire.iter().all(|wire| wire.ends_with(" bytes in 5 parts")), "{said}");
    let headers = after(&said, "header ");
    assert_eq!(headers.len(), 3, "{said}");
    for header in headers {
        assert!(header.contains("\"alg\":\"ECDH-ES\"") && header.contains("\"enc\":\"A256GCM\""), "{said}");
    }
    the_keys_rotated(&said);
    assert!(said.contains("all content arrived verified, decrypted and equal"), "{said}");
}

/// One signs and one stands by; then the standby signs, a new one stands by, and the old one is published a while longer.
fn the_keys_rotated(said: &str) {
    let [before, after_it, at_last] = &keys(said)[..] else {
        panic!("the keys are shown three times:\n{said}")
    };
    let (old, new) = (in_state(before, "active")[0], in_state(before, "pending")[0]);
    assert_eq!(before.len(), 2, "{said}");
    assert_eq!(
        (in_state(after_it, "retiring"), in_state(after_it, "active")),
        (vec![old], vec![new]),
        "{said}"
    );
    assert_eq!(in_state(after_it, "pending").len(), 1, "{said}");
    assert_eq!((in_state(at_last, "retired"), in_state(at_last, "active")), (vec![old], vec![new]), "{said}");
    let signed_by = said.lines().filter_map(|line| line.split_once(", signed by ")).map(|signed| signed.1);
    assert_eq!(signed_by.collect::<Vec<_>>(), [old, new, new], "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_round_does_not_end_well_when_a_token_cannot_be_verified() {
    let mut dev = start();
    let url = dev.line_after("consumer  acme at ");
    let forged = "eyJhbGciOiJub25lIn0.e30.";
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.post(&url).body(forged).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    let status = dev.until_ended();
    let said = dev.last_words();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("the consumer refused a token"), "{said}");
    assert!(!said.contains("all content arrived"), "{said}");
}
