//! `traceparent`: which trace a request is part of (W3C Trace Context, section 3.2).

use std::ops::Range;

use crate::hexadecimal::write_hex;

/// Whether the caller has recorded the trace.
const SAMPLED: u8 = 1;
/// Characters of version 00.
const LENGTH: usize = 55;
/// Where the trace's id is in a value.
pub const TRACE_ID: Range<usize> = 3..35;
/// Where the span's id is.
pub const SPAN_ID: Range<usize> = 36..52;

/// A place in a trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TraceParent {
    /// The trace's id, not 0.
    pub trace_id: u128,
    /// The id of the span that leads here, not 0.
    pub span_id: u64,
    /// Whether that is recorded.
    pub is_sampled: bool,
}

impl TraceParent {
    /// Reads a field's value. `None` if it is not valid: a new trace begins (section 3.2.2.2).
    pub fn parse(value: &[u8]) -> Option<Self> {
        // a later version may have more behind a dash (section 4.2)
        let is_later = value.len() > LENGTH && value[LENGTH] == b'-' && !value.starts_with(b"00");
        if value.len() != LENGTH && !is_later {
            return None;
        }
        let parts: [&[u8]; 4] = [&value[..2], &value[TRACE_ID], &value[SPAN_ID], &value[53..55]];
        if [2, 35, 52].iter().any(|at| value[*at] != b'-') || parts[0] == b"ff" {
            return None;
        }
        hex(parts[0])?;
        let (trace_id, span_id, flags) = (hex(parts[1])?, hex(parts[2])?, hex(parts[3])?);
        if trace_id == 0 || span_id == 0 {
            return None;
        }
        Some(Self {
            trace_id,
            span_id: u64::try_from(span_id).ok()?,
            is_sampled: u8::try_from(flags).ok()? & SAMPLED != 0,
        })
    }

    /// The field's value: the trace's id is at [`TRACE_ID`], the span's at [`SPAN_ID`].
    #[must_use]
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "the two halves")]
    pub fn text(&self) -> [u8; LENGTH] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let numbers = [(self.trace_id >> 64) as u64, self.trace_id as u64, self.span_id];
        for (start, number) in [3, 19, 36].into_iter().zip(numbers) {
            let digits = text[start..].first_chunk_mut().expect("all have sixteen");
            write_hex(digits, number);
        }
        text[54] += u8::from(self.is_sampled);
        text
    }
}

/// Lower case only, as the specification wants it.
fn hex(text: &[u8]) -> Option<u128> {
    text.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &[u8] = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_value_comes_back_as_it_was() {
        let parsed = TraceParent::parse(GOOD).expect("it is the specification's own");
        assert_eq!(parsed.text(), GOOD);
        assert_eq!(parsed.span_id, 0xb7ad_6b71_6920_3331);
        assert!(parsed.is_sampled);
        let with = |flags: &[u8]| TraceParent::parse(&[&GOOD[..53], flags].concat()).expect("valid");
        assert!(!with(b"00").is_sampled && !with(b"02").is_sampled && with(b"03").is_sampled);
    }

    #[test]
    fn later_versions_are_read_as_far_as_they_are_known() {
        assert!(TraceParent::parse(&[b"cc", &GOOD[2..], b"-what"].concat()).is_some());
        assert!(TraceParent::parse(&[b"cc", &GOOD[2..]].concat()).is_some());
        assert!(TraceParent::parse(&[b"cc", &GOOD[2..], b".what"].concat()).is_none());
        assert!(TraceParent::parse(&[GOOD, b"-what"].concat()).is_none());
    }

    #[test]
    fn what_is_not_valid_is_none() {
        for bad in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "0g-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceParent::parse(bad.as_bytes()), None, "{bad}");
        }
        for end in 0..GOOD.len() {
            assert_eq!(TraceParent::parse(&GOOD[..end]), None);
        }
    }
}
