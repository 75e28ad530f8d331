//! Looks for secrets where none may be, in every form in which programs write bytes down.
//!
//! A text is looked for as it is, as JSON and as Rust's `Debug` escape it, in a URL, in base64 of either alphabet at
//! each of the three alignments, in hexadecimal of either case, and as a list of decimal numbers; what is long, also in
//! pieces, because what cuts a line or a page may cut it.

use std::collections::HashSet;
use std::fmt::Write as _;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::GeneralPurpose;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use url::form_urlencoded;

/// What must not be found.
#[derive(Default)]
pub struct Secrets {
    entries: Vec<(String, Vec<u8>)>,
}

/// A search for all of them, and for what shows that it works.
pub struct Search {
    automaton: AhoCorasick,
    /// What, and in which form.
    names: Vec<(String, &'static str)>,
}

impl Secrets {
    /// Looks for this, too.
    ///
    /// # Panics
    /// If it is so short that it would be found by chance.
    pub fn add(&mut self, what: impl Into<String>, secret: impl AsRef<[u8]>) {
        let (what, secret) = (what.into(), secret.as_ref());
        assert!(secret.len() >= SHORTEST, "{what} is too short to look for");
        self.entries.push((what.clone(), secret.to_owned()));
        if secret.len() > 2 * PIECE {
            for piece in secret.chunks(PIECE).filter(|piece| piece.len() >= SHORTEST) {
                self.entries.push((format!("a piece of {what}"), piece.to_owned()));
            }
        }
    }

    /// Looks for the parts of a compact JWS or JWE, but not for its header, which is no secret; nor for the claims of
    /// a JWS as such, because ids and times are in logs.
    pub fn add_token(&mut self, what: &str, token: &str) {
        for (number, part) in token.split('.').enumerate().skip(1).filter(|(_, part)| part.len() >= SHORTEST)
        {
            self.add(format!("part {number} of {what}"), part);
            let decoded = URL_SAFE_NO_PAD.decode(part).unwrap();
            if !decoded.starts_with(b"{") {
                self.add(format!("part {number} of {what}, decoded"), decoded);
            }
        }
    }

    /// How many there are, pieces included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Prepares the search.
    pub fn search(&self) -> Search {
        let (mut seen, mut patterns, mut names) = (HashSet::new(), Vec::new(), Vec::new());
        for (what, secret) in &self.entries {
            for (form, pattern) in forms(secret) {
                if seen.insert(pattern.clone()) {
                    patterns.push(pattern);
                    names.push((what.clone(), form));
                }
            }
        }
        let automaton =
            AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(patterns).unwrap();
        Search { automaton, names }
    }
}

impl Search {
    /// What is found in these bytes, each thing once.
    pub fn find(&self, bytes: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        for hit in self.automaton.find_iter(bytes) {
            let (what, form) = &self.names[hit.pattern().as_usize()];
            let around = &bytes[hit.start().saturating_sub(AROUND)..hit.start()];
            let line = format!("{what} ({form}) after `{}`", around.escape_ascii());
            if !found.contains(&line) {
                found.push(line);
            }
        }
        found
    }
}

/// The forms of a secret.
fn forms(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut texts = vec![("as it is", secret.to_vec()), ("escaped as bytes", escaped(secret))];
    if let Ok(text) = std::str::from_utf8(secret) {
        let json = inside_quotes(&serde_json::to_string(text).unwrap());
        texts.push(("in JSON in JSON", inside_quotes(&serde_json::to_string(&json).unwrap()).into_bytes()));
        texts.push(("in JSON", json.into_bytes()));
        texts.push(("as Debug has it", text.escape_debug().to_string().into_bytes()));
    }
    let mut forms = texts.clone();
    for (_, text) in &texts {
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            forms.extend((0..3).map(|before| ("in base64", inside_base64(engine, before, text))));
        }
    }
    let hex = secret.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    let numbers: Vec<_> = secret.iter().map(u8::to_string).collect();
    forms.extend([
        ("in hexadecimal", hex.to_uppercase().into_bytes()),
        ("in hexadecimal", hex.into_bytes()),
        ("as numbers", numbers.join(", ").into_bytes()),
        ("as numbers", numbers.join(",").into_bytes()),
        ("in a URL", form_urlencoded::byte_serialize(secret).collect::<String>().into_bytes()),
    ]);
    forms
}

fn escaped(bytes: &[u8]) -> Vec<u8> {
    bytes.escape_ascii().to_string().into_bytes()
}

fn inside_quotes(quoted: &str) -> String {
    quoted[1..quoted.len() - 1].to_owned()
}

/// What base64 has of these bytes whatever stands around them, if so many bytes of a group stand before them.
fn inside_base64(engine: &GeneralPurpose, before: usize, bytes: &[u8]) -> Vec<u8> {
    let all = [&vec![0; before], bytes].concat();
    let encoded = engine.encode(&all);
    let (first, last) = ((before * 8).div_ceil(6), all.len() * 8 / 6);
    encoded.as_bytes()[first..last].to_owned()
}

/// Nine bytes and more do not occur by chance in what these tests search.
const SHORTEST: usize = 9;
/// Of what is long.
const PIECE: usize = 32;
/// How much is shown of what stands before.
const AROUND: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn found(secret: &[u8], text: &[u8]) -> bool {
        let mut secrets = Secrets::default();
        secrets.add("it", secret);
        !secrets.search().find(text).is_empty()
    }

    #[test]
    fn a_secret_is_found_in_every_form_wherever_it_stands() {
        let secret = "s3cret \"quoted\" & more\nÜ";
        assert!(!found(secret.as_bytes(), b"nothing at all"));
        for around in ["", "a", "ab", "abc"] {
            let text = format!("{around}{secret}{around}");
            let json = serde_json::to_string(&text).unwrap();
            assert!(found(secret.as_bytes(), text.as_bytes()));
            assert!(found(secret.as_bytes(), json.as_bytes()));
            assert!(found(secret.as_bytes(), serde_json::to_string(&json).unwrap().as_bytes()));
            assert!(found(secret.as_bytes(), format!("{text:?}").as_bytes()));
            assert!(found(secret.as_bytes(), format!("{:?}", bytes::Bytes::from(text.clone())).as_bytes()));
            assert!(found(secret.as_bytes(), format!("{:?}", text.as_bytes()).as_bytes()));
            for inside in [text.as_bytes(), json.as_bytes()] {
                assert!(found(secret.as_bytes(), STANDARD_NO_PAD.encode(inside).as_bytes()));
                assert!(found(secret.as_bytes(), URL_SAFE_NO_PAD.encode(inside).as_bytes()));
            }
            let url: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
            assert!(found(secret.as_bytes(), url.as_bytes()));
        }
    }

    #[test]
    fn a_piece_of_a_long_one_is_found_and_another_one_is_not() {
        let long: String = (0..40).map(|number| format!("part{number:03}-")).collect();
        assert!(found(long.as_bytes(), &long.as_bytes()[30..110]));
        assert!(!found(long.as_bytes(), long.replace('-', "+").as_bytes()));
    }

    #[test]
    fn keys_are_found_as_bytes_text_and_hexadecimal() {
        let key: Vec<u8> = (100..132).collect();
        let hex: String = key.iter().map(|byte| format!("{byte:02X}")).collect();
        assert!(found(&key, &[&[0][..], &key, &[0]].concat()));
        assert!(found(&key, hex.as_bytes()) && found(&key, hex.to_lowercase().as_bytes()));
        assert!(found(&key, URL_SAFE_NO_PAD.encode(&key).as_bytes()));
    }
}
