//! Long transfers take turns, so that short requests need not wait for all of them.
//!
//! # How it works
//! When hundreds of slow readers take more at the same moment, each transfer could move a megabyte before the loop looks
//! at its sockets again, and whoever came meanwhile would wait for all of them. So a transfer asks before it moves
//! another part (at most 64 KB). A number of parts is free; who asks for more waits in order of arrival until the
//! loop has looked at all sockets and run what became ready, and then the first in line go on.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

/// So many parts move between two looks at the sockets: about half a millisecond of work.
const PARTS: usize = 16;

/// The line of a worker's transfers.
pub(crate) struct Turns {
    free: Cell<usize>,
    waiting: RefCell<VecDeque<Waker>>,
    /// How many have ever left the line.
    called: Cell<u64>,
    asked: Notify,
}

/// A transfer's place in line, if it has one.
#[derive(Default)]
pub(crate) struct Turn(Option<u64>);

impl Default for Turns {
    fn default() -> Self {
        Self {
            free: Cell::new(PARTS),
            waiting: RefCell::default(),
            called: Cell::new(0),
            asked: Notify::new(),
        }
    }
}

impl Turns {
    /// Ready: one part may be moved. Pending: the task is woken when it is its turn.
    pub(crate) fn poll(&self, context: &Context<'_>, turn: &mut Turn) -> Poll<()> {
        match turn.0 {
            Some(place) if place >= self.called.get() => return Poll::Pending,
            Some(_) => {
                turn.0 = None;
                return Poll::Ready(());
            }
            None => {}
        }
        if let Some(left) = self.free.get().checked_sub(1) {
            self.free.set(left);
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.borrow_mut();
        turn.0 = Some(self.called.get() + waiting.len() as u64);
        waiting.push_back(context.waker().clone());
        self.asked.notify_one();
        Poll::Pending
    }

    /// Gives a turn back: there was nothing to move.
    pub(crate) fn give_back(&self) {
        self.free.set((self.free.get() + 1).min(PARTS));
    }

    /// Calls those who wait, so many after each look at the sockets. Does not end.
    pub(crate) async fn run(&self) {
        loop {
            self.asked.notified().await;
            while self.free.get() == 0 {
                // comes back after the runtime has looked at the sockets, behind what became ready there
                tokio::task::yield_now().await;
                self.call();
            }
        }
    }

    fn call(&self) {
        let mut waiting = self.waiting.borrow_mut();
        let count = waiting.len().min(PARTS);
        self.called.set(self.called.get() + count as u64);
        self.free.set(PARTS - count);
        waiting.drain(..count).for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn asks(turns: &Turns, turn: &mut Turn) -> bool {
        turns.poll(&Context::from_waker(Waker::noop()), turn).is_ready()
    }

    #[test]
    fn beyond_the_free_parts_all_wait_in_order_of_arrival() {
        let turns = Turns::default();
        let mut first = Turn::default();
        assert!((0..PARTS).all(|_| asks(&turns, &mut first)));
        let mut line: Vec<Turn> = (0..PARTS + 2).map(|_| Turn::default()).collect();
        for turn in &mut line {
            assert!(!asks(&turns, turn));
        }
        turns.call();
        let ready: Vec<bool> = line.iter_mut().map(|turn| asks(&turns, turn)).collect();
        assert_eq!(ready, [vec![true; PARTS], vec![false; 2]].concat());
        turns.call();
        assert!(line[PARTS..].iter_mut().all(|turn| asks(&turns, turn)));
        assert!(
            (0..PARTS - 2).all(|_| asks(&turns, &mut first)),
            "the rest is free again"
        );
        assert!(!asks(&turns, &mut first));
    }

    #[test]
    fn asking_again_keeps_the_place() {
        let turns = Turns::default();
        let (mut fast, mut waits) = (Turn::default(), Turn::default());
        while asks(&turns, &mut fast) {}
        assert!(!asks(&turns, &mut waits));
        assert!(!asks(&turns, &mut waits));
        assert_eq!(turns.waiting.borrow().len(), 2);
    }

    #[test]
    fn a_turn_given_back_is_free_and_there_are_never_more_than_at_first() {
        let turns = Turns::default();
        let mut turn = Turn::default();
        while asks(&turns, &mut turn) {}
        turns.call();
        for _ in 0..2 * PARTS {
            turns.give_back();
        }
        let mut other = Turn::default();
        assert!((0..PARTS).all(|_| asks(&turns, &mut other)));
        assert!(!asks(&turns, &mut other));
    }
}
