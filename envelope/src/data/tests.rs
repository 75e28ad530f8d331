use super::*;

fn refused(text: &str) -> DataError {
    Data::json(text.as_bytes()).expect_err(text)
}

#[test]
fn json_is_kept_byte_for_byte() {
    for text in ["null", "1.50", r#""\u00e9\/""#, "[ 1 ,\n2 ]", r#"{"b":1,"a":2,"B":3}"#, r#""😀""#] {
        let Ok(Data::Json(raw)) = Data::json(format!(" {text}\n").as_bytes()) else { panic!("{text}") };
        assert_eq!(raw.get(), text);
    }
}

#[test]
fn a_part_of_json_is_taken_as_it_is_and_checked_as_json_is() {
    for text in ["null", r#"{"b":1,"a":2}"#, r#"{"a":1,"a":1}"#, r#""\ud800""#, "[1e400]"] {
        let part: Box<RawValue> = serde_json::from_str(text).unwrap();
        assert_eq!(Data::json_value(&part), Data::json(text.as_bytes()), "{text}");
    }
    let long: Box<RawValue> = serde_json::from_str(&format!("\"{}\"", "a".repeat(MAX_JSON))).unwrap();
    assert!(matches!(Data::json_value(&long), Err(DataError::JsonTooLong { .. })));
}

#[test]
fn duplicates_are_found_at_any_depth_and_by_meaning() {
    let at =
        |member: &str, pointer: &str| DataError::Duplicate { member: member.into(), pointer: pointer.into() };
    assert_eq!(refused(r#"{"a":1,"a":1}"#), at("a", ""));
    assert_eq!(refused(r#"{"a":1,"\u0061":1}"#), at("a", ""));
    assert_eq!(refused(r#"{"x/y":[0,{"~":{"k":1,"k":2}}]}"#), at("k", "/x~1y/1/~0"));
    let many: Vec<String> = (0..40).map(|i| format!(r#""m{i}":{i}"#)).collect();
    assert!(Data::json(format!("{{{}}}", many.join(",")).as_bytes()).is_ok());
    assert_eq!(refused(&format!(r#"{{{},"m30":0}}"#, many.join(","))), at("m30", ""));
    assert_eq!(refused(&format!(r#"{{{},"m3":0}}"#, many.join(","))), at("m3", ""));
}

#[test]
fn what_receivers_could_not_parse_is_refused() {
    for text in [
        r#""\ud800""#,
        r#""\udc00""#,
        r#"{"\ud800":1}"#,
        "1e400",
        "-1e400",
        "NaN",
        "Infinity",
        "",
        "{} {}",
        "{",
        "\u{feff}{}",
        "[1,]",
        "'a'",
        "01",
        "\"\n\"",
    ] {
        let error = refused(text);
        assert_eq!(error.code(), "data.syntax", "{text}");
        assert!(error.to_string().contains("line"), "{error}");
    }
    assert_eq!(Data::json(b"\"a\xff\""), Err(DataError::Utf8 { at: 2 }));
}

#[test]
fn depth_and_size_are_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(Data::json(nested(64).as_bytes()).is_ok());
    assert_eq!(refused(&nested(65)).code(), "data.too_deep");
    assert_eq!(refused(&nested(60_000)).code(), "data.too_deep");
    let text = |len: usize| format!("\"{}\"", "x".repeat(len - 2));
    assert!(Data::json(text(MAX_JSON).as_bytes()).is_ok());
    assert_eq!(refused(&text(MAX_JSON + 1)), DataError::JsonTooLong { found: MAX_JSON + 1, limit: MAX_JSON });
    assert!(Data::binary("a/b", vec![0; MAX_BINARY]).is_ok());
    assert_eq!(Data::binary("a/b", vec![0; MAX_BINARY + 1]).unwrap_err().code(), "data.too_long");
}

#[test]
fn content_types_are_media_types() {
    for text in ["text/plain", "text/plain; charset=utf-8", "application/vnd.acme+xml"] {
        assert!(is_content_type(text), "{text}");
    }
    for text in
        ["", "text", "/plain", "text/", "te xt/plain", "text/plain\r\nx: y", "text/pläin", &"a/".repeat(200)]
    {
        assert!(!is_content_type(text), "{text}");
    }
}

#[test]
fn debug_shows_no_content() {
    assert_eq!(format!("{:?}", Data::json(b"\"secret\"").unwrap()), "Json(8 bytes)");
    assert_eq!(format!("{:?}", Data::binary("a/b", b"secret".to_vec()).unwrap()), "Binary(\"a/b\", 6 bytes)");
}
