//! Where a run of bytes ends, found eight bytes at a time: heads are short, so that what is set up for a wider search
//! costs more than it finds.
//!
//! How it works: a byte's high bit is free for a flag once it is known to be clear, so eight comparisons are one addition
//! (Mycroft's trick). Only the lowest flag is exact, and only that one is used.

use crate::grammar::{is_target_byte, is_token_byte};

const HIGH: u64 = 0x8080_8080_8080_8080;

/// Eight times the same byte.
const fn all(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let eight = bytes.get(at..at + 8)?;
    Some(u64::from_le_bytes(eight.try_into().expect("eight of them")))
}

/// How many bytes come before the lowest flag.
fn lowest(flags: u64) -> usize {
    flags.trailing_zeros() as usize / 8
}

/// The first position at or after `at` that holds no byte of a token; `None`: the bytes end before.
#[inline]
pub(crate) fn token_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        if let Some(word) = word(bytes, at) {
            let others = not_name(word);
            if others == 0 {
                at += 8;
                continue;
            }
            at += lowest(others);
        }
        if !is_token_byte(*bytes.get(at)?) {
            return Some(at);
        }
        at += 1;
    }
}

/// Flags the bytes that are neither a letter nor `-`, what most names are made of.
fn not_name(word: u64) -> u64 {
    let letters = (word | all(0x20)) & !HIGH;
    let from_a = letters + all(0x80 - b'a');
    let beyond_z = letters + all(0x80 - b'z' - 1);
    let without_dash = word ^ all(b'-');
    let not_dash = ((without_dash & !HIGH) + !HIGH) | without_dash;
    !((from_a & !beyond_z & !word) | !not_dash) & HIGH
}

/// The first position at or after `at` that cannot be in a request-target; `None`: the bytes end before.
#[inline]
pub(crate) fn target_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        if let Some(word) = word(bytes, at) {
            let low = word & !HIGH;
            let above_space = low + all(0x80 - b' ' - 1);
            let deletes = low + all(1);
            let others = (word | !above_space | deletes) & HIGH;
            if others == 0 {
                at += 8;
                continue;
            }
            return Some(at + lowest(others));
        }
        if !is_target_byte(*bytes.get(at)?) {
            return Some(at);
        }
        at += 1;
    }
}

/// The first position at or after `at` that holds a control character other than the tab; `None`: the bytes end before.
#[inline]
pub(crate) fn value_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        if let Some(word) = word(bytes, at) {
            let low = word & !HIGH;
            let from_space = low + all(0x80 - b' ');
            let deletes = low + all(1);
            let controls = (!from_space | deletes) & !word & HIGH;
            if controls == 0 {
                at += 8;
                continue;
            }
            at += lowest(controls);
        }
        if is_control(*bytes.get(at)?) {
            return Some(at);
        }
        at += 1;
    }
}

/// Whether no field value may have it (RFC 9110 section 5.5).
fn is_control(byte: u8) -> bool {
    matches!(byte, 0..=8 | 10..=31 | 0x7f)
}

/// Whether `name` is `lower`, which is in lower case, whatever the case of its letters. For names made of token bytes only:
/// a few others would pass for letters.
#[inline]
pub(crate) fn is_name<const N: usize>(name: &[u8], lower: &[u8; N]) -> bool {
    let Ok(name) = <&[u8; N]>::try_from(name) else {
        return false;
    };
    // without an early exit, so that it becomes a few wide operations
    name.iter().zip(lower).fold(0, |differences, (byte, wanted)| {
        differences | ((byte | 0x20) ^ wanted)
    }) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_where_a_search_byte_by_byte_finds_them() {
        for length in 0..20 {
            for place in 0..length {
                for byte in 0..=255 {
                    let mut bytes = vec![b'a'; length];
                    bytes[place] = byte;
                    let token = bytes.iter().position(|byte| !is_token_byte(*byte));
                    assert_eq!(token_end(&bytes, 0), token, "{bytes:?}");
                    let target = bytes.iter().position(|byte| !is_target_byte(*byte));
                    assert_eq!(target_end(&bytes, 0), target, "{bytes:?}");
                    let value = bytes.iter().position(|byte| is_control(*byte));
                    assert_eq!(value_end(&bytes, 0), value, "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn two_odd_bytes_in_a_word_end_at_the_first() {
        for first in 0..=255 {
            for second in 0..=255 {
                let bytes = [b'a', first, second, b'b', b'-', b'Z', b'1', b'c', b'd'];
                assert_eq!(
                    token_end(&bytes, 0),
                    bytes.iter().position(|byte| !is_token_byte(*byte))
                );
                let target = bytes.iter().position(|byte| !is_target_byte(*byte));
                assert_eq!(target_end(&bytes, 0), target);
                let value = bytes.iter().position(|byte| is_control(*byte));
                assert_eq!(value_end(&bytes, 0), value);
            }
        }
    }

    #[test]
    fn names_are_the_same_in_any_case() {
        assert!(is_name(b"Content-Length", b"content-length"));
        assert!(!is_name(b"Content-Lengti", b"content-length"));
        assert!(!is_name(b"Content", b"content-length"));
    }
}
