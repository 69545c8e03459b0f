//! One spelling for each path, so that a rule about a path cannot be walked around by spelling it differently.
//!
//! How it works: one pass over the path says what it holds that could be spelled or understood in another way. A path
//! without any of it, as nearly all are, is its own normal form. Whatever a server could still understand differently from
//! the router is either refused here, or found by [`crate::other_readings`].

use std::borrow::Cow;

use crate::error::PathError;
use crate::percent::{escaped_byte, push_escape};

/// How paths are brought into their normal form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PathRules {
    /// What becomes of `%2F` and `%5C`.
    pub encoded_slashes: EncodedSlashes,
    /// Whether `//` means `/`.
    pub merge_slashes: bool,
}

/// What becomes of slashes that are percent-encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EncodedSlashes {
    /// `%2F` and `%5C` stay as they are, and separate nothing.
    #[default]
    Keep,
    /// A path that holds one is refused.
    Refuse,
    /// `%2F` becomes `/`; `%5C` stays.
    Decode,
}

/// A path in its normal form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NormalPath<'p> {
    /// What patterns are matched against.
    pub text: Cow<'p, [u8]>,
    /// Whether the path as it came has the same meaning to every server (RFC 3986, section 6.2.2): only escapes were
    /// spelled differently. If not, only `text` may be sent on.
    pub is_equivalent: bool,
    /// Whether no server can read another path in it: [`crate::other_readings`] finds none.
    pub is_plain: bool,
}

/// The spelling of `path` (without query) under the default rules; see [`PathRules::normalize`].
///
/// # Errors
/// The path is to be refused with 400.
pub fn normalize_path(path: &[u8]) -> Result<Cow<'_, [u8]>, PathError> {
    PathRules::default().normalize(path).map(|normal| normal.text)
}

impl PathRules {
    /// The spelling of `path` (without query) that patterns are matched against.
    ///
    /// Escapes of unreserved characters are decoded, other escapes get upper-case digits, bytes that must not stand raw in
    /// a path are escaped, then `.` and `..` are resolved (RFC 3986, sections 5.2.4 and 6.2.2). `%2F` and `//` are treated
    /// as the rules say. Borrows if the path is already in that form; applying it twice changes nothing more. `*` (RFC
    /// 9112, section 3.2.4) passes as it is.
    ///
    /// # Errors
    /// The path is to be refused with 400: see [`PathError`]. A path above the root is refused, not clipped; so is one that
    /// has a dot segment only for servers that decode `%2F` or `%5C` or cut off `;parameters`.
    pub fn normalize<'p>(&self, path: &'p [u8]) -> Result<NormalPath<'p>, PathError> {
        let holds = look(path);
        let calls_for_work = if self.merge_slashes {
            ODD | DOT_BEHIND_SLASH | DOUBLE_SLASH
        } else {
            ODD | DOT_BEHIND_SLASH
        };
        if path == b"*" || (holds & calls_for_work == 0 && path.first() == Some(&b'/')) {
            return Ok(NormalPath {
                text: Cow::Borrowed(path),
                is_equivalent: true,
                is_plain: holds & MAY_READ_OTHERWISE == 0,
            });
        }
        if path.first() != Some(&b'/') {
            return Err(PathError::NotAbsolute);
        }
        self.normalize_any(path)
    }

    fn normalize_any(self, path: &[u8]) -> Result<NormalPath<'_>, PathError> {
        let mut text = respell(path)?;
        let mut is_equivalent = !path.contains(&b'\\');
        let mut change = |text: &mut Vec<u8>, changed: Vec<u8>| {
            is_equivalent &= *text == changed;
            *text = changed;
        };
        match self.encoded_slashes {
            EncodedSlashes::Refuse if has_encoded_slash(&text) => return Err(PathError::EncodedSlash),
            EncodedSlashes::Keep | EncodedSlashes::Refuse => {}
            EncodedSlashes::Decode => {
                let decoded = decode_slashes(&text);
                change(&mut text, decoded);
            }
        }
        if self.merge_slashes {
            let merged = merge_slashes(&text);
            change(&mut text, merged);
        }
        if has_dot_segment(&text) {
            let resolved = resolve_dots(&text)?;
            change(&mut text, resolved);
        }
        if has_hidden_dots(&text) {
            return Err(PathError::HiddenDots);
        }
        let is_plain = look(&text) & MAY_READ_OTHERWISE == 0;
        let text = if text == path {
            Cow::Borrowed(path)
        } else {
            Cow::Owned(text)
        };
        Ok(NormalPath {
            text,
            is_equivalent,
            is_plain,
        })
    }
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

