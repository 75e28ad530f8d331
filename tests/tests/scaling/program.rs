//! The program `scaling`, and that the document has what it prints.

use std::collections::BTreeSet;
use std::process::{Command, Output};

fn scaling(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_scaling")).args(arguments).output().unwrap()
}

fn rows(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---")).collect()
}

#[test]
fn the_computed_tables_of_the_document_are_those_that_the_program_prints() {
    let document = include_str!("../../../docs/scaling.md");
    for part in ["sizes", "limits"] {
        let printed = scaling(&["--only", part]);
        assert!(printed.status.success());
        let printed = String::from_utf8(printed.stdout).unwrap();
        let printed: BTreeSet<_> = rows(&printed).into_iter().collect();
        let (_, after) = document.split_once(&format!("(`--only {part}`)")).unwrap();
        let table: String = after
            .lines()
            .skip_while(|line| !line.starts_with('|'))
            .take_while(|line| !line.is_empty())
            .collect::<Vec<_>>()
            .join("\n");
        let pasted = rows(&table);
        assert!(pasted.len() > 5, "{table}");
        for row in pasted {
            assert!(
                printed.contains(row),
                "docs/scaling.md has, and `scaling --only {part}` has not:\n{row}"
            );
        }
    }
}

#[test]
fn the_document_is_made_from_the_constants_of_the_table() {
    let printed = scaling(&["--only", "constants"]);
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert_eq!(rows(&printed).len(), waxseal_tests::simulation::constants::TABLE.len() + 1);
    assert!(!printed.contains("from a file"));
}

#[test]
fn a_file_of_constants_changes_what_is_printed_and_a_wrong_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("constants.json");
    let with = |text: &str| {
        std::fs::write(&path, text).unwrap();
        scaling(&["--only", "single", "--constants", path.to_str().unwrap()])
    };
    let slower = with(r#"{"constants": {"round_trip_us": 100000}}"#);
    assert!(String::from_utf8(slower.stdout).unwrap().contains("| an endpoint in strict order | 10 |"));
    for wrong in ["{", "{}", r#"{"constants": {"round_trip": 1}}"#] {
        let refused = with(wrong);
        assert_eq!(refused.status.code(), Some(2), "{wrong}");
        assert!(refused.stdout.is_empty() && !refused.stderr.is_empty(), "{wrong}");
    }
}
