//! What could not be processed: listed, tried again, thrown away.

use std::time::Duration;

use waxseal_receiver::{Settled, inbox::Inbox};

use crate::setup::{End, Script, Setup, retry};

#[tokio::test]
async fn what_has_no_attempt_left_is_listed_and_can_be_tried_again_or_discarded() {
    let setup = Setup::new();
    setup.take(&["evt_1", "evt_2"]).await;
    let script = Script::new(&[End::Failure, End::Panic]);
    setup.work(&script, retry(1), async || setup.backlog().await == (0, 2)).await;
    let letters = setup.inbox.dead_letters(0, 10).await.unwrap();
    let told: Vec<_> = letters
        .iter()
        .map(|letter| (letter.event.as_ref().unwrap().id.as_str(), letter.reason.as_str(), letter.attempts))
        .collect();
    assert_eq!(told, [("evt_1", "receive.handler_failed", 1), ("evt_2", "receive.handler_panicked", 1)]);
    assert!(!format!("{letters:?}").contains("12.50"), "data is not shown by accident");
    let [first, second] = [letters[0].number, letters[1].number];
    assert_eq!(setup.inbox.dead_letters(first, 10).await.unwrap().len(), 1);
    assert_eq!(setup.inbox.dead_letters(0, 1).await.unwrap().len(), 1);
    assert_eq!(setup.inbox.dead_letters(second, 10).await.unwrap().len(), 0);

    // Dead is not forgotten: a repetition is neither refused nor stored.
    setup.take(&["evt_1"]).await;
    assert_eq!(setup.backlog().await, (0, 2));

    assert_eq!(setup.inbox.retry(first).await.unwrap(), Settled::Applied);
    assert_eq!(setup.inbox.retry(first).await.unwrap(), Settled::Stale);
    assert_eq!(setup.backlog().await, (1, 1));
    setup.work(&script, retry(1), async || setup.backlog().await == (0, 1)).await;
    assert_eq!(script.seen(), ["evt_1", "evt_2", "evt_1"]);
    assert_eq!(setup.inbox.discard(first).await.unwrap(), Settled::Stale);
    assert_eq!(setup.inbox.discard(second).await.unwrap(), Settled::Applied);
    assert_eq!(setup.backlog().await, (0, 0));
}

#[tokio::test]
async fn all_dead_letters_can_be_tried_again_with_a_full_set_of_attempts() {
    let setup = Setup::new();
    setup.take(&["evt_1", "evt_2", "evt_3"]).await;
    setup.work(&Script::new(&[End::Failure; 3]), retry(1), async || setup.backlog().await == (0, 3)).await;
    let setup = setup.reopened();
    assert_eq!(setup.inbox.retry_all().await.unwrap(), 3);
    let script = Script::new(&[End::Failure; 3]);
    setup.work(&script, retry(2), async || script.seen().len() == 3).await;
    assert_eq!(setup.backlog().await, (3, 0), "each has another attempt");
    setup.clock.advance(Duration::from_secs(1));
    setup.work(&script, retry(2), async || setup.backlog().await == (0, 0)).await;
}

#[tokio::test]
async fn what_does_not_fit_the_type_any_more_is_dead_at_once_and_in_nobodys_way() {
    let setup = Setup::new();
    setup.take(&["evt_1"]).await;
    let numbers = Inbox::<u64>::open(setup.path(), "orders", &setup.key).unwrap().clock(setup.clock.clone());
    let worker = numbers.worker(|_: waxseal_receiver::Received<u64>| async { Ok::<_, &str>(()) });
    let dead = async {
        while setup.backlog().await != (0, 1) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), worker.run(dead)).await.unwrap();
    let letters = setup.inbox.dead_letters(0, 10).await.unwrap();
    assert_eq!(letters[0].reason, "receive.data");
    // The program that knows the type can still process it.
    assert_eq!(setup.inbox.retry_all().await.unwrap(), 1);
    let script = Script::default();
    setup.work(&script, retry(1), async || setup.backlog().await == (0, 0)).await;
    assert_eq!(script.seen(), ["evt_1"]);
}

#[tokio::test]
async fn what_was_damaged_or_moved_is_dead_at_once_and_in_nobodys_way() {
    let setup = Setup::new();
    setup.take(&["evt_1", "evt_2", "evt_3"]).await;
    let database = rusqlite::Connection::open(setup.path()).unwrap();
    database
        .execute_batch(
            "UPDATE inbox SET event = (SELECT event FROM inbox WHERE number = 3) WHERE number = 1;
             UPDATE inbox SET event = substr(event, 1, 40) WHERE number = 2;",
        )
        .unwrap();
    let script = Script::default();
    setup.work(&script, retry(3), async || setup.backlog().await == (0, 2)).await;
    assert_eq!(script.seen(), ["evt_3"]);
    for letter in setup.inbox.dead_letters(0, 10).await.unwrap() {
        assert_eq!((letter.reason.as_str(), letter.event.is_none()), ("inbox.unreadable", true));
    }
}
