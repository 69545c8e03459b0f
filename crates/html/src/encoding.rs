//! The encoding of a page: by its byte order mark, else by the charset of its Content-Type, else by its `meta` element,
//! else UTF-8 (the order of the HTML standard, section 13.2.3.2).

use encoding_rs::{Encoding, UTF_8};
use lol_html::AsciiCompatibleEncoding;

/// The longest byte order mark.
pub(crate) const MARK_BYTES: usize = 3;

/// Whether pages of this charset can be changed: ASCII must be in it as it is (so UTF-16 and ISO-2022-JP cannot).
pub fn is_supported(charset: &str) -> bool {
    by_label(charset).is_some()
}

pub(crate) fn by_label(charset: &str) -> Option<AsciiCompatibleEncoding> {
    Encoding::for_label_no_replacement(charset.as_bytes()).and_then(AsciiCompatibleEncoding::new)
}

/// What a page's first bytes say; the error is that it cannot be changed.
pub(crate) fn by_mark(first: &[u8]) -> Result<Option<AsciiCompatibleEncoding>, ()> {
    match Encoding::for_bom(first) {
        None => Ok(None),
        Some((encoding, _)) if encoding == UTF_8 => Ok(Some(AsciiCompatibleEncoding::utf_8())),
        Some(_) => Err(()),
    }
}

/// Whether these first bytes may become a mark.
pub(crate) fn may_be_a_mark(first: &[u8]) -> bool {
    [&b"\xef\xbb\xbf"[..], b"\xff\xfe", b"\xfe\xff"]
        .iter()
        .any(|mark| first.len() < mark.len() && mark.starts_with(first))
}
