//! Field sections as the types of the crate `http`, and back: what both sides share, and responses.

use headgate_wire::http3::{
    code, decode_section, write_field, write_frame_header, write_section_prefix, SectionError,
};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::frames::Wrong;

/// Why there is no message.
#[derive(Debug, PartialEq, Eq)]
pub enum Unusable {
    /// As is said.
    Wrong(Wrong),
    /// It is larger than allowed: 431.
    TooLarge,
}

impl From<Wrong> for Unusable {
    fn from(wrong: Wrong) -> Self {
        Self::Wrong(wrong)
    }
}

impl From<SectionError> for Unusable {
    fn from(error: SectionError) -> Self {
        match error {
            SectionError::TooLarge => Self::TooLarge,
            SectionError::Invalid => {
                let what = "a field section that cannot be decoded";
                Self::Wrong(Wrong::Connection(code::QPACK_DECOMPRESSION_FAILED, what))
            }
        }
    }
}

/// The head of a response that a section says. `most`: what it may come to, decoded.
pub fn response(section: &[u8], most: usize) -> Result<Parts, Unusable> {
    let mut status = None;
    let mut fields = HeaderMap::new();
    let mut wrong = None;
    decode_section(section, most, |name, value| {
        if wrong.is_none() {
            wrong = take(&mut status, &mut fields, name, value).err();
        }
    })?;
    if let Some(what) = wrong {
        return Err(Wrong::message(what).into());
    }
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = status.ok_or(Wrong::message("no :status"))?;
    parts.headers = fields;
    Ok(parts)
}

fn take(
    status: &mut Option<StatusCode>,
    fields: &mut HeaderMap,
    name: &[u8],
    value: &[u8],
) -> Result<(), &'static str> {
    if name.first() != Some(&b':') {
        return append(fields, name, value);
    }
    if !fields.is_empty() || status.is_some() || name != b":status" {
        return Err("a pseudo field that must not be");
    }
    // HTTP/3 cannot switch protocols (RFC 9114 section 4.5)
    let code = StatusCode::from_bytes(value)
        .ok()
        .filter(|code| *code != StatusCode::SWITCHING_PROTOCOLS);
    *status = Some(code.ok_or("an invalid status")?);
    Ok(())
}

/// A trailer section.
pub fn trailers(section: &[u8], most: usize) -> Result<HeaderMap, Unusable> {
    let mut fields = HeaderMap::new();
    let mut wrong = None;
    decode_section(section, most, |name, value| {
        if wrong.is_none() {
            wrong = append(&mut fields, name, value).err();
        }
    })?;
    wrong.map_or(Ok(fields), |what| Err(Wrong::message(what).into()))
}

/// Adds a field that was decoded, in lower case as it must be.
pub fn append(fields: &mut HeaderMap, name: &[u8], value: &[u8]) -> Result<(), &'static str> {
    let name = HeaderName::from_lowercase(name).map_err(|_| "an invalid field name")?;
    let value = HeaderValue::from_bytes(value).map_err(|_| "an invalid field value")?;
    fields
        .try_append(name, value)
        .map(drop)
        .map_err(|_| "too many fields")
}

/// Appends a section of these fields, behind what `begin` puts first.
pub fn write_section(fields: &HeaderMap, begin: impl FnOnce(&mut Vec<u8>), out: &mut Vec<u8>) {
    write_section_prefix(out);
    begin(out);
    for (name, value) in fields {
        write_field(name.as_str().as_bytes(), value.as_bytes(), out);
    }
}

/// A frame of that type with what `payload` writes.
pub fn frame(kind: u64, payload: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = Vec::with_capacity(512);
    payload(&mut frame);
    // its head says how long it is, and so comes last and is moved to the front
    let length = frame.len();
    write_frame_header(kind, length as u64, &mut frame);
    let head = frame.len() - length;
    frame.rotate_right(head);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(fields: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        write_section_prefix(&mut out);
        for (name, value) in fields {
            write_field(name.as_bytes(), value.as_bytes(), &mut out);
        }
        out
    }

    #[test]
    fn responses_are_read() {
        let parts = response(&section(&[(":status", "204"), ("x-a", "1")]), 1000).expect("it is well-formed");
        assert_eq!((parts.status.as_u16(), parts.headers.len()), (204, 1));
    }

    #[test]
    fn malformed_responses_are_refused() {
        let malformed: [&[(&str, &str)]; 8] = [
            &[],
            &[("x-a", "1")],
            &[("x-a", "1"), (":status", "200")],
            &[(":status", "200"), (":status", "200")],
            &[(":status", "200"), (":path", "/")],
            &[(":status", "101")],
            &[(":status", "2x0")],
            &[(":status", "200"), ("X-Upper", "1")],
        ];
        for fields in malformed {
            assert!(
                matches!(
                    response(&section(fields), 1000),
                    Err(Unusable::Wrong(Wrong::Stream(code::MESSAGE_ERROR, _)))
                ),
                "{fields:?}"
            );
        }
    }
}
