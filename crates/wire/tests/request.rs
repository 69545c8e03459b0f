//! What a request head says, and what is refused.

use headgate_wire::{
    parse_request, Framing, HeadError, HeadLimits, Lenient, Parsed, RequestError, RequestHead, TargetForm,
};
use headgate_wire::{FieldError, Version};

fn parse(bytes: &[u8]) -> Result<RequestHead, RequestError> {
    match parse_request(bytes, HeadLimits::default())? {
        Parsed::Complete { head, len } => {
            assert_eq!(len, bytes.len());
            Ok(head)
        }
        Parsed::Partial => panic!("complete: {}", bytes.escape_ascii()),
    }
}

/// A GET of `/` over HTTP/1.1 with these field lines behind Host.
fn with_fields(lines: &str) -> Result<RequestHead, RequestError> {
    parse(format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n").as_bytes())
}

fn request(lines: &str) -> RequestHead {
    with_fields(lines).expect("a well-formed request")
}

fn visible(request: &RequestHead) -> Vec<String> {
    request
        .head
        .iter()
        .map(|(name, _)| String::from_utf8_lossy(name).into_owned())
        .collect()
}

#[test]
fn blank_lines_before_the_request_are_skipped_up_to_a_bound() {
    assert!(parse(b"\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n").is_ok());
    assert_eq!(parse(&b"\r\n".repeat(20)).err(), Some(RequestError::Method));
    assert_eq!(
        parse(b"\nGET / HTTP/1.1\r\n\r\n").err(),
        Some(HeadError::BareLf.into())
    );
    assert_eq!(
        parse(b"\rGET / HTTP/1.1\r\n\r\n").err(),
        Some(HeadError::BareCr.into())
    );
}

#[test]
fn malformed_request_lines_are_refused() {
    use RequestError::{Method, Target, Version, VersionUnsupported};
    let cases: [(&str, RequestError); 19] = [
        ("GET", Method),
        (" / HTTP/1.1", Method),
        (" GET / HTTP/1.1", Method),
        ("G{T / HTTP/1.1", Method),
        ("GET\t/ HTTP/1.1", Method),
        ("GET  HTTP/1.1", Target),
        ("GET  / HTTP/1.1", Target),
        ("GET index.html HTTP/1.1", Target),
        ("GET * HTTP/1.1", Target),
        ("GET ftp://h/ HTTP/1.1", Target),
        ("CONNECT / HTTP/1.1", Target),
        ("CONNECT h HTTP/1.1", Target),
        ("GET http://u@h/ HTTP/1.1", RequestError::Host),
        ("GET http:///x HTTP/1.1", RequestError::Host),
        ("GET /", Version),
        ("GET / http/1.1", Version),
        ("GET / HTTP/1.10", Version),
        ("GET /  HTTP/1.1", Version),
        ("GET / HTTP/2.0", VersionUnsupported),
    ];
    for (line, error) in cases {
        let bytes = format!("{line}\r\nHost: h\r\n\r\n");
        assert_eq!(parse(bytes.as_bytes()).err(), Some(error), "{line}");
    }
    assert_eq!(VersionUnsupported.status(), 505);
}

#[test]
fn malformed_field_lines_are_refused() {
    use HeadError::{BareCr, BareLf, FieldName, Folded, FramingLookalike, NoColon, Nul, SpaceBeforeColon};
    let cases: [(&str, HeadError); 16] = [
        ("a: 1\n", BareLf),
        ("a\n: 1\r\n", BareLf),
        ("\n", BareLf),
        ("a: 1\r2\r\n", BareCr),
        ("a\r\n", NoColon),
        ("a\rb: 1\r\n", BareCr),
        ("a: 1\0\r\n", Nul),
        ("a\0: 1\r\n", Nul),
        (" a: 1\r\n", Folded),
        ("a: 1\r\n b\r\n", Folded),
        ("a: 1\r\n\tb\r\n", Folded),
        ("a : 1\r\n", SpaceBeforeColon),
        (": 1\r\n", FieldName),
        ("a(: 1\r\n", FieldName),
        ("\u{e9}: 1\r\n", FieldName),
        ("Content_Length: 1\r\n", FramingLookalike),
    ];
    for (lines, error) in cases {
        assert_eq!(
            with_fields(lines).err(),
            Some(error.into()),
            "{}",
            lines.escape_debug()
        );
    }
}

#[test]
fn framing_that_two_readers_could_read_differently_is_refused() {
    use HeadError::{Coding, Length, LengthAndCoding, LengthRepeated};
    let cases: [(&str, HeadError); 19] = [
        ("Content-Length: \r\n", Length),
        ("Content-Length: +1\r\n", Length),
        ("Content-Length: -1\r\n", Length),
        ("Content-Length: 0x1\r\n", Length),
        ("Content-Length: 1, 1\r\n", Length),
        ("Content-Length: 1 1\r\n", Length),
        ("Content-Length: 18446744073709551616\r\n", Length),
        ("Content-Length: 1\r\nContent-Length: 1\r\n", LengthRepeated),
        ("Content-Length: 1\r\ncontent-length: 2\r\n", LengthRepeated),
        (
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            LengthAndCoding,
        ),
        ("Transfer-Encoding: \r\n", Coding),
        ("Transfer-Encoding: gzip\r\n", Coding),
        ("Transfer-Encoding: chunked, gzip\r\n", Coding),
        ("Transfer-Encoding: chunked, chunked\r\n", Coding),
        ("Transfer-Encoding: chunked,\r\n", Coding),
        ("Transfer-Encoding: ,chunked\r\n", Coding),
        ("Transfer-Encoding: \"chunked\"\r\n", Coding),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            Coding,
        ),
        ("Transfer-Encoding: chunked\u{b}\r\n", HeadError::Control),
    ];
    for (lines, error) in cases {
        assert_eq!(
            with_fields(lines).err(),
            Some(error.into()),
            "{}",
            lines.escape_debug()
        );
        assert_eq!(
            with_fields(lines).map_err(|error| error.status()).err(),
            Some(400)
        );
    }
    let old = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(parse(old).err(), Some(HeadError::CodingInHttp10.into()));
}

