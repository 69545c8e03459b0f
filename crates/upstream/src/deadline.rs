//! The deadline of a request: how long its client will wait for the response.
//!
//! # How it works
//! Clients say it in `grpc-timeout`, or in a field that the configuration names. The least that is said counts, at most the
//! upstream's maximum, from the moment the head was there. Servers are told the same, less what is spent by then.

use crate::group::Upstream;

const GRPC_FIELD: &str = "grpc-timeout";

/// The most that eight digits can say (PROTOCOL-HTTP2.md).
const MAX_GRPC_NUMBER: u64 = 99_999_999;

/// When a request must be done, and how servers are told.
#[derive(Debug, PartialEq, Eq)]
pub struct Deadline {
    at_us: u64,
    /// It came in `grpc-timeout`.
    is_grpc: bool,
    /// The configured field, and whether its client wrote a unit.
    field: Option<(String, bool)>,
}

impl Upstream {
    /// Whether requests to it may have a deadline that is not one of gRPC's own protocol.
    #[inline]
    pub fn has_deadlines(&self) -> bool {
        self.spec.deadline.is_some() || self.spec.grpc_web
    }

    /// The deadline of a request whose head was there at `started_us`: `field` gives the value of a field. None if it has
    /// none.
    pub fn deadline<'h>(
        &self,
        started_us: u64,
        field: impl Fn(&[u8]) -> Option<&'h [u8]>,
    ) -> Option<Box<Deadline>> {
        let of_grpc = field(GRPC_FIELD.as_bytes()).and_then(grpc_us);
        let rule = self.spec.deadline.as_ref();
        let name = rule.and_then(|rule| rule.header.as_deref());
        let told = name.and_then(|name| field(name.as_bytes())).and_then(field_us);
        let in_field = told.map(|(us, _)| us);
        let least = of_grpc.into_iter().chain(in_field).min();
        let wanted = least.or_else(|| Some(us(rule?.default?)))?;
        let allowed = rule.map_or(wanted, |rule| wanted.min(us(rule.max)));
        Some(Box::new(Deadline {
            at_us: started_us.saturating_add(allowed),
            is_grpc: of_grpc.is_some(),
            field: name.map(|name| (name.to_owned(), told.is_some_and(|(_, has_unit)| has_unit))),
        }))
    }
}

impl Deadline {
    /// What is left of it, in microseconds.
    #[must_use]
    pub fn left_us(&self, now_us: u64) -> u64 {
        self.at_us.saturating_sub(now_us)
    }

    /// Whether the client has said it as gRPC does.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        self.is_grpc
    }

    /// The fields that tell a server what is left of it, in whole milliseconds, at least one.
    pub fn fields(&self, now_us: u64) -> impl Iterator<Item = (&str, String)> {
        let left_ms = (self.left_us(now_us) / 1000).max(1);
        let grpc = self.is_grpc.then(|| (GRPC_FIELD, grpc_text(left_ms)));
        let field = self.field.as_ref().map(|(name, has_unit)| {
            let unit = if *has_unit { "ms" } else { "" };
            (name.as_str(), format!("{left_ms}{unit}"))
        });
        grpc.into_iter().chain(field)
    }
}

fn us(ms: u64) -> u64 {
    ms.saturating_mul(1000)
}

fn grpc_text(left_ms: u64) -> String {
    if left_ms <= MAX_GRPC_NUMBER {
        format!("{left_ms}m")
    } else {
        format!("{}S", (left_ms / 1000).min(MAX_GRPC_NUMBER))
    }
}

/// A `grpc-timeout` in microseconds, rounded up: at most eight digits and a unit.
fn grpc_us(value: &[u8]) -> Option<u64> {
    let (unit, digits) = value.split_last()?;
    let number = (digits.len() <= 8).then(|| number(digits))??;
    Some(match unit {
        b'H' => number * 3_600_000_000,
        b'M' => number * 60_000_000,
        b'S' => number * 1_000_000,
        b'm' => number * 1000,
        b'u' => number,
        b'n' => number.div_ceil(1000),
        _ => return None,
    })
}

