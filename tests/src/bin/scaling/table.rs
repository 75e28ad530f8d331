//! A table, as Markdown for people and as rows for programs.

use std::fmt;

use serde_json::{Map, Value};

/// What a table's figures are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Computed,
    Simulated,
    Given,
}

/// A table.
pub(crate) struct Table {
    pub(crate) kind: Kind,
    title: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Kind {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Computed => "computed",
            Self::Simulated => "simulated",
            Self::Given => "given",
        }
    }
}

impl Table {
    /// One without rows.
    pub(crate) fn new(kind: Kind, title: &str, head: &[&str]) -> Self {
        let head = head.iter().map(|&name| name.to_owned()).collect();
        Self { kind, title: title.to_owned(), head, rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<_> = cells.into_iter().collect();
        assert_eq!(cells.len(), self.head.len(), "{}: {cells:?}", self.title);
        self.rows.push(cells);
    }

    /// Each row by the names of its columns.
    pub(crate) fn json(&self) -> Value {
        let row = |cells: &Vec<String>| {
            let named = self.head.iter().zip(cells);
            Value::Object(named.map(|(name, cell)| (name.clone(), value(cell))).collect::<Map<_, _>>())
        };
        self.rows.iter().map(row).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "### {} ({})\n", self.title, self.kind.name())?;
        let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
        writeln!(f, "{}", line(&self.head))?;
        let numbers = |column: usize| self.rows.iter().any(|row| value(&row[column]).is_number());
        let ruler: Vec<_> =
            (0..self.head.len()).map(|column| if numbers(column) { "---:" } else { "---" }).collect();
        writeln!(f, "| {} |", ruler.join(" | "))?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{}", line(row)))?;
        writeln!(f)
    }
}

/// With as many digits as say something, thousands apart.
pub(crate) fn number(value: f64) -> String {
    let places = match value.abs() {
        0.0 => 0,
        below if below < 0.1 => 3,
        below if below < 10.0 => 2,
        below if below < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.places$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && digit.is_ascii_digit() && (whole.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let rest = if rest.is_empty() { rest } else { rest.trim_end_matches('0').trim_end_matches('.') };
    grouped + rest
}

fn value(cell: &str) -> Value {
    cell.replace(',', "").parse::<f64>().map_or_else(|_| Value::from(cell), Value::from)
}
