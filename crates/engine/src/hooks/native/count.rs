//! Requests that are counted in periods of the calendar: the hook decides where one is not let in.

use std::fmt::Write;
use std::sync::Arc;

use headgate_shared::{Dictionary, Number};
use serde::Deserialize;

use super::objects::{BadAction, Objects};
use super::period::Period;
use super::throttle::Left;
use super::time::{unix_seconds, whole};
use super::who::Who;
use crate::hooks::exchange::Exchange;
use crate::hooks::notes::{Name, Note};

/// Counts a request, and lets it pass while there are no more than `amount` in the period. Outside of it, and where there are
/// more, the request counts for nothing and is the hook's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Count {
    who: Who,
    amount: u64,
    /// Where clients are counted.
    clients: usize,
    period: usize,
    /// What it notes, for [`super::rate_fields::RateFields`].
    note: Name,
    #[serde(skip)]
    found: Option<(Arc<Dictionary>, Arc<Period>)>,
}

impl Count {
    pub(super) fn prepare(&mut self, objects: &Objects) -> Result<(), BadAction> {
        self.found = Some((objects.dictionary(self.clients)?, objects.period(self.period)?));
        Ok(())
    }

    pub(super) fn run(&self, exchange: &Exchange) -> bool {
        let left = self
            .who
            .key(exchange)
            .and_then(|key| self.admits(&key, unix_seconds()));
        if let Some(left) = left {
            exchange.notes.keep(&self.note.0, Note::Rates(Box::new([left])));
        }
        left.is_some()
    }

    fn admits(&self, key: &[u8], now: f64) -> Option<Left> {
        let (clients, period) = self.found.as_ref()?;
        let (begin, end) = period.span();
        if !(begin <= now && now < end) {
            return None;
        }
        let name = name_of(key, begin);
        let lives = whole(((end - now) * 1000.0).ceil()).max(1);
        let used = clients
            .incr(name.as_bytes(), Number::Int(1), Some(Number::Int(0)), lives)
            .ok()?;
        let Number::Int(used) = used else { return None };
        let left = u64::try_from(used)
            .ok()
            .and_then(|used| self.amount.checked_sub(used));
        if left.is_none() {
            let _ = clients.incr(name.as_bytes(), Number::Int(-1), None, 0);
        }
        left.map(|left| (left, whole((end - now).ceil()).max(1)))
    }
}

/// As the hook names a count: the begin of the period and the key, in hex.
fn name_of(key: &[u8], begin: f64) -> String {
    let begin = format!("{}\0", whole(begin));
    let mut name = String::with_capacity(2 * (begin.len() + key.len()));
    for byte in begin.as_bytes().iter().chain(key) {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_for_one_period() {
        let mut count: Count = serde_json::from_str(
            r#"{"who": {"by": ["address"], "ipv4_prefix": 32, "ipv6_prefix": 64}, "amount": 2, "clients": 0,
                "period": 0, "note": "n"}"#,
        )
        .unwrap();
        let objects = Objects {
            dictionaries: vec![Arc::new(Dictionary::create(1 << 16).unwrap())],
            periods: vec![Arc::default()],
            ..Objects::default()
        };
        count.prepare(&objects).unwrap();
        assert_eq!(count.admits(b"k", 150.0), None);
        objects.periods[0].set(100.0, 200.0);
        assert_eq!(count.admits(b"k", 150.5), Some((1, 50)));
        assert_eq!(count.admits(b"k", 199.9), Some((0, 1)));
        assert_eq!(count.admits(b"k", 150.0), None);
        assert_eq!(count.admits(b"other", 150.0), Some((1, 50)));
        assert_eq!(count.admits(b"k", 200.0), None);
        objects.periods[0].set(200.0, 300.0);
        assert_eq!(count.admits(b"k", 200.0), Some((1, 100)));
    }

    #[test]
    fn counts_are_named_as_the_hook_names_them() {
        assert_eq!(name_of(b"k\xff", 100.0), "313030006bff");
    }
}
