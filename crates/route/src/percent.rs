//! Percent-encoding (RFC 3986, section 2.1).

use std::borrow::Cow;

/// The byte that an escape at the start of `input` (`%41`) stands for; `None` if it is malformed.
pub(crate) fn escaped_byte(input: &[u8]) -> Option<u8> {
    match input {
        [b'%', high, low, ..] => Some(hex_value(*high)? << 4 | hex_value(*low)?),
        _ => None,
    }
}

/// Appends `byte` as an escape with upper-case digits (RFC 3986, section 6.2.2.1).
pub(crate) fn push_escape(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend([
        b'%',
        DIGITS[usize::from(byte >> 4)],
        DIGITS[usize::from(byte & 15)],
    ]);
}

/// Decodes every well-formed escape; malformed ones stay as they are. Borrows if there is nothing to decode.
pub fn percent_decode(input: &[u8]) -> Cow<'_, [u8]> {
    if !input.contains(&b'%') {
        return Cow::Borrowed(input);
    }
    let mut out = Vec::with_capacity(input.len());
    let mut at = 0;
    while at < input.len() {
        if let Some(byte) = escaped_byte(&input[at..]) {
            out.push(byte);
            at += 3;
        } else {
            out.push(input[at]);
            at += 1;
        }
    }
    Cow::Owned(out)
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_decode_leaves_malformed_escapes() {
        assert_eq!(&*percent_decode(b"a%20b%4"), b"a b%4");
        assert_eq!(&*percent_decode(b"%zz%"), b"%zz%");
        assert!(matches!(percent_decode(b"plain"), Cow::Borrowed(_)));
    }

    #[test]
    fn test_escape_digits_are_upper_case() {
        let mut out = Vec::new();
        push_escape(0xaf, &mut out);
        assert_eq!(out, b"%AF");
    }
}
