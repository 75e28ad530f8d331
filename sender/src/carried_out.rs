//! Work that goes on when nobody waits for it any more.
//!
//! A task of its own would do, too, but costs its making and a second wake-up each time, for callers that hardly ever
//! leave.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// A future that, if it is dropped once it has begun and before it has ended, goes on as a task of its own.
pub(crate) struct CarriedOut<F: Future<Output: Send> + Send + 'static> {
    begun: bool,
    rest: Option<Pin<Box<F>>>,
    runtime: Handle,
}

impl<F: Future<Output: Send> + Send + 'static> CarriedOut<F> {
    /// # Panics
    /// Outside of a Tokio runtime.
    pub(crate) fn new(work: F) -> Self {
        Self { begun: false, rest: Some(Box::pin(work)), runtime: Handle::current() }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for CarriedOut<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.begun = true;
        // Taken while it runs: what has panicked must not go on.
        let mut rest = self.rest.take().expect("a future is not polled after its end");
        let polled = rest.as_mut().poll(context);
        if polled.is_pending() {
            self.rest = Some(rest);
        }
        polled
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for CarriedOut<F> {
    fn drop(&mut self) {
        if let Some(rest) = self.rest.take().filter(|_| self.begun) {
            self.runtime.spawn(rest);
        }
    }
}

impl<F: Future<Output: Send> + Send + 'static> fmt::Debug for CarriedOut<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CarriedOut").field("begun", &self.begun).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;
    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn what_has_begun_goes_on_when_it_is_dropped() {
        let (go, gone) = oneshot::channel::<()>();
        let (done, heard) = oneshot::channel();
        let mut work = Box::pin(CarriedOut::new(async move {
            gone.await.unwrap();
            done.send(7).unwrap();
        }));
        assert_eq!(work.as_mut().now_or_never(), None);
        drop(work);
        go.send(()).unwrap();
        assert_eq!(timeout(LIMIT, heard).await.unwrap(), Ok(7));
    }

    #[tokio::test]
    async fn who_waits_gets_the_outcome() {
        assert_eq!(CarriedOut::new(async { 7 }).await, 7);
    }

    #[tokio::test]
    async fn what_has_not_begun_never_does() {
        let (done, heard) = oneshot::channel();
        drop(CarriedOut::new(async move { done.send(()) }));
        assert!(timeout(LIMIT, heard).await.unwrap().is_err(), "it was dropped with what it holds");
    }

    #[tokio::test]
    async fn what_has_panicked_does_not_go_on() {
        let work = CarriedOut::new(async { panic!("a fault") });
        let ended = tokio::spawn(work).await;
        assert!(ended.is_err_and(|error| error.is_panic()));
    }
}
