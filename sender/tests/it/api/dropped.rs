//! A caller that goes away while its change is committed: what is known follows what is kept.

use std::time::Duration;

use futures_util::FutureExt;
use waxseal_sender::id::{ConsumerId, GroupName};
use waxseal_sender::model::consumer::Group;
use waxseal_sender::store::{Catalog, RecordKind};

use super::world::{NOW, World};

async fn until(mut happens: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !happens().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it happens in time");
}

#[tokio::test]
async fn a_change_whose_caller_goes_away_is_made_as_a_whole() {
    let world = World::new().await;
    let mut left = 0;
    for number in 0..20 {
        let name = GroupName::parse(&format!("group-{number}")).unwrap();
        let group = Group { name: name.clone(), description: None, created_at: NOW };
        let mut change = Box::pin(world.directory.create_group(group));
        left += usize::from(change.as_mut().now_or_never().is_none());
        drop(change);
        until(async || {
            let records = world.store.records().await.unwrap();
            records.iter().any(|record| record.kind == RecordKind::Group && record.id == name.to_string())
        })
        .await;
        // Whoever changes something now sees it: changes are made one at a time.
        let again = Group { name: name.clone(), description: None, created_at: NOW };
        assert!(world.directory.create_group(again).await.is_err(), "it exists");
        assert!(world.directory.group(&name).is_some());
    }
    assert!(left > 0, "no caller went away in time");
}

#[tokio::test]
async fn an_erasure_whose_caller_goes_away_destroys_the_key() {
    let (world, _) = World::furnished().await;
    let acme = ConsumerId::parse("acme").unwrap();
    let mut erasure = Box::pin(world.directory.delete_consumer(&acme));
    assert!(erasure.as_mut().now_or_never().is_none(), "it takes its time");
    drop(erasure);
    until(async || world.data_keys.of(&acme).is_none()).await;
    assert!(world.directory.consumer(&acme).is_none());
}