#[test]
fn the_body_is_framed_by_length_or_chunks() {
    assert_eq!(request("").framing, Framing::None);
    assert_eq!(request("Content-Length: 0\r\n").framing, Framing::Length(0));
    assert_eq!(
        request("content-length: 18446744073709551615\r\n").framing,
        Framing::Length(u64::MAX)
    );
    let coded = request("TRANSFER-ENCODING: GZip,\tChunked\r\n");
    assert_eq!(
        (coded.framing, coded.head.has_inner_codings()),
        (Framing::Chunked, true)
    );
    let mut line = Vec::new();
    coded.head.write_transfer_encoding(&mut line);
    assert_eq!(line, b"transfer-encoding: GZip, chunked\r\n");
    line.clear();
    request("Transfer-Encoding: chunked\r\n")
        .head
        .write_transfer_encoding(&mut line);
    assert_eq!(line, b"transfer-encoding: chunked\r\n");
}

#[test]
fn the_host_is_required_once_and_well_formed() {
    let get = |lines: &str| parse(format!("GET / HTTP/1.1\r\n{lines}\r\n").as_bytes());
    assert_eq!(get("").err(), Some(RequestError::HostMissing));
    assert_eq!(
        get("Host: a\r\nHost: a\r\n").err(),
        Some(RequestError::HostRepeated)
    );
    for host in [
        "", "a b", "a/b", "u@a", "a:b", "a:65536", "a:1:2", "[::1", "[::g]", "[::1]x", "a%2", "a%zz",
    ] {
        assert_eq!(
            get(&format!("Host: {host}\r\n")).err(),
            Some(RequestError::Host),
            "{host}"
        );
    }
    for host in [
        "a",
        "a.b.",
        "a_b",
        "a:",
        "a:80",
        "1.2.3.4:65535",
        "[::1]",
        "[2001:db8::1]:8080",
        "a%2Db",
    ] {
        assert_eq!(
            get(&format!("Host: {host}\r\n")).expect("well formed").host(),
            host.as_bytes()
        );
    }
    let old = parse(b"GET / HTTP/1.0\r\n\r\n").expect("HTTP/1.0 has no Host");
    assert_eq!(
        (old.host(), old.version, old.persistent),
        (&b""[..], Version::Http10, false)
    );
}

