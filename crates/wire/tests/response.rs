//! What a response head says, and what is refused.

use headgate_wire::{
    parse_response, Framing, HeadError, HeadLimits, Lenient, Parsed, ResponseError, ResponseHead, Version,
};

fn parse_for(text: &str, request_was_head: bool) -> Result<ResponseHead, ResponseError> {
    match parse_response(text.as_bytes(), HeadLimits::default(), request_was_head)? {
        Parsed::Complete { head, len } => {
            assert_eq!(len, text.len());
            Ok(head)
        }
        Parsed::Partial => panic!("complete: {}", text.escape_debug()),
    }
}

fn parse(text: &str) -> Result<ResponseHead, ResponseError> {
    parse_for(text, false)
}

#[test]
fn the_status_line_is_read() {
    for (line, status, reason) in [
        ("HTTP/1.1 200 OK", 200, "OK"),
        ("HTTP/1.1 200 ", 200, ""),
        ("HTTP/1.1 200", 200, ""),
        ("HTTP/1.1 404 Nicht  da\t\u{e4}", 404, "Nicht  da\t\u{e4}"),
        ("HTTP/1.2 999 x", 999, "x"),
    ] {
        let head = parse(&format!("{line}\r\n\r\n")).expect("well formed");
        assert_eq!(
            (head.status, head.reason()),
            (status, reason.as_bytes()),
            "{line}"
        );
        assert_eq!(head.version, Version::Http11);
    }
}

#[test]
fn malformed_status_lines_are_refused() {
    use ResponseError::{Head, Reason, Status, Version};
    let cases: [(&str, ResponseError); 12] = [
        ("\r\nHTTP/1.1 200 OK", Version),
        ("ICY 200 OK", Version),
        ("http/1.1 200 OK", Version),
        ("HTTP/2.0 200 OK", Version),
        ("HTTP/1.x 200 OK", Version),
        ("HTTP/1.1  200 OK", Status),
        ("HTTP/1.1 20 OK", Status),
        ("HTTP/1.1 2000 OK", Status),
        ("HTTP/1.1 099 OK", Status),
        ("HTTP/1.1 200 O\0K", Reason),
        ("HTTP/1.1 200 O\rK", Head(HeadError::BareCr)),
        ("HTTP/1.1 200 O\nK", Head(HeadError::BareLf)),
    ];
    for (line, error) in cases {
        assert_eq!(
            parse(&format!("{line}\r\n\r\n")).err(),
            Some(error),
            "{}",
            line.escape_debug()
        );
    }
}

#[test]
fn the_body_ends_where_rfc_9112_section_6_3_says() {
    let cases: [(u16, &str, bool, Framing, Option<u64>); 9] = [
        (200, "", false, Framing::UntilClose, None),
        (200, "Content-Length: 5\r\n", false, Framing::Length(5), Some(5)),
        (200, "Content-Length: 5\r\n", true, Framing::None, Some(5)),
        (
            200,
            "Transfer-Encoding: chunked\r\n",
            false,
            Framing::Chunked,
            None,
        ),
        (200, "Transfer-Encoding: chunked\r\n", true, Framing::None, None),
        (304, "Content-Length: 5\r\n", false, Framing::None, Some(5)),
        (204, "", false, Framing::None, None),
        (100, "", false, Framing::None, None),
        (103, "Link: x\r\n", false, Framing::None, None),
    ];
    for (status, lines, was_head, framing, declared) in cases {
        let head = parse_for(&format!("HTTP/1.1 {status} x\r\n{lines}\r\n"), was_head).expect("well formed");
        assert_eq!(
            (head.framing, head.declared_length),
            (framing, declared),
            "{status} {lines}"
        );
        assert_eq!(head.persistent, framing != Framing::UntilClose);
        assert_eq!(head.head.get(b"content-length"), None, "framing is written anew");
    }
}

#[test]
fn broken_framing_is_refused() {
    let cases: [(&str, ResponseError); 6] = [
        (
            "HTTP/1.1 200 x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            HeadError::LengthAndCoding.into(),
        ),
        (
            "HTTP/1.1 200 x\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
            HeadError::LengthRepeated.into(),
        ),
        (
            "HTTP/1.1 200 x\r\nTransfer-Encoding: gzip\r\n",
            HeadError::Coding.into(),
        ),
        (
            "HTTP/1.0 200 x\r\nTransfer-Encoding: chunked\r\n",
            HeadError::CodingInHttp10.into(),
        ),
        (
            "HTTP/1.1 101 x\r\nContent-Length: 1\r\n",
            ResponseError::SwitchBody,
        ),
        (
            "HTTP/1.1 101 x\r\nTransfer-Encoding: chunked\r\n",
            ResponseError::SwitchBody,
        ),
    ];
    for (text, error) in cases {
        assert_eq!(parse(&format!("{text}\r\n")).err(), Some(error), "{text}");
    }
}

#[test]
fn a_connection_is_reused_only_if_that_is_safe() {
    let persists = |text: &str| parse(&format!("{text}\r\n\r\n")).expect("well formed").persistent;
    assert!(persists("HTTP/1.1 103 x"));
    assert!(persists("HTTP/1.1 103 x\r\nContent-Length: 0"));
    assert!(!persists("HTTP/1.1 103 x\r\nContent-Length: 1"));
    assert!(!persists("HTTP/1.1 103 x\r\nTransfer-Encoding: chunked"));
    assert!(persists("HTTP/1.1 200 x\r\nContent-Length: 1"));
    assert!(!persists(
        "HTTP/1.1 200 x\r\nContent-Length: 1\r\nConnection: close"
    ));
    assert!(!persists("HTTP/1.0 200 x\r\nContent-Length: 1"));
    assert!(persists(
        "HTTP/1.0 200 x\r\nContent-Length: 1\r\nConnection: keep-alive"
    ));
    assert!(persists("HTTP/1.1 204 x\r\nContent-Length: 0"));
    assert!(
        !persists("HTTP/1.1 204 x\r\nContent-Length: 3"),
        "what follows may be the body it must not have"
    );
}

#[test]
fn only_a_101_that_names_a_protocol_upgrades() {
    let upgrades = |text: &str| parse(&format!("{text}\r\n\r\n")).expect("well formed").upgrade;
    assert!(upgrades(
        "HTTP/1.1 101 x\r\nConnection: Upgrade\r\nUpgrade: websocket"
    ));
    assert!(!upgrades("HTTP/1.1 101 x\r\nUpgrade: websocket"));
    assert!(!upgrades("HTTP/1.1 101 x\r\nConnection: Upgrade"));
    assert!(!upgrades(
        "HTTP/1.1 200 x\r\nConnection: Upgrade\r\nUpgrade: websocket"
    ));
}

#[test]
fn a_head_beyond_the_limit_is_refused() {
    let limits = HeadLimits {
        max_bytes: 40,
        max_fields: 1,
        lenient: Lenient::NONE,
    };
    let error = |text: &str| parse_response(text.as_bytes(), limits, false).err();
    assert_eq!(
        error(&format!("HTTP/1.1 200 {}", "x".repeat(40))),
        Some(HeadError::TooLarge.into())
    );
    assert_eq!(
        error("HTTP/1.1 200 x\r\na: 1\r\nb: 1\r\n\r\n"),
        Some(HeadError::TooManyFields.into())
    );
    assert_eq!(error("HTTP/1.1 200 x\r\na: 1\r\n\r\n"), None);
}
