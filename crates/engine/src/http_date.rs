//! HTTP dates (RFC 9110 section 5.6.7): written as IMF-fixdate, read in all three forms.
//!
//! No clock is read here: every function is given the time as seconds since 1970-01-01 00:00:00 UTC.

use std::time::Duration;

const SECONDS_PER_DAY: u64 = 86_400;
const DAY_NAMES: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const LONG_DAY_NAMES: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const MONTH_NAMES: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
/// 9999-12-31 23:59:59, the last second that four digits of a year can say.
const LAST_SECOND: u64 = 253_402_300_799;

/// Length of an IMF-fixdate in bytes.
pub const LENGTH: usize = 29;

/// Writes a time as IMF-fixdate, `Sun, 06 Nov 1994 08:49:37 GMT`. Times after the year 9999 are clamped.
pub fn format(unix_seconds: u64) -> [u8; LENGTH] {
    let time = Civil::from_unix(unix_seconds);
    let mut text = *b"Sun, 06 Nov 1994 08:49:37 GMT";
    text[..3].copy_from_slice(time.weekday_name().as_bytes());
    write_digits(&mut text[5..7], time.day);
    text[8..11].copy_from_slice(time.month_name().as_bytes());
    write_digits(&mut text[12..16], time.year);
    write_digits(&mut text[17..19], time.hour);
    write_digits(&mut text[20..22], time.minute);
    write_digits(&mut text[23..25], time.second);
    text
}

/// Reads an HTTP date in any of its three forms as seconds since 1970; `None` if it is none of them.
///
/// `now` settles the century of the RFC 850 form (a year more than 50 years ahead is in the past). A date before 1970
/// reads as 0, which orders it before every date that can occur.
pub fn parse(text: &[u8], now: u64) -> Option<u64> {
    match text.iter().position(|&byte| byte == b',' || byte == b' ')? {
        3 if text[3] == b',' => parse_imf_fixdate(text),
        3 => parse_asctime(text),
        comma if text[comma] == b',' => parse_rfc850(text, comma, now),
        _ => None,
    }
}

/// What `Retry-After` asks for: seconds, or a date (RFC 9110 section 10.2.3); `now`: seconds since 1970.
pub fn retry_after(value: &[u8], now: u64) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let seconds = text.parse().ok();
    let seconds = seconds.or_else(|| Some(parse(text.as_bytes(), now)?.saturating_sub(now)));
    seconds.map(Duration::from_secs)
}

/// The current date, formatted anew only when the second has changed.
#[derive(Debug)]
pub struct CachedDate {
    unix_seconds: u64,
    text: [u8; LENGTH],
}

impl CachedDate {
    /// Starts with the date of 1970.
    pub fn new() -> Self {
        Self {
            unix_seconds: 0,
            text: format(0),
        }
    }

    /// The IMF-fixdate of `unix_seconds`, for the `Date` field.
    pub fn at(&mut self, unix_seconds: u64) -> &[u8; LENGTH] {
        if self.unix_seconds != unix_seconds {
            self.unix_seconds = unix_seconds;
            self.text = format(unix_seconds);
        }
        &self.text
    }
}

impl Default for CachedDate {
    fn default() -> Self {
        Self::new()
    }
}

/// A time of the Gregorian calendar in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: u64,
    /// 1 to 12.
    pub(crate) month: u64,
    /// 1 to 31.
    pub(crate) day: u64,
    pub(crate) hour: u64,
    pub(crate) minute: u64,
    pub(crate) second: u64,
    /// 0 is Sunday.
    weekday: u64,
}

