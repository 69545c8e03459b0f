//! Fields are found, edited and written on.

use headgate_wire::{parse_request, parse_response, FieldError, Framing, Head, HeadLimits, Parsed, Span};

#[test]
fn a_request_is_edited_and_written() {
    let bytes = b"POST /a/b?c=d HTTP/1.1\r\nHost: h:80\r\nConnection: keep-alive\r\nContent-Length: 3\r\nX-A:  1 \r\nAccept: */*\r\n\r\nabc";
    let Ok(Parsed::Complete { mut head, len }) = parse_request(bytes, HeadLimits::default()) else {
        panic!("complete and well formed");
    };
    assert_eq!(len, bytes.len() - 3);
    assert_eq!(
        (head.method(), head.path(), head.query(), head.host()),
        (&b"POST"[..], &b"/a/b"[..], &b"c=d"[..], &b"h:80"[..])
    );
    assert_eq!((head.framing, head.persistent), (Framing::Length(3), true));
    head.head.set(b"accept", b"text/html").expect("a valid field");
    head.head.add(b"X-B", b"2").expect("a valid field");
    let mut out = Vec::new();
    head.head.write_fields(&mut out);
    assert_eq!(out, b"X-A: 1\r\naccept: text/html\r\nX-B: 2\r\n");
    assert!(out.len() <= head.head.len_hint());
}

#[test]
fn a_response_is_written() {
    let bytes = b"HTTP/1.1 200 OK\r\nServer: x\r\nTransfer-Encoding: chunked\r\nDate: y\r\nEtag: z\r\n\r\n";
    let Ok(Parsed::Complete { head, len }) = parse_response(bytes, HeadLimits::default(), false) else {
        panic!("complete and well formed");
    };
    assert_eq!(
        (len, head.status, head.reason(), head.framing),
        (bytes.len(), 200, &b"OK"[..], Framing::Chunked)
    );
    let mut out = Vec::new();
    head.head.write_fields(&mut out);
    assert_eq!(out, b"Server: x\r\nDate: y\r\nEtag: z\r\n");
}

fn head_of(lines: &str) -> Head {
    let text = format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
    match parse_request(text.as_bytes(), HeadLimits::default()) {
        Ok(Parsed::Complete { head, .. }) => head.head,
        other => panic!("complete and well formed, not {other:?}"),
    }
}

fn written(head: &Head) -> String {
    let mut out = Vec::new();
    head.write_fields(&mut out);
    assert!(out.len() <= head.len_hint());
    String::from_utf8(out).expect("these tests use text")
}

#[test]
fn names_are_compared_without_regard_to_case_and_written_as_they_came() {
    let head = head_of("X-Aa: 1\r\nB:2\r\nx-aA:\t3 \r\nC:\r\n");
    assert_eq!(head.get(b"x-AA"), Some(&b"1"[..]));
    assert_eq!(head.get_all(b"X-AA").collect::<Vec<_>>(), [b"1", b"3"]);
    assert_eq!((head.get(b"c"), head.get(b"x")), (Some(&b""[..]), None));
    assert_eq!(written(&head), "X-Aa: 1\r\nB: 2\r\nx-aA: 3\r\nC: \r\n");
}

#[test]
fn set_keeps_the_place_of_the_first_and_drops_the_others() {
    let mut head = head_of("A: 1\r\nB: 1\r\na: 2\r\nC: 1\r\n");
    head.set(b"a", b" new ").expect("valid");
    head.set(b"D", b"1").expect("valid");
    assert_eq!(written(&head), "a: new\r\nB: 1\r\nC: 1\r\nD: 1\r\n");
    head.set(b"a", b"newer").expect("valid");
    assert_eq!(head.get_all(b"A").collect::<Vec<_>>(), [b"newer"]);
}

#[test]
fn remove_takes_every_line_and_only_visible_ones() {
    let mut head = head_of("A: 1\r\nTransfer-Encoding: gzip, chunked\r\nB: 1\r\nA: 2\r\n");
    head.remove(b"a");
    head.remove(b"transfer-encoding");
    assert_eq!(written(&head), "B: 1\r\n");
    assert!(
        head.has_inner_codings(),
        "the framing is not the user's to take away"
    );
    head.add(b"A", b"3").expect("valid");
    assert_eq!(written(&head), "B: 1\r\nA: 3\r\n");
}

#[test]
fn retain_takes_lines_by_name_and_value_and_only_visible_ones() {
    let mut head = head_of("A: 1\r\nTransfer-Encoding: gzip, chunked\r\nB: 1\r\nA: 2\r\nC: 3\r\n");
    head.retain(|name, value| name == b"B" || value == b"2");
    assert_eq!(written(&head), "B: 1\r\nA: 2\r\n");
    assert!(head.has_inner_codings());
}

#[test]
fn edits_that_would_write_a_message_wrong_are_refused() {
    let mut head = Head::empty();
    for name in ["", "a b", "a:", "a\r\n", "\u{e9}"] {
        assert_eq!(
            head.set(name.as_bytes(), b"x"),
            Err(FieldError::Name(name.into()))
        );
    }
    for value in ["a\r\nb: c", "a\nb", "a\0"] {
        assert_eq!(
            head.add(b"a", value.as_bytes()),
            Err(FieldError::Value("a".into()))
        );
    }
    for name in [
        "Content-Length",
        "transfer-encoding",
        "Connection",
        "keep-alive",
        "Upgrade",
        "TE",
        "Host",
        "Expect",
    ] {
        assert_eq!(
            head.set(name.as_bytes(), b"x"),
            Err(FieldError::Framing(name.into()))
        );
    }
    assert_eq!((written(&head), head.iter().count()), (String::new(), 0));
}

#[test]
fn a_span_of_another_head_is_empty() {
    assert_eq!(Head::empty().span(Span { start: 3, len: 5 }), b"");
    assert_eq!(
        head_of("").span(Span {
            start: u32::MAX,
            len: u32::MAX
        }),
        b""
    );
}

#[test]
fn a_field_is_found_in_any_case_whatever_its_name_ends_with() {
    let tokens = "!#$%&'*+-.^_`|~019AZaz";
    for last in tokens.chars() {
        let lines: String = ["", "x", "x-y"]
            .map(|start| format!("{start}{last}: {start}{last}\r\n"))
            .concat();
        let mut head = head_of(&lines);
        for start in ["", "x", "x-y"] {
            let name = format!("{start}{last}");
            for asked in [name.to_ascii_lowercase(), name.to_ascii_uppercase()] {
                assert_eq!(head.get(asked.as_bytes()), Some(name.as_bytes()), "{asked}");
            }
            let other = format!("{start}q{last}");
            assert_eq!(head.get(other.as_bytes()), None, "{other}");
            head.set(other.as_bytes(), b"new").expect("a valid field");
            assert_eq!(head.get(other.as_bytes()), Some(&b"new"[..]), "{other}");
            head.remove(name.as_bytes());
            assert_eq!(head.get(name.as_bytes()), None, "{name}");
        }
    }
}
