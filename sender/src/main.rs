//! The program `waxseal`.

fn main() {}
