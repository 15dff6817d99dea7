//! Where broken messages are said to break.
#![allow(clippy::unwrap_used, reason = "test code")]

use cobring_json::{JsonError, MAX_DEPTH, MAX_MESSAGE_SIZE_BYTES, Parser};

fn check(text: impl AsRef<[u8]>, expected: Result<(), JsonError>) {
    let mut parser = Parser::with_capacity(0);
    let text = text.as_ref();
    let found = parser.parse(text).map(drop);
    assert_eq!(found, expected, "{:?}", String::from_utf8_lossy(&text[..text.len().min(80)]));
}

fn check_syntax(text: impl AsRef<[u8]>, offset: usize) {
    check(text, Err(JsonError::Syntax { offset }));
}

#[test]
fn a_syntax_error_is_at_the_byte_that_does_not_fit() {
    check_syntax("", 0);
    check_syntax("   ", 3);
    check_syntax("{", 1);
    check_syntax("}", 0);
    check_syntax("{\"a\":1,}", 7);
    check_syntax("{\"a\" 1}", 5);
    check_syntax("{\"a\":1 \"b\":2}", 7);
    check_syntax("[1,2", 4);
    check_syntax("[1,,2]", 3);
    check_syntax("[1] x", 4);
    check_syntax("\n\n[1,\n x]", 7);
    check_syntax("{\"a\":\"b", 7);
    check_syntax("{\"a\":tru}", 8);
    check_syntax("{a:1}", 1);
    check_syntax("{1:1}", 1);
    check_syntax("[01]", 2);
    check_syntax("[-]", 2);
    check_syntax("[NaN]", 1);
    check_syntax(b"[\"\x01\"]", 2);
    check_syntax(b"[\"ab\xff\"]", 4);
    check_syntax(b"\xef\xbb\xbf[]", 0);
    check_syntax("{\"a\":1}\u{0}", 7);
}

#[test]
fn escapes_that_are_none_are_refused() {
    for text in
        ["[\"\\x\"]", "[\"\\ud800\"]", "[\"\\udc00\"]", "[\"\\u12g4\"]", "[\"\\ud800\\u0041\"]"]
    {
        let mut parser = Parser::with_capacity(0);
        let error = parser.parse(text.as_bytes()).map(drop).unwrap_err();
        assert!((2..text.len()).contains(&error.offset()), "{text}: {error}");
    }
}

#[test]
fn integers_beyond_64_bits_are_refused_where_they_begin() {
    check("[18446744073709551615,-9223372036854775808]", Ok(()));
    check_syntax("[1,18446744073709551616]", 3);
    check_syntax("{\"18446744073709551616\":[\"18446744073709551616\",-9223372036854775809]}", 48);
}

#[test]
fn depth_and_size_are_bounded() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    check(nested(MAX_DEPTH), Ok(()));
    check(nested(MAX_DEPTH + 1), Err(JsonError::TooDeep { offset: MAX_DEPTH }));
    check("[".repeat(1 << 20), Err(JsonError::TooDeep { offset: MAX_DEPTH }));
    check(format!("[x{}", nested(MAX_DEPTH + 1)), Err(JsonError::Syntax { offset: 1 }));
    let brackets_in_text = format!("[\"{}\\\"{}\"]", "[".repeat(100), "{".repeat(100));
    check(brackets_in_text, Ok(()));

    let size_bytes = MAX_MESSAGE_SIZE_BYTES + 1;
    check(vec![b' '; size_bytes], Err(JsonError::TooLarge { size_bytes }));
}

#[test]
fn the_parser_goes_on_after_an_error_and_after_a_huge_message() {
    let mut parser = Parser::with_capacity(100);
    let huge = format!("[{}0]", "0,".repeat(3 << 20));
    assert_eq!(
        parser.parse(huge.as_bytes()).unwrap().root().as_array().unwrap().count(),
        (3 << 20) + 1
    );
    for _ in 0..3 {
        assert!(parser.parse(b"{\"a\":").is_err());
        let document = parser.parse(b"{\"a\":[1,{\"b\":\"x\\ny\"}]}").unwrap();
        let inner = document.root().field("a").unwrap().as_array().unwrap().nth(1).unwrap();
        assert_eq!(inner.field("b").unwrap().as_str(), Some("x\ny"));
    }
}
