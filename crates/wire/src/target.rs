//! The request-target in its four forms (RFC 9112 section 3.2).

use crate::authority::Authority;
use crate::error::RequestError;
use crate::grammar::is_unencoded;
use crate::head::{Head, Span};

/// Which form the client used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TargetForm {
    /// `/path?query`.
    Origin,
    /// `http://host/path?query`.
    Absolute,
    /// `host:port`, with CONNECT only.
    Authority,
    /// `*`, with OPTIONS only.
    Asterisk,
}

/// A request-target, taken apart.
pub(crate) struct Target {
    pub(crate) form: TargetForm,
    pub(crate) scheme_https: bool,
    /// Path and query, or `*`, or the authority.
    pub(crate) path: Span,
    /// The authority, where the form has one.
    pub(crate) authority: Option<Span>,
}

/// Takes the request-target at `span` apart. May append bytes to `head`.
pub(crate) fn read_target(head: &mut Head, method: Span, span: Span) -> Result<Target, RequestError> {
    let bytes = head.span(span);
    if bytes.iter().any(|byte| is_unencoded(*byte)) {
        return Err(RequestError::Target);
    }
    let method = head.span(method);
    let simple = |form| Target {
        form,
        scheme_https: false,
        path: span,
        authority: None,
    };
    if method == b"CONNECT" {
        let has_port = Authority::parse(bytes).is_some_and(|authority| authority.port.is_some());
        return if has_port {
            Ok(Target {
                authority: Some(span),
                ..simple(TargetForm::Authority)
            })
        } else {
            Err(RequestError::Target)
        };
    }
    match bytes {
        [b'/', ..] => Ok(simple(TargetForm::Origin)),
        b"*" if method == b"OPTIONS" => Ok(simple(TargetForm::Asterisk)),
        _ => {
            let is_options = method == b"OPTIONS";
            read_absolute(head, is_options, span)
        }
    }
}

fn read_absolute(head: &mut Head, is_options: bool, span: Span) -> Result<Target, RequestError> {
    let bytes = head.span(span);
    let (scheme_https, scheme_len) = if starts_with_scheme(bytes, b"http://") {
        (false, 7)
    } else if starts_with_scheme(bytes, b"https://") {
        (true, 8)
    } else {
        return Err(RequestError::Target);
    };
    let rest = &bytes[scheme_len..];
    let authority_len = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?' | b'#'))
        .unwrap_or(rest.len());
    if Authority::parse(&rest[..authority_len]).is_none() {
        return Err(RequestError::Host);
    }
    let start = span.start as usize + scheme_len;
    let authority = Span::between(start, start + authority_len);
    let after = Span::between(start + authority_len, (span.start + span.len) as usize);
    let target = match rest.get(authority_len) {
        Some(b'/') => after,
        // RFC 9112 section 3.2.4: OPTIONS for the server as a whole.
        None if is_options => head.append(b"*").map_err(|_| RequestError::TargetTooLong)?,
        _ => {
            let query = head.span(after).to_vec();
            let path = head.append(b"/").map_err(|_| RequestError::TargetTooLong)?;
            let query = head.append(&query).map_err(|_| RequestError::TargetTooLong)?;
            Span {
                start: path.start,
                len: path.len + query.len,
            }
        }
    };
    Ok(Target {
        form: TargetForm::Absolute,
        scheme_https,
        path: target,
        authority: Some(authority),
    })
}

fn starts_with_scheme(bytes: &[u8], scheme: &[u8]) -> bool {
    bytes
        .get(..scheme.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}
