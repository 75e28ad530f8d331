//! Takes credentials out of what a server has answered.
//!
//! Guarantees that of each secret of [`SHORTEST`] bytes and more nothing is left in the ways in which programs that show
//! a request write it (as it is, in JSON, percent-encoded, the words of a header field one by one), also where the
//! answer was cut off in the middle of it. Whoever means to send back a secret in disguise can: it is theirs.

use std::borrow::Cow;

use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use crate::engine::post::BodyEnd;

/// Puts [`MASK`] in place of everything in `text` that is one of these secrets.
pub(super) fn mask(secrets: &[&[u8]], text: &mut Vec<u8>, end: BodyEnd) {
    let mut forms: Vec<_> = secrets.iter().flat_map(|secret| forms(secret)).collect();
    // Longest first: one may be a part of another.
    forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
    forms.dedup();
    let mut masked = Vec::with_capacity(text.len());
    let mut rest = text.as_slice();
    while let Some((first, others)) = rest.split_first() {
        let found = forms.iter().find(|form| rest.starts_with(form));
        let is_cut_off = end == BodyEnd::Cut && forms.iter().any(|form| form.starts_with(rest));
        if let Some(form) = found {
            masked.extend_from_slice(MASK);
            rest = &rest[form.len()..];
        } else if is_cut_off {
            masked.extend_from_slice(MASK);
            break;
        } else {
            masked.push(*first);
            rest = others;
        }
    }
    *text = masked;
}

/// A secret as it may be written.
fn forms(secret: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let words = secret.split(|byte| *byte == b' ');
    let mut forms = Vec::new();
    for word in std::iter::once(secret).chain(words).filter(|word| word.len() >= SHORTEST) {
        let text = String::from_utf8_lossy(word);
        let json = serde_json::to_string(&text).unwrap_or_default();
        let json = json.trim_start_matches('"');
        let json = json.strip_suffix('"').unwrap_or(json);
        let form: String = byte_serialize(word).collect();
        for written in [
            Cow::Borrowed(word),
            json.as_bytes().into(),
            json.replace('/', "\\/").into_bytes().into(),
            form.replace('+', "%20").into_bytes().into(),
            form.into_bytes().into(),
        ] {
            forms.push(Zeroizing::new(written.into_owned()));
        }
    }
    forms
}

const MASK: &[u8] = b"[masked]";

/// What is shorter is no secret, and may stand anywhere.
const SHORTEST: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(secrets: &[&str], text: &str, end: BodyEnd) -> String {
        let secrets: Vec<_> = secrets.iter().map(|secret| secret.as_bytes()).collect();
        let mut text = text.as_bytes().to_vec();
        mask(&secrets, &mut text, end);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn secrets_are_taken_out_in_every_way_in_which_they_may_be_written() {
        for (secret, text, expected) in [
            ("hunter2", "a hunter2 and hunter2hunter2.", "a [masked] and [masked][masked]."),
            ("Bearer abcd", "Bearer abcd, abcd, bearer", "[masked], [masked], bearer"),
            ("a\"b/c", r#"a"b/c a\"b/c a\"b\/c a%22b%2Fc"#, "[masked] [masked] [masked] [masked]"),
            ("a b c", "a+b+c a%20b%20c a b", "[masked] [masked] a b"),
            ("ab", "cabbage", "cabbage"),
        ] {
            assert_eq!(masked(&[secret], text, BodyEnd::Whole), expected);
        }
        assert_eq!(masked(&["abc", "abcdef"], "abcdef abcde", BodyEnd::Whole), "[masked] [masked]de");
        assert_eq!(masked(&[], "text", BodyEnd::Cut), "text");
    }

    #[test]
    fn the_beginning_of_a_secret_at_a_cut_end_is_taken_out() {
        assert_eq!(masked(&["hunter2"], "it was hunt", BodyEnd::Cut), "it was [masked]");
        assert_eq!(masked(&["hunter2"], "it was hunt", BodyEnd::Whole), "it was hunt");
        assert_eq!(masked(&["hunter2"], "it was hunter2", BodyEnd::Cut), "it was [masked]");
    }
}