#[test]
fn each_form_of_the_target_is_taken_apart() {
    let cases: [(&str, TargetForm, &str, &str, &str); 8] = [
        ("GET /a?b", TargetForm::Origin, "/a?b", "/a", "b"),
        ("GET //a", TargetForm::Origin, "//a", "//a", ""),
        ("OPTIONS *", TargetForm::Asterisk, "*", "*", ""),
        ("GET HTTP://x:1/a?b", TargetForm::Absolute, "/a?b", "/a", "b"),
        ("GET http://x:1", TargetForm::Absolute, "/", "/", ""),
        ("GET http://x:1?b", TargetForm::Absolute, "/?b", "/", "b"),
        ("OPTIONS http://x:1", TargetForm::Absolute, "*", "*", ""),
        ("CONNECT x:1", TargetForm::Authority, "x:1", "x:1", ""),
    ];
    for (line, form, target, path, query) in cases {
        let parsed = parse(format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).expect("well formed");
        assert_eq!(parsed.form, form, "{line}");
        assert_eq!(
            (parsed.target(), parsed.path(), parsed.query()),
            (target.as_bytes(), path.as_bytes(), query.as_bytes())
        );
        let host: &[u8] = if matches!(form, TargetForm::Absolute | TargetForm::Authority) {
            b"x:1"
        } else {
            b"h"
        };
        assert_eq!(
            parsed.host(),
            host,
            "the authority of the target overrules Host: {line}"
        );
    }
    assert!(
        parse(b"GET https://x/ HTTP/1.1\r\nHost: h\r\n\r\n")
            .expect("well formed")
            .scheme_https
    );
}

#[test]
fn persistence_follows_version_and_connection() {
    let old = |lines: &str| {
        parse(format!("GET / HTTP/1.0\r\n{lines}\r\n").as_bytes())
            .expect("well formed")
            .persistent
    };
    assert!(request("").persistent);
    assert!(!request("Connection: close\r\n").persistent);
    assert!(!request("Connection: keep-alive\r\nConnection: x, CLOSE\r\n").persistent);
    assert!(!old(""));
    assert!(old("Connection: Keep-Alive\r\n"));
    assert!(!old("Connection: Keep-Alive, close\r\n"));
}

#[test]
fn an_upgrade_needs_both_fields_and_is_never_h2c() {
    let websocket = request("Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n");
    assert!(websocket.upgrade);
    assert_eq!(websocket.upgrade_protocol(), Some(&b"websocket"[..]));
    for lines in [
        "Upgrade: websocket\r\n",
        "Connection: upgrade\r\n",
        "Connection: upgrade\r\nUpgrade: \r\n",
        "Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n",
        "Connection: upgrade\r\nUpgrade: websocket, H2C\r\n",
    ] {
        let parsed = request(lines);
        assert!(!parsed.upgrade, "{lines}");
        assert_eq!((parsed.upgrade_protocol(), visible(&parsed)), (None, vec![]));
    }
    let old = b"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert!(!parse(old).expect("well formed").upgrade);
}

