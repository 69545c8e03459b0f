//! Header fields between this gateway's heads and the maps of the crate `h2`.

use bytes::Bytes;
use headgate_wire::{Head, HeadLimits, Lenient};
use http::{header, HeaderMap, HeaderName, HeaderValue};

/// The heads come from this gateway itself, which has held the peers' parts to the configured limits.
pub const OWN_HEADS: HeadLimits = HeadLimits {
    max_bytes: 1 << 20,
    max_fields: 10_000,
    lenient: Lenient::NONE,
};

/// Room for what callers add.
const MORE_FIELDS: usize = 3;

/// The length of the largest number of 64 bits.
const MAX_DIGITS: usize = 20;

/// The visible fields of a head, and a Content-Length. `None` for a field that HTTP/2 cannot carry.
pub fn to_map(head: &Head, length: Option<u64>) -> Option<HeaderMap> {
    let mut bytes = Vec::with_capacity(head.bytes().len() + MAX_DIGITS);
    bytes.extend_from_slice(head.bytes());
    if let Some(length) = length {
        bytes.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    }
    // all values share one allocation
    let bytes = Bytes::from(bytes);
    let mut map = HeaderMap::with_capacity(head.count_hint() + MORE_FIELDS);
    for (name, value) in head.places() {
        // lower-cased on the way (RFC 9113 section 8.2.1)
        let name = HeaderName::from_bytes(name).ok()?;
        let value = HeaderValue::from_maybe_shared(bytes.slice(value)).ok()?;
        map.append(name, value);
    }
    if length.is_some() {
        let value = bytes.slice(head.bytes().len()..);
        map.insert(
            header::CONTENT_LENGTH,
            HeaderValue::from_maybe_shared(value).ok()?,
        );
    }
    Some(map)
}

/// Appends a trailer section's lines, without the empty one.
pub fn write_lines(map: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in map {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes().trim_ascii());
        out.extend_from_slice(b"\r\n");
    }
}

/// Fields that would frame an HTTP/1 message (RFC 9113 section 8.2.2).
pub fn is_of_connection(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection" | "transfer-encoding" | "upgrade" | "keep-alive" | "proxy-connection" | "http2-settings"
    )
}

/// Digits and nothing else.
pub fn number(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}
