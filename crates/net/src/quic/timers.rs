//! When connections are to be looked at again.
//!
//! # How it works
//! A connection's time changes with nearly every packet, and mostly to a later one. So an entry is made only for a time that
//! is earlier than the one that the connection has an entry for; when that comes, the connection is looked at, and says
//! what it is waiting for now.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// The earliest entry of one connection.
#[derive(Default)]
pub(super) struct Due(Cell<Option<Instant>>);

/// Entries of connections, by their numbers.
#[derive(Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(Instant, usize)>>);

impl Timers {
    /// Has a connection looked at then, or earlier.
    pub(super) fn set(&mut self, connection: usize, due: &Due, at: Instant) {
        if due.0.get().is_none_or(|earliest| at < earliest) {
            due.0.set(Some(at));
            self.0.push(Reverse((at, connection)));
        }
    }

    /// The next number whose time has come, and that time. It counts if [`Self::takes`] says so.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(usize, Instant)> {
        let Reverse((at, _)) = *self.0.peek()?;
        if at > now {
            return None;
        }
        self.0.pop().map(|Reverse((at, connection))| (connection, at))
    }

    /// Whether an entry that came out is the connection's earliest: others are left over.
    pub(super) fn takes(due: &Due, at: Instant) -> bool {
        let is_own = due.0.get() == Some(at);
        if is_own {
            due.0.set(None);
        }
        is_own
    }

    /// When there will be something to do.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_later_time_costs_no_entry_and_an_earlier_one_replaces_the_last() {
        let (mut timers, due, start) = (Timers::default(), Due::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        timers.set(7, &due, at(20));
        timers.set(7, &due, at(30));
        assert_eq!(timers.0.len(), 1);
        timers.set(7, &due, at(10));
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.pop(at(9)), None);
        assert_eq!(timers.pop(at(20)), Some((7, at(10))));
        assert!(Timers::takes(&due, at(10)));
        assert_eq!(timers.pop(at(20)), Some((7, at(20))));
        assert!(!Timers::takes(&due, at(20)), "left over");
        assert_eq!(timers.next(), None);
    }
}
