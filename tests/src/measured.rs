//! What a test has measured and people want to know, although it passed.
//!
//! Relies on `WAXSEAL_TEST_MEASURED`: a file that `tests/run` prints before its count. Without it the line is printed where
//! the test prints.

use std::fs::OpenOptions;
use std::io::Write;

/// Says it, in a line.
///
/// # Panics
/// If the file cannot be written.
pub fn measured(line: &str) {
    println!("{line}");
    if let Some(path) = std::env::var_os("WAXSEAL_TEST_MEASURED") {
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        // One write for one line: other tests write at the same time.
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}
