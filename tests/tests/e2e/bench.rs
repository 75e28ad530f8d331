//! The benchmarks run: what they print on a machine that is busy with tests says nothing, but all of it is there.

use std::process::Command;

use serde_json::Value;
use waxseal_tests::process::program;

#[test]
fn the_benchmark_measures_each_case_that_it_is_asked_for_and_writes_it_down() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("figures.json");
    let sizes = ["--deliveries", "40", "--rounds", "1", "--latency", "1", "--payload", "300", "--json"];
    let cases = ["--store", "sqlite,postgres", "--protection", "signed,sealed", "--consumers", "3"];
    let output = Command::new(program("bench")).args(cases).args(sizes).arg(&json).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));

    let figures: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    for store in ["SQLite", "PostgreSQL"] {
        for protection in ["signed", "sealed"] {
            let name = format!("{store}, {protection}, 300 B, 3 consumers ");
            assert_eq!(said.matches(&name).count(), 2, "throughput and latency of {name}:\n{said}");
        }
    }
    for case in figures["cases"].as_array().unwrap() {
        assert!(case["per_second"].as_f64().unwrap() > 0.0 && case["memory"].as_u64().unwrap() > 0, "{case}");
        // So little takes less than what the system counts in.
        for figure in ["sender", "together", "limit_together", "receiver"] {
            assert!(case[figure].is_number(), "{figure} of {case}");
        }
        assert_eq!(case["database"].is_null(), case["case"]["store"] == "sqlite", "{case}");
    }
    for latency in figures["latencies"].as_array().unwrap() {
        for times in ["ours", "limit"] {
            assert_eq!(latency[times].as_array().unwrap().len(), 200, "each arrived once");
        }
    }
}
