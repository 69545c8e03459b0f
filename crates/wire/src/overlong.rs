//! Characters that are spelled in more bytes than they have in UTF-8 (RFC 3629 section 3): to readers that decode carelessly,
//! `%C0%AE` is a dot and `%C0%AF` a slash.

/// Whether the escapes of a request-target spell an overlong sequence. Other bytes that are no UTF-8 are let be: they are
/// text in an older encoding.
pub(crate) fn has_overlong(target: &[u8]) -> bool {
    let mut rest = target;
    while let Some(at) = memchr::memchr(b'%', rest) {
        rest = &rest[at..];
        let Some(first) = escaped(rest) else {
            rest = &rest[1..];
            continue;
        };
        rest = &rest[3..];
        let second = match first {
            0xC0 | 0xC1 => 0x80..=0xBF,
            0xE0 => 0x80..=0x9F,
            0xF0 => 0x80..=0x8F,
            _ => continue,
        };
        if escaped(rest).is_some_and(|byte| second.contains(&byte)) {
            return true;
        }
    }
    false
}

/// The byte of an escape.
fn escaped(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = bytes else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()
}
