//! Compares what is on record with what a row says.

use std::time::Duration;

use waxseal_sender::engine::post::EXCERPT_LIMIT;
use waxseal_sender::model::delivery::DeliveryState;
use waxseal_sender::model::endpoint::EndpointStatus;

use super::script::{EXCHANGE, Expected, SCHEDULED};
use super::world::{Case, Published, World};

/// What differs, in words.
pub(crate) async fn faults(world: &World, case: &Case, published: &Published) -> Vec<String> {
    let parts = &world.sender.parts;
    let delivery = world.sender.delivery(published.scripted.unwrap()).await;
    let attempts = parts.store.attempts(delivery.id).await.unwrap();
    let attempt = &attempts[0];
    let status = parts.directory.endpoint(case.endpoint).unwrap().status.clone();
    let mut faults = Vec::new();
    let mut check = |holds: bool, what: String| {
        if !holds {
            faults.push(format!("{}: {what}", case.row.name));
        }
    };

    let (results, answered, state, after) = match &case.row.expected {
        Expected::Delivered { status } => (vec!["delivered"], Some(*status), DeliveryState::Delivered, None),
        Expected::Refused { result, status } => (vec![*result], Some(*status), DeliveryState::Refused, None),
        Expected::Again { results, status, after } => {
            (results.clone(), *status, DeliveryState::Retrying, Some(after.clone()))
        }
        Expected::Paused { result, status, .. } => {
            (vec![*result], Some(*status), DeliveryState::Retrying, Some(SCHEDULED..=SCHEDULED))
        }
    };
    let (result, number) = (attempt.result.as_str(), attempts.len());
    check(results.contains(&result), format!("{result} instead of {results:?}"));
    check(attempt.status == answered, format!("status {:?} instead of {answered:?}", attempt.status));
    check(number == 1 && delivery.attempts_made == 1, format!("{number} attempts"));
    check(delivery.state == state, format!("{:?} instead of {state:?}", delivery.state));

    let took = Duration::from_millis(attempt.duration_ms.into());
    check(took <= EXCHANGE + SLACK, format!("took {took:?}"));
    let ended_at = attempt.started_at.saturating_add(took);
    let waits = attempt.next_at.map(|at| at.duration_since(ended_at));
    let as_asked = match (&waits, &after) {
        (Some(waits), Some(after)) => {
            (Duration::from_secs(*after.start())..=Duration::from_secs(*after.end())).contains(waits)
        }
        (None, None) => true,
        _ => false,
    };
    check(as_asked, format!("again after {waits:?} instead of {after:?} s"));
    check(delivery.due_at == attempt.next_at, "due at another time than on record".to_owned());

    let expected = match &case.row.expected {
        Expected::Paused { reason, .. } => Some(*reason),
        _ => None,
    };
    let paused = match status {
        EndpointStatus::Active => None,
        EndpointStatus::Paused { reason, .. } => Some(reason),
    };
    check(paused == expected, format!("paused for {paused:?} instead of {expected:?}"));

    let connections = case.host.connections();
    check(connections == case.row.connections, format!("{connections} connections"));
    if !attempt.excerpt.is_empty() {
        let key = parts.data_keys.of(&delivery.consumer).unwrap();
        let excerpt = key.decrypt(format!("attempt|{}|1", delivery.id).as_bytes(), &attempt.excerpt).unwrap();
        check(excerpt.len() <= EXCERPT_LIMIT, format!("{} bytes were kept", excerpt.len()));
    }
    faults
}

/// For a machine that is busy, beyond the time limit of an exchange.
const SLACK: Duration = Duration::from_secs(2);
