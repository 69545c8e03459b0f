//! Rates of requests, counted in shared dictionaries: the hook decides where a request is not let in.

use std::sync::Arc;

use headgate_shared::{CellRate, Dictionary, Number, Owned};
use serde::Deserialize;

use super::objects::{BadAction, Objects};
use super::time::whole;
use super::who::Who;
use crate::hooks::exchange::Exchange;
use crate::hooks::notes::{Name, Note};

/// Counts a request at all of some rates, and lets it pass if it keeps to them. One that does not counts at none, and is the
/// hook's, as is every client that was refused by it lately.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Throttle {
    who: Who,
    rates: Vec<Rate>,
    /// What it notes, for [`super::rate_fields::RateFields`].
    note: Option<Name>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rate {
    /// Seconds.
    window: f64,
    /// Requests in a window.
    limit: u32,
    /// Seconds that a bucket is deep; none: no more than the limit in any window.
    depth: Option<f64>,
    /// Where clients are counted, and where those are whom the hook has refused.
    clients: usize,
    refused: usize,
    #[serde(skip)]
    tables: Option<[Arc<Dictionary>; 2]>,
}

/// What is left, and in how many seconds all is there again.
pub(super) type Left = (u64, u64);

impl Throttle {
    pub(super) fn prepare(&mut self, objects: &Objects) -> Result<(), BadAction> {
        for rate in &mut self.rates {
            let bad = || BadAction("a rate is not valid, or has no table".to_owned());
            let [clients, refused] = [rate.clients, rate.refused].map(|at| objects.dictionaries.get(at));
            rate.tables = Some([
                Arc::clone(clients.ok_or_else(bad)?),
                Arc::clone(refused.ok_or_else(bad)?),
            ]);
            if rate.limit == 0 || !rate.window.is_finite() || rate.window <= 0.0 || rate.cells().is_none() {
                return Err(bad());
            }
        }
        Ok(())
    }

    pub(super) fn run(&self, exchange: &Exchange) -> bool {
        let Some(key) = self.who.key(exchange) else {
            return false;
        };
        let now = exchange.monotonic_seconds();
        if let [rate] = &*self.rates {
            let Some(left) = rate.admits(&key, now) else {
                return false;
            };
            if let Some(note) = &self.note {
                exchange.notes.keep(&note.0, Note::Rate(left));
            }
            return true;
        }
        let mut told = Vec::with_capacity(self.rates.len());
        for (place, rate) in self.rates.iter().enumerate() {
            let Some(left) = rate.admits(&key, now) else {
                for former in &self.rates[..place] {
                    former.undo(&key, now);
                }
                return false;
            };
            told.push(left);
        }
        if let Some(note) = &self.note {
            exchange.notes.keep(&note.0, Note::Rates(told.into_boxed_slice()));
        }
        true
    }
}

impl Rate {
    /// Counts a request, if it is let in.
    fn admits(&self, key: &[u8], now: f64) -> Option<Left> {
        let [clients, refused] = self.tables.as_ref()?;
        if !refused.seems_empty() && refused.contains(key).ok()? {
            return None;
        }
        let Some(depth) = self.depth else {
            return self.admits_in_window(clients, key, now);
        };
        let throttled = clients.throttle(key, self.cells()?, now).ok()?;
        if throttled.wait > 0.0 {
            return None;
        }
        let left = (depth - throttled.full_in) / self.step() + 1e-6;
        Some((whole(left.floor()), whole(throttled.full_in.ceil())))
    }

