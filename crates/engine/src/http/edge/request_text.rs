//! A request that came over HTTP/2 as the text of an HTTP/1.1 head.
//!
//! # How it works
//! What the crate `h2` has already refused: unknown, repeated or late pseudo fields, upper-case names, control characters,
//! fields that belong to a connection. What is checked here is what could make an HTTP/1 message frame or route
//! differently from what the client sent (RFC 9113 section 8.2 and 8.3): space around values, lengths, `Host` beside
//! `:authority`, the connection's fields once more. The strict HTTP/1 parser then judges the text like any other.

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use http::header;
use http::request::Parts;
use http::Method;

use headgate_upstream::http2::fields::{is_of_connection, number};
use headgate_upstream::http2::http1_bytes::BodyFraming;
use headgate_wire::is_token;

/// Why a request is malformed: the stream is reset with `PROTOCOL_ERROR` (RFC 9113 section 8.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("a field that belongs to a connection")]
    ConnectionField,
    #[error("a content-length that is not a number, repeated, or at odds with the stream's end")]
    Length,
    #[error("space around a field's value")]
    Padding,
    #[error("host and :authority differ, or host is repeated")]
    Host,
    #[error("no :path, or a :path on a CONNECT")]
    Path,
    #[error("a :protocol that names none")]
    Protocol,
}

/// A head as text, and what follows it.
#[derive(Debug)]
pub(super) struct RequestText {
    pub(super) head: Vec<u8>,
    pub(super) framing: BodyFraming,
    pub(super) is_head: bool,
    /// An extended CONNECT (RFC 8441), which the text shows as an upgrade.
    pub(super) is_connect: bool,
}

