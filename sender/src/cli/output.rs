//! Answers, shown for people or as JSON.
//!
//! Guarantees that what others wrote into a token, a name or an answer reaches a terminal as text: it can neither move
//! the cursor, nor reorder what stands beside it, nor look like a line of ours.

use std::borrow::Cow;
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
            Some(next) => line(&format!("(more: --after {})", printable(next))),
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
                    line(&format!("{:width$} {}", format!("{}:", printable(name)), text(Some(value))))
                })
            }
            (Self::People | Self::Json, _) => self.json(answer),
        }
    }

    fn json(self, answer: &Value) -> Result<(), CliError> {
        line(&serde_json::to_string_pretty(answer).unwrap_or_default())
    }
}

/// Writes a line, or several, to standard output; a closed pipe is an error like any other, not a panic.
///
/// # Errors
/// If it cannot be written.
pub fn line(text: &str) -> Result<(), CliError> {
    writeln!(io::stdout().lock(), "{}", printable_lines(text))
        .map_err(|error| CliError::failed("cannot write the output", error))
}

/// Text of others as part of a line of ours. What a terminal would obey is written as JSON has it, so that a JSON
/// document is still the same one.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            _ if is_obeyed(character) => shown.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => shown.push(character),
        }
    }
    Cow::Owned(shown)
}

/// The same for text in which line breaks are ours.
pub fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// Control characters (C0, DEL, C1), what sets the direction of writing (UAX #9), and separators of lines and
/// paragraphs. None is beyond U+FFFF.
fn is_obeyed(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => printable(text).into_owned(),
        Some(Value::Array(items)) => {
            let items: Vec<_> = items.iter().map(|item| text(Some(item))).collect();
            items.join(",")
        }
        // A status says its state first; the rest of it is in the JSON.
        Some(Value::Object(status)) if status.contains_key("state") => text(status.get("state")),
        Some(other) => printable(&other.to_string()).into_owned(),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown_instead() {
        for (text, shown) in [
            ("plain, accents é and 漢字 stay", "plain, accents é and 漢字 stay"),
            ("\u{1b}[2Jgone\u{7}", "\\u001b[2Jgone\\u0007"),
            ("a\u{9b}31mb\u{7f}", "a\\u009b31mb\\u007f"),
            ("x\u{202e}gpj.exe\u{2066}", "x\\u202egpj.exe\\u2066"),
            ("one\r\ntwo\tthree\u{2028}", "one\\r\\ntwo\\tthree\\u2028"),
        ] {
            assert_eq!(printable(text), shown);
        }
        assert_eq!(printable_lines("ours\nours \u{1b}[0m"), "ours\nours \\u001b[0m");
    }

    #[test]
    fn every_cell_is_shown_so_and_json_stays_the_same() {
        let hostile = "acme\nadmin\u{202e}\u{1b}]0;title\u{7}";
        let expected = "acme\\nadmin\\u202e\\u001b]0;title\\u0007";
        assert_eq!(text(Some(&json!(hostile))), expected);
        assert_eq!(text(Some(&json!([hostile]))), expected);
        assert_eq!(text(Some(&json!({ "state": hostile }))), expected);
        let answer = json!({ "name": hostile, "more": { hostile: "\u{9b}" } });
        let pretty = printable_lines(&serde_json::to_string_pretty(&answer).unwrap());
        assert!(!pretty.contains(|c| c != '\n' && is_obeyed(c)), "{pretty}");
        assert_eq!(serde_json::from_str::<Value>(&pretty).unwrap(), answer);
    }
}
