//! What the grammar refuses, and what a named list lets pass: what is let pass reads as if it had come well formed.

use headgate_wire::{
    parse_request, parse_response, ChunkError, ChunkLimits, ChunkStep, ChunkedDecoder, Framing, HeadError,
    HeadLimits, Lenient, Parsed, RequestError, ResponseError,
};

fn limits(names: &[&str]) -> HeadLimits {
    let rules = names
        .iter()
        .map(|name| Lenient::named(name).expect("it is a rule"));
    HeadLimits {
        lenient: rules.fold(Lenient::NONE, Lenient::and),
        ..HeadLimits::default()
    }
}

/// Target, version and field `a` of a request.
fn request(text: &[u8], names: &[&str]) -> Result<(String, String), RequestError> {
    match parse_request(text, limits(names))? {
        Parsed::Complete { head, len } => {
            assert_eq!(len, text.len(), "all of it is used");
            let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            Ok((
                shown(head.target()),
                shown(head.head.get(b"a").unwrap_or_default()),
            ))
        }
        Parsed::Partial => panic!("the head is whole"),
    }
}

#[test]
fn requests_are_refused_by_the_grammar_unless_a_rule_is_named() {
    let cases: [(&str, &[u8], RequestError, &str, &str); 9] = [
        (
            "version_digits",
            b"GET / HTTP/01.01\r\nHost: h\r\n\r\n",
            RequestError::Version,
            "/",
            "",
        ),
        (
            "version_digits",
            b"GET / HTTP/1.01\r\nHost: h\r\n\r\n",
            RequestError::Version,
            "/",
            "",
        ),
        (
            "control_characters",
            b"GET / HTTP/1.1\r\nHost: h\r\na: b\x01c\x7f\r\n\r\n",
            HeadError::Control.into(),
            "/",
            "b c",
        ),
        (
            "control_characters",
            b"GET / HTTP/1.1\r\nHost: h\r\na:\x1f\r\n\r\n",
            HeadError::Control.into(),
            "/",
            "",
        ),
        (
            "non_ascii_targets",
            b"GET /\xc3\xbc?\xff HTTP/1.1\r\nHost: h\r\n\r\n",
            RequestError::Target,
            "/%C3%BC?%FF",
            "",
        ),
        (
            "overlong_utf8",
            b"GET /%c0%ae%c0%ae/ HTTP/1.1\r\nHost: h\r\n\r\n",
            RequestError::Overlong,
            "/%c0%ae%c0%ae/",
            "",
        ),
        (
            "overlong_utf8",
            b"GET /?q=%E0%80%AF HTTP/1.1\r\nHost: h\r\n\r\n",
            RequestError::Overlong,
            "/?q=%E0%80%AF",
            "",
        ),
        (
            "overlong_utf8",
            b"GET /%F0%80%80%AE HTTP/1.1\r\nHost: h\r\n\r\n",
            RequestError::Overlong,
            "/%F0%80%80%AE",
            "",
        ),
        (
            "fragments",
            b"GET /a?b#c HTTP/1.1\r\nHost: h\r\n\r\n",
            RequestError::Target,
            "/a?b",
            "",
        ),
    ];
    for (rule, text, error, target, field) in cases {
        let shown = text.escape_ascii();
        assert_eq!(request(text, &[]), Err(error), "{shown}");
        assert_eq!(
            request(text, &[rule]),
            Ok((target.to_owned(), field.to_owned())),
            "{shown}"
        );
        let others: Vec<&str> = [
            "version_digits",
            "control_characters",
            "non_ascii_targets",
            "overlong_utf8",
            "fragments",
        ]
        .into_iter()
        .filter(|name| *name != rule)
        .collect();
        assert_eq!(
            request(text, &others),
            Err(error),
            "another rule lets it not pass: {shown}"
        );
    }
}

