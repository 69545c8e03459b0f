//! Field lines, from left to right (RFC 9112 section 5).

use crate::error::HeadError;
use crate::field::{Field, Fields, Name, HIDDEN, PLAIN};
use crate::grammar::is_blank;
use crate::head::offset;
use crate::scan::{token_end, value_end};

/// Reads field lines from `start` up to and with the empty line. `Ok(None)`: more bytes are needed; else the
/// position behind the empty line. White space before a colon is passed over if `may_pad_names` (RFC 9112 section 5.1:
/// a proxy removes it from responses). `bytes` must be shorter than [`MAX_BYTES`](crate::head::MAX_BYTES).
pub(crate) fn read_fields(
    bytes: &[u8],
    start: usize,
    (max_fields, may_pad_names): (usize, bool),
    fields: &mut Fields,
) -> Result<Option<usize>, HeadError> {
    let mut at = start;
    loop {
        match bytes.get(at) {
            None => return Ok(None),
            Some(b'\r') => return read_line_end(bytes, at),
            Some(_) if fields.len() >= max_fields => return Err(HeadError::TooManyFields),
            Some(_) => {}
        }
        let Some(colon) = token_end(bytes, at) else {
            return Ok(None);
        };
        let (field, next) = match read_plain(bytes, at, colon) {
            Some(plain) => plain,
            None => match read_any(bytes, at, colon, may_pad_names)? {
                Some(any) => any,
                None => return Ok(None),
            },
        };
        fields.push(field, &bytes[at..colon]);
        at = next;
    }
}

/// The position behind the CRLF at `at`, where there is a CR.
#[inline]
pub(crate) fn read_line_end(bytes: &[u8], at: usize) -> Result<Option<usize>, HeadError> {
    match bytes.get(at + 1) {
        None => Ok(None),
        Some(b'\n') => Ok(Some(at + 2)),
        Some(_) => Err(HeadError::BareCr),
    }
}

/// Reads a field line that is `name: value CRLF` with no more blanks than that, as most lines are. `None`: it is not, or not all here; what [`read_any`] says of a line that is read here is the same.
#[inline]
fn read_plain(bytes: &[u8], start: usize, colon: usize) -> Option<(Field, usize)> {
    let [b':', b' ', behind @ ..] = bytes.get(colon..)? else {
        return None;
    };
    let length = value_end(behind, 0)?;
    let (value, [b'\r', b'\n', ..]) = behind.split_at_checked(length)? else {
        return None;
    };
    let ([first, ..], [.., last]) = (value, value) else {
        return None;
    };
    let name = Name::of(bytes.get(start..colon)?);
    if is_blank(*first) || is_blank(*last) || colon == start || name == Name::FramingLookalike {
        return None;
    }
    let field = Field {
        name_start: offset(start),
        value_start: offset(colon + 2),
        value_len: offset(length),
        name_len: u16::try_from(colon - start).ok()?,
        name,
        state: if name.is_hidden() { HIDDEN | PLAIN } else { PLAIN },
    };
    Some((field, colon + length + 4))
}

/// Reads any field line.
#[cold]
#[inline(never)]
fn read_any(
    bytes: &[u8],
    start: usize,
    name_end: usize,
    may_pad_names: bool,
) -> Result<Option<(Field, usize)>, HeadError> {
    let mut colon = name_end;
    while may_pad_names && colon > start && is_blank(bytes[colon]) {
        colon += 1;
        if colon == bytes.len() {
            return Ok(None);
        }
    }
    if bytes[colon] == b'\r' && colon > start {
        return match bytes.get(colon + 1) {
            None => Ok(None),
            Some(b'\n') => Err(HeadError::NoColon),
            Some(_) => Err(HeadError::BareCr),
        };
    }
    if bytes[colon] != b':' || colon == start {
        return Err(name_error(bytes[colon], colon - start));
    }
    let mut value_start = colon + 1;
    while matches!(bytes.get(value_start), Some(b' ' | b'\t')) {
        value_start += 1;
    }
    let Some(end) = value_end(bytes, value_start) else {
        return Ok(None);
    };
    match bytes[end] {
        b'\n' => return Err(HeadError::BareLf),
        0 => return Err(HeadError::Nul),
        b'\r' => {}
        _ => return Err(HeadError::Control),
    }
    let Some(next) = read_line_end(bytes, end)? else {
        return Ok(None);
    };
    let mut value_end = end;
    while value_end > value_start && matches!(bytes[value_end - 1], b' ' | b'\t') {
        value_end -= 1;
    }
    let name = Name::of(&bytes[start..name_end]);
    if name == Name::FramingLookalike {
        return Err(HeadError::FramingLookalike);
    }
    let is_plain =
        colon == name_end && value_start == colon + 2 && bytes[colon + 1] == b' ' && value_end == end;
    let field = Field {
        name_start: offset(start),
        value_start: offset(value_start),
        value_len: offset(value_end - value_start),
        name_len: u16::try_from(name_end - start).map_err(|_| HeadError::FieldName)?,
        name,
        state: if name.is_hidden() { HIDDEN } else { 0 } | if is_plain { PLAIN } else { 0 },
    };
    Ok(Some((field, next)))
}

/// Why `byte` must not follow the first `length` bytes of a name.
fn name_error(byte: u8, length: usize) -> HeadError {
    match byte {
        b' ' | b'\t' if length == 0 => HeadError::Folded,
        b' ' | b'\t' => HeadError::SpaceBeforeColon,
        b'\n' => HeadError::BareLf,
        b'\r' => HeadError::BareCr,
        0 => HeadError::Nul,
        _ => HeadError::FieldName,
    }
}
