//! What happens to a body that was read: verify, guard, run the handler, settle.
//!
//! It runs in a task of its own, which no connection can cancel. The handler runs in a further task, so that its
//! panic is seen as a failure. While it runs its lease is renewed, up to its limit; with the last renewal it may go
//! on for two thirds of a lease, so that it has ended or was cancelled before anybody else can have the event.
//!
//! Relies on the [`Receiver`]. Guarantees that an event which is answered `202` was committed, and that one
//! whose handler failed is free for the next attempt.

use std::{future::Future, time::Duration};

use waxseal_envelope::Event;

use crate::{Answer, Outcome, Permit, Receiver, Reject, Settled};

/// Takes the body of a request. What is refused is logged and counted here.
pub(crate) async fn process<H, F>(receiver: &Receiver, body: &[u8], handler: H) -> Answer
where
    H: FnOnce(Event) -> Result<F, Reject>,
    F: Future<Output = Result<(), Reject>> + Send + 'static,
{
    let (event, permit) = match receiver.receive(body).await {
        Ok(Outcome::New { event, permit }) => (*event, permit),
        Ok(Outcome::Done) => return Answer::Taken,
        Ok(Outcome::Verification { state }) => return Answer::Verified { state },
        Err(reject) => return reject.answer(),
    };
    let id = event.id.clone();
    match handle(receiver, event, permit, handler).await {
        Ok(()) => Answer::Taken,
        Err(reject) => {
            tracing::warn!(code = reject.code(), event = %id, "event not processed");
            receiver.refused(&reject);
            reject.answer()
        }
    }
}

async fn handle<H, F>(receiver: &Receiver, event: Event, permit: Permit, handler: H) -> Result<(), Reject>
where
    H: FnOnce(Event) -> Result<F, Reject>,
    F: Future<Output = Result<(), Reject>> + Send + 'static,
{
    let ended = match handler(event) {
        Ok(work) => {
            // Whether the lease could be renewed shows when the event is committed.
            let renew = || async { drop(permit.renew().await) };
            run(work, permit.lease(), receiver.limits().handler, renew).await
        }
        Err(reject) => Err(reject),
    };
    let settled = match &ended {
        Ok(()) => permit.commit().await?,
        Err(_) => permit.abort().await.unwrap_or(Settled::Stale),
    };
    match settled {
        Settled::Applied => ended,
        Settled::Stale => ended.and(Err(Reject::LeaseLost)),
    }
}

/// Runs `work` in a task of its own for at most `limit` and two thirds of a lease, and renews the lease until `limit`.
pub(crate) async fn run<F, R>(
    work: F,
    lease: Duration,
    limit: Duration,
    renew: impl Fn() -> R,
) -> Result<(), Reject>
where
    F: Future<Output = Result<(), Reject>> + Send + 'static,
    R: Future<Output = ()>,
{
    let mut task = tokio::spawn(work);
    let renewals = async {
        loop {
            tokio::time::sleep(lease / 3).await;
            renew().await;
        }
    };
    let limited = async {
        let _: Result<(), _> = tokio::time::timeout(limit, renewals).await;
        renew().await;
        tokio::time::sleep(lease / 3 * 2).await;
    };
    let joined = tokio::select! {
        joined = &mut task => joined,
        () = limited => {
            task.abort();
            task.await
        }
    };
    match joined {
        Ok(ended) => ended,
        Err(stopped) if stopped.is_cancelled() => Err(Reject::HandlerSlow),
        Err(_) => Err(Reject::HandlerPanicked),
    }
}
