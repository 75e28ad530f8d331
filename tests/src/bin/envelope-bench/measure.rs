//! Times two functions in turns.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// One comparison: microseconds for each operation, and their ratio.
pub(crate) struct Row {
    name: String,
    ours: f64,
    raw: f64,
    ratio: f64,
}

impl Row {
    /// Prints the row with its verdict, and gives it back.
    pub(crate) fn print(&self, target: f64) -> bool {
        let met = self.ratio <= target;
        let verdict = if met { "ok" } else { "ABOVE TARGET" };
        println!(
            "{:<34} {:>7.1} us {:>7.1} us {:>7.2}  {verdict}",
            self.name, self.ours, self.raw, self.ratio
        );
        met
    }
}

/// Runs batches of the two in turns, the order changing each time.
pub(crate) fn compare<A, B>(name: String, mut ours: impl FnMut() -> A, mut raw: impl FnMut() -> B) -> Row {
    let count = batch_size(&mut raw);
    batch(count, &mut ours); // warms caches and branch predictors
    let mut times = Vec::new();
    for turn in 0..BATCHES {
        times.push(if turn % 2 == 0 {
            let first = batch(count, &mut ours);
            (first, batch(count, &mut raw))
        } else {
            let first = batch(count, &mut raw);
            (batch(count, &mut ours), first)
        });
    }
    Row {
        name,
        ours: median(times.iter().map(|(ours, _)| *ours)),
        raw: median(times.iter().map(|(_, raw)| *raw)),
        ratio: median(times.iter().map(|(ours, raw)| ours / raw)),
    }
}

/// How many runs take about [`BATCH`].
fn batch_size<T>(run: &mut impl FnMut() -> T) -> u32 {
    let mut count = 1;
    while batch(count, run) * f64::from(count) < BATCH.as_secs_f64() * 1e6 {
        count *= 2;
    }
    count
}

/// Microseconds for one run, over `count` of them.
fn batch<T>(count: u32, run: &mut impl FnMut() -> T) -> f64 {
    let start = Instant::now();
    for _ in 0..count {
        black_box(run());
    }
    start.elapsed().as_secs_f64() * 1e6 / f64::from(count)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Long enough for the clock, short enough that both sides of a pair see the same machine.
const BATCH: Duration = Duration::from_millis(2);
/// Odd, so that the median is one of them.
const BATCHES: usize = 151;