impl Civil {
    /// Splits a time; those after the year 9999 are clamped to its last second.
    ///
    /// The day arithmetic is Howard Hinnant's `civil_from_days` (<https://howardhinnant.github.io/date_algorithms.html>).
    pub(crate) fn from_unix(unix_seconds: u64) -> Self {
        let unix_seconds = unix_seconds.min(LAST_SECOND);
        let days = unix_seconds / SECONDS_PER_DAY;
        let second_of_day = unix_seconds % SECONDS_PER_DAY;
        let shifted = days + 719_468; // days since 0000-03-01
        let era = shifted / 146_097;
        let day_of_era = shifted % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        Self {
            year: year_of_era + era * 400 + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            hour: second_of_day / 3600,
            minute: second_of_day / 60 % 60,
            second: second_of_day % 60,
            weekday: (days + 4) % 7,
        }
    }

    /// `Jan` to `Dec`.
    pub(crate) fn month_name(self) -> &'static str {
        name(&MONTH_NAMES, self.month - 1)
    }

    fn weekday_name(self) -> &'static str {
        name(&DAY_NAMES, self.weekday)
    }

    /// Seconds since 1970 of a date whose fields are in range; `None` if the month has no such day.
    fn to_unix(self) -> Option<u64> {
        if self.day == 0 || self.day > days_in_month(self.year, self.month) {
            return None;
        }
        if self.hour > 23 || self.minute > 59 || self.second > 60 {
            return None;
        }
        let year = if self.month <= 2 {
            self.year.checked_sub(1)?
        } else {
            self.year
        };
        let year_of_era = year % 400;
        let day_of_year = (153 * ((self.month + 9) % 12) + 2) / 5 + self.day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = (year / 400 * 146_097 + day_of_era).checked_sub(719_468);
        let second_of_day = self.hour * 3600 + self.minute * 60 + self.second;
        Some(days.map_or(0, |days| days * SECONDS_PER_DAY + second_of_day))
    }
}

/// Writes `number` in decimal with leading zeros over all of `digits`.
pub(crate) fn write_digits(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789"[usize::try_from(number % 10).expect("a digit fits")];
        number /= 10;
    }
}

