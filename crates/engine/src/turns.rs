//! Long transfers take turns, so that short requests need not wait for all of them.
//!
//! # How it works
//! When hundreds of slow readers take more at the same moment, each transfer could move a megabyte before the loop looks
//! at its sockets again, and whoever came meanwhile would wait for all of them. So a transfer asks before it moves
//! another part (at most 64 KB). A number of parts is free; who asks for more waits in order of arrival until the
//! loop has looked at all sockets and run what became ready, and then the first in line go on, by a few parts each: to be
//! called for each part would cost as much as some of them do.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

/// So many transfers are called between two looks at the sockets.
const CALLED_AT_ONCE: usize = 4;

/// So many parts one that was called may move before the next look.
const PARTS_EACH: usize = 8;

/// So many parts move between two looks: at most about a millisecond of work.
const PARTS: usize = CALLED_AT_ONCE * PARTS_EACH;

/// The line of a worker's transfers.
pub(crate) struct Turns {
    free: Cell<usize>,
    waiting: RefCell<VecDeque<Waker>>,
    /// How many have ever left the line.
    called: Cell<u64>,
    /// How often some were called.
    rounds: Cell<u64>,
    asked: Notify,
}

/// A transfer's place in line, if it has one.
#[derive(Default)]
pub(crate) struct Turn {
    place: Option<u64>,
    /// What is left of a call, in that round only.
    parts: usize,
    round: u64,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            free: Cell::new(PARTS),
            waiting: RefCell::default(),
            called: Cell::new(0),
            rounds: Cell::new(0),
            asked: Notify::new(),
        }
    }
}

impl Turns {
    /// Ready: one part may be moved. Pending: the task is woken when it is its turn.
    pub(crate) fn poll(&self, context: &Context<'_>, turn: &mut Turn) -> Poll<()> {
        if let Some(place) = turn.place {
            if place >= self.called.get() {
                return Poll::Pending;
            }
            *turn = Turn {
                place: None,
                parts: PARTS_EACH,
                round: self.rounds.get(),
            };
        }
        if turn.parts > 0 && turn.round == self.rounds.get() {
            turn.parts -= 1;
            return Poll::Ready(());
        }
        if let Some(left) = self.free.get().checked_sub(1) {
            self.free.set(left);
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.borrow_mut();
        turn.place = Some(self.called.get() + waiting.len() as u64);
        waiting.push_back(context.waker().clone());
        self.asked.notify_one();
        Poll::Pending
    }

    /// Gives a turn back: there was nothing to move.
    pub(crate) fn give_back(&self) {
        if self.waiting.borrow().is_empty() {
            self.free.set((self.free.get() + 1).min(PARTS));
        }
    }

    /// Calls those who wait, some after each look at the sockets. Does not end.
    pub(crate) async fn run(&self) {
        loop {
            self.asked.notified().await;
            while !self.waiting.borrow().is_empty() {
                // comes back after the runtime has looked at the sockets, behind what became ready there
                tokio::task::yield_now().await;
                self.call();
            }
        }
    }

    fn call(&self) {
        let mut waiting = self.waiting.borrow_mut();
        let count = waiting.len().min(CALLED_AT_ONCE);
        self.called.set(self.called.get() + count as u64);
        self.rounds.set(self.rounds.get() + 1);
        waiting.drain(..count).for_each(Waker::wake);
        // nothing is free while somebody waits
        let is_line_empty = waiting.is_empty();
        self.free.set(if is_line_empty {
            PARTS - count * PARTS_EACH
        } else {
            0
        });
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn asks(turns: &Turns, turn: &mut Turn) -> bool {
        turns.poll(&Context::from_waker(Waker::noop()), turn).is_ready()
    }

    fn takes(turns: &Turns, turn: &mut Turn) -> usize {
        (0..2 * PARTS).take_while(|_| asks(turns, turn)).count()
    }

    #[test]
    fn beyond_the_free_parts_all_wait_in_order_of_arrival() {
        let turns = Turns::default();
        let mut line: Vec<Turn> = (0..CALLED_AT_ONCE + 2).map(|_| Turn::default()).collect();
        assert_eq!(takes(&turns, &mut line[0]), PARTS);
        assert!(line[1..].iter_mut().all(|turn| !asks(&turns, turn)));
        turns.call();
        let moved: Vec<usize> = line.iter_mut().map(|turn| takes(&turns, turn)).collect();
        assert_eq!(moved, [vec![PARTS_EACH; CALLED_AT_ONCE], vec![0; 2]].concat());
        turns.call();
        let moved: Vec<usize> = line.iter_mut().map(|turn| takes(&turns, turn)).collect();
        let next = [0, 0, PARTS_EACH, PARTS_EACH];
        assert_eq!(
            moved[CALLED_AT_ONCE - 2..],
            next,
            "who was called stands at the end of the line"
        );
    }

    #[test]
    fn asking_again_keeps_the_place() {
        let turns = Turns::default();
        let (mut fast, mut waits) = (Turn::default(), Turn::default());
        takes(&turns, &mut fast);
        assert!(!asks(&turns, &mut waits));
        assert!(!asks(&turns, &mut waits));
        assert_eq!(turns.waiting.borrow().len(), 2);
    }

    #[test]
    fn what_is_left_of_a_call_is_gone_with_the_next() {
        let turns = Turns::default();
        let mut line: Vec<Turn> = (0..3 * CALLED_AT_ONCE).map(|_| Turn::default()).collect();
        takes(&turns, &mut line[0]);
        assert!(line.iter_mut().all(|turn| !asks(&turns, turn)));
        turns.call();
        assert!(asks(&turns, &mut line[0]));
        turns.call();
        assert!(!asks(&turns, &mut line[0]));
    }

    #[test]
    fn all_is_free_again_when_nobody_waits() {
        let turns = Turns::default();
        let mut turn = Turn::default();
        takes(&turns, &mut turn);
        turns.call();
        assert_eq!(takes(&turns, &mut turn), PARTS);
        turns.call();
        for _ in 0..2 * PARTS {
            turns.give_back();
        }
        let mut other = Turn::default();
        assert_eq!(takes(&turns, &mut other), PARTS);
    }
}
