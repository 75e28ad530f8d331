//! Reads a request's JSON field by field and collects everything that is wrong with it.
//!
//! Relies on [`strict_json`](waxseal_keys::strict_json) for syntax and duplicate members. Guarantees that a handler
//! that got past [`Fields::finish`] holds values that all passed their readers, and that nothing unknown was there.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::problem::{FieldError, Problem};

/// Why a reader refused a value: what was expected, and what was found.
pub(super) type Wrong = Cow<'static, str>;

/// A field was refused. Says nothing itself: [`Fields::finish`] has the reasons, and is asked first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused;

impl From<Refused> for Problem {
    fn from(_: Refused) -> Self {
        Self::validation(Vec::new())
    }
}

/// The members of a JSON object that are not read yet, and what was wrong with those that are.
#[derive(Debug)]
pub(super) struct Fields {
    /// What stands before a member's name: empty, or `to.`.
    prefix: String,
    members: Map<String, Value>,
    known: Vec<&'static str>,
    errors: Vec<FieldError>,
}

impl Fields {
    /// Begins with a request's body.
    pub(super) fn new(body: Value) -> Result<Self, Problem> {
        match body {
            Value::Object(members) => Ok(Self::of(String::new(), members)),
            other => Err(Problem::field("", found("an object", &other))),
        }
    }

    fn of(prefix: String, members: Map<String, Value>) -> Self {
        Self { prefix, members, known: Vec::new(), errors: Vec::new() }
    }

    /// A field that must be there.
    pub(super) fn required<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Value) -> Result<T, Wrong>,
    ) -> Result<T, Refused> {
        match self.take(name) {
            Some(value) => read(&value).map_err(|wrong| self.refuse(name, wrong)),
            None => Err(self.refuse(name, "this field is required")),
        }
    }

    /// A field that may be missing, or `null`, which is the same.
    pub(super) fn optional<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Value) -> Result<T, Wrong>,
    ) -> Result<Option<T>, Refused> {
        self.change(name, read).map(Option::flatten)
    }

    /// A field of a partial update: missing leaves things as they are, `null` clears.
    pub(super) fn change<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Value) -> Result<T, Wrong>,
    ) -> Result<Option<Option<T>>, Refused> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Null) => Ok(Some(None)),
            Some(value) => match read(&value) {
                Ok(value) => Ok(Some(Some(value))),
                Err(wrong) => Err(self.refuse(name, wrong)),
            },
        }
    }

    /// As [`Fields::change`], for what is always there: it cannot be cleared.
    pub(super) fn unclearable<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Value) -> Result<T, Wrong>,
    ) -> Result<Option<T>, Refused> {
        match self.change(name, read)? {
            None => Ok(None),
            Some(Some(value)) => Ok(Some(value)),
            Some(None) => Err(self.refuse(name, "this cannot be cleared; expected a value, found null")),
        }
    }

    /// A list, each item read by `read`; every wrong item is named. `null` is none: whoever means an empty list, or no
    /// list, must not get the other.
    pub(super) fn list<T>(
        &mut self,
        name: &'static str,
        limit: usize,
        mut read: impl FnMut(&Value) -> Result<T, Wrong>,
    ) -> Result<Option<Vec<T>>, Refused> {
        let items = match self.take(name) {
            None => return Ok(None),
            Some(Value::Array(items)) => items,
            Some(other) => return Err(self.refuse(name, found("an array", &other))),
        };
        if items.len() > limit {
            let detail = format!("expected at most {limit} items, found {}", items.len());
            return Err(self.refuse(name, detail));
        }
        let mut values = Vec::with_capacity(items.len());
        let mut refused = false;
        for (index, item) in items.iter().enumerate() {
            match read(item) {
                Ok(value) => values.push(value),
                Err(wrong) => {
                    refused = true;
                    self.refuse(&format!("{name}[{index}]"), wrong);
                }
            }
        }
        if refused { Err(Refused) } else { Ok(Some(values)) }
    }

    /// As [`Fields::list`], for a list that can be cleared: missing leaves things as they are, `null` clears.
    pub(super) fn list_or_null<T>(
        &mut self,
        name: &'static str,
        limit: usize,
        read: impl FnMut(&Value) -> Result<T, Wrong>,
    ) -> Result<Option<Option<Vec<T>>>, Refused> {
        match self.members.get(name) {
            Some(Value::Null) => {
                self.take(name);
                Ok(Some(None))
            }
            _ => Ok(self.list(name, limit, read)?.map(Some)),
        }
    }

    /// As [`Fields::list`], for a list that must be there.
    pub(super) fn required_list<T>(
        &mut self,
        name: &'static str,
        limit: usize,
        read: impl FnMut(&Value) -> Result<T, Wrong>,
    ) -> Result<Vec<T>, Refused> {
        self.list(name, limit, read)?.ok_or_else(|| self.refuse(name, "this field is required, as an array"))
    }

    /// An object within, read by `read` as fields of its own.
    pub(super) fn object<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, Refused>,
    ) -> Result<Option<T>, Refused> {
        match self.take(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(members)) => {
                let mut inner = Self::of(format!("{}{name}.", self.prefix), members);
                let value = read(&mut inner);
                let errors = inner.into_errors();
                let sound = errors.is_empty();
                self.errors.extend(errors);
                if sound { value.map(Some) } else { Err(Refused) }
            }
            Some(other) => Err(self.refuse(name, found("an object", &other))),
        }
    }

    /// As [`Fields::change`], for an object within.
    pub(super) fn change_object<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, Refused>,
    ) -> Result<Option<Option<T>>, Refused> {
        match self.members.get(name) {
            Some(Value::Null) => {
                self.take(name);
                Ok(Some(None))
            }
            Some(_) => self.object(name, read).map(Some),
            None => self.object(name, read).map(|_| None),
        }
    }

    /// Whether the member is there at all and not read yet.
    pub(super) fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// Whether the member is there, not read yet, and this text.
    pub(super) fn text_is(&self, name: &str, text: &str) -> bool {
        self.members.get(name).and_then(Value::as_str) == Some(text)
    }

    /// Whether the member is there, not read yet, and `null`.
    pub(super) fn is_null(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(Value::is_null)
    }

    /// Takes a member as it is.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.members.remove(name)
    }

    /// Takes a member that is text; leaves it if it is anything else.
    pub(super) fn take_text(&mut self, name: &'static str) -> Option<String> {
        match self.members.get_mut(name) {
            Some(Value::String(text)) => {
                let text = std::mem::take(text);
                self.take(name);
                Some(text)
            }
            _ => None,
        }
    }

    /// Notes what is wrong with a member; with the object itself, if `name` is empty.
    pub(super) fn refuse(&mut self, name: &str, detail: impl Into<Wrong>) -> Refused {
        let path = format!("{}{name}", self.prefix);
        self.errors.push(FieldError::new(path.trim_end_matches('.'), detail));
        Refused
    }

    /// Refuses the request if anything in it was wrong or unknown.
    pub(super) fn finish(self) -> Result<(), Problem> {
        let errors = self.into_errors();
        if errors.is_empty() { Ok(()) } else { Err(Problem::validation(errors)) }
    }

    fn into_errors(mut self) -> Vec<FieldError> {
        if self.members.is_empty() {
            return self.errors;
        }
        let known = self.known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        for name in self.members.keys().take(MAX_UNKNOWN_REPORTED) {
            let name = name.chars().take(MAX_NAME_REPORTED).collect::<String>();
            let detail = format!("there is no such field here; expected any of {known}");
            self.errors.push(FieldError::new(format!("{}{name}", self.prefix), detail));
        }
        self.errors
    }
}

