//! Which response of a connection is sent first (extensible priorities, RFC 9218).
//!
//! # How it works
//! Of what QUIC has taken, it sends the stream with the highest rank first, and streams of one rank in turn. What it takes
//! is bounded by the client's window and the connection's buffer, and there a turn decides: before a stream writes, those
//! of a higher rank that wait for room are woken and go first. A stream that has room and does not use it holds nobody up.
//!
//! Ranks follow urgency. Within one, responses that are of use only whole come first, one after the other, then those that
//! share. A response of which nobody has said anything shares: its client may not know of priorities.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use headgate_wire::Priority;

/// Ranks that one urgency has: the upper half for responses that go one after the other.
const RANKS: i32 = 1 << 27;

/// The ids of a client's requests are four apart.
const STEP: u64 = 4;

/// The streams of a connection.
#[derive(Default)]
pub(super) struct Schedule {
    /// Streams that wait for room, the highest rank first.
    waiting: RefCell<BTreeMap<(Reverse<i32>, u64), Waker>>,
    /// Streams that are served.
    turns: RefCell<HashMap<u64, Weak<Turn>>>,
    /// What was said of requests that have not come yet.
    ahead: RefCell<HashMap<u64, Priority>>,
    /// The id of the first stream that has not begun.
    next_stream: Cell<u64>,
}

impl Schedule {
    /// A stream begins.
    pub(super) fn begin(self: &Rc<Self>, stream: u64) -> Rc<Turn> {
        self.next_stream.set(self.next_stream.get().max(stream + STEP));
        let turn = Rc::new(Turn {
            schedule: self.clone(),
            stream,
            update: Cell::new(self.ahead.borrow_mut().remove(&stream)),
            field: Cell::default(),
            of_server: RefCell::default(),
            rank: Cell::new(0),
            waits_as: Cell::default(),
            has_let_go_first: Cell::default(),
        });
        turn.set_rank();
        self.turns.borrow_mut().insert(stream, Rc::downgrade(&turn));
        turn
    }

    /// How many requests have begun.
    pub(super) fn begun(&self) -> u64 {
        self.next_stream.get() / STEP
    }

    /// The client changes its mind about a request (RFC 9218 section 7). False: there can be no request with that id, when
    /// so many may be under way.
    pub(super) fn update(&self, stream: u64, field: &[u8], max_streams: u32) -> bool {
        if stream % STEP != 0 || stream / STEP >= self.begun() + u64::from(max_streams) {
            return false;
        }
        let priority = Priority::default().and(field);
        if stream >= self.next_stream.get() {
            self.ahead.borrow_mut().insert(stream, priority);
        } else if let Some(turn) = self.turns.borrow().get(&stream).and_then(Weak::upgrade) {
            turn.update.set(Some(priority));
            turn.set_rank();
        }
        true
    }

    /// Wakes those that wait and are before that rank: whether there are any.
    fn wake_before(&self, rank: i32) -> bool {
        let waiting = self.waiting.borrow();
        let before = waiting.range(..(Reverse(rank), 0));
        before.map(|(_, waker)| waker.wake_by_ref()).count() > 0
    }
}

/// One stream's place.
pub(super) struct Turn {
    schedule: Rc<Schedule>,
    stream: u64,
    /// What a frame has said last, which counts for more than the request's field.
    update: Cell<Option<Priority>>,
    field: Cell<Option<Priority>>,
    /// What the response's field says, which changes what the client has said.
    of_server: RefCell<Vec<u8>>,
    rank: Cell<i32>,
    waits_as: Cell<Option<i32>>,
    has_let_go_first: Cell<bool>,
}

impl Turn {
    /// What the request's field says.
    pub(super) fn client_says(&self, field: &[u8]) {
        self.field.set(Some(Priority::default().and(field)));
        self.set_rank();
    }

    /// What the response's field says (RFC 9218 section 8).
    pub(super) fn server_says(&self, field: &[u8]) {
        self.of_server.replace(field.to_vec());
        self.set_rank();
    }

    /// The higher, the earlier; 0 for what nobody has said anything of.
    pub(super) fn rank(&self) -> i32 {
        self.rank.get()
    }

    fn set_rank(&self) {
        let client = self.update.get().or(self.field.get());
        let of_server = self.of_server.borrow();
        let is_told = client.is_some() || !of_server.is_empty();
        let priority = client.unwrap_or_default().and(&of_server);
        let usual = i32::from(Priority::default().urgency);
        let first = (usual - i32::from(priority.urgency)) * RANKS;
        let within = if priority.is_incremental || !is_told {
            0
        } else {
            // those behind the ones that there are ranks for share the last one's
            let number = i32::try_from(self.stream / STEP).unwrap_or(i32::MAX);
            (RANKS - 1 - number).max(1)
        };
        self.rank.set(first + within);
    }

