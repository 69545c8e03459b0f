//! Every status, method, content and version: the framing that is sent is the one that a strict client reads.

use headgate_wire::{
    frame_response, parse_response, Content, Framing, HeadLimits, Parsed, RequestKind, ResponseFraming,
    Version,
};

const REQUEST_KINDS: [RequestKind; 3] = [RequestKind::Content, RequestKind::Head, RequestKind::Connect];
const CONTENTS: [Content; 6] = [
    Content::None(None),
    Content::None(Some(0)),
    Content::None(Some(7)),
    Content::Length(0),
    Content::Length(7),
    Content::Open,
];

const NOTHING: ResponseFraming = ResponseFraming {
    has_content: false,
    is_chunked: false,
    length: None,
    closes: false,
};

fn length(length: u64) -> ResponseFraming {
    ResponseFraming {
        length: Some(length),
        ..NOTHING
    }
}

fn with_content(framing: ResponseFraming) -> ResponseFraming {
    ResponseFraming {
        has_content: true,
        ..framing
    }
}

#[test]
fn the_table() {
    let chunks = with_content(ResponseFraming {
        is_chunked: true,
        ..NOTHING
    });
    let closes = ResponseFraming {
        closes: true,
        ..NOTHING
    };
    let (none, seven, open) = (Content::None, Content::Length(7), Content::Open);
    let cases = [
        (RequestKind::Content, 200, none(None), length(0)),
        (RequestKind::Content, 200, none(Some(7)), length(0)),
        (RequestKind::Content, 200, seven, with_content(length(7))),
        (RequestKind::Content, 200, open, chunks),
        (RequestKind::Content, 206, seven, with_content(length(7))),
        (RequestKind::Content, 404, open, chunks),
        (RequestKind::Content, 204, none(Some(7)), NOTHING),
        (RequestKind::Content, 204, none(Some(0)), NOTHING),
        (RequestKind::Content, 204, seven, NOTHING),
        (RequestKind::Content, 204, open, NOTHING),
        (RequestKind::Content, 103, none(Some(0)), NOTHING),
        (RequestKind::Content, 205, seven, length(0)),
        (RequestKind::Content, 205, open, length(0)),
        (RequestKind::Content, 304, none(None), NOTHING),
        (RequestKind::Content, 304, none(Some(7)), length(7)),
        (RequestKind::Content, 304, seven, NOTHING),
        (RequestKind::Head, 200, none(None), NOTHING),
        (RequestKind::Head, 200, none(Some(7)), length(7)),
        (RequestKind::Head, 200, seven, length(7)),
        (RequestKind::Head, 200, open, NOTHING),
        (RequestKind::Head, 204, seven, NOTHING),
        (RequestKind::Head, 205, seven, length(0)),
        (RequestKind::Head, 304, none(Some(7)), length(7)),
        (RequestKind::Connect, 200, seven, closes),
        (RequestKind::Connect, 299, open, closes),
        (RequestKind::Connect, 407, seven, with_content(length(7))),
    ];
    for (kind, status, content, expected) in cases {
        let framing = frame_response(kind, status, content, Version::Http11, false);
        assert_eq!(framing, expected, "{kind:?} {status} {content:?}");
    }
}

#[test]
fn content_without_length_ends_with_the_connection_for_http10() {
    let framing = frame_response(RequestKind::Content, 200, Content::Open, Version::Http10, false);
    assert!(framing.has_content && framing.closes && !framing.is_chunked && framing.length.is_none());
    let to_head = frame_response(RequestKind::Head, 200, Content::Open, Version::Http10, false);
    assert!(!to_head.closes, "a response to HEAD ends with its head");
}

#[test]
fn a_connection_that_ends_anyway_does() {
    for_all(|kind, status, content, version| {
        assert!(frame_response(kind, status, content, version, true).closes);
    });
}

/// The end that RFC 9112 section 6.3 gives the message is the end of what is sent.
#[test]
fn a_strict_client_reads_the_same_end() {
    for_all(|kind, status, content, version| {
        let framing = frame_response(kind, status, content, version, false);
        let context = format!("{kind:?} {status} {content:?} {version:?} -> {framing:?}");
        assert!(!(framing.is_chunked && framing.length.is_some()), "{context}");
        let (length, chunked) = (framing.length, framing.is_chunked);
        let mut head = format!("HTTP/1.1 {status} \r\n");
        if let Some(length) = length {
            head = format!("{head}Content-Length: {length}\r\n");
        }
        if chunked {
            head.push_str("Transfer-Encoding: chunked\r\n");
        }
        head.push_str("\r\n");
        let is_tunnel = kind == RequestKind::Connect && (200..300).contains(&status);
        let read = read_framing(&head, kind == RequestKind::Head || is_tunnel);
        match (framing.has_content, read) {
            (false, Framing::None | Framing::Length(0)) | (true, Framing::Chunked | Framing::Length(_)) => {}
            (true, Framing::UntilClose) => assert!(framing.closes, "{context}"),
            (sent, read) => panic!("{context}: sent {sent}, read {read:?}"),
        }
        if status < 200 || status == 204 || is_tunnel {
            assert!(
                length.is_none() && !chunked,
                "{context}: fields of RFC 9110 section 8.6"
            );
        }
    });
}

fn read_framing(head: &str, is_without: bool) -> Framing {
    let limits = HeadLimits {
        max_bytes: 4096,
        max_fields: 10,
        ..HeadLimits::default()
    };
    match parse_response(head.as_bytes(), limits, is_without) {
        Ok(Parsed::Complete { head, .. }) => head.framing,
        other => panic!("{head}: {other:?}"),
    }
}

fn for_all(check: impl Fn(RequestKind, u16, Content, Version)) {
    for kind in REQUEST_KINDS {
        for status in (100..600).filter(|status| *status != 101) {
            for content in CONTENTS {
                for version in [Version::Http10, Version::Http11] {
                    check(kind, status, content, version);
                }
            }
        }
    }
}

#[test]
fn methods_are_told_apart_by_case() {
    assert_eq!(RequestKind::of(b"HEAD"), RequestKind::Head);
    assert_eq!(RequestKind::of(b"CONNECT"), RequestKind::Connect);
    for method in [&b"head"[..], b"GET", b"OPTIONS", b"HEADS", b""] {
        assert_eq!(RequestKind::of(method), RequestKind::Content);
    }
}