/// One `/` for each run of them.
pub(crate) fn merge_slashes(path: &[u8]) -> Vec<u8> {
    let mut merged = Vec::with_capacity(path.len());
    for &byte in path {
        if byte != b'/' || merged.last() != Some(&b'/') {
            merged.push(byte);
        }
    }
    merged
}

fn decode_slashes(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, behind @ ..] = rest {
        if let Some(behind) = rest.strip_prefix(b"%2F") {
            decoded.push(b'/');
            rest = behind;
        } else {
            decoded.push(*first);
            rest = behind;
        }
    }
    decoded
}

fn has_encoded_slash(path: &[u8]) -> bool {
    path.windows(3).any(|three| three == b"%2F" || three == b"%5C")
}

fn has_dot_segment(path: &[u8]) -> bool {
    path.windows(2).any(|pair| pair == b"/.")
        && path
            .split(|byte| *byte == b'/')
            .any(|segment| segment == b"." || segment == b"..")
}

/// Whether a server that decodes slashes or cuts off parameters (`..;x`) finds a dot segment.
fn has_hidden_dots(path: &[u8]) -> bool {
    let mut rest = path;
    loop {
        let end = slash_end(rest);
        let segment = &rest[..end.0];
        let name = match segment.iter().position(|byte| *byte == b';') {
            Some(parameters) => &segment[..parameters],
            None => segment.split_at(encoded_semicolon(segment)).0,
        };
        if name == b"." || name == b".." {
            return true;
        }
        if end.1 == 0 {
            return false;
        }
        rest = &rest[end.0 + end.1..];
    }
}

/// Where the first `/`, `%2F` or `%5C` is, and how long it is; the end and 0 without one.
pub(crate) fn slash_end(path: &[u8]) -> (usize, usize) {
    for (at, byte) in path.iter().enumerate() {
        match byte {
            b'/' => return (at, 1),
            b'%' if path[at..].starts_with(b"%2F") || path[at..].starts_with(b"%5C") => return (at, 3),
            _ => {}
        }
    }
    (path.len(), 0)
}

fn encoded_semicolon(segment: &[u8]) -> usize {
    let found = segment.windows(3).position(|three| three == b"%3B");
    found.unwrap_or(segment.len())
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

const SLASH: u8 = 1;
const DOT: u8 = 2;
/// `;`, which begins parameters of a segment.
const PARAMETER: u8 = 4;
/// An escape, or a byte that should be one.
const ODD: u8 = 8;
/// `//`: a slash behind a slash.
const DOUBLE_SLASH: u8 = SLASH << 4;
/// `/.`: a dot behind a slash.
const DOT_BEHIND_SLASH: u8 = DOT << 4;

const MAY_READ_OTHERWISE: u8 = ODD | DOUBLE_SLASH | PARAMETER;

const CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[allow(clippy::cast_possible_truncation)] // why: the loop ends at 256
        let is_odd = !stands_raw(byte as u8);
        table[byte] = if is_odd { ODD } else { 0 };
        byte += 1;
    }
    table[b'/' as usize] |= SLASH;
    table[b'.' as usize] |= DOT;
    table[b';' as usize] |= PARAMETER;
    table
};

/// What the path holds, of the kinds above.
fn look(path: &[u8]) -> u8 {
    let (mut seen, mut before) = (0, 0);
    for byte in path {
        let class = CLASS[usize::from(*byte)];
        let behind_slash = (before & SLASH).wrapping_neg();
        seen |= class | (class & behind_slash & (SLASH | DOT)) << 4;
        before = class;
    }
    seen
}

#[cfg(test)]
#[path = "tests/normalise.rs"]
mod tests;
