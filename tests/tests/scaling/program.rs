//! The program `scaling`, and that the document has what it prints.

use std::collections::BTreeSet;
use std::process::{Command, Output};

fn scaling(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_scaling")).args(arguments).output().unwrap()
}

/// What it prints of one part.
fn printed(part: &str) -> String {
    let printed = scaling(&["--only", part]);
    assert!(printed.status.success(), "{part}");
    String::from_utf8(printed.stdout).unwrap()
}

/// A table: what its columns are called, and its rows.
struct Table<'a> {
    head: Vec<&'a str>,
    rows: Vec<Vec<&'a str>>,
}

impl<'a> Table<'a> {
    /// The first one in a text.
    fn first(text: &'a str) -> Self {
        let lines = text.lines().skip_while(|line| !line.starts_with('|'));
        let mut rows = lines.take_while(|line| line.starts_with('|')).map(cells);
        let head = rows.next().expect("a table");
        Self { head, rows: rows.skip(1).collect() }
    }

    /// What its rows say in these columns.
    fn at(&self, columns: &[&str]) -> BTreeSet<Vec<&'a str>> {
        let place = |name: &&str| self.head.iter().position(|known| known == name);
        let places: Option<Vec<_>> = columns.iter().map(place).collect();
        let places = places.unwrap_or_else(|| panic!("{columns:?} are not all among {:?}", self.head));
        self.rows.iter().map(|row| places.iter().map(|place| row[*place]).collect()).collect()
    }

    /// The row that begins with this.
    fn row(&self, what: &str) -> &[&'a str] {
        self.rows.iter().find(|row| row[0] == what).unwrap_or_else(|| panic!("no row `{what}`"))
    }
}

fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split('|').map(str::trim).collect()
}

#[test]
fn the_tables_of_the_document_are_those_that_the_program_prints() {
    let document = include_str!("../../../docs/scaling.md");
    for (part, rows) in [
        ("wire", 3),
        ("sizes", 23),
        ("limits", 8),
        ("simulated", 3),
        ("balance", 6),
        ("batches", 5),
        ("leases", 8),
        ("latency", 4),
    ] {
        let (_, after) = document.split_once(&format!("(`--only {part}`")).expect(part);
        let table = Table::first(after);
        assert_eq!(table.rows.len(), rows, "{part}");
        let printed = printed(part);
        let printed = Table::first(&printed).at(&table.head);
        for row in table.rows {
            assert!(
                printed.contains(&row),
                "docs/scaling.md has, and `scaling --only {part}` has not: {row:?}"
            );
        }
    }
}

/// What it says in passing.
#[test]
fn the_sentences_of_the_document_say_what_the_program_prints() {
    let document = include_str!("../../../docs/scaling.md").replace('\n', " ");
    let (single, neighbours) = (printed("single"), printed("neighbours"));
    let (single, neighbours) = (Table::first(&single), Table::first(&neighbours));
    let most = |what| single.row(what)[1];
    for said in [
        format!("{} a second in strict order", most("an endpoint in strict order")),
        format!("{} with the default of 16", most("an endpoint with a concurrency of 16")),
        format!("{} with 64", most("an endpoint with a concurrency of 64")),
        format!("{} a second signed, {} sealed", most("a shard, signed"), most("a shard, sealed")),
    ] {
        assert!(document.contains(&said), "docs/scaling.md does not say `{said}`");
    }
    let p99 = |what| neighbours.row(what)[2].replace(',', "").parse::<f64>().unwrap();
    let (bounded, free) =
        (p99("a fifth of the endpoints never answers"), p99("the same, if they could have all slots"));
    let said = format!(
        "stays at {bounded:.0} ms, because what struggles has a quarter of the slots; could it have all of them, p99 were {:.1} s",
        free / 1e3
    );
    assert!(document.contains(&said), "docs/scaling.md does not say `{said}`");
}

#[test]
fn the_document_is_made_from_the_constants_of_the_table() {
    let printed = printed("constants");
    assert_eq!(Table::first(&printed).rows.len(), waxseal_tests::simulation::constants::TABLE.len());
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
