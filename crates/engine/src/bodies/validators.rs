//! The fields of a head that speak of the very bytes of its body, when hooks may change those.

use headgate_wire::Head;

/// Takes away what would be wrong of another body: a strong validator becomes a weak one (RFC 9110 section 8.8.1), digests
/// (RFC 9530) and the offer of ranges go.
pub(crate) fn weaken(head: &mut Head) {
    drop_digests(head);
    head.remove(b"accept-ranges");
    let weak = head
        .get(b"etag")
        .filter(|tag| !tag.starts_with(b"W/"))
        .map(|tag| [b"W/", tag].concat());
    if let Some(weak) = weak {
        // it was a field's value before, so it is one now
        let _ = head.set(b"etag", &weak);
    }
}

/// Takes away the digests of the body.
pub(crate) fn drop_digests(head: &mut Head) {
    for name in [&b"content-md5"[..], b"content-digest", b"repr-digest", b"digest"] {
        if head.get(name).is_some() {
            head.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strong_tag_becomes_weak_once_and_digests_go() {
        let mut head = Head::empty();
        head.add(b"etag", b"\"abc\"").unwrap();
        head.add(b"content-md5", b"x").unwrap();
        head.add(b"x-other", b"y").unwrap();
        weaken(&mut head);
        weaken(&mut head);
        assert_eq!(head.get(b"etag"), Some(&b"W/\"abc\""[..]));
        assert_eq!(head.get(b"content-md5"), None);
        assert_eq!(head.get(b"x-other"), Some(&b"y"[..]));
    }
}