/// Writes the head. `protocol`: what an extended CONNECT asks for (`:protocol`, RFC 8441 section 4). `is_ended`: the stream
/// ended with its fields.
pub(super) fn render(
    parts: &Parts,
    protocol: Option<&[u8]>,
    is_ended: bool,
    key: impl FnOnce() -> [u8; 16],
) -> Result<RequestText, Malformed> {
    // neither `h2` nor HTTP/3's field sections say what it may hold (RFC 9110 section 7.8: a token)
    if protocol.is_some_and(|protocol| !is_token(protocol)) {
        return Err(Malformed::Protocol);
    }
    let authority = authority(parts)?;
    let mut out = Vec::with_capacity(512);
    let method = if protocol.is_some() {
        Method::GET.as_str()
    } else {
        parts.method.as_str()
    };
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    if parts.method == Method::CONNECT && protocol.is_none() {
        out.extend_from_slice(authority.unwrap_or_default());
    } else {
        let path = parts.uri.path_and_query().ok_or(Malformed::Path)?;
        out.extend_from_slice(path.as_str().as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if let Some(authority) = authority {
        line(&mut out, b"Host", authority);
    }
    let framing = write_fields(parts, is_ended, protocol.is_some(), &mut out)?;
    if let Some(protocol) = protocol {
        line(&mut out, b"Connection", b"upgrade");
        line(&mut out, b"Upgrade", protocol);
        if protocol == b"websocket" {
            // RFC 8441 section 5.1: the key is of HTTP/1 only
            line(&mut out, b"Sec-WebSocket-Key", STANDARD.encode(key()).as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n");
    Ok(RequestText {
        head: out,
        framing,
        is_head: parts.method == Method::HEAD,
        is_connect: protocol.is_some(),
    })
}

/// The one authority (RFC 9113 section 8.3.1).
fn authority(parts: &Parts) -> Result<Option<&[u8]>, Malformed> {
    let told = parts
        .uri
        .authority()
        .map(|authority| authority.as_str().as_bytes());
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = hosts.next().map(http::HeaderValue::as_bytes);
    if hosts.next().is_some() {
        return Err(Malformed::Host);
    }
    match (told, host) {
        (Some(told), Some(host)) if !told.eq_ignore_ascii_case(host) => Err(Malformed::Host),
        (Some(told), _) => Ok(Some(told)),
        (None, host) => Ok(host),
    }
}

fn write_fields(
    parts: &Parts,
    is_ended: bool,
    is_connect: bool,
    out: &mut Vec<u8>,
) -> Result<BodyFraming, Malformed> {
    let mut length = None;
    let mut wants_trailers = false;
    let mut has_cookies = false;
    for (name, value) in &parts.headers {
        let value = value.as_bytes();
        if is_padded(value) {
            return Err(Malformed::Padding);
        }
        if is_of_connection(name) {
            return Err(Malformed::ConnectionField);
        } else if name == header::TE {
            if !value.eq_ignore_ascii_case(b"trailers") {
                return Err(Malformed::ConnectionField);
            }
            wants_trailers = true;
        } else if name == header::CONTENT_LENGTH {
            if length.is_some() {
                return Err(Malformed::Length);
            }
            length = Some(number(value).ok_or(Malformed::Length)?);
        } else if name == header::COOKIE {
            has_cookies = true;
        } else if name != header::HOST {
            line(out, name.as_str().as_bytes(), value);
        }
    }
    if has_cookies {
        write_cookies(parts, out);
    }
    if wants_trailers && !is_connect {
        line(out, b"Connection", b"TE");
        line(out, b"TE", b"trailers");
    }
    if is_connect {
        // data follows the response, not the head
        return if length.is_some() {
            Err(Malformed::Length)
        } else {
            Ok(BodyFraming::Raw)
        };
    }
    write_framing(length, is_ended, out)
}

/// How HTTP/1.1 is told where the body ends, of which HTTP/2 declares a length or nothing.
fn write_framing(length: Option<u64>, is_ended: bool, out: &mut Vec<u8>) -> Result<BodyFraming, Malformed> {
    match (length, is_ended) {
        (Some(1..), true) => Err(Malformed::Length),
        (Some(0), true) => {
            line(out, b"Content-Length", b"0");
            Ok(BodyFraming::None)
        }
        (None, true) => Ok(BodyFraming::None),
        (Some(length), false) => {
            line(
                out,
                b"Content-Length",
                itoa::Buffer::new().format(length).as_bytes(),
            );
            Ok(BodyFraming::Length)
        }
        (None, false) => {
            line(out, b"Transfer-Encoding", b"chunked");
            Ok(BodyFraming::Chunked)
        }
    }
}

/// Cookies may come in pieces; HTTP/1 has one line (RFC 9113 section 8.2.3).
fn write_cookies(parts: &Parts, out: &mut Vec<u8>) {
    out.extend_from_slice(b"cookie: ");
    for (position, crumb) in parts.headers.get_all(header::COOKIE).iter().enumerate() {
        if position > 0 {
            out.extend_from_slice(b"; ");
        }
        out.extend_from_slice(crumb.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

pub(super) fn is_padded(value: &[u8]) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    is_space(value.first()) || is_space(value.last())
}

fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn parts(build: impl FnOnce(http::request::Builder) -> http::request::Builder) -> Parts {
        let request = build(Request::builder().uri("https://a.test/p?q=1"))
            .body(())
            .expect("the test's request can be built");
        request.into_parts().0
    }

    fn text(parts: &Parts, is_ended: bool) -> Result<String, Malformed> {
        render(parts, None, is_ended, || [0; 16]).map(|text| String::from_utf8(text.head).expect("ASCII"))
    }

    #[test]
    fn plain_request_has_its_host_first() {
        let head = text(&parts(|request| request.header("x-a", "1")), true);
        assert_eq!(
            head.as_deref(),
            Ok("GET /p?q=1 HTTP/1.1\r\nHost: a.test\r\nx-a: 1\r\n\r\n")
        );
    }

    #[test]
    fn body_without_length_is_chunked() {
        let head = text(&parts(|request| request.method("POST")), false);
        assert!(head.is_ok_and(|head| head.ends_with("Transfer-Encoding: chunked\r\n\r\n")));
    }

    #[test]
    fn cookies_are_joined() {
        let head = text(
            &parts(|request| {
                request
                    .header("cookie", "a=1")
                    .header("x", "y")
                    .header("cookie", "b=2")
            }),
            true,
        );
        assert!(head.is_ok_and(|head| head.contains("cookie: a=1; b=2\r\n")));
    }

    #[test]
    fn what_would_frame_http1_is_malformed() {
        let verdict = |name: &str, value: &str, is_ended| {
            text(
                &parts(|request| request.method("POST").header(name, value)),
                is_ended,
            )
            .expect_err("it must be refused")
        };
        assert_eq!(
            verdict("transfer-encoding", "chunked", false),
            Malformed::ConnectionField
        );
        assert_eq!(verdict("connection", "close", false), Malformed::ConnectionField);
        assert_eq!(verdict("upgrade", "h2c", false), Malformed::ConnectionField);
        assert_eq!(verdict("te", "gzip", false), Malformed::ConnectionField);
        assert_eq!(verdict("content-length", "+5", false), Malformed::Length);
        assert_eq!(verdict("content-length", "5, 5", false), Malformed::Length);
        assert_eq!(verdict("content-length", "5", true), Malformed::Length);
        assert_eq!(verdict("x-a", " padded", true), Malformed::Padding);
        assert_eq!(verdict("host", "b.test", true), Malformed::Host);
    }

    #[test]
    fn lengths_must_not_repeat() {
        let twice = parts(|request| {
            request
                .method("POST")
                .header("content-length", "5")
                .header("content-length", "5")
        });
        assert_eq!(text(&twice, false), Err(Malformed::Length));
    }

    #[test]
    fn extended_connect_is_an_upgrade() {
        let connect = parts(|request| request.method("CONNECT"));
        let key = || *b"the sample nonce";
        let rendered = render(&connect, Some(b"websocket"), false, key).expect("it is well-formed");
        let head = String::from_utf8(rendered.head).expect("ASCII");
        assert!(head.starts_with("GET /p?q=1 HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("Upgrade: websocket\r\n"), "{head}");
        // the example of RFC 6455 section 1.3
        assert!(
            head.contains("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
            "{head}"
        );
        assert_eq!(rendered.framing, BodyFraming::Raw);
    }

    #[test]
    fn protocols_are_tokens() {
        let connect = parts(|request| request.method("CONNECT"));
        for protocol in [&b""[..], b"web socket", b"websocket\r\nx-a: 1", b"a\n"] {
            let refused = render(&connect, Some(protocol), false, || [0; 16]).expect_err("it is malformed");
            assert_eq!(refused, Malformed::Protocol);
        }
    }
}