fn name(names: &[&'static str], index: u64) -> &'static str {
    names[usize::try_from(index).expect("names are few")]
}

fn days_in_month(year: u64, month: u64) -> u64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn parse_imf_fixdate(text: &[u8]) -> Option<u64> {
    let text: &[u8; LENGTH] = text.try_into().ok()?;
    let punctuated = &text[3..5] == b", " && text[7] == b' ' && text[11] == b' ' && text[16] == b' ';
    if !punctuated || &text[25..] != b" GMT" {
        return None;
    }
    let weekday = position_of(&DAY_NAMES, &text[..3])?;
    let (year, month, day) = (number(&text[12..16])?, month(&text[8..11])?, number(&text[5..7])?);
    civil(year, month, day, &text[17..25], weekday)
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn parse_rfc850(text: &[u8], comma: usize, now: u64) -> Option<u64> {
    let weekday = position_of(&LONG_DAY_NAMES, &text[..comma])?;
    let text: &[u8; 24] = text[comma..].try_into().ok()?;
    let punctuated = &text[..2] == b", " && text[4] == b'-' && text[8] == b'-' && text[11] == b' ';
    if !punctuated || &text[20..] != b" GMT" {
        return None;
    }
    let this_year = Civil::from_unix(now).year;
    let mut year = this_year - this_year % 100 + number(&text[9..11])?;
    if year > this_year + 50 {
        year -= 100;
    }
    civil(
        year,
        month(&text[5..8])?,
        number(&text[2..4])?,
        &text[12..20],
        weekday,
    )
}

/// `Sun Nov  6 08:49:37 1994`
fn parse_asctime(text: &[u8]) -> Option<u64> {
    let text: &[u8; 24] = text.try_into().ok()?;
    if text[3] != b' ' || text[7] != b' ' || text[10] != b' ' || text[19] != b' ' {
        return None;
    }
    let weekday = position_of(&DAY_NAMES, &text[..3])?;
    let day = if text[8] == b' ' {
        number(&text[9..10])?
    } else {
        number(&text[8..10])?
    };
    civil(
        number(&text[20..])?,
        month(&text[4..7])?,
        day,
        &text[11..19],
        weekday,
    )
}

fn civil(year: u64, month: u64, day: u64, clock: &[u8], weekday: u64) -> Option<u64> {
    if clock[2] != b':' || clock[5] != b':' {
        return None;
    }
    let (hour, minute, second) = (number(&clock[..2])?, number(&clock[3..5])?, number(&clock[6..8])?);
    Civil {
        year,
        month,
        day,
        hour,
        minute,
        second,
        weekday,
    }
    .to_unix()
}

fn month(name: &[u8]) -> Option<u64> {
    position_of(&MONTH_NAMES, name).map(|index| index + 1)
}

fn position_of(names: &[&str], wanted: &[u8]) -> Option<u64> {
    names
        .iter()
        .zip(0..)
        .find(|(name, _)| name.as_bytes() == wanted)
        .map(|(_, index)| index)
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXAMPLE: u64 = 784_111_777;
    const NOW: u64 = 1_790_000_000; // 2026

    #[test]
    fn formats_the_example_of_the_rfc() {
        assert_eq!(&format(EXAMPLE), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(&format(0), b"Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(&format(951_782_400), b"Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(&format(u64::MAX), b"Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn parses_all_three_forms() {
        assert_eq!(parse(b"Sun, 06 Nov 1994 08:49:37 GMT", NOW), Some(EXAMPLE));
        assert_eq!(parse(b"Sunday, 06-Nov-94 08:49:37 GMT", NOW), Some(EXAMPLE));
        assert_eq!(parse(b"Sun Nov  6 08:49:37 1994", NOW), Some(EXAMPLE));
        assert_eq!(
            parse(b"Wed Nov 16 08:49:37 1994", NOW),
            Some(EXAMPLE + 10 * SECONDS_PER_DAY)
        );
    }

    #[test]
    fn two_digit_years_are_at_most_fifty_years_ahead() {
        assert_eq!(
            &format(parse(b"Monday, 06-Nov-76 08:49:37 GMT", NOW).expect("valid"))[12..16],
            b"2076"
        );
        assert_eq!(
            &format(parse(b"Monday, 06-Nov-77 08:49:37 GMT", NOW).expect("valid"))[12..16],
            b"1977"
        );
    }

    #[test]
    fn dates_before_1970_order_before_all_others() {
        assert_eq!(parse(b"Sun, 06 Nov 1904 08:49:37 GMT", NOW), Some(0));
        assert_eq!(parse(b"Sat, 01 Jan 0000 00:00:00 GMT", NOW), None);
    }

    #[test]
    fn refuses_what_is_no_date() {
        for text in [
            "",
            ",",
            "Sun,",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Wed, 29 Feb 1900 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT ",
            "Sun, 06 Nov 1994 08-49-37 GMT",
            "Sun, 06 Nov +994 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "784111777",
        ] {
            assert_eq!(parse(text.as_bytes(), NOW), None, "{text}");
        }
    }

    #[test]
    fn cached_date_follows_the_second() {
        let mut date = CachedDate::new();
        assert_eq!(date.at(EXAMPLE), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date.at(EXAMPLE + 1), b"Sun, 06 Nov 1994 08:49:38 GMT");
        assert_eq!(date.at(0), b"Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn a_pause_is_seconds_or_a_date() {
        let now_s = 784_111_767;
        for (value, expected) in [
            ("10", Some(10)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(10)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(
                retry_after(value.as_bytes(), now_s),
                expected.map(Duration::from_secs),
                "{value}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(seconds in 0..=LAST_SECOND) {
            prop_assert_eq!(parse(&format(seconds), NOW), Some(seconds));
        }

        #[test]
        fn no_input_panics(text in prop::collection::vec(any::<u8>(), 0..40), now: u64) {
            let _ = parse(&text, now);
        }

        #[test]
        fn no_damaged_date_panics(seconds in 0..=LAST_SECOND, at in 0..LENGTH, byte: u8, now: u64) {
            let mut text = format(seconds);
            text[at] = byte;
            let _ = parse(&text, now);
        }
    }
}