    /// Counts in fixed windows, and takes the one before for as much as still lies within one window's length.
    fn admits_in_window(&self, clients: &Dictionary, key: &[u8], now: f64) -> Option<Left> {
        let rest = now % self.window;
        let part = rest / self.window;
        let number = ((now - rest) / self.window).round();
        let name = window_name(key, number);
        let before = match clients.get(&window_name(key, number - 1.0)).ok()? {
            None => 0,
            Some(Owned::Int(before)) => before,
            Some(_) => return None,
        };
        let lives = whole((2000.0 * self.window).ceil());
        let count = clients
            .incr(&name, Number::Int(1), Some(Number::Int(0)), lives)
            .ok()?;
        let Number::Int(count) = count else { return None };
        #[allow(clippy::cast_precision_loss, reason = "counts of requests are far below 2^53")]
        let free = f64::from(self.limit) - before as f64 * (1.0 - part) - count as f64;
        if free < -1e-9 {
            let _ = clients.incr(&name, Number::Int(-1), None, 0);
            return None;
        }
        let full_in = ((1.0 - part) * self.window).ceil();
        Some((whole((free + 1e-9).floor()), whole(full_in)))
    }

    /// Undoes the last admission; an entry that has gone meanwhile needs no undoing.
    fn undo(&self, key: &[u8], now: f64) {
        let Some([clients, _]) = &self.tables else { return };
        let _ = if self.depth.is_some() {
            clients.incr(key, Number::Float(-self.step()), None, 0)
        } else {
            let number = ((now - now % self.window) / self.window).round();
            clients.incr(&window_name(key, number), Number::Int(-1), None, 0)
        };
    }

    fn cells(&self) -> Option<CellRate> {
        CellRate::new(self.step(), self.depth.unwrap_or(self.window))
    }

    /// Seconds between two requests at this rate.
    fn step(&self) -> f64 {
        self.window / f64::from(self.limit)
    }
}

fn window_name(key: &[u8], number: f64) -> Vec<u8> {
    let mut name = Vec::with_capacity(key.len() + 16);
    name.extend_from_slice(key);
    name.push(0);
    #[allow(clippy::cast_possible_truncation, reason = "saturates")]
    let number = number as i64; // the one before the first, after the start of the system, is -1
    name.extend_from_slice(number.to_string().as_bytes());
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(limit: u32, window: f64, depth: Option<f64>) -> Rate {
        let table = || Arc::new(Dictionary::create(1 << 16).unwrap());
        Rate {
            window,
            limit,
            depth,
            clients: 0,
            refused: 1,
            tables: Some([table(), table()]),
        }
    }

    #[test]
    fn a_bucket_lets_in_as_many_as_it_is_deep() {
        let rate = rate(10, 100.0, Some(30.0));
        let told: Vec<_> = (0..4).map(|_| rate.admits(b"k", 5.0)).collect();
        assert_eq!(told, [Some((2, 10)), Some((1, 20)), Some((0, 30)), None]);
        rate.undo(b"k", 5.0);
        assert_eq!(rate.admits(b"k", 5.0), Some((0, 30)));
        assert_eq!(rate.admits(b"k", 15.0), Some((0, 30)));
    }

    #[test]
    fn no_window_has_more_than_the_limit() {
        let rate = rate(2, 100.0, None);
        assert_eq!(rate.admits(b"k", 250.0), Some((1, 50)));
        assert_eq!(rate.admits(b"k", 250.0), Some((0, 50)));
        assert_eq!(rate.admits(b"k", 250.0), None);
        // half of the window before counts
        assert_eq!(rate.admits(b"k", 350.0), Some((0, 50)));
        assert_eq!(rate.admits(b"k", 350.0), None);
        rate.undo(b"k", 350.0);
        assert_eq!(rate.admits(b"k", 350.0), Some((0, 50)));
    }

    #[test]
    fn there_is_nothing_before_the_first_window() {
        let rate = rate(2, 100.0, None);
        assert_eq!(rate.admits(b"k", 50.0), Some((1, 50)));
        assert_eq!(rate.admits(b"k", 50.0), Some((0, 50)));
    }

    #[test]
    fn whom_the_hook_has_refused_is_the_hooks() {
        let rate = rate(10, 100.0, Some(30.0));
        let refused = &rate.tables.as_ref().unwrap()[1];
        refused.set(b"k", headgate_shared::Value::Float(9.0), 0).unwrap();
        assert_eq!(rate.admits(b"k", 5.0), None);
        assert!(rate.admits(b"other", 5.0).is_some());
    }
}
