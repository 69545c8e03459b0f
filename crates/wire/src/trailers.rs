//! Which trailer fields may go on (RFC 9110 section 6.5.1).

use crate::error::HeadError;
use crate::field::{Fields, HIDDEN};
use crate::head::Head;
use crate::lines::read_fields;

const MAX_FIELDS: usize = 100;

/// Reads a whole trailer section, final empty line included, and hides what must not be a trailer.
pub(crate) fn read_trailers(bytes: Vec<u8>, is_from_server: bool) -> Result<Head, HeadError> {
    let mut fields = Fields::default();
    read_fields(&bytes, 0, (MAX_FIELDS, is_from_server), &mut fields)?;
    let mut head = Head { bytes, fields };
    for index in 0..head.fields.len() {
        if is_forbidden(head.name(&head.fields[index])) {
            head.fields[index].state |= HIDDEN;
        }
    }
    Ok(head)
}

/// Whether a trailer field of that name may go on, or be set by hooks.
pub fn may_be_trailer(name: &[u8]) -> bool {
    !is_forbidden(name)
}

/// Framing, routing, request modifiers, authentication, controls and how to read the content: whoever merged
/// these into the head would change a decision already taken.
fn is_forbidden(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 26] = [
        b"age",
        b"authentication-info",
        b"authorization",
        b"cache-control",
        b"cookie",
        b"date",
        b"expires",
        b"forwarded",
        b"location",
        b"max-forwards",
        b"origin",
        b"pragma",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"range",
        b"retry-after",
        b"set-cookie",
        b"trailer",
        b"vary",
        b"via",
        b"warning",
        b"www-authenticate",
        b"x-real-ip",
        b"x-request-id",
        b"referer",
    ];
    const PREFIXES: [&[u8]; 4] = [b"content-", b"if-", b"x-forwarded-", b"access-control-"];
    // CGI and WSGI cannot tell `_`, and some of them other separators, from `-`
    let dashed: Vec<u8>;
    let is_separator = |byte: u8| byte != b'-' && !byte.is_ascii_alphanumeric();
    let name = if name.iter().any(|byte| is_separator(*byte)) {
        dashed = name
            .iter()
            .map(|byte| if is_separator(*byte) { b'-' } else { *byte })
            .collect();
        &dashed
    } else {
        name
    };
    NAMES.iter().any(|candidate| name.eq_ignore_ascii_case(candidate))
        || PREFIXES.iter().any(|prefix| {
            name.get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        })
}
