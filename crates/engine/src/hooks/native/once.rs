//! Values that may come once, for a while.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use headgate_shared::{Dictionary, Value};
use headgate_wire::Head;
use serde::Deserialize;

use super::ask::FieldName;
use super::objects::{BadAction, Objects};
use super::time::unix_seconds;
use super::told::{Said, Told};
use super::who::consumer;
use crate::hooks::exchange::Exchange;

/// Bytes of a hash that are kept.
const KEPT_BYTES: usize = 16;

/// Lets each value of a field pass once for each consumer, if another field tells a time near now.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PassOnce {
    /// The field with the value: 8 to 200 visible characters.
    value: FieldName,
    /// The field with the seconds since 1970.
    time: FieldName,
    /// How far the time may be from now, in seconds. A value is known for twice as long, and a second more.
    skew: u32,
    /// Where values are known, by the begin of their hash.
    seen: usize,
    /// Bytes that have to be free there.
    reserve: u64,
    #[serde(skip)]
    table: Option<Arc<Dictionary>>,
}

impl PassOnce {
    pub(super) fn prepare(&mut self, objects: &Objects) -> Result<(), BadAction> {
        self.table = Some(objects.dictionary(self.seen)?);
        Ok(())
    }

    pub(super) fn run(&self, exchange: &Exchange, said: &Said<'_>) -> bool {
        let consumer = match consumer(exchange, said) {
            Told::Unset => None,
            Told::Text(consumer) => Some(consumer),
            Told::Other => return false,
        };
        let request = exchange.request.borrow();
        self.passes(
            &request.head,
            consumer.as_deref().unwrap_or_default(),
            unix_seconds(),
        )
        .is_some_and(|passes| passes)
    }

    fn passes(&self, head: &Head, consumer: &str, now: f64) -> Option<bool> {
        let value = only(head, &self.value.0)?;
        let is_plain = value.iter().all(|byte| (0x21..=0x7e).contains(byte));
        let told = seconds(only(head, &self.time.0)?)?;
        if !(8..=200).contains(&value.len()) || !is_plain || (now - told).abs() > f64::from(self.skew) {
            return None;
        }
        let table = self.table.as_ref()?;
        if table.free_bytes().ok()? < self.reserve {
            return None;
        }
        let mut hash = Context::new(&SHA256);
        for part in [consumer.as_bytes(), b"\0", value] {
            hash.update(part);
        }
        let key = &hash.finish().as_ref()[..KEPT_BYTES].to_vec();
        table.add(key, Value::Int(1), kept_ms(self.skew)).ok()
    }
}

/// How long a value is known: as long as its time counts, and a second more, since both ends are read from clocks that tick.
fn kept_ms(skew: u32) -> u64 {
    2000 * u64::from(skew) + 1000
}

/// The one value of a field.
fn only<'a>(head: &'a Head, name: &str) -> Option<&'a [u8]> {
    let mut values = head.get_all(name.as_bytes());
    values.next().filter(|_| values.next().is_none())
}

/// A number of up to 12 digits.
pub(super) fn seconds(digits: &[u8]) -> Option<f64> {
    let is_number = (1..=12).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    is_number
        .then(|| std::str::from_utf8(digits).ok()?.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_passes_once_near_its_time() {
        let mut action: PassOnce = serde_json::from_str(
            r#"{"value": "x-nonce", "time": "x-timestamp", "skew": 10, "seen": 0, "reserve": 100}"#,
        )
        .unwrap();
        let objects = Objects {
            dictionaries: vec![Arc::new(Dictionary::create(1 << 16).unwrap())],
            ..Objects::default()
        };
        action.prepare(&objects).unwrap();
        let passes = |nonce: &str, time: &str, consumer: &str| {
            let mut head = Head::empty();
            head.add(b"X-Nonce", nonce.as_bytes()).unwrap();
            head.add(b"X-Timestamp", time.as_bytes()).unwrap();
            action.passes(&head, consumer, 1000.5)
        };
        assert_eq!(passes("12345678", "1000", ""), Some(true));
        assert_eq!(passes("12345678", "1009", ""), Some(false));
        assert_eq!(passes("12345678", "1009", "alice"), Some(true));
        // a time of the future counts for that long, to its last moment
        let kept = objects.dictionaries[0]
            .ttl(&objects.dictionaries[0].keys(1).unwrap()[0])
            .unwrap();
        assert!(kept.flatten().is_some_and(|ms| (20_500..=21_000).contains(&ms)));
        for (nonce, time) in [
            ("1234567", "1000"),
            ("1234 5678", "1000"),
            ("abcdefgh", "990"),
            ("abcdefgh", "1011"),
            ("abcdefgh", "-5"),
            ("abcdefgh", ""),
            ("abcdefgh", "1000000000000"),
        ] {
            assert_eq!(passes(nonce, time, ""), None, "{nonce} {time}");
        }
        assert_eq!(passes("abcdefgh", "991", ""), Some(true));
    }

    #[test]
    fn what_comes_twice_is_no_value() {
        let mut head = Head::empty();
        assert_eq!(only(&head, "x-a"), None);
        head.add(b"x-a", b"1").unwrap();
        assert_eq!(only(&head, "X-A"), Some(b"1".as_slice()));
        head.add(b"x-a", b"1").unwrap();
        assert_eq!(only(&head, "x-a"), None);
    }
}
