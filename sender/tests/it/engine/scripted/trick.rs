//! What takes more than one connection to go wrong.

use std::time::Duration;

use waxseal_sender::model::delivery::DeliveryState;

use super::host::Host;
use super::script::{Pins, Step, answer, say_then};
use super::world::World;

/// The name passes the guard, and is somewhere else the next time: on the same port, where a server waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_private_at_the_second_lookup_is_not_followed_there() {
    let world = World::with_schedule(&[SOON; 2]).await;
    let closes = |status| answer(status, &["Connection: close"], "");
    let host = Host::start("127.0.0.1:0", None, vec![closes(503), closes(202)]).await;
    let forbidden = Host::start(&format!("127.0.0.2:{}", host.address.port()), None, vec![closes(202)]).await;
    let url = format!("http://rebinding.example:{}/hook", host.address.port());
    let endpoint = world.endpoint("acme", &url, Pins::None).await;
    let delivery = world.publish("acme", Some(endpoint)).await.scripted.unwrap();
    world.sender.until(delivery, DeliveryState::Delivered, 3).await;

    let attempts = world.sender.parts.store.attempts(delivery).await.unwrap();
    let results: Vec<_> = attempts.iter().map(|attempt| (attempt.result.as_str(), attempt.status)).collect();
    let expected = [("answer.server_error", Some(503)), ("post.url", None), ("delivered", Some(202))];
    assert_eq!(results, expected);
    assert_eq!((host.connections(), forbidden.connections()), (2, 0));
    assert_eq!(world.asked.times("rebinding.example"), 3, "each attempt connects to what was checked for it");
    world.engine.stop().await;
}

/// Two answers to one request: the second must not count for the next one.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_asked_for_delivers_nothing() {
    let world = World::with_schedule(&[SOON; 2]).await;
    let (no, yes) =
        (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 202 Yes\r\nContent-Length: 0\r\n\r\n");
    let both = say_then([&no[..], yes].concat(), Step::Silence);
    for number in 0..10 {
        let consumer = format!("consumer-{number}");
        let host =
            Host::start("127.0.0.1:0", None, vec![both.clone(), answer(500, &[], ""), answer(202, &[], "")])
                .await;
        let url = format!("http://{}/hook", host.address);
        let endpoint = world.endpoint(&consumer, &url, Pins::None).await;
        let delivery = world.publish(&consumer, Some(endpoint)).await.scripted.unwrap();
        world.sender.until(delivery, DeliveryState::Delivered, 3).await;
        let attempts = world.sender.parts.store.attempts(delivery).await.unwrap();
        let statuses: Vec<_> = attempts.iter().filter_map(|attempt| attempt.status).collect();
        assert_eq!((statuses.as_slice(), host.connections()), (&[503, 500, 202][..], 3));
    }
    world.engine.stop().await;
}

const SOON: Duration = Duration::from_millis(20);
