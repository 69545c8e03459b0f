//! How a response is framed for the client that sent the request: it follows from the head that is sent, whatever the head was that
//! came (RFC 9112 section 6.3, RFC 9110 sections 6.4.1, 8.6 and 9.3).

use crate::{Framing, Version};

/// What the method that the client sent means for the content of its response, however the request was changed since.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RequestKind {
    /// Any other method: there may be content.
    #[default]
    Content,
    /// HEAD: never content, yet the fields that GET would get (RFC 9110 section 9.3.2).
    Head,
    /// CONNECT: what follows a 2xx is a tunnel, not content (RFC 9110 section 9.3.6).
    Connect,
}

impl RequestKind {
    /// What `method` asks for; methods are case-sensitive.
    pub fn of(method: &[u8]) -> Self {
        match method {
            b"HEAD" => Self::Head,
            b"CONNECT" => Self::Connect,
            _ => Self::Content,
        }
    }
}

/// What the sender of a response has as its content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// None, with the length it would have in the response to a GET where that is known (HEAD, 304).
    None(Option<u64>),
    /// So many bytes.
    Length(u64),
    /// Bytes whose number is not known before the head is sent, or that trailers follow.
    Open,
}

impl Content {
    /// The content of a message that came framed like this; `declared` is what its Content-Length said.
    pub fn of(framing: Framing, declared: Option<u64>) -> Self {
        match framing {
            Framing::None => Self::None(declared),
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked | Framing::UntilClose => Self::Open,
        }
    }
}

/// The framing of a response for its client: what the head says, and what follows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResponseFraming {
    /// The content goes out behind the head; else nothing does.
    pub has_content: bool,
    /// It goes out in chunks, the last of which trailers may follow.
    pub is_chunked: bool,
    /// The value of Content-Length, if there is one.
    pub length: Option<u64>,
    /// The connection ends with this response.
    pub closes: bool,
}

/// Whether a response of that status has no content whatever its fields say (RFC 9110 section 6.4.1), or must not be sent
/// with any (205, RFC 9110 section 15.3.6).
pub fn is_without_content(status: u16) -> bool {
    status < 200 || matches!(status, 204 | 205 | 304)
}

/// Frames a response to what the client kind, with the status that is sent.
///
/// | | Content-Length | content |
/// |---|---|---|
/// | 1xx, 204, 2xx to CONNECT | none (RFC 9110 section 8.6) | none |
/// | 205 | 0 | none |
/// | 304 | that of the 200, where it came without content and told one | none |
/// | any other to HEAD | that of the GET, where it is known | none |
/// | any other, of known length | that length | all |
/// | any other | none: chunks, or the connection's end for HTTP/1.0 | all |
///
/// `closes`: the connection ends with this response for another reason. HTTP/2 has neither chunks nor such an end: there
/// a content without length ends with its stream.
pub fn frame_response(
    kind: RequestKind,
    status: u16,
    content: Content,
    client: Version,
    closes: bool,
) -> ResponseFraming {
    let empty = |length| ResponseFraming {
        has_content: false,
        is_chunked: false,
        length,
        closes,
    };
    match (status, kind, content) {
        // there is no tunnel behind it, so the connection is of no more use
        (200..=299, RequestKind::Connect, _) => ResponseFraming {
            closes: true,
            ..empty(None)
        },
        (205, _, _) => empty(Some(0)),
        (304, _, Content::None(told)) | (200.., RequestKind::Head, Content::None(told)) if status != 204 => {
            empty(told)
        }
        (200.., RequestKind::Head, Content::Length(length)) if !is_without_content(status) => {
            empty(Some(length))
        }
        (_, RequestKind::Head, _) | (100..=199 | 204 | 304, _, _) => empty(None),
        // a length that was told for content which is not there would have the client wait for it
        (_, _, Content::None(_)) => empty(Some(0)),
        (_, _, Content::Length(length)) => ResponseFraming {
            has_content: true,
            ..empty(Some(length))
        },
        (_, _, Content::Open) => ResponseFraming {
            has_content: true,
            is_chunked: client == Version::Http11,
            length: None,
            closes: closes || client == Version::Http10,
        },
    }
}
