//! Times as logs write them, in UTC, formatted anew only when the second has changed.

use std::cell::Cell;

use crate::http_date::{write_digits, Civil};

/// `2000-10-10T13:55:36.123Z`
const RFC3339_BYTES: usize = 24;
/// `10/Oct/2000:13:55:36 +0000`
const COMMON_BYTES: usize = 26;

/// The last second that was formatted, in both forms.
#[derive(Clone, Copy, Debug)]
struct Second {
    unix: u64,
    rfc3339: [u8; RFC3339_BYTES],
    common: [u8; COMMON_BYTES],
}

/// A formatter of times that remembers its last second.
#[derive(Debug)]
pub(super) struct Timestamps {
    last: Cell<Second>,
}

impl Timestamps {
    pub(super) fn new() -> Self {
        Self {
            last: Cell::new(Second::new(0)),
        }
    }

    /// Appends RFC 3339 with milliseconds, `2000-10-10T13:55:36.123Z`.
    pub(super) fn push_rfc3339(&self, unix_ms: u64, line: &mut Vec<u8>) {
        let mut text = self.second(unix_ms).rfc3339;
        write_digits(&mut text[20..23], unix_ms % 1000);
        line.extend_from_slice(&text);
    }

    /// Appends the form of the common log format, without its brackets: `10/Oct/2000:13:55:36 +0000`.
    pub(super) fn push_common(&self, unix_ms: u64, line: &mut Vec<u8>) {
        line.extend_from_slice(&self.second(unix_ms).common);
    }

    fn second(&self, unix_ms: u64) -> Second {
        let unix = unix_ms / 1000;
        if self.last.get().unix != unix {
            self.last.set(Second::new(unix));
        }
        self.last.get()
    }
}

impl Second {
    fn new(unix: u64) -> Self {
        let time = Civil::from_unix(unix);
        let mut rfc3339 = *b"0000-00-00T00:00:00.000Z";
        write_digits(&mut rfc3339[..4], time.year);
        write_digits(&mut rfc3339[5..7], time.month);
        write_digits(&mut rfc3339[8..10], time.day);
        let mut common = *b"00/Jan/0000:00:00:00 +0000";
        write_digits(&mut common[..2], time.day);
        common[3..6].copy_from_slice(time.month_name().as_bytes());
        write_digits(&mut common[7..11], time.year);
        for (text, start) in [(&mut rfc3339[..], 11), (&mut common[..], 12)] {
            write_digits(&mut text[start..start + 2], time.hour);
            write_digits(&mut text[start + 3..start + 5], time.minute);
            write_digits(&mut text[start + 6..start + 8], time.second);
        }
        Self {
            unix,
            rfc3339,
            common,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(times: &Timestamps, unix_ms: u64) -> String {
        let mut line = Vec::new();
        times.push_rfc3339(unix_ms, &mut line);
        line.push(b' ');
        times.push_common(unix_ms, &mut line);
        String::from_utf8(line).expect("ASCII")
    }

    #[test]
    fn follows_the_clock_also_backwards() {
        let times = Timestamps::new();
        assert_eq!(
            both(&times, 971_186_136_007),
            "2000-10-10T13:55:36.007Z 10/Oct/2000:13:55:36 +0000"
        );
        assert_eq!(
            both(&times, 971_186_136_999),
            "2000-10-10T13:55:36.999Z 10/Oct/2000:13:55:36 +0000"
        );
        assert_eq!(
            both(&times, 971_186_137_000),
            "2000-10-10T13:55:37.000Z 10/Oct/2000:13:55:37 +0000"
        );
        assert_eq!(
            both(&times, 0),
            "1970-01-01T00:00:00.000Z 01/Jan/1970:00:00:00 +0000"
        );
    }

    #[test]
    fn no_time_panics() {
        assert!(both(&Timestamps::new(), u64::MAX).starts_with("9999-12-31T23:59:59"));
    }
}
