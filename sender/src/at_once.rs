//! For tests: who is let through of many that ask at once, by a clock that goes on whenever somebody reads it.

use std::sync::Barrier;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::thread;

use waxseal_keys::{Clock, Timestamp};

/// Every reading is a millisecond later than the one before, and is used a while after.
#[derive(Debug, Default)]
struct Running(AtomicI64);

impl Clock for Running {
    fn now(&self) -> Timestamp {
        let now = Timestamp::from_millis(self.0.fetch_add(1, Ordering::SeqCst));
        thread::yield_now();
        now
    }
}

/// How often `ask` says yes to four threads that ask at once.
pub(crate) fn granted(ask: impl Fn(&dyn Clock) -> bool + Sync) -> usize {
    let (clock, start, granted) = (Running::default(), Barrier::new(THREADS), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                start.wait();
                granted.fetch_add(usize::from(ask(&clock)), Ordering::SeqCst);
            });
        }
    });
    granted.into_inner()
}

const THREADS: usize = 4;
