//! Attributes of spans and resources (`KeyValue` in `common/v1/common.proto`).

use super::protobuf::{begin, bytes, varint, varint_length};

/// Appends a text as an attribute in a field; what is not UTF-8 of it is replaced, since a reader would refuse the whole batch.
pub(super) fn text(out: &mut Vec<u8>, field: u32, key: &str, value: &[u8]) {
    let value = String::from_utf8_lossy(value);
    attribute(out, field, key, 1 + varint_length(value.len()) + value.len());
    bytes(out, 1, value.as_bytes());
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
