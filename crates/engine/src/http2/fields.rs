//! Header fields between this gateway's heads and the maps of the crate `h2`.

use bytes::Bytes;
use headgate_wire::Head;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The visible fields of a head. `None` for a field that HTTP/2 cannot carry.
pub(super) fn to_map(head: &Head, more: usize) -> Option<HeaderMap> {
    let (mut count, mut values) = (0, Vec::with_capacity(head.len_hint()));
    for (_, value) in head.iter() {
        count += 1;
        values.extend_from_slice(value);
    }
    // all values share one allocation
    let mut values = Bytes::from(values);
    let mut map = HeaderMap::with_capacity(count + more);
    for (name, value) in head.iter() {
        // lower-cased on the way (RFC 9113 section 8.2.1)
        let name = HeaderName::from_bytes(name).ok()?;
        let value = HeaderValue::from_maybe_shared(values.split_to(value.len())).ok()?;
        map.append(name, value);
    }
    Some(map)
}

/// Appends a trailer section's lines, without the empty one.
pub(super) fn write_lines(map: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in map {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes().trim_ascii());
        out.extend_from_slice(b"\r\n");
    }
}