/// `expected …, found …`.
pub(super) fn found(expected: &str, value: &Value) -> Wrong {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    format!("expected {expected}, found {kind}").into()
}

/// Enough to see what is wrong; a hostile body must not make a long answer.
const MAX_UNKNOWN_REPORTED: usize = 16;
const MAX_NAME_REPORTED: usize = 64;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(value: &Value) -> Result<String, Wrong> {
        value.as_str().map(str::to_owned).ok_or_else(|| found("a string", value))
    }

    fn reported(problem: &Problem) -> Vec<(String, String)> {
        let json = problem.to_json();
        let text = |v: &Value| v.as_str().unwrap().to_owned();
        json["errors"].as_array().unwrap().iter().map(|e| (text(&e["field"]), text(&e["detail"]))).collect()
    }

    #[test]
    fn everything_that_is_wrong_is_reported_at_once() {
        let body = json!({ "name": 5, "types": ["a", 1, null], "to": { "x": 1, "y": true }, "odd": 0 });
        let mut fields = Fields::new(body).unwrap();
        assert!(fields.required("name", text).is_err());
        assert!(fields.required("missing", text).is_err());
        assert!(fields.list("types", 8, text).is_err());
        assert!(fields.object("to", |to| to.required("x", text)).is_err());
        let problem = fields.finish().unwrap_err();
        let expected = [
            ("name", "expected a string, found a number"),
            ("missing", "this field is required"),
            ("types[1]", "expected a string, found a number"),
            ("types[2]", "expected a string, found null"),
            ("to.x", "expected a string, found a number"),
            ("to.y", "there is no such field here; expected any of `x`"),
            ("odd", "there is no such field here; expected any of `name`, `missing`, `types`, `to`"),
        ];
        let expected: Vec<_> = expected.map(|(f, d)| (f.to_owned(), d.to_owned())).into();
        assert_eq!(reported(&problem), expected);
    }

    #[test]
    fn a_partial_update_tells_missing_from_null() {
        let mut fields = Fields::new(json!({ "a": null, "b": "x" })).unwrap();
        assert_eq!(fields.change("a", text).unwrap(), Some(None));
        assert_eq!(fields.change("b", text).unwrap(), Some(Some("x".to_owned())));
        assert_eq!(fields.change("c", text).unwrap(), None);
        assert!(fields.finish().is_ok());
    }

    #[test]
    fn a_hostile_body_makes_a_short_answer() {
        let members = (0..1_000).map(|n| (format!("{n}{}", "x".repeat(500)), Value::Null)).collect();
        let problem = Fields::new(Value::Object(members)).unwrap().finish().unwrap_err();
        assert!(problem.to_json().to_string().len() < 4_096);
    }
}
