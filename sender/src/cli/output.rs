//! Answers, shown for people or as JSON.

use std::io::{self, Write};

use serde_json::Value;

use super::error::CliError;

/// For whom an answer is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Output {
    /// Tables and `name: value` lines.
    People,
    /// The API's JSON as it came.
    Json,
}

impl Output {
    /// Shows a list (`{"data": [...], "next": ...}`) as a table of these members.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub fn list(self, answer: &Value, columns: &[&str]) -> Result<(), CliError> {
        if self == Self::Json {
            return self.json(answer);
        }
        let rows = answer.get("data").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let next = answer.get("next").and_then(Value::as_str);
        if rows.is_empty() {
            // A search that finds little in much is told in several pages.
            return line(
                &next.map_or_else(|| "(none)".to_owned(), |next| format!("(none so far: --after {next})")),
            );
        }
        let mut table = vec![columns.iter().map(|name| name.to_uppercase()).collect::<Vec<_>>()];
        table.extend(rows.iter().map(|row| columns.iter().map(|name| text(row.get(name))).collect()));
        for row in aligned(&table) {
            line(&row)?;
        }
        match next {
            Some(next) => line(&format!("(more: --after {next})")),
            None => Ok(()),
        }
    }

    /// Shows one thing.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub fn item(self, answer: &Value) -> Result<(), CliError> {
        match (self, answer) {
            (Self::People, Value::Null) => line("done"),
            (Self::People, Value::Object(members)) => {
                let width = members.keys().map(String::len).max().unwrap_or(0) + 1;
                members.iter().try_for_each(|(name, value)| {
                    line(&format!("{:width$} {}", format!("{name}:"), text(Some(value))))
                })
            }
            (Self::People | Self::Json, _) => self.json(answer),
        }
    }

    fn json(self, answer: &Value) -> Result<(), CliError> {
        line(&serde_json::to_string_pretty(answer).unwrap_or_default())
    }
}

/// Writes one line to standard output; a closed pipe is an error like any other, not a panic.
///
/// # Errors
/// If it cannot be written.
pub fn line(text: &str) -> Result<(), CliError> {
    writeln!(io::stdout().lock(), "{text}")
        .map_err(|error| CliError::failed("cannot write the output", error))
}

fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => {
            let items: Vec<_> = items.iter().map(|item| text(Some(item))).collect();
            items.join(",")
        }
        // A status says its state first; the rest of it is in the JSON.
        Some(Value::Object(status)) if status.contains_key("state") => text(status.get("state")),
        Some(other) => other.to_string(),
    }
}

fn aligned(table: &[Vec<String>]) -> Vec<String> {
    let columns = table.first().map_or(0, Vec::len);
    let widths: Vec<_> = (0..columns)
        .map(|column| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let row = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    table.iter().map(row).collect()
}