#[test]
fn what_is_never_let_pass() {
    let every = [
        "version_digits",
        "control_characters",
        "non_ascii_targets",
        "overlong_utf8",
        "fragments",
    ];
    for (text, error) in [
        (
            &b"GET / HTTP/2.0\r\nHost: h\r\n\r\n"[..],
            RequestError::VersionUnsupported,
        ),
        (b"GET / HTTP/00002.0\r\nHost: h\r\n\r\n", RequestError::Version),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\na: b\0c\r\n\r\n",
            HeadError::Nul.into(),
        ),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\na: b\rc\r\n\r\n",
            HeadError::BareCr.into(),
        ),
        (
            b"GET / HTTP/1.1\r\nHost: h\na: b\r\n\r\n",
            HeadError::BareLf.into(),
        ),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\x0b\r\n\r\n",
            HeadError::Control.into(),
        ),
        (b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", RequestError::Version),
        (
            b"GET / HTTP/1.1\r\nHost: h\r\na : b\r\n\r\n",
            HeadError::SpaceBeforeColon.into(),
        ),
    ] {
        assert_eq!(request(text, &every), Err(error), "{}", text.escape_ascii());
    }
    // text in an older encoding is not overlong UTF-8
    assert!(request(b"GET /%E4%F6?%FF%C0a HTTP/1.1\r\nHost: h\r\n\r\n", &[]).is_ok());
}

#[test]
fn the_verdict_of_a_lenient_list_does_not_depend_on_how_the_bytes_came() {
    let text = b"GET /\xc3\xbc#x HTTP/01.1\r\nHost: h\r\na: \x01b\r\n\r\n";
    let limits = limits(&[
        "version_digits",
        "control_characters",
        "non_ascii_targets",
        "fragments",
    ]);
    for end in 0..text.len() {
        assert!(
            matches!(parse_request(&text[..end], limits), Ok(Parsed::Partial)),
            "{end}"
        );
    }
    assert!(matches!(parse_request(text, limits), Ok(Parsed::Complete { len, .. }) if len == text.len()));
    let tight = HeadLimits {
        max_bytes: 30,
        ..limits
    };
    assert_eq!(parse_request(text, tight).err(), Some(HeadError::TooLarge.into()));
}

/// Framing and field `a` of a response.
fn response(text: &[u8], names: &[&str]) -> Result<(Framing, String), ResponseError> {
    match parse_response(text, limits(names), false)? {
        Parsed::Complete { head, len } => {
            assert_eq!(len, text.len(), "all of it is used");
            let field = String::from_utf8_lossy(head.head.get(b"a").unwrap_or_default()).into_owned();
            Ok((head.framing, field))
        }
        Parsed::Partial => panic!("the head is whole"),
    }
}

/// The rules, the response, why it is refused without them, its framing with them, and a field.
type LenientCase<'a> = (&'a [&'a str], &'a [u8], ResponseError, Framing, &'a str);

#[test]
fn responses_of_old_devices_pass_where_a_rule_is_named() {
    let length = Framing::Length(2);
    let cases: [LenientCase<'_>; 7] = [
        (
            &["bare_lf"],
            b"HTTP/1.1 200 OK\nContent-Length: 2\na: b\n\n",
            HeadError::BareLf.into(),
            length,
            "b",
        ),
        (
            &["bare_lf"],
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\na: b\r\n\n",
            HeadError::BareLf.into(),
            length,
            "b",
        ),
        (
            &["folded_lines"],
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\na: b \r\n\t c\r\n  d\r\n\r\n",
            HeadError::Folded.into(),
            length,
            "b c d",
        ),
        (
            &["duplicate_content_length"],
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\na: b\r\nContent-length: 2\r\n\r\n",
            HeadError::LengthRepeated.into(),
            length,
            "b",
        ),
        (
            &["duplicate_content_length"],
            b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\n",
            HeadError::Length.into(),
            length,
            "",
        ),
        (
            &["control_characters"],
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\na: b\x01c\r\n\r\n",
            HeadError::Control.into(),
            length,
            "b c",
        ),
        (
            &["bare_lf", "folded_lines"],
            b"HTTP/1.1 200 OK\na: b\n c\n\n",
            HeadError::BareLf.into(),
            Framing::UntilClose,
            "b c",
        ),
    ];
    for (rules, text, error, framing, field) in cases {
        let shown = text.escape_ascii();
        assert_eq!(response(text, &[]), Err(error), "{shown}");
        assert_eq!(response(text, rules), Ok((framing, field.to_owned())), "{shown}");
    }
}

#[test]
fn lengths_that_differ_never_pass() {
    let rule = ["duplicate_content_length", "bare_lf", "folded_lines"];
    for text in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2, 3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 02\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n Content-Length: 2\r\n\r\n",
    ] {
        assert!(response(text, &rule).is_err(), "{}", text.escape_ascii());
    }
}

