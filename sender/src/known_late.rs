//! Failures that come no sooner than the longest of them.
//!
//! Whoever names a server for us to ask must not read off, by the clock, whether anything is there: a refusal takes a
//! moment, silence the whole time limit.

/// What `asking` comes to; if it tells something that is not to be known early, then not before `limit` is over, which
/// begins with it.
pub(crate) async fn known_late<T>(
    limit: impl Future<Output = ()>,
    asking: impl Future<Output = T>,
    is_told_late: impl FnOnce(&T) -> bool,
) -> T {
    let outcome = asking.await;
    if is_told_late(&outcome) {
        limit.await;
    }
    outcome
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_failure_is_known_when_the_limit_is_over_and_a_success_at_once() {
        let (over, limit) = oneshot::channel::<()>();
        let limit = async { limit.await.unwrap_or_default() };
        let mut failing = Box::pin(known_late(limit, async { Err::<(), ()>(()) }, Result::is_err));
        assert_eq!(failing.as_mut().now_or_never(), None);
        over.send(()).unwrap();
        assert_eq!(failing.await, Err(()));

        let endless = std::future::pending();
        assert_eq!(known_late(endless, async { Ok::<(), ()>(()) }, Result::is_err).await, Ok(()));
    }
}
