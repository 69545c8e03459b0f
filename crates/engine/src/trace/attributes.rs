//! Attributes of spans and resources (`KeyValue` in `common/v1/common.proto`).
//!
//! # How it works
//! Most of a span are attributes, and nearly all are short: their lengths have one byte each, so that what is before and behind
//! a key is written at once. Keys are known when this is compiled, which makes of each a few moves.

use std::borrow::Cow;

use super::protobuf::{begin, bytes, varint, varint_length};

/// Bytes of an attribute whose lengths have one byte each, but for the whole's key and length.
const SHORT: usize = 0x7f;

/// Appends a text as an attribute in a field; what is not UTF-8 of it is replaced, since a reader would refuse the whole batch.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "what is known of a key is known in the caller"
)]
pub(super) fn text(out: &mut Vec<u8>, field: u32, key: &str, value: &[u8]) {
    // nearly all of it is
    if value.is_ascii() {
        utf8(out, field, key, value);
    } else {
        long(out, field, key, readable(value).as_bytes());
    }
}

/// The same with what is UTF-8.
#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "what is known of a key is known in the caller"
)]
pub(super) fn string(out: &mut Vec<u8>, field: u32, key: &str, value: &str) {
    utf8(out, field, key, value.as_bytes());
}

#[inline(always)]
#[allow(
    clippy::inline_always,
    reason = "what is known of a key is known in the caller"
)]
#[allow(clippy::cast_possible_truncation, reason = "all are less than 128")]
fn utf8(out: &mut Vec<u8>, field: u32, key: &str, value: &[u8]) {
    let whole = key.len() + value.len() + 6;
    if whole > SHORT || field > 15 {
        return long(out, field, key, value);
    }
    out.reserve(whole + 2);
    out.extend_from_slice(&[(field << 3 | 2) as u8, whole as u8, 1 << 3 | 2, key.len() as u8]);
    out.extend_from_slice(key.as_bytes());
    let length = value.len() as u8;
    out.extend_from_slice(&[2 << 3 | 2, length + 2, 1 << 3 | 2, length]);
    out.extend_from_slice(value);
}

#[cold]
fn long(out: &mut Vec<u8>, field: u32, key: &str, value: &[u8]) {
    attribute(out, field, key, 1 + varint_length(value.len()) + value.len());
    bytes(out, 1, value);
}

/// Text as a reader takes it.
#[inline]
pub(super) fn readable(value: &[u8]) -> Cow<'_, str> {
    // much quicker than to look for what is to be replaced
    match std::str::from_utf8(value) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(value),
    }
}

/// Appends a number likewise.
pub(super) fn integer(out: &mut Vec<u8>, field: u32, key: &str, value: u64) {
    let small = usize::try_from(value).unwrap_or(usize::MAX);
    attribute(out, field, key, 1 + varint_length(small));
    // 0 is written, too: it is the one of the possible kinds of value that is there
    varint(out, 3 << 3);
    varint(out, value);
}

/// An attribute up to its value (`AnyValue`), which is so long.
fn attribute(out: &mut Vec<u8>, field: u32, key: &str, length: usize) {
    let whole = 2 + varint_length(key.len()) + key.len() + varint_length(length) + length;
    begin(out, field, whole);
    bytes(out, 1, key.as_bytes());
    begin(out, 2, length);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_attributes_are_written_alike() {
        for field in [1, 9, 15, 16] {
            for length in [0, 1, 100, 110, 111, 112, 113, 120, 127, 128, 300, 20_000] {
                let value = "x".repeat(length);
                let (mut found, mut wanted) = (Vec::new(), Vec::new());
                string(&mut found, field, "url.path", &value);
                long(&mut wanted, field, "url.path", value.as_bytes());
                assert_eq!(found, wanted, "{field} {length}");
            }
        }
    }

    #[test]
    fn what_is_not_utf8_is_replaced() {
        let mut out = Vec::new();
        text(&mut out, 9, "k", b"a\xffb");
        assert!(out.ends_with("a\u{fffd}b".as_bytes()));
    }
}
