//! The response head (RFC 9112 section 4).

use crate::coding::{declared, Declared};
use crate::connection::{has_upgrade, read_options};
use crate::error::{HeadError, ResponseError};
use crate::field::{Fields, Name};
use crate::head::{Head, Span, MAX_BYTES};
use crate::lenient::Lenient;
use crate::limits::HeadLimits;
use crate::lines::read_fields;
use crate::mend::mend;
use crate::{Framing, Parsed, Version};

/// A parsed response head.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// The fields, and the bytes of `reason`.
    pub head: Head,
    /// The status code, 100 to 999.
    pub status: u16,
    /// The reason phrase; may be empty.
    pub reason: Span,
    /// The version the server speaks.
    pub version: Version,
    /// Where the body ends.
    pub framing: Framing,
    /// What Content-Length said, also where there is no body (responses to HEAD, 304).
    pub declared_length: Option<u64>,
    /// Whether the connection may serve another request after this response.
    pub persistent: bool,
    /// Whether this is the 101 that changes the protocol.
    pub upgrade: bool,
}

impl ResponseHead {
    /// Whether it is a 408 that ends its connection. On a connection that was kept it tells that no request came for long, and
    /// was sent before the request arrived, which may be repeated (RFC 9110 section 15.5.9).
    pub fn ends_an_idle_connection(&self) -> bool {
        self.status == 408 && !self.persistent
    }

    /// The reason phrase, as written.
    pub fn reason(&self) -> &[u8] {
        self.head.span(self.reason)
    }

    /// Gives it another reason phrase; one that is none (RFC 9112 section 4) becomes empty.
    pub fn set_reason(&mut self, reason: &str) {
        let is_phrase = reason
            .bytes()
            .all(|byte| byte == b'\t' || (b' '..0x7f).contains(&byte));
        let span = is_phrase
            .then(|| self.head.append(reason.as_bytes()).ok())
            .flatten();
        self.reason = span.unwrap_or(Span { start: 0, len: 0 });
    }

    /// The values of the Upgrade fields of a 426, which every 426 must have (RFC 9110 section 15.5.22).
    pub fn required_upgrades(&self) -> impl Iterator<Item = &[u8]> {
        let fields = self.head.fields.iter();
        fields
            .filter(|field| self.status == 426 && field.name == Name::Upgrade)
            .map(|field| self.head.value(field))
    }

    /// The values of the Upgrade fields, if [`upgrade`](Self::upgrade).
    pub fn upgrade_protocols(&self) -> impl Iterator<Item = &[u8]> {
        let fields = self.head.fields.iter();
        fields
            .filter(|field| self.upgrade && field.name == Name::Upgrade)
            .map(|field| self.head.value(field))
    }
}

/// Parses a response head from the start of `buf`; `request_was_head` because the response to HEAD has no body
/// whatever it declares (RFC 9112 section 6.3).
pub fn parse_response(
    buf: &[u8],
    limits: HeadLimits,
    request_was_head: bool,
) -> Result<Parsed<ResponseHead>, ResponseError> {
    match parse_strictly(buf, limits, request_was_head) {
        Err(error) if error.is_let_pass_by(limits.lenient) => {
            let max_bytes = limits.max_bytes.min(MAX_BYTES);
            let Some((mended, len)) = mend(&buf[..buf.len().min(max_bytes)], limits.lenient, false) else {
                return if buf.len() >= max_bytes {
                    Err(HeadError::TooLarge.into())
                } else {
                    Ok(Parsed::Partial)
                };
            };
            let unbounded = HeadLimits {
                max_bytes: MAX_BYTES,
                ..limits
            };
            match parse_strictly(&mended, unbounded, request_was_head)? {
                Parsed::Complete { head, .. } => Ok(Parsed::Complete { head, len }),
                Parsed::Partial => Err(error),
            }
        }
        verdict => verdict,
    }
}

impl ResponseError {
    /// Whether a head that is refused for this could pass.
    fn is_let_pass_by(self, lenient: Lenient) -> bool {
        let rules = match self {
            Self::Head(HeadError::BareLf) => Lenient::BARE_LF,
            Self::Head(HeadError::Folded) => Lenient::FOLDED_LINES,
            Self::Head(HeadError::Length | HeadError::LengthRepeated) => Lenient::DUPLICATE_CONTENT_LENGTH,
            Self::Head(HeadError::Control) => Lenient::CONTROL_CHARACTERS,
            _ => Lenient::NONE,
        };
        lenient.has(rules)
    }
}

