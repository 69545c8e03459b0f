//! The request head (RFC 9112 section 3).

use crate::authority::Authority;
use crate::coding::declared;
use crate::connection::{any_element, has_upgrade, read_options};
use crate::error::{shown, FieldError, HeadError, RequestError};
use crate::field::{Fields, Name};
use crate::grammar::{is_target_byte, is_token, is_unencoded};
use crate::head::{Head, Span, MAX_BYTES};
use crate::lenient::Lenient;
use crate::limits::HeadLimits;
use crate::lines::read_fields;
use crate::mend::mend;
use crate::overlong::has_overlong;
use crate::scan::{target_end, token_end};
use crate::target::{read_target, Target, TargetForm};
use crate::{Framing, Parsed, Version};

/// Blank lines allowed before a request line (RFC 9112 section 2.2).
const MAX_BLANK_LINES: usize = 4;
const MAX_METHOD_BYTES: usize = 64;

/// A parsed request head.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // why: each is an independent fact of the head
pub struct RequestHead {
    /// The fields, and the bytes of the spans below.
    pub head: Head,
    /// The method.
    pub method: Span,
    /// Path and query; `*`; or the authority of CONNECT. For the absolute form, the part after the authority.
    pub target: Span,
    /// The target as the client spelled it, where [`target`](Self::target) is only another spelling of it.
    pub spelled: Option<Span>,
    /// Which form the client used.
    pub form: TargetForm,
    /// Whether the absolute form said `https`.
    pub scheme_https: bool,
    /// The authority of the request-target, else Host; empty for HTTP/1.0 without Host.
    pub host: Span,
    /// The version the client speaks.
    pub version: Version,
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the client lets the connection stay open (RFC 9112 section 9.3).
    pub persistent: bool,
    /// Whether the client waits for 100 Continue (RFC 9110 section 10.1.1).
    pub expect_continue: bool,
    /// Whether the client asks for another protocol (RFC 9110 section 7.8); never for h2c.
    pub upgrade: bool,
    /// Whether the client takes trailers (RFC 9110 section 10.1.4).
    pub te_trailers: bool,
}

impl RequestHead {
    /// The method, as written.
    pub fn method(&self) -> &[u8] {
        self.head.span(self.method)
    }

    /// Path and query as written, or `*`.
    pub fn target(&self) -> &[u8] {
        self.head.span(self.target)
    }

    /// Path and query to be sent on: as the client spelled them, where that is only a matter of spelling.
    pub fn target_to_send(&self) -> &[u8] {
        self.head.span(self.spelled.unwrap_or(self.target))
    }

    /// The target before `?` or `#`.
    pub fn path(&self) -> &[u8] {
        let target = self.target();
        &target[..target
            .iter()
            .position(|byte| matches!(byte, b'?' | b'#'))
            .unwrap_or(target.len())]
    }

    /// What is between `?` and `#`; empty if there is none.
    pub fn query(&self) -> &[u8] {
        let rest = &self.target()[self.path().len()..];
        match rest {
            [b'?', query @ ..] => query.split(|&byte| byte == b'#').next().unwrap_or_default(),
            _ => &[],
        }
    }

    /// Host and port the request is for, as written.
    pub fn host(&self) -> &[u8] {
        self.head.span(self.host)
    }

    /// Changes the method.
    pub fn set_method(&mut self, method: &[u8]) -> Result<(), FieldError> {
        // CONNECT has another target and another end: no request is made one
        if !is_token(method) || method.len() > MAX_METHOD_BYTES || method == b"CONNECT" {
            return Err(FieldError::Method(shown(method)));
        }
        self.method = self.head.append(method)?;
        Ok(())
    }

    /// Changes the target to a path with an optional query, or `*`.
    pub fn set_target(&mut self, target: &[u8]) -> Result<(), FieldError> {
        let form = match target {
            b"*" => TargetForm::Asterisk,
            // a fragment is never sent (RFC 9112 section 3.2.1): servers would cut it off, or take it for the path
            [b'/', ..]
                if target
                    .iter()
                    .all(|&byte| is_target_byte(byte) && !is_unencoded(byte)) =>
            {
                TargetForm::Origin
            }
            _ => return Err(FieldError::Target(shown(target))),
        };
        self.target = self.head.append(target)?;
        self.spelled = None;
        self.form = form;
        Ok(())
    }

