//! Paths and queries without the values in them: two that differ in values only have one shape.
//!
//! Shapes only tell requests apart; what is a parameter is for the plugin to say. So what is doubtful here may stay as it is,
//! but two of different kinds never become one.

use std::borrow::Cow;

/// The longest segment that may be a name, in bytes.
const LONGEST_NAME: usize = 64;
/// A query with more pairs has no shape of its own.
const MOST_PAIRS: usize = 50;

/// Appends a path with a byte of its kind, which no path has, in place of each segment that looks like a value.
pub(super) fn path_shape(path: &[u8], shape: &mut Vec<u8>) {
    for segment in path.split(|byte| *byte == b'/') {
        shape.push(b'/');
        match segment_kind(segment) {
            0 => shape.extend_from_slice(segment),
            kind => shape.push(kind),
        }
    }
}

/// Appends a query with the kind of each value in its place.
pub(super) fn query_shape(query: &[u8], shape: &mut Vec<u8>) {
    if memchr::memchr_iter(b'&', query).count() >= MOST_PAIRS {
        shape.push(b'&');
        return;
    }
    for pair in query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let end = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        shape.extend_from_slice(&pair[..end]);
        shape.push(b'=');
        shape.push(value_kind(&percent_decoded(
            pair.get(end + 1..).unwrap_or_default(),
            b'+',
        )));
    }
}

const STRING: u8 = 1;
const BOOLEAN: u8 = 2;
const INTEGER: u8 = 3;
const NUMBER: u8 = 4;
const DATE: u8 = 5;
const UUID: u8 = 6;

/// The kind of what looks like a value; 0 for a name.
fn segment_kind(segment: &[u8]) -> u8 {
    if segment.is_empty() || segment[0] == b'{' {
        return 0;
    }
    match value_kind(segment) {
        STRING | BOOLEAN => {}
        kind => return kind,
    }
    let is_name = segment.len() <= LONGEST_NAME
        && segment
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._~@:+-".contains(byte));
    if is_name && !is_token(segment) {
        0
    } else {
        STRING
    }
}

/// Identifiers, hashes, keys, addresses of mail: hardly a name.
fn is_token(segment: &[u8]) -> bool {
    let all = |is: fn(&u8) -> bool| segment.iter().all(is);
    let is_key = segment.len() >= 16
        && all(|byte| byte.is_ascii_alphanumeric() || b"_=-".contains(byte))
        && segment.iter().any(u8::is_ascii_digit);
    is_key || (segment.len() >= 12 && all(u8::is_ascii_hexdigit)) || segment.contains(&b'@')
}

fn value_kind(value: &[u8]) -> u8 {
    let unsigned = value.strip_prefix(b"-").unwrap_or(value);
    let are_digits =
        |digits: &[u8]| (1..=18).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    if are_digits(unsigned) {
        return INTEGER;
    }
    if value == b"true" || value == b"false" {
        return BOOLEAN;
    }
    if let Some(point) = memchr::memchr(b'.', unsigned) {
        if are_digits(&unsigned[..point]) && are_digits(&unsigned[point + 1..]) {
            return NUMBER;
        }
    }
    if is_grouped(value, &[4, 2, 2], u8::is_ascii_digit) {
        return DATE;
    }
    if is_grouped(value, &[8, 4, 4, 4, 12], u8::is_ascii_hexdigit) {
        return UUID;
    }
    STRING
}

/// Whether it is groups of such lengths with hyphens between.
fn is_grouped(value: &[u8], lengths: &[usize], is: fn(&u8) -> bool) -> bool {
    if value.len() != lengths.iter().sum::<usize>() + lengths.len() - 1 {
        return false;
    }
    let mut groups = value.split(|byte| *byte == b'-');
    let fit = lengths.iter().all(|length| {
        groups
            .next()
            .is_some_and(|group| group.len() == *length && group.iter().all(is))
    });
    fit && groups.next().is_none()
}

/// A value without its percent-encoding, and with a space for each byte that is `space` but the percent sign; what is no
/// encoding stays. Owned only if something has changed.
pub(super) fn percent_decoded(value: &[u8], space: u8) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr2(b'%', space, value) else {
        return Cow::Borrowed(value);
    };
    let digit = |at: usize| char::from(*value.get(at)?).to_digit(16);
    let encoded = |at: usize| u8::try_from(digit(at + 1)? * 16 + digit(at + 2)?).ok();
    let (mut plain, mut at) = (value[..first].to_vec(), first);
    while let Some(byte) = value.get(at) {
        let code = (*byte == b'%').then(|| encoded(at)).flatten();
        at += if code.is_some() { 3 } else { 1 };
        let is_space = *byte == space && *byte != b'%';
        plain.push(code.unwrap_or(if is_space { b' ' } else { *byte }));
    }
    if plain == value {
        return Cow::Borrowed(value);
    }
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_that_look_like_values_have_kinds() {
        for (segment, kind) in [
            ("users", 0),
            ("v1", 0),
            ("", 0),
            ("true", 0),
            ("get-user-account-details", 0),
            ("{integer}", 0),
            ("42", INTEGER),
            ("-1", INTEGER),
            ("-", 0),
            ("1.5", NUMBER),
            ("1.", 0),
            ("2026-11-30", DATE),
            ("0198f5a2-7c1e-7000-8000-0123456789ab", UUID),
            ("01ARZ3NDEKTSV4RRFFQ69G5FAV", STRING),
            ("9f86d081884c7d65", STRING),
            ("abcdefabcdef", STRING),
            ("someone@example.com", STRING),
            ("caf%C3%A9", STRING),
            ("9999999999999999999999", STRING),
            (
                "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                STRING,
            ),
        ] {
            assert_eq!(segment_kind(segment.as_bytes()), kind, "{segment}");
        }
    }

    #[test]
    fn two_of_one_kind_have_one_shape() {
        let shape = |path: &str, query: &str| {
            let mut shape = Vec::new();
            path_shape(path.as_bytes(), &mut shape);
            query_shape(query.as_bytes(), &mut shape);
            shape
        };
        assert_eq!(shape("/a/1", "x=1&y=z"), shape("/a/23", "&x=%32%33&y=a+b"));
        assert_eq!(shape("/a", "x"), shape("/a", "x=?"));
        assert_ne!(shape("/a/1", ""), shape("/a/b", ""));
        assert_ne!(shape("/a", "x=1"), shape("/a", "x=z"));
        assert_ne!(shape("/a", "x=1"), shape("/a", "y=1"));
        assert_eq!(shape("/a", &"a=1&".repeat(50)), shape("/a", &"b=1&".repeat(60)));
        assert_eq!(percent_decoded(b"a%zz%4", b'%'), b"a%zz%4".as_slice());
        assert_eq!(percent_decoded(b"a+%2b%20", b'%'), b"a++ ".as_slice());
        assert_eq!(percent_decoded(b"a+%2b", b'+'), b"a +".as_slice());
    }
}
