//! One spelling for each path, so that a route cannot be walked around by spelling its path differently.

use std::borrow::Cow;

use crate::error::PathError;
use crate::percent::{escaped_byte, push_escape};

/// The spelling of `path` (without query) that patterns are matched against.
///
/// Escapes of unreserved characters are decoded, other escapes get upper-case digits, bytes that must not stand raw in
/// a path are escaped, then `.` and `..` are resolved (RFC 3986, sections 5.2.4 and 6.2.2). Nothing else changes:
/// `%2F` stays an escape and is no separator, `//` is not merged. Borrows if the path is already in that form; applying
/// it twice changes nothing more. `*` (RFC 9112, section 3.2.4) passes as it is.
///
/// # Errors
/// The path is to be refused with 400: see [`PathError`]. A path above the root is refused, not clipped.
pub fn normalize_path(path: &[u8]) -> Result<Cow<'_, [u8]>, PathError> {
    if path == b"*" {
        return Ok(Cow::Borrowed(path));
    }
    if path.first() != Some(&b'/') {
        return Err(PathError::NotAbsolute);
    }
    let mut spelled = Cow::Borrowed(path);
    if !path.iter().all(|byte| stands_raw(*byte)) {
        let respelled = respell(path)?;
        // Escapes that must stay are no change: the caller may tell a path in normal form by the borrow.
        if respelled != path {
            spelled = Cow::Owned(respelled);
        }
    }
    if has_dot_segment(&spelled) {
        return resolve_dots(&spelled).map(Cow::Owned);
    }
    Ok(spelled)
}

/// The same spelling for a literal part of a pattern, which need not start with `/`.
pub(crate) fn respell(path: &[u8]) -> Result<Vec<u8>, PathError> {
    let mut out = Vec::with_capacity(path.len() + 8);
    let mut at = 0;
    while at < path.len() {
        let byte = path[at];
        if byte == b'%' {
            let decoded = escaped_byte(&path[at..]).ok_or(PathError::BadEscape)?;
            match decoded {
                0 => return Err(PathError::Nul),
                _ if is_unreserved(decoded) => out.push(decoded),
                _ => push_escape(decoded, &mut out),
            }
            at += 3;
            continue;
        }
        match byte {
            0 => return Err(PathError::Nul),
            _ if stands_raw(byte) => out.push(byte),
            _ => push_escape(byte, &mut out),
        }
        at += 1;
    }
    Ok(out)
}

/// `remove_dot_segments` of RFC 3986, section 5.2.4, but refusing to go above the root.
fn resolve_dots(path: &[u8]) -> Result<Vec<u8>, PathError> {
    let mut out = Vec::with_capacity(path.len());
    let mut segments = path[1..].split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            b"." => {}
            b".." => {
                let parent = out.iter().rposition(|byte| *byte == b'/');
                out.truncate(parent.ok_or(PathError::AboveRoot)?);
            }
            _ => {
                out.push(b'/');
                out.extend_from_slice(segment);
                continue;
            }
        }
        if is_last {
            out.push(b'/');
        }
    }
    Ok(out)
}

fn has_dot_segment(path: &[u8]) -> bool {
    path.windows(2).any(|pair| pair == b"/.")
        && path
            .split(|byte| *byte == b'/')
            .any(|segment| segment == b"." || segment == b"..")
}

/// `unreserved` of RFC 3986, section 2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// `pchar` of RFC 3986, section 3.3, without escapes, and the separator.
const fn stands_raw(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'/' | b':' | b'@' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
        )
}

#[cfg(test)]
#[path = "tests/normalise.rs"]
mod tests;
