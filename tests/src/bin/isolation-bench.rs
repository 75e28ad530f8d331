//! What a healthy endpoint notices of a dead one with a million events, of tarpits and of a consumer that floods.
//!
//! `cargo run --release -p waxseal-tests --bin isolation-bench` (needs the program `waxseal` built beside it). Takes
//! some minutes, most of them to publish the million events; `--dead 10000` publishes so many instead.
//!
//! `alone`: before the neighbours came. `apart`: in a sender of its own, at the same time as `together`, so that both
//! share what the machine has to do.

use clap::Parser;
use waxseal_tests::isolation::{Figures, Scale, run};

/// What a healthy endpoint notices of its neighbours: a dead one, tarpits, a flood
#[derive(Parser)]
struct Options {
    /// Events for the endpoint that is dead
    #[arg(long, default_value_t = 1_000_000)]
    dead: usize,
}

#[tokio::main]
async fn main() {
    let Options { dead } = Options::parse();
    let scale = Scale { dead, tarpits: 20, flood: 5_000, rate: 25, seconds: 40 };
    let figures = run(scale).await;
    println!("{:<10} {:>10} {:>10} {:>10}", "healthy", "p50 ms", "p99 ms", "events");
    for (name, times) in
        [("alone", &figures.alone), ("apart", &figures.apart), ("together", &figures.together)]
    {
        let at = |share| Figures::within(times, share).as_secs_f64() * 1_000.0;
        println!("{name:<10} {:>10.2} {:>10.2} {:>10}", at(0.5), at(0.99), times.len());
    }
    let p99 = |times| Figures::within(times, 0.99).as_secs_f64();
    println!();
    println!("p99 together / alone       {:.2}", p99(&figures.together) / p99(&figures.alone));
    println!("p99 together / apart       {:.2}", p99(&figures.together) / p99(&figures.apart));
    let (alone, together) = (figures.memory_alone as f64 / 1e6, figures.memory as f64 / 1e6);
    println!("sender's peak memory       {alone:.1} MB alone, {together:.1} MB together");
    println!("left to the dead endpoint  {}", figures.waiting);
    println!("delivered to the flooding  {}", figures.flooded);
}