    /// Writes, unless others go first. `write` is pending while there is no room.
    pub(super) fn poll_write<T>(
        &self,
        context: &mut Context<'_>,
        write: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if !self.has_let_go_first.get() && self.schedule.wake_before(self.rank.get()) {
            // they run before this does again; what they leave is this one's
            self.has_let_go_first.set(true);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.has_let_go_first.set(false);
        let written = write(context);
        self.stop_waiting();
        if written.is_pending() {
            let rank = self.rank.get();
            self.waits_as.set(Some(rank));
            let place = (Reverse(rank), self.stream);
            self.schedule
                .waiting
                .borrow_mut()
                .insert(place, context.waker().clone());
        }
        written
    }

    fn stop_waiting(&self) {
        if let Some(rank) = self.waits_as.take() {
            self.schedule
                .waiting
                .borrow_mut()
                .remove(&(Reverse(rank), self.stream));
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.stop_waiting();
        self.schedule.turns.borrow_mut().remove(&self.stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranks(said: &[(u64, Option<&str>)]) -> Vec<u64> {
        let schedule = Rc::<Schedule>::default();
        let turns: Vec<_> = said
            .iter()
            .map(|(stream, field)| {
                let turn = schedule.begin(*stream);
                if let Some(field) = field {
                    turn.client_says(field.as_bytes());
                }
                turn
            })
            .collect();
        let mut order: Vec<_> = turns
            .iter()
            .map(|turn| (Reverse(turn.rank()), turn.stream))
            .collect();
        order.sort_unstable();
        order.into_iter().map(|(_, stream)| stream).collect()
    }

    #[test]
    fn urgent_ones_come_first_and_whole_ones_before_those_that_share() {
        let said = [
            (0, Some("u=7")),
            (4, Some("u=3, i")),
            (8, Some("u=3")),
            (12, Some("u=0, i")),
            (16, Some("u=3")),
            (20, None),
        ];
        assert_eq!(ranks(&said), [12, 8, 16, 4, 20, 0]);
    }

    #[test]
    fn what_nobody_speaks_of_has_the_rank_of_quic() {
        let schedule = Rc::<Schedule>::default();
        assert_eq!(schedule.begin(400).rank(), 0);
    }

    #[test]
    fn frames_count_for_more_than_the_field_and_the_server_for_more_than_both() {
        let schedule = Rc::<Schedule>::default();
        assert!(schedule.update(0, b"u=1, i", 8), "before the request");
        let turn = schedule.begin(0);
        turn.client_says(b"u=6");
        assert_eq!(turn.rank(), 2 * RANKS);
        assert!(schedule.update(0, b"u=5, i", 8));
        assert_eq!(turn.rank(), -2 * RANKS);
        turn.server_says(b"u=2");
        assert_eq!(turn.rank(), RANKS);
    }

    #[test]
    fn ids_of_no_request_are_refused_and_what_is_kept_is_bounded() {
        let schedule = Rc::<Schedule>::default();
        let turn = schedule.begin(0);
        assert!(![1, 2, 3, 36].into_iter().any(|id| schedule.update(id, b"u=1", 8)));
        assert!((1..9).all(|n| schedule.update(n * STEP, b"u=1", 8)));
        assert_eq!(schedule.ahead.borrow().len(), 8);
        drop(turn);
        assert!(schedule.update(0, b"u=1", 8), "one that is over");
        assert!(schedule.turns.borrow().is_empty());
    }

    #[test]
    fn who_waits_with_a_higher_rank_goes_first_and_holds_nobody_up() {
        let schedule = Rc::<Schedule>::default();
        let (urgent, other) = (schedule.begin(0), schedule.begin(4));
        urgent.client_says(b"u=0");
        let mut context = Context::from_waker(Waker::noop());
        let full = |_: &mut Context<'_>| Poll::<()>::Pending;
        assert!(urgent.poll_write(&mut context, full).is_pending());
        let polled = other.poll_write(&mut context, |_| -> Poll<()> { panic!("the other goes first") });
        assert!(polled.is_pending());
        // which has no use for the room
        assert!(urgent.poll_write(&mut context, full).is_pending());
        assert!(other.poll_write(&mut context, |_| Poll::Ready(())).is_ready());
        drop(urgent);
        assert!(
            other.poll_write(&mut context, |_| Poll::Ready(())).is_ready(),
            "nobody waits"
        );
    }
}