#[test]
fn a_space_before_the_colon_is_removed_from_responses() {
    let text = b"HTTP/1.1 200 OK\r\nContent-Length \t: 2\r\na : b\r\n\r\n";
    assert_eq!(response(text, &[]), Ok((Framing::Length(2), "b".to_owned())));
    let Ok(Parsed::Complete { head, .. }) = parse_response(text, limits(&[]), false) else {
        panic!("it is a head");
    };
    let mut out = Vec::new();
    head.head.write_fields(&mut out);
    assert_eq!(out, b"a: b\r\n");
    for end in 0..text.len() {
        assert!(matches!(
            parse_response(&text[..end], limits(&[]), false),
            Ok(Parsed::Partial)
        ));
    }
    assert_eq!(
        response(b"HTTP/1.1 200 OK\r\na b: c\r\n\r\n", &[]),
        Err(HeadError::FieldName.into())
    );
}

/// The data of a body.
fn chunks(text: &[u8], limits: ChunkLimits) -> Result<Vec<u8>, ChunkError> {
    let mut decoder = ChunkedDecoder::new(limits);
    let (mut data, mut at) = (Vec::new(), 0);
    loop {
        match decoder.step(&text[at..])? {
            ChunkStep::Data { consumed_before, len } => {
                let start = at + consumed_before;
                data.extend_from_slice(&text[start..start + len]);
                at = start + len;
            }
            ChunkStep::End { .. } => return Ok(data),
            ChunkStep::NeedMore { .. } => panic!("the body is whole: {}", text.escape_ascii()),
        }
    }
}

#[test]
fn chunk_extensions_follow_the_grammar() {
    let strict = ChunkLimits::default();
    let loose = ChunkLimits {
        lenient: Lenient::CHUNK_EXTENSIONS,
        ..strict
    };
    let body = |extension: &str| format!("1{extension}\r\nx\r\n0\r\n\r\n").into_bytes();
    for good in [
        ";a",
        ";a=b",
        ";a=\"b;\\\"c\"",
        ";a;b=c;d",
        "; a",
        ";\ta = b ; c",
        ";a=\"\" ;b",
    ] {
        for limits in [strict, strict.from_server(), loose] {
            assert_eq!(chunks(&body(good), limits).as_deref(), Ok(&b"x"[..]), "{good}");
        }
    }
    for bad in [
        ";",
        ";;",
        ";=",
        ";a=",
        ";a=b=c",
        ";a;",
        ";a\"",
        ";a=\"b",
        ";a=\"b\"c",
        ";(",
        ";a=b c",
        ";a b",
        "; ",
    ] {
        for limits in [strict, strict.from_server()] {
            assert_eq!(chunks(&body(bad), limits), Err(ChunkError::Extension), "{bad}");
        }
        assert_eq!(chunks(&body(bad), loose).as_deref(), Ok(&b"x"[..]), "{bad}");
    }
    for control in [";a\u{1}", ";a=\"\u{7f}\""] {
        for limits in [strict, loose] {
            assert_eq!(chunks(&body(control), limits), Err(ChunkError::Extension));
        }
    }
}

#[test]
fn white_space_behind_a_size_is_let_in_from_servers_only() {
    let body = |extension: &str| format!("1{extension}\r\nx\r\n0{extension}\r\n\r\n").into_bytes();
    for spaced in [" ;a=b", "\t ;a", "  ", " ", ";a ", ";a=b \t"] {
        let from_server = ChunkLimits::default().from_server();
        assert_eq!(
            chunks(&body(spaced), from_server).as_deref(),
            Ok(&b"x"[..]),
            "{spaced:?}"
        );
    }
    for spaced in [" ;a=b", " ", "\t;a"] {
        assert_eq!(
            chunks(&body(spaced), ChunkLimits::default()),
            Err(ChunkError::Size),
            "{spaced:?}"
        );
    }
    let trailer = b"0\r\na : b\r\n\r\n";
    assert!(chunks(trailer, ChunkLimits::default().from_server()).is_ok());
    assert!(chunks(trailer, ChunkLimits::default()).is_err());
}

#[test]
fn an_unknown_rule_has_no_name() {
    assert_eq!(Lenient::named("everything"), None);
}
