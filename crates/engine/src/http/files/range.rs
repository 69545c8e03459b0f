//! Byte ranges (RFC 9110 section 14): what part of a file a `Range` field selects.

/// What to send for a `Range` field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// Everything, as if the field were absent: it is malformed, of another unit, or has several ranges.
    Whole,
    /// 206: `len` bytes from `start`; both fit into the file and `len` is not 0.
    Part {
        /// Offset of the first byte.
        start: u64,
        /// Number of bytes.
        len: u64,
    },
    /// 416: the range is beyond the end.
    Unsatisfiable,
}

/// Reads a `Range` field against a file of `size` bytes.
///
/// Several ranges get the whole file, which section 14.2 allows: it spares multipart responses, and what many small
/// ranges can cost.
pub(super) fn select(field: &[u8], size: u64) -> Selection {
    let Some(equals) = memchr::memchr(b'=', field) else {
        return Selection::Whole;
    };
    let (unit, set) = (&field[..equals], &field[equals + 1..]);
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return Selection::Whole;
    }
    // Empty elements of a list count for nothing (section 5.6.1.2).
    let mut ranges = set
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|range| !range.is_empty());
    match (ranges.next(), ranges.next()) {
        (Some(range), None) => select_one(range, size),
        _ => Selection::Whole,
    }
}

/// `first-last`, `first-` or `-length`.
fn select_one(range: &[u8], size: u64) -> Selection {
    let Some(dash) = memchr::memchr(b'-', range) else {
        return Selection::Whole;
    };
    let (first, last) = (&range[..dash], &range[dash + 1..]);
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first > last => Selection::Whole,
        (Some(first), Some(last)) => part(first, last, size),
        (Some(first), None) if last.is_empty() => part(first, u64::MAX, size),
        (None, Some(0)) if first.is_empty() => Selection::Unsatisfiable,
        // Satisfiable by the letter of section 14.1.1, but Content-Range cannot say "nothing of nothing".
        (None, Some(_)) if first.is_empty() && size == 0 => Selection::Whole,
        (None, Some(length)) if first.is_empty() => part(size.saturating_sub(length), u64::MAX, size),
        _ => Selection::Whole,
    }
}

fn part(first: u64, last: u64, size: u64) -> Selection {
    if first >= size {
        return Selection::Unsatisfiable;
    }
    Selection::Part {
        start: first,
        len: last.min(size - 1) - first + 1,
    }
}

/// One or more digits; numbers too large are the largest, which is beyond any file.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |sum: u64, digit| {
        sum.checked_mul(10)
            .and_then(|sum| sum.checked_add(u64::from(digit - b'0')))
            .unwrap_or(u64::MAX)
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part_of(start: u64, len: u64) -> Selection {
        Selection::Part { start, len }
    }

    #[test]
    fn one_range_is_honoured() {
        for (field, expected) in [
            ("bytes=0-0", part_of(0, 1)),
            ("bytes=0-", part_of(0, 100)),
            ("bytes=10-19", part_of(10, 10)),
            ("bytes=99-", part_of(99, 1)),
            ("bytes=90-1000", part_of(90, 10)),
            ("bytes=90-99999999999999999999999", part_of(90, 10)),
            ("bytes=-1", part_of(99, 1)),
            ("bytes=-1000", part_of(0, 100)),
            ("Bytes= 1-2 ,,", part_of(1, 2)),
        ] {
            assert_eq!(select(field.as_bytes(), 100), expected, "{field}");
        }
    }

    #[test]
    fn range_behind_the_end_is_unsatisfiable() {
        for field in [
            "bytes=100-",
            "bytes=100-200",
            "bytes=-0",
            "bytes=99999999999999999999999-",
        ] {
            assert_eq!(select(field.as_bytes(), 100), Selection::Unsatisfiable, "{field}");
        }
        assert_eq!(select(b"bytes=0-", 0), Selection::Unsatisfiable);
        assert_eq!(select(b"bytes=-5", 0), Selection::Whole);
    }

    #[test]
    fn malformed_foreign_and_several_ranges_get_everything() {
        for field in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=5",
            "bytes=5-4",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=1-2-3",
            "bytes=0x1-2",
            "bytes=1 -2",
            "bytes==1-2",
            "bytes =1-2",
            "lines=1-2",
            "bytes=0-1,5-6",
            "bytes=-1,-2",
        ] {
            assert_eq!(select(field.as_bytes(), 100), Selection::Whole, "{field}");
        }
    }

    proptest! {
        #[test]
        fn parts_lie_within_the_file(field in "bytes=[0-9]{0,21}-[0-9]{0,21}", size: u64) {
            if let Selection::Part { start, len } = select(field.as_bytes(), size) {
                prop_assert!(len > 0 && start.checked_add(len).is_some_and(|end| end <= size));
            }
        }

        #[test]
        fn well_formed_ranges_select_what_they_say(first in 0..1000_u64, more in 0..1000_u64, size in 1..1000_u64) {
            let last = first + more;
            let selected = select(format!("bytes={first}-{last}").as_bytes(), size);
            let expected =
                if first < size { part_of(first, last.min(size - 1) - first + 1) } else { Selection::Unsatisfiable };
            prop_assert_eq!(selected, expected);
        }

        #[test]
        fn no_field_panics(field: Vec<u8>, size: u64) {
            let _ = select(&field, size);
        }
    }
}