fn parse_strictly(
    buf: &[u8],
    limits: HeadLimits,
    request_was_head: bool,
) -> Result<Parsed<ResponseHead>, ResponseError> {
    let max_bytes = limits.max_bytes.min(MAX_BYTES);
    let view = &buf[..buf.len().min(max_bytes)];
    let mut fields = Fields::with_capacity(16);
    let line = read_line(view)?;
    let end = match &line {
        None => None,
        Some(line) => read_fields(view, line.end, (limits.max_fields, true), &mut fields)?,
    };
    match (line, end) {
        (Some(line), Some(end)) => {
            let head = complete(&line, Head::of(&view[..end], fields), request_was_head)?;
            Ok(Parsed::Complete { head, len: end })
        }
        _ if view.len() >= max_bytes => Err(HeadError::TooLarge.into()),
        _ => Ok(Parsed::Partial),
    }
}

struct StatusLine {
    version: Version,
    status: u16,
    reason: Span,
    end: usize,
}

/// `HTTP-version SP status-code [SP reason-phrase] CRLF`; `None`: more bytes are needed. The second space is
/// required by RFC 9112 section 4, and many servers leave it out; that moves no boundary.
fn read_line(bytes: &[u8]) -> Result<Option<StatusLine>, ResponseError> {
    // nearly all of them; what follows says the same of it
    if bytes.starts_with(b"HTTP/1.1 200 OK\r\n") {
        return Ok(Some(StatusLine {
            version: Version::Http11,
            status: 200,
            reason: Span::between(13, 15),
            end: 17,
        }));
    }
    let known = if bytes.starts_with(b"HTTP/1.1 ") { 9 } else { 0 };
    for (position, &byte) in bytes.iter().enumerate().take(12).skip(known) {
        match position {
            9 if (b'1'..=b'9').contains(&byte) => {}
            7 | 10 | 11 if byte.is_ascii_digit() => {}
            9..=11 => return Err(ResponseError::Status),
            _ if byte == b"HTTP/1.? ???"[position] => {}
            _ => return Err(ResponseError::Version),
        }
    }
    let Some(code) = bytes.get(9..12) else {
        return Ok(None);
    };
    let status = code
        .iter()
        .fold(0, |status, &byte| status * 10 + u16::from(byte - b'0'));
    let start = match bytes.get(12) {
        None => return Ok(None),
        Some(b' ') => 13,
        Some(b'\r') => 12,
        Some(_) => return Err(ResponseError::Status),
    };
    let is_end = |byte: &u8| *byte == 0x7f || (*byte < b' ' && *byte != b'\t');
    let Some(length) = bytes[start..].iter().position(is_end) else {
        return Ok(None);
    };
    let line_end = start + length;
    match (bytes[line_end], bytes.get(line_end + 1)) {
        (b'\r', None) => Ok(None),
        (b'\r', Some(b'\n')) => Ok(Some(StatusLine {
            version: if bytes[7] == b'0' {
                Version::Http10
            } else {
                Version::Http11
            },
            status,
            reason: Span::between(start, line_end),
            end: line_end + 2,
        })),
        (b'\r', Some(_)) => Err(HeadError::BareCr.into()),
        (b'\n', _) => Err(HeadError::BareLf.into()),
        _ => Err(ResponseError::Reason),
    }
}

/// What the whole head means.
fn complete(
    line: &StatusLine,
    mut head: Head,
    request_was_head: bool,
) -> Result<ResponseHead, ResponseError> {
    let declared = declared(&head, line.version, true)?;
    let options = read_options(&mut head)?;
    let status = line.status;
    let announces_body = declared.is_chunked || declared.length.is_some_and(|length| length > 0);
    if status == 101 && announces_body {
        return Err(ResponseError::SwitchBody);
    }
    let framing = response_framing(declared, status, request_was_head);
    let may_persist = match line.version {
        Version::Http11 => !options.close,
        Version::Http10 => options.keep_alive && !options.close,
    };
    Ok(ResponseHead {
        status,
        reason: line.reason,
        version: line.version,
        framing,
        declared_length: declared.length,
        // A 204 or an interim response that announces content is broken: it ends with its head, and what follows on its
        // connection cannot be trusted.
        persistent: may_persist
            && framing != Framing::UntilClose
            && !((status < 200 || status == 204) && announces_body),
        upgrade: status == 101 && options.upgrade && has_upgrade(&head),
        head,
    })
}

/// RFC 9112 section 6.3.
fn response_framing(declared: Declared, status: u16, request_was_head: bool) -> Framing {
    match declared {
        _ if request_was_head || status < 200 || status == 204 || status == 304 => Framing::None,
        Declared { is_chunked: true, .. } => Framing::Chunked,
        Declared {
            length: Some(length), ..
        } => Framing::Length(length),
        Declared { .. } => Framing::UntilClose,
    }
}