/// The value of a configured field in microseconds, and whether it has a unit: a whole number of milliseconds, or with `ms`,
/// `s` or `m` behind it.
fn field_us(value: &[u8]) -> Option<(u64, bool)> {
    let end = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, unit) = value.split_at(end);
    let factor = match unit {
        b"" | b"ms" => 1000,
        b"s" => 1_000_000,
        b"m" => 60_000_000,
        _ => return None,
    };
    Some((number(digits)?.saturating_mul(factor), !unit.is_empty()))
}

/// Some digits as a number; the greatest if they say more.
fn number(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    is_number.then(|| digits.iter().fold(0, add))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::described::describe_server;
    use crate::spec;

    fn deadline(rule: Option<spec::Deadline>, fields: &[(&str, &'static str)]) -> Option<Box<Deadline>> {
        let mut described = describe_server("10.0.0.1:80").expect("it is an address");
        described.deadline = rule;
        let upstream = Upstream::build(&described, &mut |_| 0).expect("it is an upstream");
        upstream.deadline(1_000_000, |name| {
            let mut found = fields.iter().filter(|(known, _)| known.as_bytes() == name);
            found.next().map(|(_, value)| value.as_bytes())
        })
    }

    fn rule(max: u64, default: Option<u64>) -> spec::Deadline {
        let header = Some("x-timeout".to_owned());
        spec::Deadline { header, max, default }
    }

    fn left(told: Option<Box<Deadline>>) -> Option<u64> {
        told.map(|deadline| deadline.left_us(1_000_000))
    }

    fn told(deadline: &Deadline, now_us: u64) -> Vec<(&str, String)> {
        deadline.fields(now_us).collect()
    }

    #[test]
    fn timeouts_of_grpc_have_a_unit_and_at_most_eight_digits() {
        let read = |value| left(deadline(None, &[(GRPC_FIELD, value)]));
        assert_eq!(read("10S"), Some(10_000_000));
        assert_eq!(read("5m"), Some(5_000));
        assert_eq!(read("7u"), Some(7));
        assert_eq!(read("1n"), Some(1));
        assert_eq!(read("0m"), Some(0));
        assert_eq!(read("99999999H"), Some(99_999_999 * 3_600_000_000));
        for bad in ["", "S", "10", "-1S", "123456789S", "1X", "1.5S"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn fields_are_milliseconds_or_have_a_unit() {
        let read = |value| left(deadline(Some(rule(3_600_000, None)), &[("x-timeout", value)]));
        assert_eq!(read("250"), Some(250_000));
        assert_eq!(read("250ms"), Some(250_000));
        assert_eq!(read("2s"), Some(2_000_000));
        assert_eq!(read("1m"), Some(60_000_000));
        assert_eq!(read("0"), Some(0));
        assert_eq!(
            read("99999999999999999999999"),
            Some(3_600_000_000),
            "no more than the most"
        );
        for bad in ["", "ms", "-1", "1.5s", "1h", "10 s"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_least_counts_and_no_more_than_is_allowed() {
        let both = [(GRPC_FIELD, "2S"), ("x-timeout", "500")];
        assert_eq!(
            left(deadline(Some(rule(60_000, Some(100))), &both)),
            Some(500_000)
        );
        assert_eq!(left(deadline(Some(rule(300, Some(100))), &both)), Some(300_000));
        assert_eq!(left(deadline(Some(rule(300, Some(100))), &[])), Some(100_000));
        assert_eq!(deadline(Some(rule(300, None)), &[]), None);
    }

    #[test]
    fn servers_are_told_what_is_left_in_the_clients_form() {
        let both = [(GRPC_FIELD, "2S"), ("x-timeout", "3s")];
        let known = deadline(Some(rule(60_000, None)), &both).expect("there is one");
        let after_a_half = [
            (GRPC_FIELD, "1500m".to_owned()),
            ("x-timeout", "1500ms".to_owned()),
        ];
        assert_eq!(told(&known, 1_500_000), after_a_half);
        assert_eq!(told(&known, 9_000_000)[0].1, "1m", "0 would mean none to some");
        let known = deadline(Some(rule(60_000, Some(1000))), &[]).expect("it is the default");
        assert_eq!(told(&known, 1_250_000), [("x-timeout", "750".to_owned())]);
        let long = deadline(None, &[(GRPC_FIELD, "99999999H")]).expect("there is one");
        assert_eq!(told(&long, 1_000_000), [(GRPC_FIELD, "99999999S".to_owned())]);
    }
}
