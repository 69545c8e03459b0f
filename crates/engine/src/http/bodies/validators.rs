//! The fields of a head that speak of the very bytes of its body, when hooks may change those.

use headgate_wire::Head;

/// Takes away what would be wrong of another body: a strong validator becomes a weak one (RFC 9110 section 8.8.1), digests
/// (RFC 9530) and the offer of ranges go.
pub(crate) fn weaken(head: &mut Head) {
    let mut weak = None;
    head.retain(|name, value| {
        if !name.eq_ignore_ascii_case(b"etag") {
            return !is_of_bytes(name);
        }
        if value.starts_with(b"W/") || weak.is_some() {
            return true;
        }
        weak = Some([b"W/", value].concat());
        false
    });
    if let Some(weak) = weak {
        // it was a field's value before, so it is one now
        let _ = head.add(b"etag", &weak);
    }
}

/// Whether a field speaks of the bytes as they were.
fn is_of_bytes(name: &[u8]) -> bool {
    // most names are told apart by their length
    let known: &[&[u8]] = match name.len() {
        6 => &[b"digest"],
        11 => &[b"content-md5", b"repr-digest"],
        13 => &[b"accept-ranges"],
        14 => &[b"content-digest"],
        _ => return false,
    };
    known.iter().any(|known| name.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strong_tag_becomes_weak_once_and_digests_go() {
        let mut head = Head::empty();
        head.add(b"etag", b"\"abc\"").unwrap();
        head.add(b"content-md5", b"x").unwrap();
        head.add(b"X-other", b"y").unwrap();
        head.add(b"Accept-Ranges", b"bytes").unwrap();
        weaken(&mut head);
        weaken(&mut head);
        assert_eq!(head.get(b"etag"), Some(&b"W/\"abc\""[..]));
        assert_eq!(head.get(b"content-md5"), None);
        assert_eq!(head.get(b"accept-ranges"), None);
        assert_eq!(head.get(b"x-other"), Some(&b"y"[..]));
    }
}