#[test]
fn fields_of_the_connection_are_hidden() {
    let parsed = request(
        "Connection: te, X-Hop, cookie, X-Forwarded-For\r\nKeep-Alive: 1\r\nProxy-Connection: x\r\nTE: trailers\r\n\
         Transfer-Encoding: chunked\r\nUpgrade: y\r\nExpect: 100-Continue\r\nx-hop: 1\r\nCookie: c\r\n\
         X-Forwarded-For: f\r\nTrailer: t\r\nX-Hop: 2\r\nA: 1\r\n",
    );
    assert_eq!(visible(&parsed), ["Cookie", "X-Forwarded-For", "Trailer", "A"]);
    assert!(parsed.expect_continue && parsed.te_trailers);
    for name in ["host", "connection", "transfer-encoding", "x-hop", "expect", "te"] {
        assert_eq!(parsed.head.get(name.as_bytes()), None, "{name}");
    }
    for name in ["Host", "Content-Length", "transfer-encoding"] {
        assert_eq!(
            with_fields(&format!("Connection: {name}\r\n")).err(),
            Some(HeadError::Connection.into())
        );
    }
    let many = format!("Connection: {}\r\n", "a,".repeat(33));
    assert_eq!(with_fields(&many).err(), Some(HeadError::Connection.into()));
}

#[test]
fn heads_beyond_the_limits_are_refused() {
    let limits = HeadLimits {
        max_bytes: 100,
        max_fields: 2,
        lenient: Lenient::NONE,
    };
    let status = |bytes: &[u8]| parse_request(bytes, limits).map_err(|error| error.status()).err();
    let long = "x".repeat(100);
    assert_eq!(
        status(format!("GET /{long} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()),
        Some(414)
    );
    assert_eq!(status(format!("GET /{long}").as_bytes()), Some(414));
    assert_eq!(status(long.as_bytes()), Some(400));
    assert_eq!(
        status(format!("GET / HTTP/1.1\r\nHost: h\r\na: {long}\r\n\r\n").as_bytes()),
        Some(431)
    );
    assert_eq!(
        status(b"GET / HTTP/1.1\r\nHost: h\r\na: 1\r\nb: 1\r\n\r\n"),
        Some(431)
    );
    assert_eq!(status(b"GET / HTTP/1.1\r\nHost: h\r\na: 1\r\n\r\n"), None);
    let exact = format!("GET / HTTP/1.1\r\nHost: h\r\na: {}\r\n\r\n", "x".repeat(68));
    assert_eq!((exact.len(), status(exact.as_bytes())), (100, None));
    let one_more = exact.replace("a: ", "a: x");
    assert_eq!(status(one_more.as_bytes()), Some(431));
    assert_eq!(
        status(&one_more.as_bytes()[..100]),
        Some(431),
        "the same when the rest has not come yet"
    );
}

#[test]
fn method_target_and_host_can_be_changed_and_only_to_valid_ones() {
    let mut parsed = request("A: 1\r\n");
    parsed.set_method(b"PUT").expect("a token");
    parsed.set_target(b"/x?y").expect("a path");
    parsed.set_host(b"other:81").expect("a host");
    assert_eq!(
        (parsed.method(), parsed.path(), parsed.query(), parsed.host()),
        (&b"PUT"[..], &b"/x"[..], &b"y"[..], &b"other:81"[..])
    );
    assert_eq!(parsed.set_method(b"P T"), Err(FieldError::Method("P T".into())));
    for target in ["", "x", "/ x", "/x#y", "/?#", "/\r\n", "/\u{7f}", "http://h/"] {
        assert_eq!(
            parsed.set_target(target.as_bytes()),
            Err(FieldError::Target(target.into()))
        );
    }
    assert_eq!(parsed.set_host(b"a\r\nb"), Err(FieldError::Host("a\r\nb".into())));
    assert_eq!(
        (parsed.method(), parsed.target(), parsed.host()),
        (&b"PUT"[..], &b"/x?y"[..], &b"other:81"[..])
    );
    assert_eq!(visible(&parsed), ["A"]);
}
