//! Long transfers take turns, so that short requests need not wait for all of them.
//!
//! # How it works
//! When hundreds of slow readers take more at the same moment, each transfer could move a megabyte before the loop looks
//! at its sockets again, and whoever came meanwhile would wait for all of them. So a transfer asks before it moves
//! another part (at most 64 KB). In each round so many parts are free; who asks for more waits in order of arrival until
//! the loop has looked at all sockets and run what became ready. Then the next round begins, and those in line are called
//! one after another, as long as parts are left: a long transfer may take all of them, of short ones many have their turn.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

/// So many parts move between two looks at the sockets: some tenths of a millisecond of work.
const PARTS: usize = 8;

/// The line of a worker's transfers.
pub struct Turns {
    /// Parts left of this round.
    free: Cell<usize>,
    rounds: Cell<u64>,
    waiting: RefCell<VecDeque<Waker>>,
    /// How many have ever left the line.
    called: Cell<u64>,
    asked: Notify,
}

/// A transfer's place in line, if it has one, and the round in which it was called last.
#[derive(Default)]
pub struct Turn {
    place: Option<u64>,
    round: u64,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            free: Cell::new(PARTS),
            rounds: Cell::new(1),
            waiting: RefCell::default(),
            called: Cell::new(0),
            asked: Notify::new(),
        }
    }
}

impl Turns {
    /// Ready: one part may be moved. Pending: the task is woken when it is its turn.
    pub fn poll(&self, context: &Context<'_>, turn: &mut Turn) -> Poll<()> {
        if let Some(place) = turn.place {
            if place >= self.called.get() {
                return Poll::Pending;
            }
            turn.place = None;
            turn.round = self.rounds.get();
        }
        let mut waiting = self.waiting.borrow_mut();
        let may_take = waiting.is_empty() || turn.round == self.rounds.get();
        if let Some(left) = self.free.get().checked_sub(1).filter(|_| may_take) {
            self.free.set(left);
            return Poll::Ready(());
        }
        turn.place = Some(self.called.get() + waiting.len() as u64);
        waiting.push_back(context.waker().clone());
        self.asked.notify_one();
        Poll::Pending
    }

    /// Gives a turn back: there was nothing to move.
    #[inline]
    pub fn give_back(&self) {
        self.free.set((self.free.get() + 1).min(PARTS));
    }

    /// Calls those who wait, round after round. Does not end.
    pub async fn run(&self) {
        loop {
            self.asked.notified().await;
            while self.is_awaited() {
                // comes back after the runtime has looked at the sockets, behind what became ready there
                tokio::task::yield_now().await;
                self.begin_round();
                while self.free.get() > 0 && self.is_awaited() {
                    self.call();
                    let_it_run().await;
                }
            }
        }
    }

    fn is_awaited(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    fn begin_round(&self) {
        self.rounds.set(self.rounds.get() + 1);
        self.free.set(PARTS);
    }

    fn call(&self) {
        let next = self.waiting.borrow_mut().pop_front();
        if let Some(next) = next {
            self.called.set(self.called.get() + 1);
            next.wake();
        }
    }
}

/// Comes back behind the tasks that are ready now, without a look at the sockets.
async fn let_it_run() {
    let mut is_first = true;
    poll_fn(|context| {
        if std::mem::take(&mut is_first) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
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
        let mut line: Vec<Turn> = (0..3).map(|_| Turn::default()).collect();
        assert_eq!(takes(&turns, &mut line[0]), PARTS);
        assert!(!asks(&turns, &mut line[1]));
        assert!(!asks(&turns, &mut line[2]));
        turns.begin_round();
        turns.call();
        let short: Vec<bool> = line.iter_mut().map(|turn| asks(&turns, turn)).collect();
        assert_eq!(
            short,
            [true, false, false],
            "only who was called, though parts are left"
        );
        turns.call();
        assert_eq!(takes(&turns, &mut line[1]), PARTS - 1, "all that is left");
        turns.call();
        assert!(!asks(&turns, &mut line[2]), "called too late: in line again");
        turns.begin_round();
        turns.call();
        turns.call();
        assert!(asks(&turns, &mut line[2]));
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
    fn what_a_call_gives_ends_with_its_round() {
        let turns = Turns::default();
        let (mut first, mut second) = (Turn::default(), Turn::default());
        takes(&turns, &mut first);
        assert!(!asks(&turns, &mut second));
        turns.begin_round();
        turns.call();
        assert!(asks(&turns, &mut first));
        turns.begin_round();
        assert!(!asks(&turns, &mut first), "the second is in line");
    }

    #[test]
    fn a_round_has_so_many_parts_whatever_is_given_back() {
        let turns = Turns::default();
        let mut turn = Turn::default();
        assert!(asks(&turns, &mut turn));
        for _ in 0..2 * PARTS {
            turns.give_back();
        }
        assert_eq!(takes(&turns, &mut turn), PARTS);
    }
}
