//! Field lines, from left to right (RFC 9112 section 5).

use crate::error::HeadError;
use crate::field::{Field, Name, HIDDEN, PLAIN};
use crate::head::offset;
use crate::scan::{line_end, token_end};

/// Reads field lines from `start` up to and with the empty line. `Ok(None)`: more bytes are needed; else the
/// position behind the empty line. `bytes` must be shorter than [`MAX_BYTES`](crate::head::MAX_BYTES).
pub(crate) fn read_fields(
    bytes: &[u8],
    start: usize,
    max_fields: usize,
    fields: &mut Vec<Field>,
) -> Result<Option<usize>, HeadError> {
    let mut at = start;
    loop {
        match bytes.get(at) {
            None => return Ok(None),
            Some(b'\r') => return read_line_end(bytes, at),
            Some(_) if fields.len() >= max_fields => return Err(HeadError::TooManyFields),
            Some(_) => {}
        }
        match read_field(bytes, at)? {
            None => return Ok(None),
            Some((field, next)) => {
                fields.push(field);
                at = next;
            }
        }
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

#[inline]
fn read_field(bytes: &[u8], start: usize) -> Result<Option<(Field, usize)>, HeadError> {
    let Some(colon) = token_end(bytes, start) else {
        return Ok(None);
    };
    if bytes[colon] != b':' || colon == start {
        return Err(name_error(bytes[colon], colon - start));
    }
    let mut value_start = colon + 1;
    while matches!(bytes.get(value_start), Some(b' ' | b'\t')) {
        value_start += 1;
    }
    let Some(end) = line_end(bytes, value_start) else {
        return Ok(None);
    };
    match bytes[end] {
        b'\n' => return Err(HeadError::BareLf),
        0 => return Err(HeadError::Nul),
        _ => {}
    }
    let Some(next) = read_line_end(bytes, end)? else {
        return Ok(None);
    };
    let mut value_end = end;
    while value_end > value_start && matches!(bytes[value_end - 1], b' ' | b'\t') {
        value_end -= 1;
    }
    let name = Name::of(&bytes[start..colon]);
    if name == Name::FramingLookalike {
        return Err(HeadError::FramingLookalike);
    }
    let is_plain = value_start == colon + 2 && bytes[colon + 1] == b' ' && value_end == end;
    let field = Field {
        name_start: offset(start),
        value_start: offset(value_start),
        value_len: offset(value_end - value_start),
        name_len: u16::try_from(colon - start).map_err(|_| HeadError::FieldName)?,
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
