//! The order in which requests that wait for a server get one, and how long they may wait.
//!
//! # How it works
//! Without more they go in the order in which they came. Where clients share fairly, each request has a turn: that after its
//! client's last one, and no earlier than the one that is being served (self-clocked fair queueing, Golestani, INFOCOM 1994,
//! with requests of one size), so that a client with many does not hold up those with few.
//!
//! Where requests are more or less urgent, those of each level take turns likewise, and a turn of a level is twice as long as one
//! of the level before it: while requests of two neighbouring levels wait, two of the more urgent are served for one of the
//! other. So urgent ones overtake, and none waits for ever.
//!
//! A line that has not been empty for an interval is overloaded: whoever comes then waits no longer than a target, and the newest
//! goes first, since its client is the least likely to have given up; otherwise one may wait for the interval (controlled
//! delay and adaptive LIFO, Maurer, *Fail at Scale*, ACM Queue 13(8), 2015; after RFC 8289).

use std::collections::{BTreeMap, HashMap};

/// How a line is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LineSpec {
    /// How long one may wait in an overloaded line; none: no wait is cut short, and no line is overloaded.
    pub target_ms: Option<u64>,
    /// After how long without being empty a line is overloaded, and how long one may wait in one that is not.
    pub interval_ms: u64,
    /// Whether clients share fairly.
    pub is_fair: bool,
    /// Whether requests are more or less urgent.
    pub has_levels: bool,
}

impl LineSpec {
    /// Whether the order is another one than that of arrival.
    fn has_turns(self) -> bool {
        self.is_fair || self.has_levels
    }
}

/// The least urgent level; the most urgent one is 0.
pub const LAST_LEVEL: u8 = 7;

/// Whose requests take turns with others'.
type Flow = (u8, u64);

/// A place in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    turn: u64,
    number: u64,
}

/// Who waits.
#[derive(Debug)]
pub struct Line {
    spec: LineSpec,
    /// The flow of each.
    waiting: BTreeMap<Ticket, Flow>,
    /// Of each flow that waits: its last turn, and how many of its requests wait.
    flows: HashMap<Flow, (u64, usize)>,
    served_turn: u64,
    numbers: u64,
    emptied_ms: u64,
}

impl Line {
    /// Nobody waits.
    #[must_use]
    pub fn new(spec: LineSpec) -> Self {
        Self {
            spec,
            waiting: BTreeMap::new(),
            flows: HashMap::new(),
            served_turn: 0,
            numbers: 0,
            emptied_ms: 0,
        }
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// A request of a client, so urgent, comes: its place, and for how many milliseconds it may wait, if that is bounded.
    pub fn enter(&mut self, client: u64, level: u8, now_ms: u64) -> (Ticket, Option<u64>) {
        if self.waiting.is_empty() {
            self.emptied_ms = now_ms;
        }
        let is_overloaded = self.is_overloaded(now_ms);
        let limit_ms = self.spec.target_ms.map(|target_ms| {
            if is_overloaded {
                target_ms
            } else {
                self.spec.interval_ms
            }
        });
        let flow = (
            if self.spec.has_levels {
                level.min(LAST_LEVEL)
            } else {
                0
            },
            if self.spec.is_fair { client } else { 0 },
        );
        let turn = if self.spec.has_turns() {
            let (last, waiting) = self.flows.entry(flow).or_insert((self.served_turn, 0));
            *last += 1 << flow.0;
            *waiting += 1;
            *last
        } else {
            0
        };
        self.numbers += 1;
        let ticket = Ticket {
            turn,
            number: self.numbers,
        };
        self.waiting.insert(ticket, flow);
        (ticket, limit_ms)
    }

    /// One leaves its place, with a server or without.
    pub fn leave(&mut self, ticket: Ticket, is_served: bool, now_ms: u64) {
        let Some(flow) = self.waiting.remove(&ticket) else {
            return;
        };
        if is_served {
            self.served_turn = self.served_turn.max(ticket.turn);
        }
        if let Some((_, waiting)) = self.flows.get_mut(&flow) {
            *waiting -= 1;
            if *waiting == 0 {
                self.flows.remove(&flow);
            }
        }
        if self.waiting.is_empty() {
            self.emptied_ms = now_ms;
        }
    }

    /// Whose turn it is.
    #[must_use]
    pub fn next(&self, now_ms: u64) -> Option<Ticket> {
        let is_newest_first = !self.spec.has_turns() && self.is_overloaded(now_ms);
        let mut waiting = self.waiting.keys();
        let next = if is_newest_first {
            waiting.next_back()
        } else {
            waiting.next()
        };
        next.copied()
    }

    /// Who has the turn that a place has no use for.
    #[must_use]
    pub fn after(&self, ticket: Ticket, now_ms: u64) -> Option<Ticket> {
        let is_newest_first = !self.spec.has_turns() && self.is_overloaded(now_ms);
        if is_newest_first {
            self.waiting.range(..ticket).next_back().map(|(next, _)| *next)
        } else {
            let behind = (std::ops::Bound::Excluded(ticket), std::ops::Bound::Unbounded);
            self.waiting.range(behind).next().map(|(next, _)| *next)
        }
    }

    fn is_overloaded(&self, now_ms: u64) -> bool {
        let for_ms = now_ms.saturating_sub(self.emptied_ms);
        self.spec.target_ms.is_some() && !self.waiting.is_empty() && for_ms > self.spec.interval_ms
    }
}

#[cfg(test)]
#[path = "tests/line.rs"]
mod tests;
