//! Compares what happened with what must happen, and reports all differences of a file at once.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

/// What a case did: accepted, or refused with this code.
pub type Outcome = Result<(), &'static str>;

/// One upstream case and how we see it.
pub struct Case {
    /// Upstream's number or a file's name.
    pub id: String,
    /// Upstream says that it is valid.
    pub valid: bool,
    /// It uses only algorithms of the table in `docs/wire-format.md` section 3.
    pub allowed: bool,
    /// What we did.
    pub outcome: Outcome,
}

/// A case that we judge otherwise than upstream.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    file: String,
    case: String,
    /// Upstream's verdict.
    upstream: String,
    /// Our verdict: `accepted` or the code of the refusal.
    ours: String,
    /// Why.
    reason: String,
}

/// Judges all cases of a file of `tests/vectors/`; panics with every difference.
pub fn judge(file: &str, cases: &[Case]) {
    let exceptions: Vec<Exception> = serde_json::from_value(read("exceptions.json")).unwrap();
    let reasons: BTreeMap<String, BTreeMap<String, Vec<String>>> =
        serde_json::from_value(read("reasons.json")).unwrap();
    let reasons = reasons.get(file);
    let mut differences = Vec::new();
    for case in cases {
        let ours = case.outcome.err().unwrap_or("accepted");
        let upstream = if case.valid { "valid" } else { "invalid" };
        let exception =
            exceptions.iter().find(|exception| exception.file == file && exception.case == case.id);
        let expected = match exception {
            Some(exception) => {
                assert!(!exception.reason.is_empty() && exception.upstream == upstream, "{file} {}", case.id);
                // It is an exception only as long as it contradicts upstream or the table of algorithms.
                let regular = if case.valid && case.allowed { "accepted" } else { "refused" };
                assert_ne!(
                    exception.ours == "accepted",
                    regular == "accepted",
                    "{file} {}: not an exception",
                    case.id
                );
                exception.ours.as_str()
            }
            None if case.valid && case.allowed => "accepted",
            None => reasons
                .and_then(|reasons| reasons.iter().find(|(_, ids)| ids.contains(&case.id)))
                .map_or("a reason in reasons.json", |(code, _)| code),
        };
        if ours != expected {
            differences.push(format!("{file} {} {upstream}: expected {expected}, was {ours}", case.id));
        }
    }
    let known = |id: &str| cases.iter().any(|case| case.id == id);
    let listed = reasons.into_iter().flat_map(|reasons| reasons.values().flatten());
    let excepted =
        exceptions.iter().filter(|exception| exception.file == file).map(|exception| &exception.case);
    for id in listed.chain(excepted).filter(|id| !known(id)) {
        differences.push(format!("{file} {id}: there is no such case"));
    }
    assert!(!cases.is_empty(), "{file} has no cases");
    assert!(differences.is_empty(), "{} differences\n{}", differences.len(), differences.join("\n"));
}

/// A JSON file of `tests/vectors/`.
pub fn read(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(file);
    serde_json::from_slice(&fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
        .unwrap()
}

/// The cases of a Wycheproof file with their groups.
pub fn wycheproof(file: &Value) -> impl Iterator<Item = (&Value, &Value)> {
    let groups = file["testGroups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["tests"].as_array().unwrap().iter().map(move |test| (group, test)))
}

/// A member with hexadecimal text.
pub fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
