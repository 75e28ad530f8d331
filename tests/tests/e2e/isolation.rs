//! A healthy endpoint beside a dead one with a long backlog, tarpits and a consumer that floods: the benchmark
//! `isolation-bench`, smaller, with bounds that a busy machine keeps.

use std::time::Duration;

use waxseal_tests::isolation::{Figures, Scale, run};

#[tokio::test(flavor = "multi_thread")]
async fn bad_neighbours_are_hardly_noticed() {
    let figures = run(Scale { dead: 5_000, tarpits: 20, flood: 500, rate: 20, seconds: 8 }).await;
    let p99 = |times: &[Duration]| Figures::within(times, 0.99);
    let (apart, together) = (p99(&figures.apart), p99(&figures.together));
    // One tarpit's time limit is fifteen seconds, one answer of the flooded takes one: waiting would show.
    assert!(together < apart * 3 + Duration::from_millis(500), "apart {apart:?}, together {together:?}");
    assert!(figures.memory < 150_000_000, "{} bytes", figures.memory);
    assert!(figures.waiting > 4_900, "a dead endpoint's backlog waits as it is: {}", figures.waiting);
    assert!(figures.flooded > 0, "the flooding consumer gets its share");
}