    /// Puts `path`, another form of the path, in its place, and keeps the query. If it `is_equivalent`, the target is
    /// still sent on as the client spelled it.
    pub fn set_normal_path(&mut self, path: &[u8], is_equivalent: bool) -> Result<(), FieldError> {
        let spelled = is_equivalent.then_some(self.spelled.unwrap_or(self.target));
        let query = &self.target()[self.path().len()..];
        let target = [path, query].concat();
        self.target = self.head.append(&target)?;
        self.spelled = spelled;
        Ok(())
    }

    /// Changes the host the request is for.
    pub fn set_host(&mut self, host: &[u8]) -> Result<(), FieldError> {
        if Authority::parse(host).is_none() {
            return Err(FieldError::Host(shown(host)));
        }
        self.host = self.head.append(host)?;
        Ok(())
    }

    /// The value of the Upgrade field, if [`upgrade`](Self::upgrade).
    pub fn upgrade_protocol(&self) -> Option<&[u8]> {
        let field = self
            .head
            .fields
            .iter()
            .find(|field| field.name == Name::Upgrade)?;
        self.upgrade.then(|| self.head.value(field))
    }

    /// Whether the method is HEAD.
    pub fn is_head(&self) -> bool {
        self.method() == b"HEAD"
    }
}

/// Parses a request head from the start of `buf`.
///
/// The verdict depends on the bytes alone, not on how they were cut into calls. One allocation for the bytes,
/// one for the fields.
pub fn parse_request(buf: &[u8], limits: HeadLimits) -> Result<Parsed<RequestHead>, RequestError> {
    match parse_strictly(buf, limits) {
        Err(error) if error.is_let_pass_by(limits.lenient) => {
            let max_bytes = limits.max_bytes.min(MAX_BYTES);
            let Some((mended, len)) = mend(&buf[..buf.len().min(max_bytes)], limits.lenient, true) else {
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
            match parse_strictly(&mended, unbounded)? {
                Parsed::Complete { head, .. } => Ok(Parsed::Complete { head, len }),
                Parsed::Partial => Err(error),
            }
        }
        verdict => verdict,
    }
}

impl RequestError {
    /// Whether a head that is refused for this could pass.
    fn is_let_pass_by(self, lenient: Lenient) -> bool {
        let rules = match self {
            Self::Target => Lenient::NON_ASCII_TARGETS.and(Lenient::FRAGMENTS),
            Self::Version | Self::VersionUnsupported => Lenient::VERSION_DIGITS,
            Self::Head(HeadError::Control) => Lenient::CONTROL_CHARACTERS,
            _ => Lenient::NONE,
        };
        lenient.has(rules)
    }
}

fn parse_strictly(buf: &[u8], limits: HeadLimits) -> Result<Parsed<RequestHead>, RequestError> {
    let max_bytes = limits.max_bytes.min(MAX_BYTES);
    let view = &buf[..buf.len().min(max_bytes)];
    let start = match skip_blank_lines(view)? {
        Some(start) => start,
        None if view.len() >= max_bytes => return Err(HeadError::TooLarge.into()),
        None => return Ok(Parsed::Partial),
    };
    let Some(line) = read_line(view, start)? else {
        return if view.len() >= max_bytes {
            Err(RequestError::TargetTooLong)
        } else {
            Ok(Parsed::Partial)
        };
    };
    let mut fields = Fields::with_capacity(16);
    match read_fields(view, line.end, (limits.max_fields, false), &mut fields)? {
        Some(end) => Ok(Parsed::Complete {
            head: complete(&line, Head::of(&view[..end], fields), limits.lenient)?,
            len: end,
        }),
        None if view.len() >= max_bytes => Err(HeadError::TooLarge.into()),
        None => Ok(Parsed::Partial),
    }
}

/// The position of the request line; `None`: more bytes are needed.
fn skip_blank_lines(bytes: &[u8]) -> Result<Option<usize>, RequestError> {
    let mut at = 0;
    for _ in 0..=MAX_BLANK_LINES {
        match (bytes.get(at), bytes.get(at + 1)) {
            (None, _) | (Some(b'\r'), None) => return Ok(None),
            (Some(b'\r'), Some(b'\n')) => at += 2,
            (Some(b'\r'), Some(_)) => return Err(HeadError::BareCr.into()),
            (Some(b'\n'), _) => return Err(HeadError::BareLf.into()),
            _ => return Ok(Some(at)),
        }
    }
    Err(RequestError::Method)
}

struct RequestLine {
    method: Span,
    target: Span,
    version: Version,
    end: usize,
}

/// `method SP request-target SP HTTP-version CRLF`; `None`: more bytes are needed.
fn read_line(bytes: &[u8], start: usize) -> Result<Option<RequestLine>, RequestError> {
    let method_end = token_end(bytes, start);
    if method_end.unwrap_or(bytes.len()) - start > MAX_METHOD_BYTES {
        return Err(RequestError::Method);
    }
    let Some(method_end) = method_end else {
        return Ok(None);
    };
    if method_end == start || bytes[method_end] != b' ' {
        return Err(RequestError::Method);
    }
    let target_start = method_end + 1;
    let Some(target_end) = target_end(bytes, target_start) else {
        return Ok(None);
    };
    let target_len = target_end - target_start;
    match bytes[target_end] {
        b' ' if target_len > 0 => {}
        b'\r' | b'\n' if target_len > 0 => return Err(RequestError::Version),
        _ => return Err(RequestError::Target),
    }
    let Some(version) = read_version(&bytes[target_end + 1..])? else {
        return Ok(None);
    };
    Ok(Some(RequestLine {
        method: Span::between(start, method_end),
        target: Span::between(target_start, target_end),
        version,
        end: target_end + 11,
    }))
}

/// `HTTP/1.x CRLF`, judged byte by byte so that a bad one is refused as soon as it is seen.
fn read_version(bytes: &[u8]) -> Result<Option<Version>, RequestError> {
    if bytes.starts_with(b"HTTP/1.1\r\n") {
        return Ok(Some(Version::Http11));
    }
    for (position, &byte) in bytes.iter().take(10).enumerate() {
        let is_right = match position {
            5 | 7 => byte.is_ascii_digit(),
            _ => byte == b"HTTP/0.0\r\n"[position],
        };
        if !is_right {
            return Err(RequestError::Version);
        }
    }
    Ok(match bytes.get(..10) {
        None => None,
        Some(line) if line[5] != b'1' => return Err(RequestError::VersionUnsupported),
        Some(line) if line[7] == b'0' => Some(Version::Http10),
        Some(_) => Some(Version::Http11),
    })
}

/// What the whole head means.
fn complete(line: &RequestLine, mut head: Head, lenient: Lenient) -> Result<RequestHead, RequestError> {
    let version = line.version;
    let is_http11 = version == Version::Http11;
    let declared = declared(&head, version, false)?;
    let host = read_host(&head, is_http11)?;
    let options = read_options(&mut head)?;
    let Target {
        form,
        scheme_https,
        path: target,
        authority,
    } = read_target(&mut head, line.method, line.target)?;
    if has_overlong(head.span(target)) && !lenient.has(Lenient::OVERLONG_UTF8) {
        return Err(RequestError::Overlong);
    }
    Ok(RequestHead {
        method: line.method,
        target,
        spelled: None,
        form,
        scheme_https,
        // RFC 9112 section 3.2.2: the authority of the request-target overrules Host.
        host: authority.unwrap_or(host),
        version,
        framing: match declared.length {
            Some(length) => Framing::Length(length),
            None if declared.is_chunked => Framing::Chunked,
            None => Framing::None,
        },
        persistent: !options.close && (is_http11 || options.keep_alive),
        expect_continue: is_http11
            && any_element(&head, Name::Expect, |element| {
                element.eq_ignore_ascii_case(b"100-continue")
            }),
        upgrade: is_http11 && options.upgrade && has_upgrade(&head),
        te_trailers: is_http11
            && any_element(&head, Name::Te, |element| {
                element.eq_ignore_ascii_case(b"trailers")
            }),
        head,
    })
}

fn read_host(head: &Head, is_required: bool) -> Result<Span, RequestError> {
    let mut hosts = head.fields.iter().filter(|field| field.name == Name::Host);
    let Some(field) = hosts.next() else {
        return if is_required {
            Err(RequestError::HostMissing)
        } else {
            Ok(Span { start: 0, len: 0 })
        };
    };
    if hosts.next().is_some() {
        return Err(RequestError::HostRepeated);
    }
    Authority::parse(head.value(field)).ok_or(RequestError::Host)?;
    Ok(Span {
        start: field.value_start,
        len: field.value_len,
    })
}
